"""
How well do scores tell manipulated clips from real ones, and how sure is that figure?

Every figure counts clips. Intervals are the middle 95 % over bootstraps that draw groups (people
or source videos) with replacement, since clips of one group are not independent. One draw gives
each clip a weight, the number of times its group was drawn, so that all draws are taken at once.
Figures that cannot be had, such as an AUC without real clips, are NaN and never a neutral value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

DRAWS = 2000
LEVEL = 0.95
BINS = 10
FALSE_POSITIVE_RATES = (0.01, 0.05, 0.10)
REAL_GROUPS_FOR_1_PERCENT = 300
PREVALENCES = (0.01, 0.10, 0.50)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; `n` clips stand behind it."""

    value: float
    low: float
    high: float
    n: int

    def covers(self, value: float) -> bool:
        """Whether the interval holds this value; one that is not known holds everything."""
        return not (self.low > value or self.high < value)


@dataclass(frozen=True, slots=True)
class Count:
    """`k` of `n`, with the interval of Clopper and Pearson: clips counted as independent."""

    k: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The plain share; NaN of nothing."""
        return self.k / self.n if self.n else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRate:
    """How many fakes are found where so many real clips raise an alarm."""

    wanted_false_positive_rate: float
    threshold: float  # a clip counts as manipulated from here on
    found: Count  # of the fakes
    false_positives: Count  # of the real clips


class Groups:
    """
    Who belongs together, and which groups each draw of the bootstrap takes.

    Args:
        groups: of each of N clips.
        seed: of the draws. The same groups and seed give the same draws, which is what pairs two
            figures of the same clips.
    """

    def __init__(self, groups: Sequence[str], *, seed: int = 0, draws: int = DRAWS) -> None:
        self.names, self._of_clip = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        count = len(self.names)
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, max(count, 1), (draws, count))
        self.times = np.zeros((draws, count))  # [draws, groups]
        np.add.at(self.times, (np.arange(draws)[:, None], chosen), 1.0)

    def weights(self) -> Array:
        """Return how often each clip was drawn, `[draws, N]`."""
        return np.asarray(self.times[:, self._of_clip])

    def table(self, kernel: Array, rows: Bools, columns: Bools) -> Array:
        """Sum a kernel `[rows, columns]` between clips over their groups, `[groups, groups]`."""
        count = len(self.names)
        by_row = np.zeros((count, kernel.shape[1]))
        np.add.at(by_row, self._of_clip[rows], kernel)
        both = np.zeros((count, count))
        np.add.at(both.T, self._of_clip[columns], by_row.T)
        return both

    def counts(self, chosen: Bools) -> Array:
        """Count the chosen clips in each draw, `[draws]`."""
        sizes = np.bincount(self._of_clip[chosen], minlength=len(self.names))
        return np.asarray(self.times @ sizes, dtype=np.float64)


def auc(scores: Array, is_fake: Bools) -> float:
    """Return the chance that a fake scores above a real clip; ties count one half."""
    fake, real = scores[is_fake], scores[~is_fake]
    if not len(fake) or not len(real):
        return float("nan")
    return float(_kernel(fake, real).mean())


def auc_draws(scores: Array, is_fake: Bools, groups: Groups) -> Array:
    """Return the AUC of each draw, `[draws]`; NaN where one of the two labels was not drawn."""
    kernel = _kernel(scores[is_fake], scores[~is_fake])
    table = groups.table(kernel, is_fake, ~is_fake)
    total = np.einsum("dg,gh,dh->d", groups.times, table, groups.times, optimize=True)
    pairs = groups.counts(is_fake) * groups.counts(~is_fake)
    unknown = np.full_like(total, np.nan)
    return np.asarray(np.divide(total, pairs, out=unknown, where=pairs > 0))


def auc_interval(
    scores: Array, is_fake: Bools, groups: Sequence[str], *, seed: int = 0
) -> Estimate:
    """Return the AUC with its interval over groups."""
    drawn = auc_draws(scores, is_fake, Groups(groups, seed=seed))
    return _estimate(auc(scores, is_fake), drawn, n=len(scores))


def auc_difference(
    first: Array, second: Array, is_fake: Bools, groups: Sequence[str], *, seed: int = 0
) -> Estimate:
    """Return by how much the first scores' AUC is above the second's, on the same clips."""
    drawn_from = Groups(groups, seed=seed)
    drawn = auc_draws(first, is_fake, drawn_from) - auc_draws(second, is_fake, drawn_from)
    return _estimate(auc(first, is_fake) - auc(second, is_fake), drawn, n=len(first))


def auc_of_runs(
    runs: Array,
    is_fake: Bools,
    groups: Sequence[str],
    *,
    against: Array | None = None,
    seed: int = 0,
) -> Estimate:
    """
    Return the mean AUC of several runs on the same clips.

    The interval is over groups; by how much runs differ that should not is not in it.

    Args:
        runs: scores `[runs, N]`.
        against: scores `[other runs, N]` whose mean AUC is taken off, drawn alike; none unless
            given.
    """
    drawn_from = Groups(groups, seed=seed)

    def means(scores: Array) -> tuple[float, Array]:
        drawn = [auc_draws(each, is_fake, drawn_from) for each in scores]
        return float(np.mean([auc(each, is_fake) for each in scores])), np.mean(drawn, axis=0)

    value, drawn = means(runs)
    if against is not None:
        less, drawn_less = means(against)
        value, drawn = value - less, drawn - drawn_less
    return _estimate(value, drawn, n=len(is_fake))


def even_odds(is_fake: Bools) -> Array:
    """Weigh clips so that both labels count the same: a data set's mixture means nothing."""
    share = np.clip(is_fake.mean(), 1e-9, 1 - 1e-9) if len(is_fake) else 0.5
    return np.where(is_fake, 0.5 / share, 0.5 / (1 - share))


def mean_interval(
    values: Array, groups: Sequence[str], *, weights: Array | None = None, seed: int = 0
) -> Estimate:
    """Return the mean of a value per clip, weighted if told how, with its interval over groups."""
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    weights = np.ones(len(values)) if weights is None else weights
    value = float(values @ weights / weights.sum())
    drawn = Groups(groups, seed=seed).weights() * weights
    return _estimate(value, np.asarray(drawn @ values / drawn.sum(axis=1)), n=len(values))


def equal_error_rate(
    scores: Array, is_fake: Bools, groups: Sequence[str], *, seed: int = 0
) -> Estimate:
    """Return the share of errors at the threshold where misses and false alarms are equal."""
    return _bootstrapped(_equal_error_rates, scores, is_fake, groups, seed=seed)


def average_precision(
    scores: Array,
    is_fake: Bools,
    groups: Sequence[str],
    *,
    prevalence: float,
    seed: int = 0,
) -> Estimate:
    """Return the area under precision over recall, were this share of all clips manipulated."""

    def at_prevalence(ordered: "_Ordered", weights: Array) -> Array:
        return _average_precisions(ordered, weights, prevalence)

    return _bootstrapped(at_prevalence, scores, is_fake, groups, seed=seed)


def detection_rate(
    scores: Array, is_fake: Bools, groups: Sequence[str], *, false_positive_rate: float
) -> DetectionRate | None:
    """
    Return how many fakes are found with no more than this share of false positives.

    None where there are too few real clips to tell: fewer than one alarm's worth, or, for 1 %,
    fewer than 300 groups of real clips.
    """
    real = scores[~is_fake]
    real_groups = len(set(np.asarray(groups, dtype=str)[~is_fake]))
    if len(real) < 1 / false_positive_rate or not is_fake.any():
        return None
    if false_positive_rate < min(FALSE_POSITIVE_RATES[1:]) and (
        real_groups < REAL_GROUPS_FOR_1_PERCENT
    ):
        return None
    threshold = threshold_for(real, false_positive_rate)
    return DetectionRate(
        wanted_false_positive_rate=false_positive_rate,
        threshold=threshold,
        found=counted(scores[is_fake] >= threshold),
        false_positives=counted(real >= threshold),
    )


def threshold_for(real: Array, false_positive_rate: float) -> float:
    """Return the smallest score from which on at most this share of real clips lie."""
    allowed = int(np.floor(false_positive_rate * len(real) + 1e-9))
    ordered = np.sort(real)[::-1]
    # Just above the highest real clip that must not alarm, so that one tied with it does not.
    return float(np.nextafter(ordered[allowed], np.inf)) if allowed < len(real) else float("-inf")


def counted(hits: Bools) -> Count:
    """Count hits; the interval is that of Clopper and Pearson."""
    k, n = int(hits.sum()), len(hits)
    low, high = clopper_pearson(k, n)
    return Count(k, n, low, high)


def clopper_pearson(k: int, n: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a share of which `k` of `n` were seen."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high


def brier(
    probabilities: Array, is_fake: Bools, groups: Sequence[str], *, seed: int = 0
) -> Estimate:
    """Return the mean squared distance between probability and truth, at even odds."""
    off = (probabilities - is_fake) ** 2
    return mean_interval(off, groups, weights=even_odds(is_fake), seed=seed)


def log_loss(probabilities: Array, is_fake: Bools) -> float:
    """Return the mean negative log likelihood at even odds, in nats."""
    if not len(probabilities):
        return float("nan")
    likely = np.where(is_fake, probabilities, 1 - probabilities)
    return float(-np.average(np.log(np.clip(likely, 1e-9, 1)), weights=even_odds(is_fake)))


def calibration_error(
    probabilities: Array, is_fake: Bools, groups: Sequence[str], *, seed: int = 0
) -> Estimate:
    """
    Return the expected calibration error at even odds, over `BINS` bins of equally many clips.

    It is never 0 with few clips: `calibration_error_of_chance` says what a perfect forecaster
    would show.
    """
    if not len(probabilities):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    members = _bins(probabilities)
    off, even = is_fake - probabilities, even_odds(is_fake)
    value = _calibration_errors(off, members, even[None])[0]
    drawn = _calibration_errors(off, members, Groups(groups, seed=seed).weights() * even)
    return _estimate(float(value), drawn, n=len(is_fake))


def calibration_error_of_chance(
    probabilities: Array, is_fake: Bools, *, seed: int = 0, draws: int = 1000
) -> float:
    """Return the mean calibration error if every probability were exactly right."""
    if not len(probabilities):
        return float("nan")
    rng = np.random.default_rng(seed)
    # What is right at even odds, turned into what is right in this mixture.
    share = is_fake.mean()
    in_mixture = probabilities * share
    in_mixture /= in_mixture + (1 - probabilities) * (1 - share) + 1e-12
    outcomes = rng.random((draws, len(probabilities))) < in_mixture
    weights = np.where(outcomes, 0.5 / max(share, 1e-9), 0.5 / max(1 - share, 1e-9))
    off = _calibration_errors(outcomes - probabilities, _bins(probabilities), weights)
    return float(off.mean())


def reliability(probabilities: Array, is_fake: Bools) -> list[tuple[float, float, float, float]]:
    """Return of each bin the mean probability, the share of fakes, and its interval, low, high.

    Shares are at even odds; the interval is that of Clopper and Pearson.
    """
    fakes, reals = even_odds(is_fake)[is_fake], even_odds(is_fake)[~is_fake]
    if not len(fakes) or not len(reals):
        return []
    found = []
    for members in _bins(probabilities):
        if members.any():
            count = counted(is_fake[members])
            shares = (s * fakes[0] / (s * fakes[0] + (1 - s) * reals[0])
                      for s in (count.share, count.low, count.high))  # fmt: skip
            found.append((float(probabilities[members].mean()), *shares))
    return found


def risk_coverage(probabilities: Array, is_fake: Bools) -> tuple[Array, Array]:
    """Return coverage and share of errors as ever less sure clips are judged, surest first."""
    sure = np.argsort(-np.abs(probabilities - 0.5), kind="stable")
    wrong = ((probabilities >= 0.5) != is_fake)[sure]  # noqa: PLR2004 - the even odds
    judged = np.arange(1, len(wrong) + 1)
    return judged / max(len(wrong), 1), np.cumsum(wrong) / judged


def area_under_risk(probabilities: Array, is_fake: Bools) -> float:
    """Return the mean share of errors over all coverages; lower is better."""
    _, risk = risk_coverage(probabilities, is_fake)
    return float(risk.mean()) if len(risk) else float("nan")


def roc(
    scores: Array, is_fake: Bools, groups: Sequence[str], *, seed: int = 0
) -> tuple[Array, Array]:
    """
    Return the ROC over a grid of false positive rates.

    Returns:
        The grid, `[101]`, and the true positive rate with its interval, `[3, 101]`: value, low,
        high.
    """
    grid = np.linspace(0, 1, 101)
    ordered = _Ordered(scores, is_fake)
    value = _curves(ordered, np.ones((1, len(scores))), grid)[0]
    drawn = _curves(ordered, Groups(groups, seed=seed).weights(), grid)
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(drawn, [tail, 100 - tail], axis=0)
    return grid, np.stack([value, low, high])


class _Ordered:
    """Clips from the highest score down, and where each run of equal scores ends."""

    def __init__(self, scores: Array, is_fake: Bools) -> None:
        self.order = np.argsort(-scores, kind="stable")
        falling = scores[self.order]
        self.ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
        self.is_fake = is_fake[self.order]

    def rates(self, weights: Array) -> tuple[Array, Array]:
        """Return true and false positive rates at each threshold, `[draws, thresholds]`."""
        in_order = weights[:, self.order]
        rates = []
        for chosen in (self.is_fake, ~self.is_fake):
            passed = np.cumsum(in_order * chosen, axis=1)
            total = passed[:, -1:]
            share = np.divide(passed, total, out=np.full_like(passed, np.nan), where=total > 0)
            rates.append(share[:, self.ends])
        return rates[0], rates[1]


def _bootstrapped(
    figure: Callable[[_Ordered, Array], Array],
    scores: Array,
    is_fake: Bools,
    groups: Sequence[str],
    *,
    seed: int,
) -> Estimate:
    if not is_fake.any() or is_fake.all():
        return Estimate(float("nan"), float("nan"), float("nan"), len(scores))
    ordered = _Ordered(scores, is_fake)
    value = figure(ordered, np.ones((1, len(scores))))[0]
    drawn = figure(ordered, Groups(groups, seed=seed).weights())
    return _estimate(float(value), drawn, n=len(scores))


def _equal_error_rates(ordered: _Ordered, weights: Array) -> Array:
    true, false = ordered.rates(weights)
    misses = 1 - true
    # The first threshold at which false alarms reach misses, and the one before: the straight
    # line between the two crosses at the equal error rate.
    after = np.argmax(false >= misses, axis=1)
    draws = np.arange(len(after))
    has_before = after > 0
    before = np.maximum(after - 1, 0)
    miss_0 = np.where(has_before, misses[draws, before], 1.0)
    false_0 = np.where(has_before, false[draws, before], 0.0)
    miss_1, false_1 = misses[draws, after], false[draws, after]
    gap_0, gap_1 = miss_0 - false_0, miss_1 - false_1
    share = np.divide(gap_0, gap_0 - gap_1, out=np.zeros_like(gap_0), where=gap_0 != gap_1)
    return np.asarray(false_0 + share * (false_1 - false_0))


def _average_precisions(ordered: _Ordered, weights: Array, prevalence: float) -> Array:
    true, false = ordered.rates(weights)
    alarms = prevalence * true + (1 - prevalence) * false
    precision = np.divide(prevalence * true, alarms, out=np.ones_like(alarms), where=alarms > 0)
    gained = np.diff(true, axis=1, prepend=0.0)
    return np.asarray((gained * precision).sum(axis=1))


def _curves(ordered: _Ordered, weights: Array, grid: Array) -> Array:
    true, false = ordered.rates(weights)
    curves = np.full((len(weights), len(grid)), np.nan)
    for draw, (t, f) in enumerate(zip(true, false, strict=True)):
        if np.isfinite(t).all() and np.isfinite(f).all():
            curves[draw] = np.interp(grid, np.append(0.0, f), np.append(0.0, t))
    return curves


def _bins(probabilities: Array) -> Bools:
    """Deal the clips, by probability, into `BINS` bins of the same size; `[bins, N]`."""
    order = np.argsort(probabilities, kind="stable")
    members = np.zeros((BINS, len(probabilities)), dtype=bool)
    for which, part in enumerate(np.array_split(order, BINS)):
        members[which, part] = True
    return members


def _calibration_errors(off: Array, members: Bools, weights: Array) -> Array:
    """Sum, over bins, how far off they are on the whole; `weights` are `[draws, N]`."""
    of_bins = np.abs((weights * off) @ members.T.astype(np.float64)).sum(axis=1)
    return np.asarray(of_bins / weights.sum(axis=1))


def _kernel(fake: Array, real: Array) -> Array:
    """Return 1 where a fake is above a real clip, 0.5 where they are level, else 0."""
    above = fake[:, None] - real[None, :]
    return np.asarray(0.5 * (np.sign(above) + 1))


def _estimate(value: float, drawn: Array, *, n: int) -> Estimate:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"), n)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(known, [tail, 100 - tail])
    return Estimate(value, float(low), float(high), n)
