"""Does a package name its networks, and its lines, so that workers can judge by them?"""

import pytest

from tests.workers.training.evaluate.banks import make_score
from workers.training.calibrate import Calibration, calibrate
from workers.training.rounds.candidate import fault_of, next_minor


@pytest.mark.parametrize(
    ("version", "after"), [("1.0", "1.1"), ("1.9", "1.10"), ("2", "2.1"), ("1.2.3", "1.3")]
)
def test_a_candidate_has_the_next_version(version, after):
    assert next_minor(version) == after


def make_line(**changes: object) -> Calibration:
    """Draw a line on clips that a network tells apart."""
    scores = [
        make_score(f"{at}", logit=at / 4 - 3, label="real" if at < 12 else "fake")
        for at in range(24)
    ]
    return calibrate(scores).model_copy(update=changes)


def test_two_points_that_fell_on_one_can_be_parted():
    line = make_line()

    assert line.clear_below == line.manipulated_from  # all fakes lie above all real clips
    assert fault_of(line) == ""


@pytest.mark.parametrize(
    "points",
    [
        {"manipulated_from": 1.0, "clear_below": 0.2},
        {"manipulated_from": 0.9, "clear_below": 0.0},
        {"manipulated_from": 0.001, "clear_below": 0.001},
    ],
)
def test_points_at_the_ends_of_the_scale_leave_nothing_to_judge_by(points):
    assert "no operating point" in fault_of(make_line(**points))
