"""
Which moments of a video tell most about it? A few of everybody's looks, for people to see.

First those in which most is marked and the classifier is surest, spread in time. Where nothing
is suspect the same rule chooses, so that a clear video is shown like any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.domain.evidence import DetectorName, Finding, Person
from workers.detection.stage import FaceClip, FaceSample, PixelMask

MOST_MOMENTS = 3
"""Of a whole video; more would be looked through, not looked at."""
APART = 6
"""Moments of one person lie at least this part of the time apart in which anybody is seen."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """A person, with the arrays that pictures are made from."""

    person: Person
    clip: FaceClip
    masks: tuple[PixelMask, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """A look at somebody that is worth showing."""

    clip: FaceClip
    look: FaceSample
    mask: PixelMask | None
    suspicion: float  # classifier's probability and marked area together, [0, 2]


def telling(persons: Sequence[Shown], *, most: int = MOST_MOMENTS) -> list[Moment]:
    """
    Choose the most telling moments, the most suspect first.

    Moments of one person lie apart in time as far as there are such; nobody is shown twice in the
    same frame.
    """
    ranked = sorted(
        (m for shown in persons for m in _moments(shown)),
        key=lambda m: (-m.suspicion, m.look.pts_s),
    )
    if not ranked:
        return []
    times = [m.look.pts_s for m in ranked]
    chosen: list[Moment] = []
    for apart_s in ((max(times) - min(times)) / APART, 0.0):
        for moment in ranked:
            if len(chosen) == most:
                break
            if not any(_is_close(moment, other, apart_s) for other in chosen):
                chosen.append(moment)
    return chosen


def _moments(shown: Shown) -> Iterator[Moment]:
    masks = {mask.sample.frame_index: mask for mask in shown.masks}
    seen = {
        o.frame_index: o.fake_probability
        for e in shown.person.evidence
        if isinstance(e, Finding) and e.detector is DetectorName.FRAME_CLASSIFIER
        for o in e.observations
        if o.fake_probability is not None
    }
    for look in shown.clip.samples:
        mask = masks.get(look.frame_index)
        suspicion = seen.get(look.frame_index, 0.0) + (0.0 if mask is None else mask.area)
        yield Moment(clip=shown.clip, look=look, mask=mask, suspicion=suspicion)


def _is_close(one: Moment, other: Moment, apart_s: float) -> bool:
    if one.clip.person_id != other.clip.person_id:
        return False
    gap_s = abs(one.look.pts_s - other.look.pts_s)
    return one.look.frame_index == other.look.frame_index or gap_s < apart_s
