"""Do many looks become one number that a single odd look cannot turn?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workers.detection.detectors.aggregation import (
    MAX_LOGIT,
    bounded,
    logit,
    probability,
    top_mean,
    trimmed_mean,
)

LOGITS = arrays.arrays(
    np.float64, st.integers(1, 40), elements=st.floats(-MAX_LOGIT, MAX_LOGIT, width=32)
)


def test_looks_that_agree_are_taken_at_their_word():
    np.testing.assert_allclose(trimmed_mean(np.full(16, 1.5)), 1.5)


def test_the_most_extreme_tenth_at_either_end_is_left_out():
    logits = np.array([-8.0, *[1.0] * 8, 8.0])

    assert trimmed_mean(logits) == 1.0


def test_a_quarter_of_suspect_looks_shows_in_the_top_mean_and_hardly_in_the_trimmed():
    logits = np.array([-3.0] * 12 + [3.0] * 4)

    assert top_mean(logits) == 3.0
    assert trimmed_mean(logits) < 0


@pytest.mark.parametrize("count", range(1, 12))
def test_any_number_of_looks_will_do(count):
    logits = np.linspace(-1, 1, count)

    assert -1 <= trimmed_mean(logits) <= top_mean(logits) <= 1


@given(LOGITS, st.integers(0, 39), st.floats(0, 4))
def test_a_more_suspect_look_never_lowers_the_result(logits, which, by):
    raised = logits.copy()
    raised[which % len(logits)] += by

    assert trimmed_mean(raised) >= trimmed_mean(logits) - 1e-9
    assert top_mean(raised) >= top_mean(logits) - 1e-9


@given(LOGITS)
def test_log_odds_and_probabilities_are_each_others_inverse(logits):
    np.testing.assert_allclose(logit(probability(logits)), logits, atol=1e-6)


def test_certainty_is_bounded_in_both_directions():
    np.testing.assert_array_equal(logit(np.array([0.0, 1.0])), [-MAX_LOGIT, MAX_LOGIT])
    np.testing.assert_array_equal(bounded(np.array([-np.inf, 1e9])), [-MAX_LOGIT, MAX_LOGIT])


def test_what_is_not_a_number_is_an_error_and_no_opinion():
    with pytest.raises(ValueError, match="not a number"):
        bounded(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="not a number"):
        logit(np.array([np.nan]))
