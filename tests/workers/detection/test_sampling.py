"""Which frames are kept: evenly, and never more than may be, whatever the container says."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.detection.sampling import Sampler, keep_every, words


def kept(frames: int, *, expected: int | None, allowance: int, step: int = 1) -> list[int]:
    sampler = Sampler(keep_every=step, frames_expected=expected, max_frames=allowance)
    return [index for index in range(frames) if sampler.wants(index)]


@pytest.mark.parametrize(
    ("rate_hz", "frames", "step"),
    [
        (25.0, 100, 1),
        (30.02, 100, 1),  # a phone; half of it is less than anybody wanted
        (50.0, 100, 2),
        (59.94, 100, 2),
        (240.0, 100, 8),
        (25.0, 9001, 2),
        (25.0, 36_000, 4),
        (25.0, None, 1),
    ],
)
def test_one_frame_in_so_many_is_kept(rate_hz: float, frames: int | None, step: int) -> None:
    assert step == keep_every(
        rate_hz=rate_hz, frames_expected=frames, max_rate_hz=30.0, max_frames=9000
    )


def test_an_honest_video_is_sampled_at_one_step() -> None:
    indices = kept(600, expected=600, allowance=300, step=2)

    assert list(range(0, 600, 2)) == indices
    assert words(indices, frames_decoded=600) == "every 2nd of 600"


def test_a_video_longer_than_it_said_is_looked_at_more_and_more_rarely() -> None:
    indices = kept(700, expected=20, allowance=100)
    steps = [two - one for one, two in itertools.pairwise(indices)]

    assert list(range(20)) == indices[:20]
    assert sorted(steps) == steps
    assert {1, 3, 9, 27} <= set(steps)
    assert indices[-1] > 500
    assert "on every 3rd" in words(indices, frames_decoded=700)


@given(
    frames=st.integers(1, 3000),
    expected=st.one_of(st.none(), st.integers(1, 3000)),
    allowance=st.integers(1, 200),
)
@settings(max_examples=60, deadline=None)
def test_no_lie_makes_it_keep_more_than_it_may(
    frames: int, expected: int | None, allowance: int
) -> None:
    indices = kept(frames, expected=expected, allowance=allowance)

    assert indices[0] == 0
    assert len(indices) <= allowance


@pytest.mark.parametrize(
    ("n", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd"), (113, "113th")],
)
def test_steps_are_said_in_english(n: int, said: str) -> None:
    assert f"every {said} of 1000" == words(range(0, 1000, n), frames_decoded=1000)


def test_a_single_frame_can_be_said_too() -> None:
    assert words([0], frames_decoded=1) == "every 1st of 1"
