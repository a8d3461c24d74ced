"""
What tensors lie in a torch checkpoint of the old kind (a run of pickles, then raw storages)?

A pickle is a program, so this reads it with an unpickler that knows three words: `OrderedDict`,
`torch._utils._rebuild_tensor_v2` and the names of torch's storage types. The last two stand for
values of our own; torch is never imported and nothing else can be named, called or built.

Layout: three small pickles (a magic number, a protocol version, the machine's byte order and
sizes), the pickled state dict in which each tensor points into a storage by key, a pickled list
of keys, then for each key an int64 count and the raw little-endian numbers.
"""

import io
import pickle
import pickletools
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_STORAGE_BYTES = 512 * 1024**2

OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
ALLOWED_OPCODES = frozenset((
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2",
    "LONG1", "BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT",
    "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "BINGET",
    "LONG_BINGET", "GLOBAL", "REDUCE", "BUILD", "BINPERSID",
))  # fmt: skip
"""What a state dict is written with. Everything else is refused unread, for the unpickler itself
takes memory, or worse, on the word of some of the others."""
MAX_MEMO = 1_000_000

MALFORMED = (
    pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, ImportError, LookupError,
    MemoryError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What the standard library's unpickler raises on bytes that no pickler wrote."""

STORAGE_DTYPES: dict[str, np.dtype[np.generic]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("<i1"),
    "ByteStorage": np.dtype("<u1"),
    "BoolStorage": np.dtype("?"),
}


class CheckpointError(ValueError):
    """The file is not a plain state dict of tensors, or wants to be more than that."""


@dataclass(frozen=True, slots=True)
class _StorageType:
    """Stands for `torch.FloatStorage` and its kind; not callable, so a pickle can only pass it."""

    dtype: np.dtype[np.generic]


@dataclass(frozen=True, slots=True)
class _Storage:
    """Where a tensor's numbers will be found."""

    key: str
    dtype: np.dtype[np.generic]
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view of a storage that has not been read yet; offset and strides count numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Rebuild:
    """Stands for `torch._utils._rebuild_tensor_v2`; slotted, so a pickle cannot write to it."""

    __slots__ = ()

    def __call__(  # the argument list is torch's
        self,
        storage: object,
        offset: object,
        shape: object,
        strides: object,
        _requires_grad: object,
        hooks: object,
        _metadata: object = None,
    ) -> _Tensor:
        if not isinstance(storage, _Storage) or not isinstance(offset, int):
            raise CheckpointError("a tensor that does not point into a storage")
        if hooks is not None and hooks != OrderedDict():
            raise CheckpointError("a tensor with hooks")
        return _Tensor(storage, offset, _sizes(shape), _sizes(strides))


def _sizes(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise CheckpointError(f"want a tuple of sizes, got {type(value).__name__}")
    if any(type(n) is not int or n < 0 for n in value):
        raise CheckpointError(f"want sizes of 0 or more, got {value!r}")
    return value


class _NamelessUnpickler(pickle.Unpickler):
    """Reads numbers, strings and containers; refuses every name."""

    def find_class(self, module: str, name: str) -> object:
        """Refuse."""
        raise CheckpointError(f"the checkpoint wants {module}.{name}; no names are allowed here")

    def persistent_load(self, _pid: object) -> NoReturn:
        """Refuse."""
        raise CheckpointError("a storage outside the state dict")


class RestrictedUnpickler(_NamelessUnpickler):
    """Reads a state dict; knows `OrderedDict`, tensor rebuilding and storage types, no more."""

    def find_class(self, module: str, name: str) -> object:
        """Resolve one of the three allowed names."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Rebuild()
        if module == "torch" and name in STORAGE_DTYPES:
            return _StorageType(STORAGE_DTYPES[name])
        raise CheckpointError(
            f"the checkpoint wants {module}.{name}; only tensors in an OrderedDict are read"
        )

    def persistent_load(self, pid: object) -> _Storage:  # type: ignore[override]
        """Resolve `("storage", type, key, device, count, view)`."""
        match pid:
            case ("storage", _StorageType() as kind, str() as key, str(), int() as count, None):
                if not 0 <= count * kind.dtype.itemsize <= MAX_STORAGE_BYTES:
                    raise CheckpointError(f"a storage of {count} numbers")
                return _Storage(key, kind.dtype, count)
            case _:
                raise CheckpointError(f"not a storage that is known here: {pid!r:.80}")


def read_state_dict(checkpoint: bytes) -> dict[str, NDArray[np.generic]]:
    """
    Read the tensors of a checkpoint by name.

    Raises:
        CheckpointError: anything but a state dict of dense tensors, whole and with nothing
            after it; zip checkpoints of newer torch versions too.
    """
    stream = io.BytesIO(checkpoint)
    try:
        _check_head([_load(_NamelessUnpickler, stream) for _ in range(3)])
        views = _load(RestrictedUnpickler, stream)
        keys = _load(_NamelessUnpickler, stream)
    except CheckpointError:
        raise
    except MALFORMED as error:
        raise CheckpointError(f"not a readable pickle: {error}") from error
    if not isinstance(views, OrderedDict) or not isinstance(keys, list):
        raise CheckpointError("want a state dict and a list of storages")
    tensors: dict[str, _Tensor] = {}
    for name, view in views.items():
        if not isinstance(name, str) or not isinstance(view, _Tensor):
            raise CheckpointError(f"want a tensor under {name!r:.80}, got {type(view).__name__}")
        tensors[name] = view
    storages = _read_storages(stream, keys, {t.storage.key: t.storage for t in tensors.values()})
    return {name: _view(storages, tensor) for name, tensor in tensors.items()}


def _load(reader: type[_NamelessUnpickler], stream: io.BytesIO) -> object:
    start = stream.tell()
    name = ""
    while name != "STOP":
        # KeyError where there is no such opcode, or the bytes have ended.
        opcode = OPCODES[stream.read(1).decode("latin-1")]
        name = opcode.name
        if name not in ALLOWED_OPCODES:
            raise CheckpointError(f"the checkpoint uses {name}; a state dict does not")
        if name == "GLOBAL":  # two lines; the standard reader would also undo escapes in them
            stream.readline()
            stream.readline()
        elif opcode.arg is not None:
            argument = opcode.arg.reader(stream)
            if name == "LONG_BINPUT" and argument > MAX_MEMO:
                raise CheckpointError(f"the checkpoint remembers {argument} things")
    stream.seek(start)
    return reader(stream).load()


def _check_head(head: list[object]) -> None:
    magic, protocol, machine = head
    if magic != MAGIC or protocol != PROTOCOL or not isinstance(machine, dict):
        raise CheckpointError("not a checkpoint of the old torch format")
    if machine.get("little_endian") is not True:
        raise CheckpointError("want a little-endian checkpoint")


def _read_storages(
    stream: io.BytesIO, keys: list[object], wanted: dict[str, _Storage]
) -> dict[str, NDArray[np.generic]]:
    if len(keys) != len(wanted) or set(keys) != set(wanted):
        raise CheckpointError("the storages are not those that the tensors point into")
    found: dict[str, NDArray[np.generic]] = {}
    for key in keys:
        storage = wanted[str(key)]
        head = stream.read(8)
        if len(head) != 8 or struct.unpack("<q", head)[0] != storage.count:  # noqa: PLR2004 - int64
            raise CheckpointError(f"storage {key} does not have its {storage.count} numbers")
        raw = stream.read(storage.count * storage.dtype.itemsize)
        if len(raw) != storage.count * storage.dtype.itemsize:
            raise CheckpointError(f"storage {key} is cut short")
        found[storage.key] = np.frombuffer(raw, dtype=storage.dtype)
    if stream.read(1):
        raise CheckpointError("bytes after the last storage")
    return found


def _view(storages: dict[str, NDArray[np.generic]], tensor: _Tensor) -> NDArray[np.generic]:
    flat = storages[tensor.storage.key]
    if flat.dtype != tensor.storage.dtype or len(tensor.shape) != len(tensor.strides):
        raise CheckpointError("a tensor that disagrees with its storage")
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    is_empty = 0 in tensor.shape
    if tensor.offset < 0 or (not is_empty and tensor.offset + last >= len(flat)):
        raise CheckpointError("a tensor that reaches outside its storage")
    if is_empty:
        return np.zeros(tensor.shape, dtype=flat.dtype)
    # Overlapping strides (an expanded tensor) could blow a few bytes up into terabytes.
    if int(np.prod(tensor.shape, dtype=object)) > len(flat):
        raise CheckpointError("a tensor with more numbers than its storage")
    strides = tuple(s * flat.itemsize for s in tensor.strides)
    view = np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], tensor.shape, strides, writeable=False
    )
    return np.ascontiguousarray(view).reshape(tensor.shape)
