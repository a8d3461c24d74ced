"""
How do the published MesoNet weights become an ONNX that takes face pictures?

Afchar, Nozick, Yamagishi & Echizen, "MesoNet: a Compact Facial Video Forgery Detection Network",
WIFS 2018. The weights are Keras 2.1 HDF5: kernels `[k, k, in, out]`, channels last, pictures
`RGB / 255`, batch normalisation with epsilon 1e-3, one sigmoid that says *real*. The ONNX says
*fake*, and as a logit, so that sure answers are not all rounded to 1.

Layers of Meso-4 (every convolution keeps the size and ends in a ReLU):

    conv 3x3 x8,  norm, pool 2 | conv 5x5 x8,  norm, pool 2 | conv 5x5 x16, norm, pool 2
    conv 5x5 x16, norm, pool 4 | flatten, dense 16, leaky ReLU 0.1, dense 1

MesoInception-4 puts an inception module in place of each of the first two convolutions: four
branches beside each other, a 1x1, and three of 1x1 then 3x3 with dilation 1, 2 and 3.

The HDF5 of Meso-4 lists no activation after the first dense layer, that of MesoInception-4 a leaky
ReLU; the published code applies it in both, and so does this.
"""

import io
import re

import h5py
import numpy as np
from numpy.typing import NDArray

from models.convert.graph import Graph

SIDE_PX = 256
BATCH_NORM_EPSILON = 1e-3
LEAK = 0.1

Weights = dict[str, NDArray[np.float32]]


def convert_meso4(h5: bytes) -> bytes:
    """Convert Meso-4; raises ValueError unless the file has exactly its layers."""
    layers = KerasLayers(h5)
    graph = Graph()
    x = graph.add("Div", graph.faces("faces"), graph.numbers(255.0))
    for kernel, channels, pool in ((3, 8, 2), (5, 8, 2), (5, 16, 2), (5, 16, 4)):
        x = _conv(graph, x, layers.next("conv2d"), kernel=kernel, channels=channels)
        x = graph.max_pool(_norm(graph, x, layers.next("batch_normalization")), pool)
    return _head(graph, x, layers, name="meso4")


def convert_mesoinception4(h5: bytes) -> bytes:
    """Convert MesoInception-4; raises ValueError unless the file has exactly its layers."""
    layers = KerasLayers(h5)
    graph = Graph()
    x = graph.add("Div", graph.faces("faces"), graph.numbers(255.0))
    for widths in ((1, 4, 4, 2), (2, 4, 4, 2)):
        x = _inception(graph, x, layers, widths)
        x = graph.max_pool(_norm(graph, x, layers.next("batch_normalization")), 2)
    for pool in (2, 4):
        x = _conv(graph, x, layers.next("conv2d"), kernel=5, channels=16)
        x = graph.max_pool(_norm(graph, x, layers.next("batch_normalization")), pool)
    return _head(graph, x, layers, name="mesoinception4")


class KerasLayers:
    """
    The layers of a Keras file, by kind, in the order in which they were made.

    Keras numbers layers as a program makes them (`conv2d_5`, `conv2d_6`, ...), which is the order
    of the published code; the order in the file itself is by depth and differs in branches.
    """

    def __init__(self, h5: bytes) -> None:
        self._waiting: dict[str, list[tuple[int, Weights]]] = {}
        with h5py.File(io.BytesIO(h5), "r") as file:
            for layer in file:
                match = re.fullmatch(r"(\w+?)_(\d+)", str(layer))
                weights = _weights(file[layer])
                if match and weights:
                    kind = self._waiting.setdefault(match[1], [])
                    kind.append((int(match[2]), weights))
        for numbered in self._waiting.values():
            numbered.sort(key=lambda pair: pair[0])

    def next(self, kind: str) -> Weights:
        """Take the next layer of this kind."""
        if not self._waiting.get(kind):
            raise ValueError(f"want one more {kind} layer, the file has none left")
        return self._waiting[kind].pop(0)[1]

    def check_empty(self) -> None:
        """Raise ValueError if a layer was not used."""
        if left := {k: len(v) for k, v in self._waiting.items() if v}:
            raise ValueError(f"the file has layers that this network does not: {left}")


def _weights(group: h5py.Group) -> Weights:
    found: Weights = {}

    def take(path: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external is not None or item.is_virtual:
                raise ValueError(f"{path} lies outside the file")
            found[path.rsplit("/", 1)[-1].removesuffix(":0")] = np.asarray(item, dtype=np.float32)

    group.visititems(take)
    return found


def _conv(
    graph: Graph, x: str, weights: Weights, *, kernel: int, channels: int, dilation: int = 1
) -> str:
    tensor = weights["kernel"]
    if tensor.shape[:2] != (kernel, kernel) or tensor.shape[3] != channels:
        raise ValueError(
            f"want a {kernel}x{kernel} kernel to {channels} channels, got {list(tensor.shape)}"
        )
    out_first = np.transpose(tensor, (3, 2, 0, 1))
    return graph.add("Relu", graph.conv(x, out_first, weights["bias"], dilation=dilation))


def _inception(graph: Graph, x: str, layers: KerasLayers, widths: tuple[int, int, int, int]) -> str:
    branches = [_conv(graph, x, layers.next("conv2d"), kernel=1, channels=widths[0])]
    for dilation, width in enumerate(widths[1:], start=1):
        inner = _conv(graph, x, layers.next("conv2d"), kernel=1, channels=width)
        branches.append(
            _conv(graph, inner, layers.next("conv2d"), kernel=3, channels=width, dilation=dilation)
        )
    return graph.add("Concat", *branches, ints={"axis": 1})


def _norm(graph: Graph, x: str, weights: Weights) -> str:
    return graph.batch_norm(
        x,
        scale=weights["gamma"],
        shift=weights["beta"],
        mean=weights["moving_mean"],
        variance=weights["moving_variance"],
        epsilon=BATCH_NORM_EPSILON,
    )


def _head(graph: Graph, x: str, layers: KerasLayers, *, name: str) -> bytes:
    # Keras flattens with the channels last, and the dense kernel expects that order.
    x = graph.add("Transpose", x, ints={"perm": [0, 2, 3, 1]})
    x = graph.add("Flatten", x, ints={"axis": 1})
    for is_last in (False, True):
        dense = layers.next("dense")
        x = graph.add("Gemm", x, graph.tensor(dense["kernel"]), graph.tensor(dense["bias"]))
        if not is_last:
            x = graph.add("LeakyRelu", x, floats={"alpha": LEAK})
    layers.check_empty()
    real_logit = graph.add("Reshape", x, graph.integers(-1))
    graph.add("Neg", real_logit, output="fake_logit")
    return graph.to_bytes(
        name=name, input_name="faces", side_px=SIDE_PX, outputs={"fake_logit": ("N",)}
    )
