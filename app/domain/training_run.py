"""What is a training run, and what is known of it while it goes on?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.job import JobError, JobState

Value = str | int | float | bool | tuple["Value", ...]
"""What a place of a recipe may be set to."""

NAME = r"[A-Za-z0-9][A-Za-z0-9_. -]{0,127}"
"""What data and recipes are called: never a path, and never one that leads up."""
RUN_ID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
"""A ULID as we spell it; among names of data, what that run made."""


class TrainingKind(StrEnum):
    """What is to be made. Wire and database spelling."""

    FORGER = "forger"  # an autoencoder GAN that swaps the faces of two persons
    GENERATE = "generate"  # marked fakes, with exact masks, by forgers that were trained
    CLASSIFIER = "classifier"
    SEGMENTER = "segmenter"
    LOOP = "loop"  # all of these, and a candidate that is promoted only if it is better


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What data are for."""

    name: str
    place: str = ""  # of the recipe that their path is put into; "" where it goes elsewhere
    is_needed: bool = True
    is_many: bool = False
    is_run: bool = False  # whether they may be named by the id of a run that made a forger
    default: str = ""  # the folder of the run's own that is taken where nothing is named


_MANIFEST = Role(name="manifest", place="data.manifest")
_BANK = Role(name="bank", place="data.bank", is_needed=False, default="bank")
_GENERATED = Role(name="generated", place="data.generated", is_needed=False)

ROLES: Mapping[TrainingKind, tuple[Role, ...]] = {
    TrainingKind.FORGER: (
        Role(name="a", is_many=True),
        Role(name="b", is_many=True),
        Role(name="initial", place="network.initial", is_needed=False, is_run=True),
    ),
    TrainingKind.GENERATE: (
        Role(name="forgers", is_many=True, is_run=True),
        Role(name="manifest"),
    ),
    TrainingKind.CLASSIFIER: (_MANIFEST, _BANK, _GENERATED),
    TrainingKind.SEGMENTER: (_MANIFEST, _BANK, _GENERATED),
    TrainingKind.LOOP: (replace(_MANIFEST, is_needed=False), replace(_BANK, default="")),
}
"""Which data each kind of run takes."""
DEFAULT_RECIPES: Mapping[TrainingKind, str] = {
    TrainingKind.FORGER: "forger",
    TrainingKind.GENERATE: "loop",  # its section [generate]
    TrainingKind.CLASSIFIER: "classifier",
    TrainingKind.SEGMENTER: "segmenter",
    TrainingKind.LOOP: "loop",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What somebody asked for."""

    kind: TrainingKind
    recipe: str  # the name of one that came with the program; NAME.toml is one among the data
    overrides: Mapping[str, Value]  # by "section.key"
    data: Mapping[str, tuple[str, ...]]  # names under the directory of data, by what they are for


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCheckpoint:
    """Something that a run can go on from."""

    series: str
    step: int
    size_bytes: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """How far a run is."""

    stage: str  # in the words of the training itself
    step: int
    steps: int | None  # of this stage; None before it is known
    losses: Mapping[str, float]  # the newest
    seconds: float  # spent by trainers, over all attempts
    checkpoints: tuple[TrainingCheckpoint, ...]  # the latest of each network, newest last


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """Means over the last few steps, as the training wrote them."""

    series: str  # which of a run's trainings; "" where there is one
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """A preview without its bytes."""

    series: str
    step: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A preview of what a network makes."""

    series: str
    step: int
    sha256: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingNews:
    """What a trainer saw in a run's folder since it looked last."""

    progress: TrainingProgress
    metrics: tuple[MetricRow, ...] = ()  # in each series, in place of all from its first step on
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One training, as its tenant sees it."""

    id: str
    tenant: str
    name: str | None
    plan: TrainingPlan
    state: JobState
    progress: TrainingProgress
    version: int  # grows with every change; the ETag
    attempt: int  # since the last checkpoint that one of them wrote
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    error: JobError | None  # of the last attempt that came to nothing
    result: Mapping[str, object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRunReport:
    """A run, and which previews there are of it."""

    run: TrainingRun
    pictures: tuple[PictureFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRunPage:
    """Some of a tenant's runs, newest first."""

    items: tuple[TrainingRun, ...]
    next_cursor: str | None  # asks for the page after this one; None where there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClaim:
    """A trainer's right to write to a run: void once `lease_token` has moved on."""

    run_id: str
    tenant: str
    lease_token: int
    attempt: int
    plan: TrainingPlan
    progress: TrainingProgress  # when it was taken

    @property
    def row_id(self) -> str:
        """What is leased; see `app.services.leasing`."""
        return self.run_id
