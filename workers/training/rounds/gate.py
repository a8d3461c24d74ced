"""
May a candidate take the place of the networks in use? Only on proof, and on no figure's word alone.

The primary measure must be better with the whole of its interval on the better side of zero, and no
guarded one may be worse by more than its margin. What cannot be told rejects: a measure that is
missing, that is not a number, or that both networks share. Pure: figures in, a decision out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workers.training.evaluate.metrics import Estimate

Better = Literal["higher", "lower"]
Role = Literal["primary", "guard", "shown"]

LEAST_GROUPS = 3
"""Draws of one group are all alike: its interval has no width. Of three, the ends of the interval
are those of the one in which the candidate fares worst, and best."""
NOT_A_NUMBER = float("nan")
UNKNOWN = Estimate(NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure of both, on the same clips."""

    name: str
    role: Role
    better: Better
    current: float
    candidate: float
    difference: Estimate  # candidate less current, paired; its interval is by group
    groups: int  # of people, behind it
    margin: float = 0.0  # of a guard: by how much it may be worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A measure, what was asked of it, and whether it holds."""

    measure: Measure
    bound: str  # in words; "" where it is only shown
    passed: bool | None  # None where it is only shown
    reason: str  # in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether the candidate is promoted, and all that was weighed."""

    promoted: bool
    rows: tuple[Judged, ...]
    reasons: tuple[str, ...]  # why not, or what proves it


def decide(
    measures: Sequence[Measure],
    *,
    wanted: Sequence[str] = (),
    faults: Sequence[str] = (),
    least_groups: int = LEAST_GROUPS,
    is_strict: bool = False,
) -> Decision:
    """
    Judge every measure, and the candidate by all of them.

    Args:
        measures: of which exactly one is primary.
        wanted: names that must be among them; one that is missing rejects.
        faults: whatever else speaks against the candidate, in words; any rejects.
        least_groups: of people, behind the primary measure.
        is_strict: a guard's interval, and not its value alone, must lie within the margin.

    Raises:
        ValueError: two measures have one name, or there is not one primary.
    """
    names = [measure.name for measure in measures]
    if len(set(names)) != len(names):
        raise ValueError(f"want each measure once, got {names}")
    if sum(measure.role == "primary" for measure in measures) != 1:
        raise ValueError(f"want one primary measure among {names}")
    rows = tuple(
        _judged(measure, least_groups=least_groups, is_strict=is_strict) for measure in measures
    )
    missing = [f"{name}: was not measured" for name in wanted if name not in names]
    against = [*(row.reason for row in rows if row.passed is False), *missing, *faults]
    proof = [row.reason for row in rows if row.measure.role == "primary"]
    return Decision(promoted=not against, rows=rows, reasons=tuple(against or proof))


def _judged(measure: Measure, *, least_groups: int, is_strict: bool) -> Judged:
    if measure.role == "shown":
        return Judged(measure=measure, bound="", passed=None, reason="")
    bound = _bound(measure, is_strict=is_strict)
    of_both = (measure.current, measure.candidate, measure.difference.value)
    if not all(map(math.isfinite, (*of_both, measure.difference.low, measure.difference.high))):
        reason = f"{measure.name}: cannot be told, since a figure of it is not a number"
        return Judged(measure=measure, bound=bound, passed=False, reason=reason)
    gain, least, _ = _gains(measure)
    if measure.role == "primary" and measure.groups < least_groups:
        reason = (
            f"{measure.name}: rests on {measure.groups} groups of people, and an interval over "
            f"fewer than {least_groups} says nothing"
        )
        return Judged(measure=measure, bound=bound, passed=False, reason=reason)
    if measure.role == "primary":
        passed = least > 0
        reason = (
            f"{measure.name}: {_spelt(measure)}, "
            + ("better beyond chance" if passed else "not better beyond chance")
        )  # fmt: skip
        return Judged(measure=measure, bound=bound, passed=passed, reason=reason)
    counted = least if is_strict else gain
    # Counts of clips make differences such as 0.05 that binary fractions miss by a hair.
    passed = counted >= -measure.margin - _HAIR
    reason = (
        f"{measure.name}: {_spelt(measure)}, "
        + ("no worse than" if passed else "worse than")
        + f" the {measure.margin:g} that is allowed"
    )  # fmt: skip
    return Judged(measure=measure, bound=bound, passed=passed, reason=reason)


_HAIR = 1e-9


def _gains(measure: Measure) -> tuple[float, float, float]:
    """Return difference, least and most as what the candidate gains."""
    d = measure.difference
    return (d.value, d.low, d.high) if measure.better == "higher" else (-d.value, -d.high, -d.low)


def _bound(measure: Measure, *, is_strict: bool) -> str:
    is_higher = measure.better == "higher"
    if measure.role == "primary":
        return f"interval {'above' if is_higher else 'below'} 0"
    what = "interval" if is_strict else "difference"
    return f"{what} {'>= -' if is_higher else '<= '}{measure.margin:g}"


def _spelt(measure: Measure) -> str:
    d = measure.difference
    return (
        f"{measure.current:.3f} to {measure.candidate:.3f}, {d.value:+.3f} "
        f"({d.low:+.3f} to {d.high:+.3f})"
    )
