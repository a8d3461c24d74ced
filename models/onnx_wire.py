"""
Does an ONNX file want bytes that are not in it?

A tensor may be stored as a path to another file, and ONNX Runtime follows such paths from the
working directory even when the model is loaded from memory (seen with 1.31). The `onnx` package
is not there where models are served, so this walks the protobuf by hand, through exactly the
fields that can lead to a tensor. The field numbers are those of `onnx.proto`; a test holds them
against the package.
"""

from collections.abc import Iterator

TENSOR_PATHS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
"""Message -> field number -> message, for every field through which a TensorProto is reached."""
EXTERNAL_DATA = 13
DATA_LOCATION = 14

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10


class OnnxFileError(ValueError):
    """The bytes are not an ONNX model, or not all of one."""


def check_self_contained(model: bytes) -> None:
    """
    Make sure that every tensor of an ONNX model lies in the model itself.

    Raises:
        OnnxFileError: a tensor points to another file, or the bytes are not ONNX (a pickle, an
            ORT flatbuffer, a cut file).
    """
    view = memoryview(model)
    waiting: list[tuple[str, memoryview]] = [("ModelProto", view)]
    has_graph = False
    while waiting:
        kind, message = waiting.pop()
        for number, value in _fields(message):
            if kind == "TensorProto":
                _check_tensor_field(number, value)
            elif inner := TENSOR_PATHS[kind].get(number):
                if not isinstance(value, memoryview):
                    raise OnnxFileError(f"not ONNX: field {number} of {kind} is not a message")
                has_graph = has_graph or kind == "ModelProto"
                waiting.append((inner, value))
    if not has_graph:
        raise OnnxFileError("not ONNX: there is no graph in it")


def _check_tensor_field(number: int, value: int | memoryview) -> None:
    if number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
        raise OnnxFileError("a tensor is stored outside of the file; that is refused")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Give each field's number, with its bytes or, for numbers, its value."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(message, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise OnnxFileError(f"not ONNX: wire type {wire}")
        if number == 0 or at + size > len(message):
            raise OnnxFileError("not ONNX: a field reaches past the end")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for i in range(MAX_VARINT_BYTES):
        if at + i >= len(message):
            raise OnnxFileError("not ONNX: it ends within a number")
        byte = message[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit of protobuf
            return value, at + i + 1
    raise OnnxFileError("not ONNX: a number without an end")
