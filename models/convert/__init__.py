"""Which converters are there, from files as published to the ONNX that is served?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from app.errors import Misconfigured, ModelUnavailable


@dataclass(frozen=True, slots=True)
class Converter:
    """Where a converter is and how many originals it takes, in the order of the manifest."""

    module: str
    function: str
    originals: int


CONVERTERS: Mapping[str, Converter] = {
    "meso4": Converter("models.convert.mesonet", "convert_meso4", 1),
    "mesoinception4": Converter("models.convert.mesonet", "convert_mesoinception4", 1),
    "classnseg": Converter("models.convert.classnseg", "convert_classnseg", 2),
}


def convert(name: str, originals: Sequence[bytes]) -> bytes:
    """
    Turn originals, whose digests the caller has checked, into an ONNX file, byte for byte the same.

    Raises:
        Misconfigured: the packages that converting needs are not installed.
        ModelUnavailable: no such converter, or the originals are not what it knows.
    """
    if name not in CONVERTERS:
        raise ModelUnavailable(f"no converter {name!r}; there are {sorted(CONVERTERS)}")
    converter = CONVERTERS[name]
    if len(originals) != converter.originals:
        raise ModelUnavailable(
            f"{name}: want {converter.originals} originals, got {len(originals)}"
        )
    try:
        # By name and late: `onnx` and `h5py` are not there where models are only served.
        module = import_module(converter.module)
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"converting needs the package {error.name!r}: pip install 'deepverdict[convert]'"
        ) from error
    try:
        return cast("bytes", getattr(module, converter.function)(*originals))
    except (ValueError, KeyError, OSError) as error:
        raise ModelUnavailable(f"{name}: these are not the files it converts: {error}") from error
