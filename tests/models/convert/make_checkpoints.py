"""
Checkpoints for tests: Keras HDF5 and old torch files with seeded numbers.

The torch files are put together opcode by opcode: no torch is at hand, and the hostile ones could
not be had from it anyway.
"""

import io
import pickle
import struct
from collections.abc import Mapping, Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
MESO4 = ((3, 3, 8), (5, 8, 8), (5, 8, 16), (5, 16, 16))
MESOINCEPTION4 = (
    (1, 3, 1), (1, 3, 4), (3, 4, 4), (1, 3, 4), (3, 4, 4), (1, 3, 2), (3, 2, 2),
    (1, 11, 2), (1, 11, 4), (3, 4, 4), (1, 11, 4), (3, 4, 4), (1, 11, 2), (3, 2, 2),
    (5, 12, 16), (5, 16, 16),
)  # fmt: skip
"""Side, channels in, channels out of each convolution, in the order of the published code."""

Weights = dict[str, dict[str, NDArray[np.float32]]]


def make_mesonet_weights(
    convolutions: Sequence[tuple[int, int, int]], norms: Sequence[int], *, seed: int = 0
) -> Weights:
    """Draw weights of a size that keeps signals alive, under Keras layer names from number 3 on."""
    random = np.random.default_rng(seed)

    def draw(*shape: int, scale: float) -> NDArray[np.float32]:
        return random.normal(0, scale, shape).astype(np.float32)

    weights: Weights = {}
    for i, (side, inside, outside) in enumerate(convolutions, start=3):
        spread = (2 / (side * side * inside)) ** 0.5
        weights[f"conv2d_{i}"] = {
            "kernel": draw(side, side, inside, outside, scale=spread),
            "bias": draw(outside, scale=0.1),
        }
    for i, channels in enumerate(norms, start=3):
        weights[f"batch_normalization_{i}"] = {
            "gamma": 1 + draw(channels, scale=0.1),
            "beta": draw(channels, scale=0.1),
            "moving_mean": draw(channels, scale=0.1),
            "moving_variance": np.exp(draw(channels, scale=0.5)) * np.float32(0.01),
        }
    for i, (inside, outside) in enumerate(((1024, 16), (16, 1)), start=3):
        weights[f"dense_{i}"] = {
            "kernel": draw(inside, outside, scale=inside**-0.5),
            "bias": draw(outside, scale=0.1),
        }
    return weights


def make_h5(weights: Weights) -> bytes:
    """Write weights as Keras 2.1 does, with the empty groups of layers that have none."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for layer in ("input_1", "max_pooling2d_3", "dropout_4", "flatten_2"):
            file.create_group(layer)
        for layer, arrays in weights.items():
            for name, array in arrays.items():
                file.create_dataset(f"{layer}/{layer}/{name}:0", data=array)
    return stream.getvalue()


def name(module: str, attribute: str) -> bytes:
    """Assemble the opcode that looks a name up."""
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    """Assemble a string."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    """Assemble a number of 32 bits."""
    return b"J" + struct.pack("<i", value)


def numbers(values: Sequence[int]) -> bytes:
    """Assemble a tuple of numbers."""
    return b"(" + b"".join(number(v) for v in values) + b"t"


def tensor(
    key: str,
    *,
    count: int,
    offset: int = 0,
    shape: Sequence[int],
    strides: Sequence[int],
    storage_type: bytes = name("torch", "FloatStorage"),
) -> bytes:
    """Assemble a tensor that points into a storage."""
    storage = b"(" + text("storage") + storage_type + text(key) + text("cuda:0") + number(count)
    arguments = (
        b"(" + storage + b"NtQ" + number(offset) + numbers(shape) + numbers(strides) + b"\x89Nt"
    )
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def state_dict(items: Mapping[str, bytes]) -> bytes:
    """Assemble a pickle of an OrderedDict of assembled values."""
    pairs = b"".join(text(k) + v for k, v in items.items())
    return b"\x80\x02" + name("collections", "OrderedDict") + b")R(" + pairs + b"u."


def file_of(
    pickled: bytes,
    storages: Mapping[str, NDArray[np.generic]],
    *,
    magic: int = MAGIC,
    little_endian: bool = True,
    tail: bytes = b"",
) -> bytes:
    """Put a checkpoint together around a pickled state dict."""
    head = [magic, 1001, {"protocol_version": 1001, "little_endian": little_endian}]
    parts = [pickle.dumps(part, protocol=2) for part in head]
    parts += [pickled, pickle.dumps(list(storages), protocol=2)]
    parts += [struct.pack("<q", s.size) + s.tobytes() for s in storages.values()]
    return b"".join(parts) + tail


def make_checkpoint(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Write tensors as old torch does, each in a storage of its own."""
    assembled = {
        key: tensor(
            f"s{i}",
            count=array.size,
            shape=array.shape,
            strides=[s // array.itemsize for s in array.strides],
        )
        for i, (key, array) in enumerate(tensors.items())
    }
    storages = {f"s{i}": np.ascontiguousarray(a) for i, a in enumerate(tensors.values())}
    return file_of(state_dict(assembled), storages)
