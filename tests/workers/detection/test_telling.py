"""Are the moments that a person is shown the ones that tell most, and are they few?"""

from dataclasses import replace

import numpy as np

from app.domain.evidence import Observation
from tests.make import make_finding, make_person
from tests.make_faces import make_clip, make_track
from workers.detection.stage import CROP_SIDE_PX, FaceClip, PixelMask
from workers.detection.telling import MOST_MOMENTS, Moment, Shown, telling

MINUTE = make_clip(make_track(frames=150, rate_hz=2.5))


def shown(
    suspicion: dict[int, float] | None = None,
    area: dict[int, float] | None = None,
    *,
    person_id: str = "p1",
    clip: FaceClip | None = None,
) -> Shown:
    """A person seen for a minute in 16 looks, the n-th of them as suspect as said."""
    clip = replace(clip or MINUTE, person_id=person_id)
    looks = clip.samples
    observations = tuple(
        Observation(
            pts_s=looks[n].pts_s, frame_index=looks[n].frame_index, fake_probability=probability
        )
        for n, probability in (suspicion or {}).items()
    )
    masks = tuple(
        PixelMask(
            sample=looks[n], probability=np.zeros((CROP_SIDE_PX, CROP_SIDE_PX), np.float32), area=a
        )
        for n, a in (area or {}).items()
    )
    evidence = make_finding(observations=observations)
    return Shown(person=make_person(evidence, id=person_id), clip=clip, masks=masks)


def numbers(moments: list[Moment]) -> list[int]:
    return [[s.frame_index for s in m.clip.samples].index(m.look.frame_index) for m in moments]


def test_the_most_suspect_moments_are_chosen_with_their_masks() -> None:
    person = shown({1: 0.2, 5: 0.9, 10: 0.8, 14: 0.3}, {5: 0.3, 14: 0.1})

    moments = telling([person])

    assert numbers(moments) == [5, 10, 14]
    assert [m.mask.area if m.mask else None for m in moments] == [0.3, None, 0.1]


def test_what_is_marked_counts_as_what_is_probable() -> None:
    assert numbers(telling([shown({3: 0.8, 12: 0.7}, {12: 0.3})]))[:2] == [12, 3]


def test_moments_are_spread_in_time() -> None:
    suspicion = {7: 0.9, 8: 0.89, 6: 0.88, 1: 0.4, 13: 0.3}

    assert numbers(telling([shown(suspicion)])) == [7, 1, 13]


def test_a_short_look_at_somebody_is_shown_as_often_as_there_are_frames() -> None:
    two = make_clip(make_track(frames=2, samples=2))
    nobody = make_clip(make_track(samples=0))

    assert len(telling([shown({0: 0.5, 1: 0.4}, clip=two)])) == 2
    assert telling([shown(clip=nobody)]) == []
    assert telling([]) == []


def test_no_more_than_a_few_moments_of_a_video_are_shown() -> None:
    crowd = [shown({4: 0.1 + n / 50}, person_id=f"p{n}") for n in range(1, 41)]

    moments = telling(crowd)

    assert len(moments) == MOST_MOMENTS
    assert [m.clip.person_id for m in moments] == ["p40", "p39", "p38"]


def test_a_clear_video_is_shown_like_any_other() -> None:
    assert len(telling([shown()])) == MOST_MOMENTS
    assert len({m.look.frame_index for m in telling([shown()])}) == MOST_MOMENTS
