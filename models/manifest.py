"""What does `manifest.toml` say of each network: its origin, its terms, its use?"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A plain name, so that no entry can point outside of the folder it is looked for in."""
Size = Annotated[int, Field(gt=0, le=512 * 1024**2)]


class Part(BaseModel):
    """A table of the manifest; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Licence(Part):
    """Under which terms the weights are given away. They hold for whoever runs them."""

    name: str
    commercial_use: bool  # by the licence of the weights; see also `training_data`
    words: str


class Original(Part):
    """A file as its authors publish it."""

    url: Annotated[str, Field(pattern=r"^https://")]
    archive_member: FileName | None = None  # base name, where the URL is a zip around the file
    archive_bytes: Size | None = None  # most that such a zip may have
    mirror: FileName  # what it is called in a mirror directory
    sha256: Sha256
    size_bytes: Size


class Expected(Part):
    """What one output must be on the canary input."""

    output: str
    shape: tuple[int, ...]
    mean: float
    deviation: float  # standard deviation over all elements


class Canary(Part):
    """An input that can be made anywhere from these few numbers, and what must come out."""

    input: str
    shape: tuple[Annotated[int, Field(gt=0)], ...]
    dtype: Literal["uint8", "float32"]
    divide_by: Annotated[float, Field(gt=0)] = 1.0
    steps: tuple[int, ...]  # see models.canary
    tolerance: Annotated[float, Field(gt=0)]  # absolute, of mean and deviation
    expected: Annotated[tuple[Expected, ...], Field(min_length=1)]


class ManifestEntry(Part):
    """One network."""

    name: str
    version: str
    file: FileName  # as served
    sha256: Sha256  # of the file as served
    size_bytes: Size
    what: str
    input: str
    output: str
    trained_on: str  # the data, and its terms, in words
    caveat: str | None = None  # what must be said wherever its opinion is shown
    is_calibrated: bool  # whether its probabilities were fitted on held-out clips
    is_pulled_by_default: bool = True
    converter: str | None = None  # a name in models.convert.CONVERTERS; None: served as published
    originals: Annotated[tuple[Original, ...], Field(min_length=1)]
    licence: Licence
    canary: Canary

    @property
    def versioned_name(self) -> str:
        """How findings name it: `name@version`."""
        return f"{self.name}@{self.version}"


class _Document(Part):
    models: dict[str, ManifestEntry]


def parse_manifest(toml: str) -> Mapping[str, ManifestEntry]:
    """Read entries by name; raises pydantic's ValidationError where a key is missing or unknown."""
    raw = tomllib.loads(toml)
    for name, entry in raw.get("models", {}).items():
        entry["name"] = name
    return _Document.model_validate(raw).models


@cache
def shipped_manifest() -> Mapping[str, ManifestEntry]:
    """Read the manifest that came with this program."""
    return parse_manifest((files("models") / "manifest.toml").read_text(encoding="utf-8"))
