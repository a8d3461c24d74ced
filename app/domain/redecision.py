"""Which verdicts would another policy change, by the evidence that is stored?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.evidence import Abstention, Person
from app.domain.fusion import FEATURES, measured
from app.domain.policy import PointName, Policy
from app.domain.verdict import Label, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """What a verdict comes to, in short."""

    label: Label
    fake_probability: float | None
    policy: str
    operating_point: PointName | None

    @classmethod
    def of(cls, verdict: Verdict) -> "Ruled":
        """Shorten a verdict."""
        return cls(
            label=verdict.label,
            fake_probability=verdict.fake_probability,
            policy=verdict.policy,
            operating_point=verdict.operating_point,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Redecision:
    """A job whose label is another one."""

    job_id: str
    tenant: str
    ref_id: str | None
    before: Ruled
    after: Ruled
    why: str  # the first reason of the new verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Redecided:
    """What came of deciding anew; every succeeded job is counted in exactly one place."""

    policy: str
    changed: tuple[Redecision, ...]  # the oldest job first
    moved: int  # the same label by other numbers or words
    same: int  # word for word
    of_other_networks: int  # whose evidence is of networks that the policy was not made for
    overtaken: int  # that were removed, or decided by somebody else, meanwhile
    written: int  # verdicts that were replaced
    lacking: Mapping[str, int]  # feature with a say -> jobs whose persons were never asked for it

    @property
    def examined(self) -> int:
        """How many jobs there were."""
        return len(self.changed) + self.moved + self.same + self.of_other_networks + self.overtaken


def lacking(persons: Sequence[Person], policy: Policy) -> tuple[str, ...]:
    """
    Name the features with a say that no detector was asked for, for one of the persons at least.

    One that abstained was asked. One that found something before it gave this feature was not.
    """
    wanted = {t.feature for t in policy.fusion.terms if t.weight > 0}
    missed: set[str] = set()
    for person in persons:
        there = measured(person.evidence)
        silent = {e.detector for e in person.evidence if isinstance(e, Abstention)}
        missed |= {f for f in wanted if f not in there and FEATURES[f].detector not in silent}
    return tuple(sorted(missed))
