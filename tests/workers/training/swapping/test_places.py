"""Is the face that is swapped the right one, and is it bridged and smoothed over time?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.make_faces import make_clip, make_sample, make_track
from workers.detection.identity import unit
from workers.detection.stage import LANDMARKS, FaceClip, Floats, Image
from workers.training.swapping.places import Scene, chosen, largest, other_than, places

RATE_HZ = 25.0


def person(first: int, last: int, *, face_px: float = 100.0, name: str = "p1") -> FaceClip:
    track = make_track(
        frames=last - first + 1,
        rate_hz=RATE_HZ,
        first_s=first / RATE_HZ,
        first_frame=first,
        samples=0,
        face_px=face_px,
    )
    return make_clip(track, person_id=name, rate_hz=RATE_HZ)


def scene(*persons: FaceClip, frames: int = 50) -> Scene:
    index = np.arange(frames)
    return Scene(frame_index=index, pts_s=index / RATE_HZ, persons=persons)


def test_the_larger_of_two_faces_is_swapped() -> None:
    small, large = person(0, 49, face_px=60), person(0, 49, face_px=120, name="p2")

    assert chosen(scene(small, large), largest) == (large,)


def test_whoever_is_alone_on_screen_is_swapped_each_in_turn() -> None:
    first, second = person(0, 19), person(25, 49, name="p2")
    beside = person(10, 30, face_px=40, name="p3")

    assert set(map(id, chosen(scene(first, second, beside), largest))) == {id(first), id(second)}


def test_nobody_is_swapped_who_is_not_wanted() -> None:
    assert chosen(scene(person(0, 49)), lambda _: 0.0) == ()


ANNA, BEN = np.eye(2, 8, dtype=np.float32)


class Knows:
    """Tells people apart by the size of their faces."""

    def __init__(self, **of_size: np.ndarray) -> None:
        self._of_size = {int(size.removeprefix("px")): who for size, who in of_size.items()}

    def embed(self, pictures: Sequence[Image], landmarks_px: Sequence[Floats]) -> Floats:
        # Points lie where they do in the crop: a pixel of it is 0.8 of the frame's.
        sizes = [np.ptp(points[:, 0]) * 0.8 for points in landmarks_px]
        nearest = [min(self._of_size, key=lambda s, size=size: abs(s - size)) for size in sizes]
        return np.stack([self._of_size[size] for size in nearest])


def looked_at(first: int, last: int, *, face_px: float) -> FaceClip:
    one = person(first, last, face_px=face_px)
    looks = tuple(make_sample(n / RATE_HZ, frame_index=n) for n in (first, last))
    return replace(one, tracks=(replace(one.tracks[0], samples=looks),))


def test_a_person_is_not_given_their_own_face() -> None:
    ben, stranger = looked_at(0, 49, face_px=120), looked_at(0, 49, face_px=60)
    knows = Knows(px120=BEN, px60=unit(ANNA + 2 * np.ones(8, np.float32)))

    assert chosen(scene(ben, stranger), other_than(knows, given=BEN, wanted=ANNA)) == (stranger,)
    assert chosen(scene(ben), other_than(knows, given=BEN, wanted=ANNA)) == ()


def test_whom_the_forger_knows_is_swapped_before_a_larger_stranger() -> None:
    anna, stranger = looked_at(0, 49, face_px=60), looked_at(0, 49, face_px=120)
    knows = Knows(px60=ANNA, px120=-BEN)

    assert chosen(scene(anna, stranger), other_than(knows, given=BEN, wanted=ANNA)) == (anna,)


def test_a_gap_is_bridged_in_a_straight_line_and_one_too_long_is_not() -> None:
    before, after = (person(a, b).tracks[0] for a, b in ((0, 9), (15, 24)))
    both = replace(person(0, 9), tracks=(before, after))

    bridged = places(scene(both), [both], smooth_s=0, bridge_s=0.3)
    cut = places(scene(both), [both], smooth_s=0, bridge_s=0.2)

    assert sorted(bridged) == list(range(25))
    assert [n for n in bridged if bridged[n].is_bridged] == [10, 11, 12, 13, 14]
    assert sorted(cut) == [*range(10), *range(15, 25)]
    last, first = before.landmarks_px[-1, :LANDMARKS], after.landmarks_px[0, :LANDMARKS]
    np.testing.assert_allclose(bridged[12].landmarks_px, (last + first) / 2, atol=0.02)


def test_smoothing_takes_the_shaking_and_leaves_the_movement() -> None:
    shaken = person(0, 49)
    track = shaken.tracks[0]
    noise = np.random.default_rng(0).normal(0, 2, (50, 1, 2)).astype(np.float32)
    shaken = replace(shaken, tracks=(replace(track, landmarks_px=track.landmarks_px + noise),))

    found = places(scene(shaken), [shaken], smooth_s=0.08, bridge_s=0)

    away = np.stack([found[n].landmarks_px for n in range(50)]) - track.landmarks_px[:, :LANDMARKS]
    inner = away[8:-8].mean(axis=1)
    assert inner.std() < 0.6 * noise[8:-8].std()
    assert np.abs(inner.mean(axis=0)).max() < 1


@pytest.mark.parametrize("smooth_s", [0.0, 0.08])
def test_places_have_the_landmarks_that_a_compositor_wants(smooth_s: float) -> None:
    one = person(3, 20)

    found = places(scene(one), [one], smooth_s=smooth_s, bridge_s=0)

    assert sorted(found) == list(range(3, 21))
    assert {p.landmarks_px.shape for p in found.values()} == {(LANDMARKS, 2)}
    first = one.tracks[0].landmarks_px[0, :LANDMARKS]
    np.testing.assert_allclose(found[3].landmarks_px, first, atol=0.01)
