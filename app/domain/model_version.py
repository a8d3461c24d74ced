"""
Which networks judge: those that came with the program, or versions that were promoted since?

A promoted version takes the place of the network of its name that came along. A verdict names the
versions it was made with, and is made by the lines that were measured for its classifier.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Where a calibrated network's lines are drawn, and what was counted there."""

    manipulated_from: float  # least fake probability to say "manipulated"
    clear_below: float  # greatest to say "no manipulation found"
    false_positives: int  # real clips at `manipulated_from` or above
    real_clips: int  # that were counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A network that was promoted: what it takes to load it, and to judge by it."""

    name: str  # of the network that it takes the place of
    version: str
    sha256: str
    entry: str  # JSON of its entry, as a manifest has it; read where networks are loaded
    operating_point: OperatingPoint | None  # None where it was not calibrated

    @property
    def versioned_name(self) -> str:
        """How findings name it: `name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was measured of a candidate before anybody used it, and what came of that."""

    is_promotion: bool
    reasons: tuple[str, ...]
    table: str  # JSON of the whole decision with its metrics, kept as it was written


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """Somebody made a version current. Changes are added to, and never taken back."""

    name: str
    version: str | None  # None: the network that comes with the program
    at: datetime
    actor: str  # who did it, in their own words
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion:
    """A version that was promoted once, as a list shows it."""

    model: ModelVersion
    decision: Decision
    is_current: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInUse:
    """A network that workers judge with just now."""

    name: str
    version: str
    sha256: str
    workers: int  # alive, that have loaded these bytes
    is_wanted: bool  # whether it is the version that was last made current
