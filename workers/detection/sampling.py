"""
Which of the decoded frames are kept?

Evenly one in so many, such that neither the rate nor the number of kept frames passes its limit.
How many frames there are is known from the container, which may be silent or may lie. So once
more frames have come than it promised, what is left of the allowance is spent ever more slowly:
each time half of it is gone, the step is tripled. A stream without end is then still looked at
all along, at a falling rate, and no frame is ever asked for twice.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

RATE_SLACK = 0.05
"""A rate so much over the limit is let be: phones record 30.02 Hz, and half of that is less than
anybody wanted."""
SLOWDOWN = 3
"""With halves, the smallest whole factor that covers ever longer stretches of time."""


def keep_every(
    *, rate_hz: float, frames_expected: int | None, max_rate_hz: float, max_frames: int
) -> int:
    """Return n such that one in n frames is to be kept."""
    by_rate = math.ceil(rate_hz / max_rate_hz - RATE_SLACK)
    by_count = math.ceil((frames_expected or 0) / max_frames)
    return max(1, by_rate, by_count)


class Sampler:
    """Says of each frame in turn whether it is kept."""

    def __init__(self, *, keep_every: int, frames_expected: int | None, max_frames: int) -> None:
        self._step = keep_every
        self._frames_expected = frames_expected or 0
        self._left = max_frames
        self._next = 0
        self._slow_down_at = 0  # frames left
        self._is_slowing = False

    def wants(self, index: int) -> bool:
        """Whether the frame is kept; ask once for each, in order."""
        if index < self._next or self._left == 0:
            return False
        if index >= self._frames_expected:
            self._slow_down()
        self._left -= 1
        self._next = index + self._step
        return True

    def _slow_down(self) -> None:
        if self._is_slowing and self._left > self._slow_down_at:
            return
        if self._is_slowing:
            self._step *= SLOWDOWN
        self._slow_down_at = self._left // 2
        self._is_slowing = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Frames kept at one step."""

    first_index: int
    step: int


def stretches(indices: Sequence[int]) -> tuple[Stretch, ...]:
    """Split the indices of kept frames where their step changes."""
    found: list[Stretch] = []
    for one, two in itertools.pairwise(indices):
        if not found or found[-1].step != two - one:
            found.append(Stretch(first_index=one, step=two - one))
    return tuple(found)


def words(indices: Sequence[int], *, frames_decoded: int) -> str:
    """Say which frames were kept, so that they can be found again."""
    if not indices:
        return f"none of {frames_decoded}"
    first, *later = stretches(indices) or (Stretch(first_index=0, step=1),)
    return (
        f"every {_ordinal(first.step)} of {frames_decoded}"
        + "".join(f", from frame {s.first_index} on every {_ordinal(s.step)}" for s in later)
        + (f", the last is frame {indices[-1]}" if later else "")
    )


def _ordinal(n: int) -> str:
    is_teen = n // 10 % 10 == 1
    return f"{n}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"
