"""The time line always rises, from zero, at finite steps, whatever stands in the file."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.detection.timestamps import Timestamps


def placed(raw_s: list[float | None]) -> tuple[list[float], Timestamps]:
    timestamps = Timestamps(nominal_interval_s=0.04, max_leap_s=100.0)
    return [timestamps.place(t) for t in raw_s], timestamps


def test_good_times_are_kept_and_begin_at_zero() -> None:
    times, timestamps = placed([5.0, 5.01, 5.09, 5.3])

    assert pytest.approx([0, 0.01, 0.09, 0.3]) == times
    assert timestamps.repaired == 0


@pytest.mark.parametrize(
    "raw_s",
    [
        [1.0, 1.0, 1.0, 1.0],
        [4.0, 3.0, 2.0, 1.0],
        [None, None, None, None],
        [0.0, math.nan, math.inf, 2.0**62],
    ],
)
def test_times_that_make_no_sense_become_an_even_row(raw_s: list[float | None]) -> None:
    times, timestamps = placed(raw_s)

    assert pytest.approx([0, 0.04, 0.08, 0.12]) == times
    assert timestamps.repaired >= 3


def test_one_bad_time_does_not_spoil_those_after_it() -> None:
    times, timestamps = placed([0.0, 0.04, 1e9, 0.12, 0.16])

    assert pytest.approx([0, 0.04, 0.08, 0.12, 0.16]) == times
    assert timestamps.repaired == 1


@given(st.lists(st.one_of(st.none(), st.floats())))
def test_whatever_comes_the_line_rises(raw_s: list[float | None]) -> None:
    times, timestamps = placed(raw_s)

    assert all(map(math.isfinite, times))
    assert all(one < two for one, two in itertools.pairwise(times))
    assert timestamps.duration_s > 0


@pytest.mark.parametrize(
    ("times_s", "is_variable"),
    [
        ([n / 25 for n in range(50)], False),
        ([round(n / 30, 3) for n in range(50)], False),  # Matroska's milliseconds
        ([n / 25 + (0.08 if n > 30 else 0) for n in range(50)], False),  # one gap
        ([n / 25 + (0.02 if n % 2 else 0) for n in range(50)], True),
        ([n / 60 if n < 25 else n / 30 for n in range(50)], True),
        ([0.0], False),
    ],
)
def test_a_variable_rate_is_told_from_rounding(times_s: list[float], is_variable: bool) -> None:
    _, timestamps = placed([*times_s])

    assert is_variable == timestamps.is_variable
