"""
How does a measurement lie among those of real clips?

`reference.json` beside this file has the median and the spread of every cue over real clips, one
value a clip. `deepverdict train reference` writes it from real data; nothing in it is a guess.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.domain.evidence import Cue, DetectorName

FILE = Path(__file__).with_name("reference.json")
MOST_Z = 8.0
"""Deviations are not told beyond: so far out a robust spread says nothing."""
LEAST_VALUE = 1e-9
"""What a logarithm is taken of is at least this."""


class Transform(StrEnum):
    """What a value goes through before its distance from the median is taken."""

    NONE = "none"
    LOG = "log"  # of values that are above 0 and spread by factors


class Suspicious(StrEnum):
    """Which values real clips hardly have."""

    HIGH = "high"
    LOW = "low"
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How one cue lies in real clips."""

    median: float  # of the transformed values
    deviation: float  # 1.4826 times the median absolute deviation of those; above 0
    transform: Transform
    clips: int
    groups: int  # of people

    def z(self, value: float, suspicious: Suspicious) -> float:
        """Return how many deviations a value is off, positive where that is suspicious."""
        off = (transformed(value, self.transform) - self.median) / self.deviation
        off = max(-MOST_Z, min(MOST_Z, off))
        match suspicious:
            case Suspicious.HIGH:
                return off
            case Suspicious.LOW:
                return -off
            case Suspicious.EITHER:
                return abs(off)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Real clips, as far as cues go."""

    version: str
    scales: Mapping[DetectorName, Scale]

    def cue(
        self, detector: DetectorName, value: float, unit: str, *, suspicious: Suspicious
    ) -> Cue:
        """Set a value beside those of real clips; without a z where those were never measured."""
        scale = self.scales.get(detector)
        if scale is None:
            return Cue(value=value, unit=unit, z=None)
        return Cue(
            value=value,
            unit=unit,
            z=scale.z(value, suspicious),
            reference=f"{self.version}: {scale.clips} real clips, {scale.groups} groups of people",
        )


NOTHING = Reference(version="none", scales={})
"""Before anything was measured."""


def transformed(value: float, transform: Transform) -> float:
    """Return what is compared of a value."""
    return math.log(max(value, LEAST_VALUE)) if transform is Transform.LOG else value


def read_reference(path: Path = FILE) -> Reference:
    """
    Read a reference file.

    Raises:
        ValueError: it has a cue that this program does not know, or a number that cannot be.
    """
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    scales = {
        DetectorName(name): Scale(
            median=float(scale["median"]),
            deviation=float(scale["deviation"]),
            transform=Transform(scale["transform"]),
            clips=int(scale["clips"]),
            groups=int(scale["groups"]),
        )
        for name, scale in body["cues"].items()
    }
    if bad := [name for name, scale in scales.items() if not scale.deviation > 0]:
        raise ValueError(f"{path}: want deviations above 0, not so of {bad}")
    return Reference(version=str(body["version"]), scales=scales)
