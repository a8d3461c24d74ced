"""
How much may each feature say? A logistic regression whose weights are never below 0.

A sign that could turn round would let a cue that tells cameras apart acquit whoever has the right
camera. Beside each feature stands a flag for clips in which it was not measured. The flags take up,
while the weights are fitted, what abstaining tells of a clip's source; afterwards they are set to
their mean, since where a clip comes from is no evidence against it: a missing feature then counts
like an ordinary one. Both labels weigh the same, as in a calibration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from app.domain.fusion import Fusion, Term
from workers.detection.detectors import aggregation
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Array, Bools, Estimate, Groups
from workers.training.fusion.table import Ints, Table
from workers.training.manifest import deal

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse of the ridge on standardised weights: at 0.01 hardly anything is left of them with the
clips at hand, at 1 hardly anything is taken."""
FOLDS = 5
INNER_FOLDS = 4
DEALS = 3
"""Groups are dealt out so many times, and log odds averaged: a single deal is a matter of luck."""
LEAST_MEASURED = 10
"""Of clips; a feature that fewer have gets no weight."""
LEAST_DEVIATION = 1e-9
DIGITS = 6
"""Significant digits of what is written: more would differ between machines."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Log odds that are linear in F standardised features, a missing one counting as the mean."""

    intercept: float
    weights: Array  # [F], 0 or more
    means: Array  # [F]
    deviations: Array  # [F]

    def log_odds(self, values: Array) -> Array:
        """Return the log odds `[N]` of values `[N, F]`, NaN where missing."""
        off = np.nan_to_num((values - self.means) / self.deviations)
        return np.asarray(self.intercept + off @ self.weights)


def even(is_fake: Bools, times: Array | None = None) -> Array:
    """Weigh clips `[N]` so that both labels count the same, N in all; each counts `times`."""
    times = np.ones(len(is_fake)) if times is None else times
    weights = np.zeros(len(is_fake))
    for chosen in (is_fake, ~is_fake):
        total = times[chosen].sum()
        weights[chosen] = times[chosen] * len(is_fake) / 2 / total if total > 0 else 0.0
    return weights


def scale_of(values: Array, weights: Array) -> tuple[Array, Array]:
    """Return mean and deviation `[F]` of what was measured; deviation 0 where too little was."""
    has = np.isfinite(values) & (weights > 0)[:, None]
    shares = has * weights[:, None]
    total = shares.sum(axis=0)
    total = np.where(total > 0, total, 1.0)
    filled = np.where(has, values, 0.0)
    means = (shares * filled).sum(axis=0) / total
    deviations = np.sqrt((shares * (filled - means) ** 2).sum(axis=0) / total)
    is_enough = (has.sum(axis=0) >= LEAST_MEASURED) & (deviations > LEAST_DEVIATION)
    return means, np.where(is_enough, deviations, 0.0)


def fit(
    values: Array,
    is_fake: Bools,
    strength: float,
    *,
    times: Array | None = None,
    scale: tuple[Array, Array] | None = None,
) -> Model:
    """
    Fit weights of 0 or more.

    Args:
        values: `[N, F]`, NaN where missing.
        is_fake: `[N]`.
        strength: inverse of the ridge.
        times: how often each clip counts, `[N]`; once unless given.
        scale: means and deviations to go by; those of these clips unless given.
    """
    weights = even(is_fake, times)
    means, deviations = scale_of(values, weights) if scale is None else scale
    is_used = deviations > 0
    spread = np.where(is_used, deviations, 1.0)
    off = np.nan_to_num((values - means) / spread) * is_used
    flags = np.isnan(values).astype(np.float64)
    flags -= (weights @ flags) / weights.sum()
    flags *= is_used & (np.abs(flags).max(axis=0, initial=0.0) > 0)
    count = values.shape[1]
    design = np.hstack([np.ones((len(values), 1)), off, flags])
    ridge = np.concatenate([[0.0], np.full(2 * count, 1 / strength)])
    sign = np.where(is_fake, 1.0, -1.0)

    def cost(at: Array) -> tuple[float, Array]:
        margin = sign * (design @ at)
        loss = weights @ np.logaddexp(0, -margin) + ridge @ at**2 / 2
        pull = -sign * weights / (1 + np.exp(np.clip(margin, -500, 500)))
        return float(loss), np.asarray(design.T @ pull + ridge * at)

    bounds = [(None, None)] + [(0, None)] * count + [(None, None)] * count
    found = minimize(cost, np.zeros(1 + 2 * count), jac=True, method="L-BFGS-B", bounds=bounds)
    return Model(
        intercept=float(found.x[0]),
        weights=np.where(is_used, np.maximum(found.x[1 : 1 + count], 0.0), 0.0),
        means=means,
        deviations=spread,
    )


def deal_clips(groups: Sequence[str], is_fake: Bools, count: int, seed: int) -> Ints:
    """Deal groups out to folds, real and fake ones evenly; returns the fold of each clip `[N]`."""
    holdings: dict[str, set[str]] = {}
    for group, fake in zip(groups, is_fake, strict=True):
        holdings.setdefault(group, set()).add("fake" if fake else "real")
    strata = {group: (" + ".join(sorted(held)),) for group, held in holdings.items()}
    fold_of = deal(strata, [1 / count] * count, seed=seed)
    return np.array([fold_of[group] for group in groups], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossFit:
    """Models that never saw the groups which they are asked about, deal by deal."""

    names: tuple[str, ...]  # of the features
    fold_of: tuple[Mapping[str, int], ...]  # of groups, by deal
    models: tuple[tuple[Model, ...], ...]  # by deal and fold
    strengths: tuple[tuple[float, ...], ...]  # likewise

    def persons(self, table: Table) -> Array:
        """Return the log odds of every person, `[P]`; their groups must have been dealt out."""
        values = table.values[:, table.places(self.names)]
        total = np.zeros(len(values))
        for fold_of, models in zip(self.fold_of, self.models, strict=True):
            folds = np.array([fold_of[group] for group in table.groups])[table.clip_of]
            for fold, model in enumerate(models):
                asked = folds == fold
                total[asked] += model.log_odds(values[asked])
        return total / len(self.models)

    def videos(self, table: Table) -> Array:
        """Return the log odds of every video, `[N]`."""
        return table.of_videos(self.persons(table))


def cross_fit(
    table: Table,
    names: Sequence[str],
    *,
    strengths: Sequence[Sequence[float]] | None = None,
    deals: int = DEALS,
    seed: int = 0,
) -> CrossFit:
    """
    Fit once for each fold of groups that is left out.

    Args:
        strengths: of the ridge, by deal and fold; chosen within what is fitted on unless given.
    """
    values = table.of_main[:, table.places(names)]
    is_fake, groups = table.is_fake, table.groups
    fold_maps, all_models, all_strengths = [], [], []
    for turn in range(deals):
        folds = deal_clips(groups, is_fake, FOLDS, seed + turn)
        models, chosen = [], []
        for fold in range(FOLDS):
            others = folds != fold
            strength = (
                choose_strength(
                    values[others],
                    is_fake[others],
                    [g for g, is_other in zip(groups, others, strict=True) if is_other],
                    seed=seed + turn,
                )
                if strengths is None
                else strengths[turn][fold]
            )
            models.append(fit(values[others], is_fake[others], strength))
            chosen.append(strength)
        fold_maps.append(dict(zip(groups, folds.tolist(), strict=True)))
        all_models.append(tuple(models))
        all_strengths.append(tuple(chosen))
    return CrossFit(
        names=tuple(names),
        fold_of=tuple(fold_maps),
        models=tuple(all_models),
        strengths=tuple(all_strengths),
    )


def choose_strength(values: Array, is_fake: Bools, groups: Sequence[str], *, seed: int) -> float:
    """Return the ridge under which groups that were left out are told best, by log loss."""
    folds = deal_clips(groups, is_fake, INNER_FOLDS, seed)
    losses = []
    for strength in STRENGTHS:
        odds = np.zeros(len(values))
        for fold in range(INNER_FOLDS):
            held = folds == fold
            if held.any():
                odds[held] = fit(values[~held], is_fake[~held], strength).log_odds(values[held])
        losses.append(metrics.log_loss(aggregation.probability(odds), is_fake))
    return STRENGTHS[int(np.argmin(losses))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A feature that does not decide, and what it added where it was dropped."""

    name: str
    gain: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which features decide."""

    kept: tuple[str, ...]
    dropped: tuple[Dropped, ...]  # in the order in which they went
    gains: Mapping[str, Estimate]  # of those kept beside the base: what leaving them out costs
    at_first: Mapping[str, Estimate]  # of every one, among all


def select(
    table: Table,
    candidates: Sequence[str],
    base: Sequence[str],
    *,
    deals: int = DEALS,
    seed: int = 0,
) -> Selection:
    """
    Drop the feature whose gain has the least lower bound, until all gains are surely above 0.

    A gain is what leaving the feature out costs in video AUC, by cross-fitting, with its interval
    over groups drawn with replacement and paired clip by clip. One that many others repeat adds
    nothing among them: hence one goes at a time. The ridge of the round is kept where one is left
    out.

    Args:
        candidates: that may be dropped.
        base: that may not.
    """
    left = [name for name in candidates if name not in base]
    dropped: list[Dropped] = []
    at_first: Mapping[str, Estimate] = {}
    while True:
        gains = gains_of(table, left, base, deals=deals, seed=seed)
        at_first = at_first or gains
        if all(gain.low > 0 for gain in gains.values()):
            break
        worst = min(gains, key=lambda name: (gains[name].low, gains[name].value, name))
        dropped.append(Dropped(name=worst, gain=gains[worst]))
        left.remove(worst)
    return Selection(kept=(*base, *left), dropped=tuple(dropped), gains=gains, at_first=at_first)


def gains_of(
    table: Table, names: Sequence[str], base: Sequence[str], *, deals: int, seed: int = 0
) -> dict[str, Estimate]:
    """Return what each feature adds to the video AUC of the base and all the others."""
    if not names:
        return {}
    whole = cross_fit(table, [*base, *names], deals=deals, seed=seed)
    with_all = whole.videos(table)
    found = {}
    for name in names:
        rest = [*base, *(other for other in names if other != name)]
        without = cross_fit(table, rest, strengths=whole.strengths, deals=deals, seed=seed)
        found[name] = metrics.auc_difference(
            with_all, without.videos(table), table.is_fake, table.groups, seed=seed
        )
    return found


def select_and_score(
    table: Table, candidates: Sequence[str], base: Sequence[str], *, seed: int = 0
) -> Array:
    """
    Return the log odds of every video `[N]` by features that were chosen without its group too.

    This is what the whole procedure is worth; scores of features that were chosen on the same
    clips flatter.
    """
    folds = deal_clips(table.groups, table.is_fake, FOLDS, seed)
    found = np.zeros(len(table.clips))
    for fold in range(FOLDS):
        held = folds == fold
        others = table.only(~held)
        kept = select(others, candidates, base, deals=1, seed=seed).kept
        model, _ = final_fit(others, kept, seed=seed)
        asked = table.only(held)
        values = asked.values[:, asked.places(kept)]
        found[held] = asked.of_videos(model.log_odds(values))
    return found


def final_fit(table: Table, names: Sequence[str], *, seed: int = 0) -> tuple[Model, float]:
    """Fit on all clips; returns the strength of the ridge as well."""
    values = table.of_main[:, table.places(names)]
    strength = choose_strength(values, table.is_fake, table.groups, seed=seed)
    return fit(values, table.is_fake, strength), strength


def as_fusion(
    table: Table, names: Sequence[str], model: Model, strength: float, *, draws: int, seed: int = 0
) -> Fusion:
    """
    Write a model as a verdict reads it, with the covariance of its parameters.

    The covariance is that of fits on groups drawn with replacement. A missing feature moves
    nothing, so that its rows are 0.
    """
    values = table.of_main[:, table.places(names)]
    is_fake = table.is_fake
    scale = (model.means, np.where(model.deviations > 0, model.deviations, 1.0))
    fits = [
        [again.intercept, *again.weights]
        for times in Groups(table.groups, seed=seed, draws=draws).weights()
        if times[is_fake].any() and times[~is_fake].any()
        for again in [fit(values, is_fake, strength, times=times, scale=scale)]
    ]
    size = 1 + 2 * len(names)
    covariance = np.zeros((size, size))
    known = 1 + len(names)
    covariance[:known, :known] = np.cov(np.array(fits), rowvar=False)
    return Fusion(
        intercept=rounded(model.intercept),
        terms=tuple(
            Term(
                feature=name,
                weight=rounded(model.weights[place]),
                mean=rounded(model.means[place]),
                deviation=rounded(model.deviations[place]),
                missing=0.0,
            )
            for place, name in enumerate(names)
        ),
        covariance=tuple(
            tuple(rounded(covariance[min(i, j), max(i, j)]) for j in range(size))
            for i in range(size)
        ),
    )


def rounded(value: float) -> float:
    """Return a number with as many digits as are written."""
    return float(f"{value:.{DIGITS}g}")
