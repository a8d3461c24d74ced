"""What may be said of the video? A pure rule over stored evidence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding, Person
from app.domain.media import VideoFacts
from app.domain.policy import Policy


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
    TRUNCATED = "truncated"
    DETECTORS_DISAGREE = "detectors_disagree"
    BETWEEN_THRESHOLDS = "between_thresholds"
    NOT_CALIBRATED = "not_calibrated"
    TOO_LITTLE_EVIDENCE = "too_little_evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A label with the words and numbers it rests on."""

    label: Label
    fake_probability: float | None  # of the most suspect person; None where nobody had a finding
    reasons: tuple[str, ...]  # "person p1: 0.94", or "no_face: ..." where inconclusive
    statement: str  # a sentence an editor may quote
    caveat: str
    policy: str
    by_person: Mapping[str, float | None]


BLOCKED_BY: Mapping[AbstainReason, Inconclusive] = {
    AbstainReason.MODEL_MISSING: Inconclusive.MODEL_MISSING,
    AbstainReason.NO_FACE: Inconclusive.NO_FACE,
    AbstainReason.FACE_TOO_SMALL: Inconclusive.FACES_TOO_SMALL,
    AbstainReason.TOO_FEW_FRAMES: Inconclusive.TOO_FEW_FRAMES,
    AbstainReason.TRACK_TOO_SHORT: Inconclusive.TOO_FEW_FRAMES,
    AbstainReason.TOO_BLURRED: Inconclusive.TOO_BLURRED,
}
"""Why a person is not judged, by the reason of a required detector; else too little evidence."""

PASSERS_BY = frozenset(
    {Inconclusive.FACES_TOO_SMALL, Inconclusive.TOO_FEW_FRAMES, Inconclusive.TOO_BLURRED}
)
"""Who is not judged for these is named in the caveat, and does not hold up the others' label."""

WORDS: Mapping[Inconclusive, str] = {
    Inconclusive.NO_FACE: "no face was found in the video",
    Inconclusive.MODEL_MISSING: "a network that a verdict needs is not installed here",
    Inconclusive.FACES_TOO_SMALL: "the faces are too small to be examined",
    Inconclusive.TOO_FEW_FRAMES: "too few frames show a face",
    Inconclusive.TOO_BLURRED: "the faces are too blurred to be examined",
    Inconclusive.TRUNCATED: "the file breaks off before its end",
    Inconclusive.DETECTORS_DISAGREE: "the detectors contradict each other",
    Inconclusive.BETWEEN_THRESHOLDS: "the signs are too weak either way",
    Inconclusive.NOT_CALIBRATED: "few signs were seen, by networks that cannot clear anybody",
    Inconclusive.TOO_LITTLE_EVIDENCE: "there is too little evidence",
}

NOT_CALIBRATED = (
    "The networks asked here were not calibrated: their probabilities order clips and are no "
    "frequencies."
)
SURE = 1e-6  # keeps log odds finite at probabilities of 0 and 1


def decide(
    persons: Sequence[Person],
    video: VideoFacts,
    abstentions: Sequence[Abstention],
    policy: Policy,
) -> Verdict:
    """
    Say what the evidence allows, by the rules of `policy`.

    The video is as suspect as its most suspect person; whoever passes by counts for that only
    where there is nobody else, and detectors without a say only where nobody was examined by one
    that has. One manipulated person is enough for
    `manipulated`; everyone who can be judged must be clear for `no_manipulation_found`; all
    else is `inconclusive`, with the reasons in words.
    """
    rulings = [_rule(person, policy) for person in persons]
    known = [
        [r.fake_probability for r in some if r.fake_probability is not None]
        for some in (
            [r for r in rulings if r.has_a_say and r.blocked not in PASSERS_BY],
            [r for r in rulings if r.has_a_say],
            rulings,
        )
    ]
    manipulated = [
        r for r in rulings if r.blocked is None and r.probability >= policy.manipulated_from
    ]
    obstacles = _obstacles(rulings, video, abstentions, policy)
    judged = [r for r in rulings if r.blocked is None]

    if manipulated:
        label = Label.MANIPULATED
        reasons = tuple(f"person {r.person.id}: {r.probability:.2f}" for r in manipulated)
        statement = _accusation([r.person for r in manipulated])
    elif obstacles:
        label = Label.INCONCLUSIVE
        reasons = tuple(f"{code}: {words}" for code, words in obstacles)
        statement = f"No verdict: {WORDS[obstacles[0][0]]}."
    else:
        label = Label.NO_MANIPULATION_FOUND
        reasons = tuple(f"person {r.person.id}: {r.probability:.2f}" for r in judged)
        statement = (
            f"No sign of manipulation was found in the {_count(len(judged))} examined. "
            "This does not prove that the video is genuine."
        )
    return Verdict(
        label=label,
        fake_probability=max(next(filter(None, known), ()), default=None),
        reasons=reasons,
        statement=statement,
        caveat=_caveat(rulings, video, policy),
        policy=policy.version,
        by_person={r.person.id: r.fake_probability for r in rulings},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ruling:
    """What the policy makes of one person."""

    person: Person
    fake_probability: float | None
    blocked: Inconclusive | None  # why the person can be given no label
    detail: str
    has_a_say: bool  # whether the probability comes from detectors with a say
    is_calibrated: bool  # whether every one of those was

    @property
    def probability(self) -> float:
        """The probability of a person who is not blocked, and so has one."""
        assert self.fake_probability is not None
        return self.fake_probability


def _rule(person: Person, policy: Policy) -> _Ruling:
    findings = [
        e for e in person.evidence if isinstance(e, Finding) and e.fake_probability is not None
    ]
    having_a_say = [f for f in findings if policy.weights.get(f.detector, 0) > 0]
    blocked, detail = _block(person, having_a_say, policy)
    return _Ruling(
        person=person,
        fake_probability=_pool(having_a_say or findings, policy),
        blocked=blocked,
        detail=detail,
        has_a_say=bool(having_a_say),
        is_calibrated=all(f.is_calibrated for f in having_a_say),
    )


def _block(
    person: Person, having_a_say: Sequence[Finding], policy: Policy
) -> tuple[Inconclusive | None, str]:
    if person.frames < policy.min_frames:
        return (
            Inconclusive.TOO_FEW_FRAMES,
            f"person {person.id} is seen in {person.frames} frames, {policy.min_frames} are needed",
        )
    found = {f.detector for f in having_a_say}
    for detector in sorted(policy.required - found):
        return _absence(person, detector)
    probabilities = [_probability(f) for f in having_a_say]
    if max(probabilities) - min(probabilities) > policy.disagreement:
        listed = ", ".join(f"{f.detector} {_probability(f):.2f}" for f in having_a_say)
        return Inconclusive.DETECTORS_DISAGREE, f"person {person.id}: {listed}"
    return None, ""


def _absence(person: Person, detector: DetectorName) -> tuple[Inconclusive, str]:
    for evidence in person.evidence:
        if isinstance(evidence, Abstention) and evidence.detector == detector:
            code = BLOCKED_BY.get(evidence.reason, Inconclusive.TOO_LITTLE_EVIDENCE)
            said = evidence.detail or evidence.reason.value
            return code, f"person {person.id}: {detector} abstained, {said}"
    return Inconclusive.TOO_LITTLE_EVIDENCE, f"person {person.id}: {detector} was not asked"


def _pool(findings: Sequence[Finding], policy: Policy) -> float | None:
    """Average in log odds by the policy's weights; evenly where none of them has a say."""
    if not findings:
        return None
    weights = [policy.weights.get(f.detector, 0) for f in findings]
    if not any(weights):
        weights = [1.0] * len(findings)
    odds = sum(w * _logit(_probability(f)) for w, f in zip(weights, findings, strict=True)) / sum(
        weights
    )
    return 1 / (1 + math.exp(-odds))


def _probability(finding: Finding) -> float:
    assert finding.fake_probability is not None, "only findings with an opinion are pooled"
    return finding.fake_probability


def _logit(probability: float) -> float:
    inside = min(max(probability, SURE), 1 - SURE)
    return math.log(inside / (1 - inside))


def _obstacles(
    rulings: Sequence[_Ruling],
    video: VideoFacts,
    abstentions: Sequence[Abstention],
    policy: Policy,
) -> list[tuple[Inconclusive, str]]:
    """List what stands in the way of calling nobody manipulated, the weightiest first."""
    found: list[tuple[Inconclusive, str]] = []
    if not rulings:
        required = [a for a in abstentions if a.detector in policy.required]
        code = BLOCKED_BY.get(required[0].reason, Inconclusive.NO_FACE) if required else None
        code = code or Inconclusive.NO_FACE
        detail = required[0].detail if required and required[0].detail else WORDS[code]
        found.append((code, detail))
    blocked = [(r.blocked, r.detail) for r in rulings if r.blocked is not None]
    nobody_judged = len(blocked) == len(rulings)
    found += [(c, d) for c, d in blocked if nobody_judged or c not in PASSERS_BY]
    if video.is_truncated:
        found.append(
            (
                Inconclusive.TRUNCATED,
                f"{video.frames_decoded} of {video.frames_expected} frames could be decoded",
            )
        )
    judged = [r for r in rulings if r.blocked is None]
    found += [
        (
            Inconclusive.BETWEEN_THRESHOLDS,
            f"person {r.person.id}: {r.probability:.2f} lies between {policy.clear_below:.2f} "
            f"and {policy.manipulated_from:.2f}",
        )
        for r in judged
        if policy.clear_below <= r.probability < policy.manipulated_from
    ]
    # How often such a network misses a fake is not known, so its silence acquits nobody.
    found += [
        (
            Inconclusive.NOT_CALIBRATED,
            f"person {r.person.id}: {r.probability:.2f} by networks that were not calibrated",
        )
        for r in judged
        if r.probability < policy.clear_below and not r.is_calibrated
    ]
    return found


def _caveat(rulings: Sequence[_Ruling], video: VideoFacts, policy: Policy) -> str:
    was_asked = any(r.has_a_say for r in rulings)
    sentences = [policy.caveat] if policy.caveat and was_asked else []
    if not all(r.is_calibrated for r in rulings):
        sentences.append(NOT_CALIBRATED)
    if unseen := [r for r in rulings if r.blocked in PASSERS_BY]:
        names = ", ".join(r.person.id for r in unseen)
        sentences.append(
            f"Not examined, being too small, too blurred or too briefly seen: {names}."
        )
    if video.is_truncated:
        sentences.append("Only the part of the file that could be decoded was examined.")
    return " ".join(sentences)


def _accusation(persons: Sequence[Person]) -> str:
    if len(persons) == 1:
        one = persons[0]
        return (
            "Strong signs that the face of one person was manipulated, "
            f"from {_clock(one.first_s)} to {_clock(one.last_s)}."
        )
    spans = "; ".join(f"{_clock(p.first_s)} to {_clock(p.last_s)}" for p in persons)
    return f"Strong signs that the faces of {len(persons)} persons were manipulated: {spans}."


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _count(persons: int) -> str:
    return "one person" if persons == 1 else f"{persons} persons"
