"""What does `manifest.toml` say of each network: its origin, its terms, its use?"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class Training(Part):
    """From what this program's own training made a network, so that it can be made again."""

    recipe: FileName  # in workers/training/recipes, less its ending
    recipe_sha256: Sha256  # of the recipe as it was resolved, in the run's folder
    code: str  # version of this program
    data_manifest_sha256: Sha256
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    seconds: Annotated[float, Field(gt=0)]
    machine: str
    card: Annotated[str, Field(pattern=r"^docs/models/[a-z_]+\.md$")]


class Calibration(Part):
    """
    How log odds become probabilities, and where the policy draws its lines.

    Fitted on clips of people whom the network never saw.
    """

    slope: Annotated[float, Field(gt=0)]  # of the log odds
    intercept: float
    clips: Annotated[int, Field(gt=0)]  # that slope and intercept were fitted on
    groups: Annotated[int, Field(gt=0)]  # of people, which those are from
    manipulated_from: Annotated[float, Field(gt=0, lt=1)]  # the operating point
    clear_below: Annotated[float, Field(gt=0, lt=1)]
    false_positives: Annotated[int, Field(ge=0)]  # real clips at the operating point or above
    real_clips: Annotated[int, Field(gt=0)]  # that were counted for it
    ece: Annotated[float, Field(ge=0, le=1)]  # expected calibration error
    words: str  # what the figures rest on

    @property
    def operating_point(self) -> str:
        """From where clips are called manipulated, and how many real ones that took along."""
        return (
            f">= {self.manipulated_from:g}: {self.false_positives} of {self.real_clips} real clips"
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.clear_below < self.manipulated_from:
            raise ValueError(
                f"want clear_below < manipulated_from, got {self.clear_below}, "
                f"{self.manipulated_from}"
            )
        if self.false_positives > self.real_clips:
            raise ValueError(f"{self.false_positives} false positives of {self.real_clips} clips")
        return self


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
    """
    One network: either trained here and shipped, or a third party's and fetched on demand.

    Raises:
        ValidationError: it says neither how it was trained nor where it is published, or both.
    """

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
    converter: str | None = None  # a name in models.convert.CONVERTERS; None: served as published
    originals: tuple[Original, ...] = ()  # of a third party's
    training: Training | None = None  # of one of our own
    calibration: Calibration | None = None
    licence: Licence
    canary: Canary

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.originals) == (self.training is not None):
            raise ValueError("want either originals or training")
        return self

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with this program; all others are fetched when somebody asks."""
        return self.training is not None

    @property
    def is_calibrated(self) -> bool:
        """Whether its probabilities were fitted on held-out clips."""
        return self.calibration is not None

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
