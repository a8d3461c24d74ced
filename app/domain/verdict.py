"""What may be said of the video? A pure rule over stored evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp
from statistics import fmean

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding, Person
from app.domain.fusion import FEATURES, Fused, Interval, logit, measured, probability
from app.domain.media import VideoFacts
from app.domain.policy import Point, PointName, Policy
from app.domain.words import Language, Sentence, say


class Label(StrEnum):
    """The product never says "authentic"."""

    MANIPULATED = "manipulated"
    NO_MANIPULATION_FOUND = "no_manipulation_found"
    INCONCLUSIVE = "inconclusive"


class Inconclusive(StrEnum):
    """Why no label could be given. Each is explained in docs/api.md."""

    NO_FACE = "no_face"
    MODEL_MISSING = "model_missing"
    FACES_TOO_SMALL = "faces_too_small"
    TOO_FEW_FRAMES = "too_few_frames"
    TOO_BLURRED = "too_blurred"
    TOO_COMPRESSED = "too_compressed"
    TRUNCATED = "truncated"
    DETECTORS_DISAGREE = "detectors_disagree"
    BETWEEN_THRESHOLDS = "between_thresholds"
    NOT_CALIBRATED = "not_calibrated"
    TOO_LITTLE_EVIDENCE = "too_little_evidence"


class Part(StrEnum):
    """Which part of a verdict a sentence belongs to."""

    STATEMENT = "statement"
    CAVEAT = "caveat"
    REASON = "reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sentence of a verdict before it is said in a language."""

    part: Part
    sentence: Sentence
    code: Inconclusive | None = None  # of a reason why there is no label

    def text(self, language: Language) -> str:
        """Say it; a code stays as it is in every language."""
        words = say(self.sentence, language)
        return words if self.code is None else f"{self.code}: {words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A label with the words and numbers it rests on."""

    label: Label
    fake_probability: float | None  # of the most suspect person; None where nobody had a finding
    reasons: tuple[str, ...]  # in English: "person p1: 0.94", or "no_face: ..." where inconclusive
    statement: str  # a sentence an editor may quote, in English
    caveat: str  # in English
    policy: str
    by_person: Mapping[str, float | None]
    interval: Interval | None = None  # of `fake_probability`; None where it is not known
    intervals_by_person: Mapping[str, Interval] = field(default_factory=dict)  # of those known
    operating_point: PointName | None = None  # None in old verdicts
    said: tuple[Said, ...] = ()  # the same in any language; empty in old verdicts


def statement_in(verdict: Verdict, language: Language) -> str:
    """Say what an editor may quote; of old verdicts in English whatever the language."""
    return _joined(verdict.said, Part.STATEMENT, language) or verdict.statement


def caveat_in(verdict: Verdict, language: Language) -> str:
    """Say what belongs to the statement; of old verdicts in English whatever the language."""
    return _joined(verdict.said, Part.CAVEAT, language) if verdict.said else verdict.caveat


def reasons_in(verdict: Verdict, language: Language) -> tuple[str, ...]:
    """Say what the label rests on; of old verdicts in English whatever the language."""
    if not verdict.said:
        return verdict.reasons
    return tuple(s.text(language) for s in verdict.said if s.part is Part.REASON)


def _joined(said: Sequence[Said], part: Part, language: Language) -> str:
    return " ".join(s.text(language) for s in said if s.part is part)


BLOCKED_BY: Mapping[AbstainReason, Inconclusive] = {
    AbstainReason.MODEL_MISSING: Inconclusive.MODEL_MISSING,
    AbstainReason.NO_FACE: Inconclusive.NO_FACE,
    AbstainReason.NOT_SURELY_A_FACE: Inconclusive.NO_FACE,
    AbstainReason.FACE_TOO_SMALL: Inconclusive.FACES_TOO_SMALL,
    AbstainReason.TOO_FEW_FRAMES: Inconclusive.TOO_FEW_FRAMES,
    AbstainReason.TRACK_TOO_SHORT: Inconclusive.TOO_FEW_FRAMES,
    AbstainReason.TOO_BLURRED: Inconclusive.TOO_BLURRED,
    AbstainReason.TOO_COMPRESSED: Inconclusive.TOO_COMPRESSED,
}
"""Why a person is not judged, by the reason of a required detector; else too little evidence."""

PASSERS_BY = frozenset(
    {
        Inconclusive.NO_FACE,
        Inconclusive.FACES_TOO_SMALL,
        Inconclusive.TOO_FEW_FRAMES,
        Inconclusive.TOO_BLURRED,
    }
)
"""Who is not judged for these is named in the caveat, and does not hold up the others' label."""


TO = "\N{EN DASH}"
"""Between two times, in every language."""


def decide(
    persons: Sequence[Person],
    video: VideoFacts,
    abstentions: Sequence[Abstention],
    policy: Policy,
    operating_point: PointName | None = None,
) -> Verdict:
    """
    Say what the evidence allows, by the rules of `policy`.

    The video is as suspect as its most suspect person; whoever passes by counts for that only
    where there is nobody else, and detectors without a say only where nobody was examined by one
    that has. One manipulated person is enough for
    `manipulated`; everyone who can be judged must be clear for `no_manipulation_found`; all
    else is `inconclusive`, with the reasons in words.

    Args:
        operating_point: by whose lines. The policy's own where None, or where it was not measured
            for this policy; the verdict says which it was, and its caveat that it is another one.
    """
    point = policy.point(operating_point)
    rulings = [_rule(person, policy) for person in persons]
    manipulated = [
        r for r in rulings if r.blocked is None and r.probability >= point.manipulated_from
    ]
    judged = [r for r in rulings if r.blocked is None]
    obstacles = _obstacles(rulings, video, abstentions, policy, point)

    if manipulated:
        label = Label.MANIPULATED
        reasons = [_suspicion(r) for r in manipulated]
        statement = _accusation([r.person for r in manipulated])
    elif obstacles:
        label = Label.INCONCLUSIVE
        reasons = obstacles
        statement = [Sentence(key=f"no_verdict.{obstacles[0].code}")]
    else:
        label = Label.NO_MANIPULATION_FOUND
        reasons = [_suspicion(r) for r in judged]
        statement = [
            Sentence(key="verdict.nothing_found", values={"count": len(judged)}),
            Sentence(key="verdict.no_proof"),
        ]
    said = (
        *(Said(part=Part.STATEMENT, sentence=s) for s in statement),
        *(
            Said(part=Part.CAVEAT, sentence=s)
            for s in _caveat(rulings, video, policy, point, operating_point)
        ),
        *reasons,
    )
    worst = _most_suspect(rulings)
    return Verdict(
        label=label,
        fake_probability=None if worst is None else worst.fake_probability,
        reasons=tuple(s.text(Language.ENGLISH) for s in reasons),
        statement=_joined(said, Part.STATEMENT, Language.ENGLISH),
        caveat=_joined(said, Part.CAVEAT, Language.ENGLISH),
        policy=policy.version,
        by_person={r.person.id: r.fake_probability for r in rulings},
        interval=None if worst is None else worst.interval,
        intervals_by_person={r.person.id: r.interval for r in rulings if r.interval},
        operating_point=point.name,
        said=said,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ruling:
    """What the policy makes of one person."""

    person: Person
    fake_probability: float | None
    interval: Interval | None
    fused: Fused | None  # None where no detector with a say found anything
    blocked: Inconclusive | None  # why the person can be given no label
    why_blocked: Sentence | None
    is_calibrated: bool  # whether those that are required were

    @property
    def probability(self) -> float:
        """The probability of a person who is not blocked, and so has one."""
        assert self.fake_probability is not None
        return self.fake_probability

    @property
    def has_a_say(self) -> bool:
        """Whether the probability comes from detectors with a say."""
        return self.fused is not None


def _rule(person: Person, policy: Policy) -> _Ruling:
    features = measured(person.evidence)
    has_a_say = any(t.weight > 0 and t.feature in features for t in policy.fusion.terms)
    fused = policy.fusion.fuse(features) if has_a_say else None
    blocked, why_blocked = _block(person, features, policy)
    return _Ruling(
        person=person,
        fake_probability=fused.probability if fused else _of_others(person),
        interval=fused.interval if fused else None,
        fused=fused,
        blocked=blocked,
        why_blocked=why_blocked,
        is_calibrated=all(
            e.is_calibrated
            for e in person.evidence
            if isinstance(e, Finding) and e.detector in policy.required and has_a_say
        ),
    )


def _of_others(person: Person) -> float | None:
    """Average in log odds what detectors without a say find: shown, and never a label."""
    found = [
        logit(e.fake_probability)
        for e in person.evidence
        if isinstance(e, Finding) and e.fake_probability is not None
    ]
    return probability(fmean(found)) if found else None


def _block(
    person: Person, features: Mapping[str, float], policy: Policy
) -> tuple[Inconclusive | None, Sentence | None]:
    if person.frames < policy.min_frames:
        return (
            Inconclusive.TOO_FEW_FRAMES,
            Sentence(
                key="reason.too_few_frames",
                values={
                    "person": person.id,
                    "frames": person.frames,
                    "needed": policy.min_frames,
                },
            ),
        )
    found = {
        FEATURES[t.feature].detector
        for t in policy.fusion.terms
        if t.weight > 0 and t.feature in features
    }
    for detector in sorted(policy.required - found):
        return _absence(person, detector)
    return None, None


def _absence(person: Person, detector: DetectorName) -> tuple[Inconclusive, Sentence]:
    who: dict[str, str | int | float] = {"person": person.id, "detector": detector.value}
    for evidence in person.evidence:
        if isinstance(evidence, Abstention) and evidence.detector == detector:
            code = BLOCKED_BY.get(evidence.reason, Inconclusive.TOO_LITTLE_EVIDENCE)
            why = evidence.detail or evidence.reason.value
            return code, Sentence(key="reason.abstained", values={**who, "why": why})
    return Inconclusive.TOO_LITTLE_EVIDENCE, Sentence(key="reason.not_asked", values=who)


def _most_suspect(rulings: Sequence[_Ruling]) -> _Ruling | None:
    """Choose who sets the probability of the video; None where nobody has one."""
    for some in (
        [r for r in rulings if r.has_a_say and r.blocked not in PASSERS_BY],
        [r for r in rulings if r.has_a_say],
        [r for r in rulings if r.fake_probability is not None],
    ):
        if some:
            return max(some, key=lambda r: r.probability)
    return None


def _obstacles(
    rulings: Sequence[_Ruling],
    video: VideoFacts,
    abstentions: Sequence[Abstention],
    policy: Policy,
    point: Point,
) -> list[Said]:
    """List what stands in the way of calling nobody manipulated, the weightiest first."""
    found = [] if rulings else [_nobody(abstentions, policy)]
    blocked = [(r.blocked, r.why_blocked) for r in rulings if r.blocked and r.why_blocked]
    nobody_judged = len(blocked) == len(rulings)
    found += [_obstacle(c, why) for c, why in blocked if nobody_judged or c not in PASSERS_BY]
    if video.is_truncated:
        found.append(
            _obstacle(
                Inconclusive.TRUNCATED,
                Sentence(
                    key="reason.truncated",
                    values={
                        "decoded": video.frames_decoded,
                        "expected": video.frames_expected or 0,
                    },
                ),
            )
        )
    judged = [r for r in rulings if r.blocked is None]
    found += [
        _obstacle(
            Inconclusive.BETWEEN_THRESHOLDS,
            Sentence(
                key="reason.between_thresholds",
                values={
                    "person": r.person.id,
                    "probability": r.probability,
                    "low": point.clear_below,
                    "high": point.manipulated_from,
                },
            ),
        )
        for r in judged
        if point.clear_below <= r.probability < point.manipulated_from
    ]
    clear = [r for r in judged if r.probability < point.clear_below]
    found += [d for r in clear for d in _disagreements(r, policy)]
    # How often such a network misses a fake is not known, so its silence acquits nobody.
    found += [
        _obstacle(
            Inconclusive.NOT_CALIBRATED,
            Sentence(
                key="reason.not_calibrated",
                values={"person": r.person.id, "probability": r.probability},
            ),
        )
        for r in clear
        if not r.is_calibrated
    ]
    return found


def _nobody(abstentions: Sequence[Abstention], policy: Policy) -> Said:
    """Say why nobody is there to be judged."""
    required = [a for a in abstentions if a.detector in policy.required]
    if not required:
        return _obstacle(Inconclusive.NO_FACE, Sentence(key="obstacle.no_face"))
    first = required[0]
    code = BLOCKED_BY.get(first.reason, Inconclusive.NO_FACE)
    if not first.detail:
        return _obstacle(code, Sentence(key=f"obstacle.{code}"))
    return _obstacle(code, Sentence(key="reason.nobody", values={"why": first.detail}))


def _disagreements(ruling: _Ruling, policy: Policy) -> list[Said]:
    """List the detectors that accuse, by themselves, a person whom the others clear."""
    assert ruling.fused is not None, "who is clear was judged by detectors with a say"
    return [
        _obstacle(
            Inconclusive.DETECTORS_DISAGREE,
            Sentence(
                key="reason.detectors_disagree",
                values={
                    "person": ruling.person.id,
                    "detector": FEATURES[feature].detector.value,
                    "times": exp(moved),
                    "probability": ruling.probability,
                },
            ),
        )
        for feature, moved in ruling.fused.contributions.items()
        if moved > policy.disagreement
    ]


def _obstacle(code: Inconclusive, sentence: Sentence) -> Said:
    return Said(part=Part.REASON, sentence=sentence, code=code)


def _suspicion(ruling: _Ruling) -> Said:
    values: dict[str, str | int | float] = {
        "person": ruling.person.id,
        "probability": ruling.probability,
    }
    return Said(part=Part.REASON, sentence=Sentence(key="reason.person", values=values))


def _caveat(
    rulings: Sequence[_Ruling],
    video: VideoFacts,
    policy: Policy,
    point: Point,
    asked_for: PointName | None,
) -> list[Sentence]:
    was_asked = any(r.has_a_say for r in rulings)
    sentences = list(policy.caveat(point.name)) if was_asked else []
    if asked_for not in (None, point.name):
        values = {"asked_for": str(asked_for), "used": point.name.value}
        sentences.append(Sentence(key="caveat.other_point", values=values))
    if not all(r.is_calibrated for r in rulings):
        sentences.append(Sentence(key="caveat.not_calibrated"))
    if unseen := [r for r in rulings if r.blocked in PASSERS_BY]:
        names = ", ".join(r.person.id for r in unseen)
        sentences.append(Sentence(key="caveat.not_examined", values={"persons": names}))
    if video.is_truncated:
        sentences.append(Sentence(key="caveat.truncated"))
    return sentences


def _accusation(persons: Sequence[Person]) -> list[Sentence]:
    if len(persons) == 1:
        one = persons[0]
        values = {"first": _clock(one.first_s), "last": _clock(one.last_s)}
        return [Sentence(key="verdict.manipulated_one", values=values)]
    spans = "; ".join(f"{_clock(p.first_s)}{TO}{_clock(p.last_s)}" for p in persons)
    return [
        Sentence(key="verdict.manipulated_many", values={"count": len(persons), "spans": spans})
    ]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
