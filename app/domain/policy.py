"""
By which rules is a verdict made? By those of a file that a fit wrote: reviewed, never a setting.

`app/policies/<version>.json` holds one version. `CURRENT` is the one in force; older ones stay, so
that what they decided can be decided again.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from app.domain.evidence import DetectorName
from app.domain.fusion import FEATURES, Fusion, Term
from app.domain.model_version import ModelVersion
from app.domain.words import Sentence

CLASSIFIER = "frame_classifier"
"""The network whose probabilities the lines are drawn through."""
NETWORKS: Mapping[str, DetectorName] = {
    CLASSIFIER: DetectorName.FRAME_CLASSIFIER,
    "fake_segmenter": DetectorName.PIXEL_SEGMENTER,
    "landmark_flow": DetectorName.LANDMARK_FLOW,
}
"""Which detector asks which network: what a fit is worth changes with it."""
PROMOTED = "+"
"""Between the version of a policy and the network whose lines it draws instead of its own."""
FOLDER = "policies"
CURRENT_VERSION = "2026-11-30.1"
ALONE_VERSION = "2026-11-21.2"
"""The classifier's calibrated probability and nothing else: what is left where a fit is void."""
TAIL = 0.025
"""What lies beyond either end of a 95 % interval."""
HALVINGS = 40
"""Of the interval in which a bound is looked for: finer than anything that is shown."""

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class PointName(StrEnum):
    """How many real clips may be called manipulated; wire spelling."""

    FPR_5 = "fpr_5"  # 5 in 100
    FPR_1 = "fpr_1"  # 1 in 100, as far as so few clips can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFigures:
    """Manipulated clips of one family at one operating point."""

    clips: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """
    Two lines through the probabilities, and what was counted there on held-out clips.

    Raises:
        ValueError: the lines are out of order, or more was counted than there was.
    """

    name: PointName
    manipulated_from: float  # least fake probability to say "manipulated"
    clear_below: float  # below it "no manipulation found"
    real_clips: int
    false_positives: int  # real clips at `manipulated_from` or above
    false_positives_at_most: float  # share of real clips, upper end of the 95 % interval
    fake_clips: int = 0  # 0: nobody counted, and the next two are 0
    found: int = 0  # manipulated clips at `manipulated_from` or above
    cleared_fakes: int = 0  # below `clear_below`
    by_family: Mapping[str, FamilyFigures] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.clear_below < self.manipulated_from <= 1:
            raise ValueError(
                f"{self.name}: want clear_below < manipulated_from, got {self.clear_below}, "
                f"{self.manipulated_from}"
            )
        if not 0 <= self.false_positives <= self.real_clips:
            raise ValueError(f"{self.name}: more false positives than real clips, or fewer than 0")
        if min(self.found, self.cleared_fakes) < 0 or (
            self.found + self.cleared_fakes > self.fake_clips
        ):
            raise ValueError(f"{self.name}: more manipulated clips found or cleared than there are")
        if not 0 <= self.false_positives_at_most <= 1:
            raise ValueError(f"{self.name}: want false_positives_at_most as a share")

    @property
    def caveat(self) -> Sentence:
        """What was counted, to be said with a verdict."""
        values: dict[str, str | int | float] = {
            "false_positives": self.false_positives,
            "real_clips": self.real_clips,
        }
        if not self.fake_clips:
            return Sentence(key="caveat.false_positives", values=values)
        values |= {
            "found": self.found,
            "fake_clips": self.fake_clips,
            "cleared_fakes": self.cleared_fakes,
        }
        return Sentence(key="caveat.errors", values=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CueFigures:
    """What one feature is worth, and whether it may decide."""

    feature: str  # a key of app.domain.fusion.FEATURES
    decides: bool  # else it is shown as information only
    auc: Estimate | None = None  # of the feature alone, by clip
    gain: Estimate | None = None  # in AUC, of the fit with it over the fit without it
    real_clips: int = 0
    fake_clips: int = 0
    abstained_real: int = 0  # of those
    abstained_fake: int = 0

    @property
    def detector(self) -> DetectorName:
        """Who measures it."""
        return FEATURES[self.feature].detector


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a policy was fitted on, so that it can be made again."""

    evidence_sha256: str  # of the file of evidence
    manifest_sha256: str  # of the list of clips
    code: str  # version of the program
    clips: int
    groups: int  # of people who never stand on two sides of a split
    networks: Mapping[str, str] = field(default_factory=dict)  # name -> version; empty: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The rules of one version. A change of any number is a new version.

    Raises:
        ValueError: two operating points have one name, none has the default's, or a detector is
            required that has no say.
    """

    version: str
    fusion: Fusion
    required: frozenset[DetectorName]  # without a finding of these there is no label
    min_frames: int  # fewest frames a person must be seen for
    disagreement: float  # log odds for a fake that one detector may add for a person called clear
    points: tuple[Point, ...]
    default_point: PointName
    cues: tuple[CueFigures, ...] = ()
    made: Made | None = None  # None where nothing was fitted but the classifier's calibration

    def __post_init__(self) -> None:
        names = [p.name for p in self.points]
        if len(set(names)) < len(names):
            raise ValueError(f"an operating point stands twice: {', '.join(names)}")
        if self.default_point not in names:
            raise ValueError(f"no operating point is called {self.default_point}, the default")
        if silent := sorted(d for d in self.required if not self.say(d) > 0):
            raise ValueError(f"required, and without a say: {', '.join(silent)}")

    def point(self, name: PointName | None = None) -> Point:
        """Return an operating point; the default one where that was not measured."""
        by_name = {p.name: p for p in self.points}
        return by_name.get(name or self.default_point, by_name[self.default_point])

    def say(self, detector: DetectorName) -> float:
        """Return the greatest weight among the detector's features; 0 = shown only."""
        weights = (t.weight for t in self.fusion.terms if FEATURES[t.feature].detector is detector)
        return max(weights, default=0.0)

    def holds_for(self, verdict_policy: str, versions: Mapping[str, str]) -> bool:
        """
        Whether evidence of these networks may be decided by this policy.

        Lines and weights hold for the networks that they were measured with. Where a file does
        not name those, it is for the ones that came along.

        Args:
            verdict_policy: what the evidence was decided by; one with a `+` is of a network that
                was promoted.
            versions: of the networks that gave the evidence, as far as it is known.
        """
        networks = {} if self.made is None else self.made.networks
        if not networks:
            return PROMOTED not in verdict_policy
        return all(versions.get(name, version) == version for name, version in networks.items())

    def caveat(self, name: PointName | None = None) -> tuple[Sentence, ...]:
        """What is to be said with every verdict: what was counted, and what is not covered."""
        return self.point(name).caveat, COVERAGE


COVERAGE = Sentence(key="caveat.coverage")


def policy_for(promoted: Sequence[ModelVersion]) -> Policy:
    """
    Return the rules for verdicts made with these versions in place of those that came along.

    A fit holds for the networks that it was fitted on. Another classifier brings lines of its own,
    and its calibrated probability decides alone; with another network that has a say, the one that
    came along decides alone. The policy's name says whose lines they are.

    Raises:
        ValueError: the classifier among them was not calibrated; nobody knows its lines.
    """
    classifier = next((m for m in promoted if m.name == CLASSIFIER), None)
    if classifier is None:
        strangers = {NETWORKS[m.name] for m in promoted if m.name in NETWORKS}
        return ALONE if any(CURRENT.say(d) > 0 for d in strangers) else CURRENT
    measured = classifier.operating_point
    if measured is None:
        raise ValueError(f"{classifier.versioned_name} has no calibration to draw lines by")
    return replace(
        ALONE,
        version=f"{CURRENT.version}{PROMOTED}{classifier.versioned_name}",
        points=(
            Point(
                name=PointName.FPR_5,
                manipulated_from=measured.manipulated_from,
                clear_below=measured.clear_below,
                real_clips=measured.real_clips,
                false_positives=measured.false_positives,
                false_positives_at_most=upper_bound(measured.false_positives, measured.real_clips),
            ),
        ),
        default_point=PointName.FPR_5,
        cues=(),
    )


def upper_bound(count: int, of: int) -> float:
    """
    Return the upper end of the exact 95 % interval of a share (Clopper and Pearson, 1934).

    It is the share at which so few as `count` are seen 2.5 times in 100.
    """
    if count >= of:
        return 1.0
    ways = [
        math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1) for k in range(count + 1)
    ]
    low, high = count / of, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        chance = sum(
            math.exp(w + k * math.log(middle) + (of - k) * math.log1p(-middle))
            for k, w in enumerate(ways)
        )
        low, high = (middle, high) if chance > TAIL else (low, middle)
    return high


def versions() -> tuple[str, ...]:
    """Name the policies that come with the program, in the order of their names."""
    found = (f.name for f in files("app").joinpath(FOLDER).iterdir())
    return tuple(sorted(n.removesuffix(".json") for n in found if n.endswith(".json")))


@cache
def shipped(version: str) -> Policy:
    """
    Return a policy that comes with the program.

    Raises:
        ValueError: there is none of this version.
    """
    if version not in versions():
        raise ValueError(f"no policy {version!r}; want one of {', '.join(versions())}")
    text = files("app").joinpath(FOLDER, f"{version}.json").read_text(encoding="utf-8")
    policy = policy_from_json(text)
    if policy.version != version:
        raise ValueError(f"{version}.json says that it is {policy.version!r}")
    return policy


def read_policy(path: Path) -> Policy:
    """
    Read a policy file.

    Raises:
        ValueError: it is none; the message says where and why.
        OSError: it cannot be read.
    """
    try:
        return policy_from_json(path.read_text(encoding="utf-8"))
    except ValueError as why:  # text that is none is one, too
        raise ValueError(f"{path}: {why}") from why


def policy_to_json(policy: Policy) -> str:
    """Write a policy as its file holds it: the same policy, the same bytes."""
    made = policy.made
    body = {
        "version": policy.version,
        "made": None
        if made is None
        else {
            "evidence_sha256": made.evidence_sha256,
            "manifest_sha256": made.manifest_sha256,
            "code": made.code,
            "clips": made.clips,
            "groups": made.groups,
            "networks": dict(made.networks),
        },
        "fusion": {
            "intercept": policy.fusion.intercept,
            "terms": [
                {
                    "feature": t.feature,
                    "weight": t.weight,
                    "mean": t.mean,
                    "deviation": t.deviation,
                    "missing": t.missing,
                }
                for t in policy.fusion.terms
            ],
            "covariance": [list(row) for row in policy.fusion.covariance],
        },
        "required": sorted(d.value for d in policy.required),
        "min_frames": policy.min_frames,
        "disagreement": policy.disagreement,
        "default_point": policy.default_point.value,
        "operating_points": [_point_to_json(p) for p in policy.points],
        "cues": [_cue_to_json(c) for c in policy.cues],
    }
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _point_to_json(point: Point) -> dict[str, object]:
    return {
        "name": point.name.value,
        "manipulated_from": point.manipulated_from,
        "clear_below": point.clear_below,
        "real_clips": point.real_clips,
        "false_positives": point.false_positives,
        "false_positives_at_most": point.false_positives_at_most,
        "fake_clips": point.fake_clips,
        "found": point.found,
        "cleared_fakes": point.cleared_fakes,
        "by_family": {
            name: {"clips": f.clips, "found": f.found} for name, f in point.by_family.items()
        },
    }


def _cue_to_json(cue: CueFigures) -> dict[str, object]:
    return {
        "feature": cue.feature,
        "decides": cue.decides,
        "auc": _estimate_to_json(cue.auc),
        "gain": _estimate_to_json(cue.gain),
        "real_clips": cue.real_clips,
        "fake_clips": cue.fake_clips,
        "abstained_real": cue.abstained_real,
        "abstained_fake": cue.abstained_fake,
    }


def _estimate_to_json(estimate: Estimate | None) -> dict[str, float] | None:
    if estimate is None:
        return None
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def policy_from_json(text: str) -> Policy:
    """
    Read a policy from the text of its file.

    Raises:
        ValueError: it is not JSON, lacks something, has something unknown, or has a value that
            cannot be; the message says where.
    """
    try:
        body = _Part(json.loads(text, parse_constant=_refuse), "")
    except json.JSONDecodeError as why:
        raise ValueError(f"not JSON: {why}") from why
    fusion = body.part("fusion")
    policy = Policy(
        version=body.text("version"),
        made=_optional(body, "made", _made_from_json),
        fusion=Fusion(
            intercept=fusion.number("intercept"),
            terms=tuple(_term_from_json(t) for t in fusion.parts("terms")),
            covariance=fusion.matrix("covariance"),
        ),
        required=frozenset(body.choices("required", DetectorName)),
        min_frames=body.count("min_frames"),
        disagreement=body.number("disagreement"),
        default_point=body.choice("default_point", PointName),
        points=tuple(_point_from_json(p) for p in body.parts("operating_points")),
        cues=tuple(_cue_from_json(c) for c in body.parts("cues")),
    )
    fusion.end()
    body.end()
    return policy


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _made_from_json(part: "_Part") -> Made:
    networks = part.part("networks")
    made = Made(
        evidence_sha256=part.text("evidence_sha256"),
        manifest_sha256=part.text("manifest_sha256"),
        code=part.text("code"),
        clips=part.count("clips"),
        groups=part.count("groups"),
        networks={name: networks.text(name) for name in networks},
    )
    part.end()
    return made


def _term_from_json(part: "_Part") -> Term:
    term = Term(
        feature=part.text("feature"),
        weight=part.number("weight"),
        mean=part.number("mean"),
        deviation=part.number("deviation"),
        missing=part.number("missing"),
    )
    part.end()
    return term


def _point_from_json(part: "_Part") -> Point:
    families = part.part("by_family")
    point = Point(
        name=part.choice("name", PointName),
        manipulated_from=part.number("manipulated_from"),
        clear_below=part.number("clear_below"),
        real_clips=part.count("real_clips"),
        false_positives=part.count("false_positives"),
        false_positives_at_most=part.number("false_positives_at_most"),
        fake_clips=part.count("fake_clips"),
        found=part.count("found"),
        cleared_fakes=part.count("cleared_fakes"),
        by_family={
            name: FamilyFigures(clips=f.count("clips"), found=f.count("found"))
            for name in families
            for f in [families.part(name)]
        },
    )
    part.end()
    return point


def _cue_from_json(part: "_Part") -> CueFigures:
    cue = CueFigures(
        feature=part.choice_of("feature", FEATURES),
        decides=part.truth("decides"),
        auc=_optional(part, "auc", _estimate_from_json),
        gain=_optional(part, "gain", _estimate_from_json),
        real_clips=part.count("real_clips"),
        fake_clips=part.count("fake_clips"),
        abstained_real=part.count("abstained_real"),
        abstained_fake=part.count("abstained_fake"),
    )
    part.end()
    return cue


def _estimate_from_json(part: "_Part") -> Estimate:
    estimate = Estimate(
        value=part.number("value"), low=part.number("low"), high=part.number("high")
    )
    part.end()
    return estimate


def _optional(part: "_Part", name: str, read: Callable[["_Part"], T]) -> T | None:
    return None if part.is_null(name) else read(part.part(name))


class _Part:
    """An object of a JSON document that is read field by field, and says where it is wrong."""

    def __init__(self, body: object, where: str) -> None:
        self._where = where
        if not isinstance(body, dict):
            raise self._wrong("an object", body)
        self._body: dict[str, object] = body
        self._read: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return iter(self._body)

    def is_null(self, name: str) -> bool:
        """Whether a field is there and says nothing."""
        return self._take(name) is None

    def part(self, name: str) -> "_Part":
        """Read an object."""
        return _Part(self._take(name), self._at(name))

    def parts(self, name: str) -> list["_Part"]:
        """Read a list of objects."""
        return [_Part(b, f"{self._at(name)}[{i}]") for i, b in enumerate(self._items(name))]

    def text(self, name: str) -> str:
        """Read a text that is not empty."""
        found = self._take(name)
        if not isinstance(found, str) or not found:
            raise self._wrong("a text", found, name)
        return found

    def number(self, name: str) -> float:
        """Read a finite number."""
        return self._number(self._take(name), name)

    def count(self, name: str) -> int:
        """Read a whole number, 0 or more."""
        found = self._take(name)
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise self._wrong("a whole number of 0 or more", found, name)
        return found

    def truth(self, name: str) -> bool:
        """Read a truth."""
        found = self._take(name)
        if not isinstance(found, bool):
            raise self._wrong("true or false", found, name)
        return found

    def matrix(self, name: str) -> tuple[tuple[float, ...], ...]:
        """Read a list of lists of numbers."""
        rows = self._items(name)
        if not all(isinstance(row, list) for row in rows):
            raise self._wrong("a list of lists of numbers", rows, name)
        return tuple(
            tuple(self._number(c, name) for c in row) for row in rows if isinstance(row, list)
        )

    def choice(self, name: str, of: type[E]) -> E:
        """Read a value of an enumeration."""
        return of(self.choice_of(name, [e.value for e in of]))

    def choices(self, name: str, of: type[E]) -> list[E]:
        """Read a list of values of an enumeration."""
        allowed = [e.value for e in of]
        found = self._items(name)
        if bad := [f for f in found if f not in allowed]:
            raise self._wrong(f"some of {', '.join(allowed)}", bad[0], name)
        return [of(str(f)) for f in found]

    def choice_of(self, name: str, allowed: Collection[str]) -> str:
        """Read one of several texts."""
        found = self.text(name)
        if found not in allowed:
            raise self._wrong(f"one of {', '.join(allowed)}", found, name)
        return found

    def end(self) -> None:
        """Refuse what nobody read: a key that is misspelt must not pass in silence."""
        if unknown := sorted(self._body.keys() - self._read):
            raise ValueError(f"unknown: {', '.join(self._at(u) for u in unknown)}")

    def _items(self, name: str) -> list[object]:
        found = self._take(name)
        if not isinstance(found, list):
            raise self._wrong("a list", found, name)
        return found

    def _number(self, found: object, name: str) -> float:
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        if not is_number or not math.isfinite(found):  # type: ignore[arg-type]
            raise self._wrong("a number", found, name)
        return float(found)  # type: ignore[arg-type]

    def _take(self, name: str) -> object:
        if name not in self._body:
            raise ValueError(f"{self._at(name)}: missing")
        self._read.add(name)
        return self._body[name]

    def _at(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name

    def _wrong(self, wanted: str, found: object, name: str = "") -> ValueError:
        where = self._at(name) if name else (self._where or "the file")
        return ValueError(f"{where}: want {wanted}, found {found!r:.60}")


CURRENT = shipped(CURRENT_VERSION)
ALONE = shipped(ALONE_VERSION)
