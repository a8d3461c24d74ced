"""
When is each frame shown? Seconds from the first, always rising, whatever the container says.
"""

import math
from array import array

VARIABLE_FROM = 0.25
"""Spread of the middle nine tenths of the intervals over their median, from which a rate counts
as variable. Halved or doubled intervals pass it; the rounding of time bases does not."""
ROUNDING_S = 0.002  # Matroska counts whole milliseconds


class Timestamps:
    """
    Puts frames on a time line.

    A frame without a time, with one that does not rise, or with one that leaps by more than
    `max_leap_s`, is put one nominal interval behind the frame before.
    """

    def __init__(self, *, nominal_interval_s: float, max_leap_s: float) -> None:
        self._nominal_interval_s = nominal_interval_s
        self._max_leap_s = max_leap_s
        self._origin_s: float | None = None
        self._last_s: float | None = None
        self._intervals_s = array("d")
        self.repaired = 0

    def place(self, raw_s: float | None) -> float:
        """Return the frame's time in seconds from the first frame."""
        if self._last_s is None:
            if raw_s is not None and math.isfinite(raw_s):
                self._origin_s = raw_s
            else:
                self.repaired += 1
            self._last_s = 0.0
            return 0.0
        if self._origin_s is None and raw_s is not None:
            self._origin_s = raw_s - self._last_s - self._nominal_interval_s
        step_s = math.nan if raw_s is None else raw_s - (self._origin_s or 0.0) - self._last_s
        if not 0 < step_s <= self._max_leap_s:
            self.repaired += 1
            step_s = self._nominal_interval_s
        self._intervals_s.append(step_s)
        self._last_s += step_s
        return self._last_s

    @property
    def typical_interval_s(self) -> float:
        """Median of the intervals; the nominal one where there is none."""
        ordered = sorted(self._intervals_s)
        return ordered[len(ordered) // 2] if ordered else self._nominal_interval_s

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last."""
        return (self._last_s or 0.0) + self.typical_interval_s

    @property
    def is_variable(self) -> bool:
        """Whether frames come at clearly different intervals."""
        ordered = sorted(self._intervals_s)
        if not ordered:
            return False
        low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
        return high - low > VARIABLE_FROM * self.typical_interval_s + ROUNDING_S
