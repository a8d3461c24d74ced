"""Is the canary's input the same everywhere, and does a wrong answer to it show?"""

import numpy as np
import pytest

from models.canary import canary_input, differences
from models.manifest import Canary, Expected


def make_canary(**changes: object) -> Canary:
    given: dict[str, object] = {
        "input": "x",
        "shape": (2, 3),
        "dtype": "uint8",
        "steps": (100, 60),
        "tolerance": 0.01,
        "expected": (Expected(output="y", shape=(2,), mean=1.0, deviation=0.5),),
    }
    return Canary.model_validate(given | changes)


def test_the_input_is_a_ramp_along_each_axis_wrapped_at_256():
    ramp = np.array([[0, 60, 120], [100, 160, 220]], dtype=np.uint8)

    np.testing.assert_array_equal(ramp, canary_input(make_canary()), strict=True)


def test_an_input_of_floats_is_the_same_ramp_divided():
    canary = make_canary(steps=(0, 100), dtype="float32", divide_by=2.0, shape=(1, 4))

    expected = np.array([[0, 50, 100, 22]], dtype=np.float32)  # 300 wraps to 44
    np.testing.assert_array_equal(expected, canary_input(canary), strict=True)


def test_a_step_must_be_given_for_every_axis():
    with pytest.raises(ValueError, match="want 2 steps, got 1"):
        canary_input(make_canary(steps=(1,)))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([0.5, 1.5], None),
        ([0.505, 1.505], None),
        ([0.55, 1.55], "want mean 1 "),
        ([1.0, 1.0], "want deviation 0.5 "),
        ([np.nan, 1.0], "got nan"),
        ([0.5, 1.5, 1.0], "want shape"),
    ],
)
def test_an_answer_is_taken_only_within_the_tolerance(answer, words):
    found = differences(make_canary(), ["y"], lambda _inputs: [np.array(answer)])

    assert (words is None) == (found == [])
    assert words is None or words in found[0]


def test_an_output_that_is_not_there_is_named():
    found = differences(make_canary(), ["z"], lambda _inputs: [np.zeros(2)])

    assert found == ["no output y; it has ['z']"]
