import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from workers.training.evaluate import metrics


def _drawn(seed: int = 0, n: int = 120, gap: float = 1.0):
    rng = np.random.default_rng(seed)
    is_fake = rng.random(n) < 0.5
    scores = np.round(rng.normal(size=n) + gap * is_fake, 1)  # rounded: there are ties
    groups = [f"g{i}" for i in rng.integers(0, 30, n)]
    return scores, is_fake, groups


def test_the_auc_is_the_share_of_ordered_pairs_with_ties_counting_half():
    scores, is_fake, _ = _drawn()

    pairs = mannwhitneyu(scores[is_fake], scores[~is_fake]).statistic
    assert metrics.auc(scores, is_fake) == pytest.approx(pairs / (is_fake.sum() * (~is_fake).sum()))


def test_an_auc_without_real_clips_is_not_known():
    assert np.isnan(metrics.auc(np.array([1.0, 2.0]), np.array([True, True])))


def test_every_bootstrapped_auc_is_that_of_the_clips_that_were_drawn():
    scores, is_fake, groups = _drawn()
    drawn_from = metrics.Groups(groups, seed=3, draws=20)

    found = metrics.auc_draws(scores, is_fake, drawn_from)

    for draw, times in enumerate(drawn_from.weights().astype(int)):
        repeated = np.repeat(np.arange(len(scores)), times)
        assert found[draw] == pytest.approx(metrics.auc(scores[repeated], is_fake[repeated]))


def test_clips_of_one_group_make_the_interval_wide():
    scores, is_fake, _ = _drawn(n=400)
    alone = [str(i) for i in range(400)]
    together = [str(i % 8) + str(f) for i, f in enumerate(is_fake)]
    scores = scores + np.array([int(g[0]) for g in together])  # what a group shares

    one = metrics.auc_interval(scores, is_fake, alone)
    few = metrics.auc_interval(scores, is_fake, together)

    assert few.high - few.low > 2 * (one.high - one.low)


def test_the_difference_of_a_score_with_itself_is_exactly_nothing():
    scores, is_fake, groups = _drawn()

    found = metrics.auc_difference(scores, scores, is_fake, groups)

    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_paired_difference_is_surer_than_two_intervals():
    scores, is_fake, groups = _drawn(gap=0.8)
    better = scores + 0.3 * is_fake

    alone = metrics.auc_interval(scores, is_fake, groups)
    difference = metrics.auc_difference(better, scores, is_fake, groups)

    assert difference.low > 0
    assert difference.high - difference.low < alone.high - alone.low


def test_equal_errors_of_two_shifted_normals_are_as_theory_has_them():
    rng = np.random.default_rng(0)
    n = 1200
    is_fake = np.arange(n) < n / 2
    scores = rng.normal(size=n) + 2.0 * is_fake

    found = metrics.equal_error_rate(scores, is_fake, [str(i // 12) for i in range(n)])

    assert found.value == pytest.approx(0.1587, abs=0.03)  # of a normal below -1
    assert found.low < 0.1587 < found.high


def test_perfect_scores_have_no_errors_and_full_precision():
    is_fake = np.array([False] * 30 + [True] * 30)
    groups = [str(i) for i in range(60)]
    scores = is_fake * 1.0

    assert metrics.equal_error_rate(scores, is_fake, groups).value == 0
    precision = metrics.average_precision(scores, is_fake, groups, prevalence=0.01)
    assert precision.value == pytest.approx(1.0)


def test_precision_of_useless_scores_is_the_prevalence():
    rng = np.random.default_rng(0)
    is_fake = rng.random(1500) < 0.5
    scores = rng.normal(size=1500)

    found = metrics.average_precision(
        scores, is_fake, [str(i // 10) for i in range(1500)], prevalence=0.1
    )

    assert found.value == pytest.approx(0.1, abs=0.04)


def test_the_threshold_lets_no_more_real_clips_through_than_asked():
    real = np.array([0.0] * 17 + [1.0, 1.0, 2.0])

    assert (real >= metrics.threshold_for(real, 0.05)).sum() == 1
    assert (real >= metrics.threshold_for(real, 0.10)).sum() == 1  # two are level: both or none
    assert (real >= metrics.threshold_for(real, 0.15)).sum() == 3
    assert (real >= metrics.threshold_for(real, 0.0)).sum() == 0


def test_one_percent_is_not_told_from_few_groups():
    scores, is_fake, groups = _drawn(n=300)

    one, five = (
        metrics.detection_rate(scores, is_fake, groups, false_positive_rate=rate)
        for rate in (0.01, 0.05)
    )

    assert one is None
    assert five is not None
    assert five.false_positives.share <= 0.05


def test_exact_intervals_of_nothing_and_of_everything():
    low, high = metrics.clopper_pearson(0, 10)
    assert (low, high) == (0.0, pytest.approx(0.3085, abs=1e-4))
    low, high = metrics.clopper_pearson(7, 8)
    assert (low, high) == pytest.approx((0.473, 0.997), abs=1e-3)


def test_right_probabilities_have_an_error_no_greater_than_chance_makes():
    rng = np.random.default_rng(0)
    p = rng.random(1000)
    is_fake = rng.random(1000) < p
    groups = [str(i) for i in range(1000)]

    right = metrics.calibration_error(p, is_fake, groups)
    sure = metrics.calibration_error(np.round(p), is_fake, groups)

    assert right.value < 1.5 * metrics.calibration_error_of_chance(p, is_fake)
    assert sure.value > 0.2


def test_a_mixture_with_few_fakes_does_not_spoil_probabilities_at_even_odds():
    rng = np.random.default_rng(0)
    is_fake = rng.random(2500) < 0.1
    logits = rng.normal(size=2500) + np.where(is_fake, 0.5, -0.5)  # log odds of its own: itself

    found = metrics.calibration_error(
        1 / (1 + np.exp(-logits)), is_fake, [str(i) for i in range(2500)]
    )

    assert found.value < 0.06


def test_errors_come_last_where_sureness_is_earned():
    p = np.array([0.99, 0.01, 0.6, 0.45])
    is_fake = np.array([True, False, False, True])

    coverage, risk = metrics.risk_coverage(p, is_fake)

    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(risk, [0, 0, 1 / 3, 0.5])


def test_the_roc_goes_from_corner_to_corner_within_its_band():
    scores, is_fake, groups = _drawn(n=200)

    grid, (value, low, high) = metrics.roc(scores, is_fake, groups)

    assert (value[-1], grid[-1]) == (1.0, 1.0)
    assert (np.diff(value) >= 0).all()
    inner = slice(5, 95)
    assert (low[inner] <= value[inner] + 0.05).all()
    assert (high[inner] >= value[inner] - 0.05).all()
    assert np.trapezoid(value, grid) == pytest.approx(metrics.auc(scores, is_fake), abs=0.02)
