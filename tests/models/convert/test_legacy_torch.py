"""Are tensors read as they were written, and can a checkpoint do nothing but hold tensors?"""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from models.convert.legacy_torch import CheckpointError, read_state_dict
from tests.models.convert.make_checkpoints import (
    file_of,
    make_checkpoint,
    name,
    number,
    numbers,
    state_dict,
    tensor,
    text,
)

STORAGE = {"s": np.arange(6, dtype=np.float32)}


def holding(value: bytes) -> bytes:
    return file_of(state_dict({"w": value}), STORAGE)


def test_tensors_are_read_as_they_were_written():
    written = {
        "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "a.bias": np.float32([1.5]),
        "scalar": np.array(7, dtype=np.float32),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }

    read = read_state_dict(make_checkpoint(written))

    assert list(written) == list(read)
    for key, array in written.items():
        np.testing.assert_array_equal(array, read[key], strict=True)


def test_a_view_into_a_shared_storage_keeps_its_offset_and_strides():
    checkpoint = file_of(
        state_dict(
            {
                "turned": tensor("s", count=6, shape=[3, 2], strides=[1, 3]),
                "tail": tensor("s", count=6, offset=4, shape=[2], strides=[1]),
            }
        ),
        STORAGE,
    )

    read = read_state_dict(checkpoint)

    np.testing.assert_array_equal([[0, 3], [1, 4], [2, 5]], read["turned"])
    np.testing.assert_array_equal([4, 5], read["tail"])


def test_numbers_of_another_type_are_read_as_that_type():
    checkpoint = file_of(
        state_dict(
            {
                "n": tensor(
                    "s", count=2, shape=[2], strides=[1], storage_type=name("torch", "LongStorage")
                )
            }
        ),
        {"s": np.array([3, -(2**40)])},
    )

    np.testing.assert_array_equal([3, -(2**40)], read_state_dict(checkpoint)["n"])


def touch(mark: Path) -> dict[str, bytes]:
    """List ways in which pickles run code, each of which would make a file."""
    command = text(f"touch {mark}")
    call = b"(" + command + b"tR"
    return {
        "os.system": name("os", "system") + call,
        "posix.system": name("posix", "system") + call,
        "builtins.eval": name("builtins", "eval") + b"("
        + text(f"__import__('pathlib').Path({str(mark)!r}).touch()") + b"tR",
        "__builtin__.exec": name("__builtin__", "exec") + call,
        "INST": b"(" + command + b"ios\nsystem\n",
        "OBJ": b"(" + name("os", "system") + command + b"o",
        "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93" + call,
        "dotted name": name("collections", "OrderedDict.__class__") + call,
        "through OrderedDict's module": name("collections", "_sys.modules") + call,
        "torch.load": name("torch", "load") + call,
        "torch.hub": name("torch.hub", "load") + call,
        "getattr": name("builtins", "getattr") + b"(" + name("os", "system") + text("x") + b"tR",
        "numpy's load": name("numpy", "load") + call,
        "a storage type that is called": name("torch", "FloatStorage") + call,
        "a storage type that is written to": name("torch", "FloatStorage") + b"}(" + text("dtype")
        + text("x") + b"ub",
        "the tensor builder, written to": name("torch._utils", "_rebuild_tensor_v2") + b"}("
        + text("__call__") + name("collections", "OrderedDict") + b"ub",
        "the dict's class, written to": name("collections", "OrderedDict") + b"}("
        + text("update") + text("x") + b"ub",
        "hooks": name("torch._utils", "_rebuild_tensor_v2") + b"((" + text("storage")
        + name("torch", "FloatStorage") + text("s") + text("cpu") + number(6) + b"NtQ" + number(0)
        + numbers([6]) + numbers([1]) + b"\x89" + command + b"tR",
    }  # fmt: skip


@pytest.mark.parametrize("way", touch(Path("mark")))
def test_a_checkpoint_that_wants_to_do_anything_is_refused_and_does_nothing(tmp_path, way):
    mark = tmp_path / "mark"
    hostile = holding(touch(mark)[way])

    with pytest.raises(CheckpointError):
        read_state_dict(hostile)

    assert not mark.exists()


def test_the_hostile_pickles_are_real_ones(tmp_path):
    # Else the test above would pass on pickles that nothing would run.
    for way in ("os.system", "builtins.eval", "INST", "OBJ"):
        mark = tmp_path / way
        pickle.loads(b"\x80\x02" + touch(mark)[way] + b".")

        assert mark.exists(), way


@pytest.mark.parametrize("part", [0, 1, 2, 4])
def test_no_part_of_the_file_may_name_anything(tmp_path, part):
    mark = tmp_path / "mark"
    hostile = b"\x80\x02" + touch(mark)["os.system"] + b"."
    fine = [
        pickle.dumps(p, protocol=2)
        for p in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, None, ["s"])
    ]
    fine[3] = state_dict({"w": tensor("s", count=6, shape=[6], strides=[1])})

    with pytest.raises(CheckpointError, match="no names are allowed here"):
        read_state_dict(b"".join([*fine[:part], hostile, *fine[part + 1 :]]))

    assert not mark.exists()


@pytest.mark.parametrize(
    "value",
    [
        tensor("s", count=6, shape=[7], strides=[1]),
        tensor("s", count=6, offset=6, shape=[1], strides=[1]),
        tensor("s", count=6, offset=-1, shape=[1], strides=[1]),
        tensor("s", count=6, shape=[2, 3], strides=[1, 5]),
        tensor("s", count=6, shape=[-1], strides=[1]),
        tensor("s", count=6, shape=[2], strides=[-1]),
        tensor("s", count=6, shape=[2, 3], strides=[1]),
        tensor("s", count=6, shape=[2**30, 2**30], strides=[0, 0]),
        tensor("s", count=7, shape=[6], strides=[1]),
        tensor("s", count=2**30, shape=[6], strides=[1]),
        tensor("s", count=-1, shape=[0], strides=[1]),
        tensor("other", count=6, shape=[6], strides=[1]),
        text("not a tensor"),
    ],
)
def test_a_tensor_that_reaches_outside_of_its_storage_is_refused(value):
    with pytest.raises(CheckpointError):
        read_state_dict(holding(value))


def test_a_file_that_is_cut_anywhere_is_refused():
    whole = make_checkpoint({"w": np.arange(6, dtype=np.float32)})

    for end in range(len(whole)):
        with pytest.raises(CheckpointError):
            read_state_dict(whole[:end])


@pytest.mark.parametrize(
    "opcodes",
    [
        b"r\xff\xff\xff\xff",  # remember something in place four thousand million
        b"\x96" + b"\xff" * 8,  # a byte array of all the memory there is
        b"\x8b" + b"\xff\xff\xff\x7f",  # a number of two thousand million bytes
        b"\x8d" + b"\xff" * 7 + b"\x7f",
    ],
    ids=["memo", "bytearray", "long", "unicode"],
)
def test_a_checkpoint_cannot_have_memory_for_the_asking(opcodes):
    with pytest.raises(CheckpointError):
        read_state_dict(holding(b"N" + opcodes))


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" + bytes(64),
        b"",
        pickle.dumps({"w": 1}),
        file_of(state_dict({}), {}, magic=1),
        file_of(state_dict({}), {}, little_endian=False),
        file_of(state_dict({}), {}, tail=b"x"),
        file_of(state_dict({}), STORAGE),
        file_of(b"\x80\x02].", {}),
    ],
    ids=["zip", "nothing", "plain pickle", "magic", "big endian", "tail", "storage", "a list"],
)
def test_what_is_not_an_old_checkpoint_is_refused(content):
    with pytest.raises(CheckpointError):
        read_state_dict(content)


def test_nothing_a_random_change_makes_of_a_checkpoint_gets_past_as_another_error():
    whole = make_checkpoint({"w": np.arange(6, dtype=np.float32)})
    random = np.random.default_rng(0)
    refused = 0

    for _ in range(2000):
        changed = bytearray(whole)
        for at in random.integers(0, len(whole), 3):
            changed[at] = random.integers(0, 256)
        try:
            read_state_dict(bytes(changed))
        except CheckpointError:
            refused += 1

    assert refused > 1000


def test_the_published_checkpoints_have_the_tensors_that_they_should(shared_weights):
    encoder = read_state_dict((shared_weights / "classnseg_encoder.pt").read_bytes())
    weight = encoder["encoder.0.weight"]

    assert ((8, 3, 3, 3), np.float32) == (weight.shape, weight.dtype)
    assert len(encoder) == 9 * 7
    digest = hashlib.sha256(np.ascontiguousarray(weight).tobytes()).hexdigest()
    assert digest == "10a6d17dcab37303279b79718eb7c02862d72de428013b387c08f2b5fc34d901"
