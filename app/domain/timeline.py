"""What was seen of a person at which moment? The detectors' observations, laid side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.domain.evidence import ArtifactKind, Finding, Observation, Person
from app.domain.policy import Policy
from app.domain.report import ArtifactFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePoint:
    """One person at one moment."""

    person_id: str
    pts_s: float
    frame_index: int
    fake_probability: float | None
    fake_area: float | None  # share of the face crop that is marked, [0, 1]
    mask_id: str | None  # the artifact that shows which pixels
    attention_id: str | None = None  # the artifact that shows where the classifier looked


@dataclass(slots=True)
class _Moment:
    """What is known of one frame so far."""

    pts_s: float
    probability: tuple[float, float] | None = None  # say of the detector, what it said
    area: float | None = None
    mask_id: str | None = None
    attention_id: str | None = None


@dataclass(slots=True)
class _Line:
    """The moments of one person, by frame."""

    moments: dict[int, _Moment] = field(default_factory=dict)

    def at(self, frame_index: int, pts_s: float) -> _Moment:
        return self.moments.setdefault(frame_index, _Moment(pts_s))

    def note(self, seen: Observation, say: float) -> None:
        moment = self.at(seen.frame_index, seen.pts_s)
        if seen.fake_area is not None:
            moment.area = seen.fake_area
        if seen.fake_probability is not None and (
            moment.probability is None or say > moment.probability[0]
        ):
            moment.probability = (say, seen.fake_probability)


def merge(
    persons: Sequence[Person], pictures: Sequence[ArtifactFacts], policy: Policy
) -> tuple[TimelinePoint, ...]:
    """
    Lay observations and pictures of the same frame over each other; by person, then by time.

    Where several detectors give a probability, the one with the greatest say in `policy` is
    shown; of equals the first.
    """
    lines = {person.id: _Line() for person in persons}
    for person in persons:
        for evidence in person.evidence:
            if isinstance(evidence, Finding):
                say = policy.say(evidence.detector)
                for seen in evidence.observations:
                    lines[person.id].note(seen, say)
    for picture in pictures:
        if picture.person_id not in lines:
            continue
        line = lines[picture.person_id]
        if picture.kind is ArtifactKind.MASK:
            moment = line.at(picture.frame_index, picture.pts_s)
            moment.mask_id = picture.id
            if moment.area is None:
                moment.area = picture.area
        elif picture.kind is ArtifactKind.ATTENTION:
            line.at(picture.frame_index, picture.pts_s).attention_id = picture.id
    return tuple(
        TimelinePoint(
            person_id=person_id,
            pts_s=moment.pts_s,
            frame_index=frame_index,
            fake_probability=None if moment.probability is None else moment.probability[1],
            fake_area=moment.area,
            mask_id=moment.mask_id,
            attention_id=moment.attention_id,
        )
        for person_id, line in lines.items()
        for frame_index, moment in sorted(line.moments.items())
    )
