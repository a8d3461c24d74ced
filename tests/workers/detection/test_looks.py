"""Are the kept pictures few, and spread evenly over a time that nobody knew beforehand?"""

from dataclasses import replace

import numpy as np
import pytest

from tests.make_faces import make_sample
from workers.detection.looks import Looks, spread

PICTURE = make_sample()


def looks(turns: range, *, wanted: int = 16) -> Looks:
    held = Looks(wanted)
    for turn in turns:
        if held.wants(turn):
            held.add(turn, replace(PICTURE, frame_index=turn, pts_s=turn / 25))
    return held


@pytest.mark.parametrize("frames", [1, 15, 16, 31, 32, 33, 500, 9000])
def test_what_is_kept_is_spread_evenly(frames: int) -> None:
    (chosen,) = spread([looks(range(frames))], wanted=16)

    turns = [look.frame_index for look in chosen]
    gaps = np.diff(turns)
    assert len(turns) == min(frames, 16)
    assert turns == sorted(set(turns))
    assert len(gaps) == 0 or gaps.max() <= 2 * gaps.min()
    assert frames < 32 or turns[-1] - turns[0] >= 0.85 * frames


def test_never_more_than_twice_as_many_as_wanted_are_held() -> None:
    held = Looks(4)
    for turn in range(1000):
        if held.wants(turn):
            held.add(turn, PICTURE)
        assert len(held.every(1)) < 8


def test_tracks_of_one_person_share_the_pictures_by_their_length() -> None:
    first, second = spread([looks(range(400)), looks(range(500, 600))], wanted=16)

    assert len(first) + len(second) == 16
    assert 2 <= len(second) <= 5


def test_pictures_of_frames_that_are_taken_back_are_let_go() -> None:
    held = looks(range(20))

    held.forget_after(9)

    assert [look.frame_index for look in held.every(1)] == list(range(10))


def test_a_track_may_begin_late_in_the_video() -> None:
    (chosen,) = spread([looks(range(7001, 7040))], wanted=16)

    assert len(chosen) == 16


def test_pictures_that_take_too_much_room_are_let_go_of_evenly() -> None:
    held = looks(range(5, 30))

    held.thin(4)
    held.thin(2)

    assert [look.frame_index for look in held.every(1)] == [8, 12, 16, 20, 24, 28]
    assert held.step == 4
