"""
Can what detectors say of a manipulated face tell what kind of method made it?

    python -m workers.training.attribution --evidence out/evidence

Fits a multinomial logistic regression over the evidence that `deepverdict train cues` collected,
families weighing alike, and asks it about groups of people that were left out. A family is named
from the probability on from which the answer was right often enough among those, each family, and
in it each data set, weighing alike: data sets are full of face swaps, and always saying so would be
right most of the time. Families that too few groups or a single data set stand for are one,
"other", and never named; nor is one that there is too little to tell it from.

The evidence should be by networks that never saw the clips: by those of folds, or else of the
splits that the networks at hand did not learn from (`--split`).
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from app.domain.evidence import DetectorName
from app.errors import ServiceError
from models.pull import put
from workers.detection.attribution import FILE, LOGIT, UNKNOWN, VALUE, readings
from workers.detection.detectors.attribution import LEAST_PROBABILITY
from workers.detection.reference import Transform, transformed
from workers.training.errors import BadDataset
from workers.training.evaluate.metrics import Array, Bools, Groups
from workers.training.fusion.evidence import ClipEvidence, cue_kinds, read_evidence, sha256_of
from workers.training.manifest import SPLITS, deal

READ: Mapping[DetectorName, tuple[str, ...]] = {
    DetectorName.FRAME_CLASSIFIER: (LOGIT, "fake_logit_deviation"),
    DetectorName.LANDMARK_FLOW: (LOGIT, "mean_flow_beyond_the_landmarks_px"),
    DetectorName.TEMPORAL_SMOOTHNESS: (VALUE,),
    DetectorName.OVER_BLUR: (VALUE,),
    DetectorName.BOUNDARY_COLOR: (VALUE,),
    DetectorName.DOUBLE_EDGE: (VALUE,),
    DetectorName.MOUTH_BLUR: (VALUE,),
    DetectorName.NOISE_RESIDUAL: (VALUE,),
}
"""What may tell. Blinks, speech and hands before the face depend on the clip, not on the method; of
the segmenter there are no networks of folds, and what it says of clips that it learned from tells
which those were."""
FOLDS = 5
DEALS = 5
"""Groups are dealt out so many times: a single deal is a matter of luck."""
STRENGTH = 0.1
"""Inverse of the ridge on weights of standardised features; few clips allow no more."""
LEAST_SHARE = 0.5
"""Of the clips that a feature must be measured in, and of the features that an answer needs."""
OTHER = "other"
"""All families that are not told apart; an answer that it is one of them is no answer."""
LEAST_GROUPS, LEAST_DATASETS = 5, 2
LEAST_PRECISION, LEAST_SURELY = 0.7, 0.5
"""Of the answers so many must be right, and with 95 % confidence more than are wrong: among many
thresholds one is good by luck."""
LEAST_ANSWERS = 10
"""With fewer, a precision says nothing."""
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(8, 20))
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cases:
    """Manipulated clips, N of them, F features."""

    names: tuple[tuple[DetectorName, str], ...]  # of the features
    transforms: tuple[Transform, ...]  # likewise
    values: Array  # [N, F] after the transform, NaN where missing
    families: tuple[str, ...]  # of each clip; OTHER of those that are not told apart
    groups: tuple[str, ...]
    datasets: tuple[str, ...]
    is_asked: Bools  # [N] whether the detector would be asked about it
    left_out: tuple[str, ...]  # families that are OTHER here, each with its clips and groups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Log odds of K families that are linear in standardised features."""

    families: tuple[str, ...]
    means: Array  # [F]
    deviations: Array  # [F]
    intercepts: Array  # [K]
    weights: Array  # [K, F]

    def probabilities(self, values: Array) -> Array:
        """Return the probability of each family, `[N, K]`."""
        told = np.nan_to_num((values - self.means) / self.deviations)
        odds = self.intercepts + told @ self.weights.T
        odds -= odds.max(axis=1, keepdims=True)
        said = np.exp(odds)
        return np.asarray(said / said.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How answering with a family does, on groups that were left out."""

    family: str
    clips: int
    groups: int
    named_from: float | None
    precision: float | None  # families weighing alike; None where it is never answered
    low: float  # of it, 95 % over groups
    answers: int  # clips answered so, at `named_from`
    right: int  # of those
    recall: float  # share of its clips answered so
    best_precision: float | None  # at the threshold where it is highest, whatever came of that
    why_not: str  # where it is never named


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """What naming a family from a threshold on would bring."""

    threshold: float
    precision: float
    low: float
    answers: float
    right: float


def cases_of(clips: Sequence[ClipEvidence]) -> Cases:
    """
    Lay out the manipulated clips that the frame classifier did not abstain from.

    Raises:
        BadDataset: there are too few of two families.
    """
    kinds = cue_kinds()
    seen = [
        (clip, odds) for clip in clips if clip.is_fake and (odds := _suspicion(clip)) is not None
    ]
    asked = [clip for clip, _ in seen]
    tables = [readings(clip.persons[0].evidence) for clip in asked]
    names = [
        (detector, reading)
        for detector, of in READ.items()
        for reading in of
        if sum((detector, reading) in table for table in tables) >= LEAST_SHARE * len(tables)
    ]
    standing = _standing(asked)
    families = tuple(c.family if _is_told(standing[c.family]) else OTHER for c in asked)
    if len({f for f in families if families.count(f) >= LEAST_ANSWERS}) < 2 or not names:  # noqa: PLR2004 - one cannot be told from itself
        raise BadDataset(
            f"{len(asked)} manipulated clips are not enough to tell families apart; give "
            f"{LEAST_ANSWERS} or more of two families"
        )
    transforms = tuple(
        kinds[detector].transform if reading == VALUE and detector in kinds else Transform.NONE
        for detector, reading in names
    )
    values = [
        [
            transformed(table[name], transform) if name in table else np.nan
            for name, transform in zip(names, transforms, strict=True)
        ]
        for table in tables
    ]
    return Cases(
        names=tuple(names),
        transforms=transforms,
        values=np.array(values, dtype=np.float64),
        families=families,
        groups=tuple(clip.group for clip in asked),
        datasets=tuple(clip.dataset for clip in asked),
        is_asked=np.array([odds >= _log_odds(LEAST_PROBABILITY) for _, odds in seen], bool),
        left_out=tuple(
            f"{family} ({s.clips} clips, groups: {s.groups}, data sets: {s.datasets})"
            for family, s in sorted(standing.items())
            if not _is_told(s)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What stands for a family."""

    clips: int
    groups: int
    datasets: int


def _standing(clips: Sequence[ClipEvidence]) -> dict[str, _Standing]:
    found = {}
    for family in {clip.family for clip in clips}:
        own = [clip for clip in clips if clip.family == family]
        found[family] = _Standing(
            clips=len(own),
            groups=len({clip.group for clip in own}),
            datasets=len({clip.dataset for clip in own}),
        )
    return found


def _is_told(standing: _Standing) -> bool:
    return standing.groups >= LEAST_GROUPS and standing.datasets >= LEAST_DATASETS


def shares(families: Sequence[str], datasets: Sequence[str]) -> Array:
    """
    Weigh clips so that every family counts the same, and in it every data set; N in all.

    A data set with many clips would otherwise stand for its family, and its camera for the method.
    """
    cells = list(zip(families, datasets, strict=True))
    sets_of = {family: len({d for f, d in cells if f == family}) for family in set(families)}
    counts = Counter(cells)
    weights = np.array([1 / (sets_of[f] * counts[f, d]) for f, d in cells])
    return np.asarray(weights * len(cells) / weights.sum())


def fit(
    values: Array, families: Sequence[str], datasets: Sequence[str], *, strength: float = STRENGTH
) -> Model:
    """Fit a model in which every family weighs the same, and in it every data set."""
    names = tuple(sorted(set(families)))
    of = np.array([names.index(family) for family in families])
    weights = shares(families, datasets)
    has = np.isfinite(values)
    total = np.maximum((has * weights[:, None]).sum(axis=0), 1e-9)
    filled = np.where(has, values, 0.0)
    means = (filled * weights[:, None]).sum(axis=0) / total
    spread = np.sqrt((has * weights[:, None] * (filled - means) ** 2).sum(axis=0) / total)
    deviations = np.where(spread > 1e-9, spread, 1.0)  # noqa: PLR2004 - a constant tells nothing
    told = np.nan_to_num((values - means) / deviations)
    count, features = len(names), values.shape[1]
    truth = np.eye(count)[of]

    def cost(at: Array) -> tuple[float, Array]:
        matrix = at.reshape(count, features + 1)
        odds = matrix[:, 0] + told @ matrix[:, 1:].T
        odds -= odds.max(axis=1, keepdims=True)
        said = np.exp(odds)
        said /= said.sum(axis=1, keepdims=True)
        loss = -(weights * np.log((said * truth).sum(axis=1) + 1e-12)).sum()
        pull = (said - truth) * weights[:, None]
        slope = np.concatenate([pull.sum(axis=0)[:, None], pull.T @ told], axis=1)
        ridge = np.concatenate([np.zeros((count, 1)), matrix[:, 1:] / strength], axis=1)
        return float(loss + (ridge * matrix).sum() / 2), (slope + ridge).ravel()

    found = minimize(cost, np.zeros(count * (features + 1)), jac=True, method="L-BFGS-B")
    matrix = found.x.reshape(count, features + 1)
    return Model(
        families=names,
        means=means,
        deviations=deviations,
        intercepts=matrix[:, 0] - matrix[:, 0].mean(),
        weights=matrix[:, 1:],
    )


def left_out(cases: Cases, *, seed: int = 0) -> Array:
    """Return the probability of each family by models of other groups, `[DEALS, N, K]`."""
    names = tuple(sorted(set(cases.families)))
    holdings: dict[str, set[str]] = {}
    for group, family in zip(cases.groups, cases.families, strict=True):
        holdings.setdefault(group, set()).add(family)
    strata = {group: (" + ".join(sorted(held)),) for group, held in holdings.items()}
    found = np.zeros((DEALS, len(cases.groups), len(names)))
    for turn in range(DEALS):
        fold_of = deal(strata, [1 / FOLDS] * FOLDS, seed=seed + turn)
        folds = np.array([fold_of[group] for group in cases.groups])
        for fold in np.unique(folds):
            held = folds == fold
            others = np.flatnonzero(~held)
            model = fit(
                cases.values[others],
                [cases.families[i] for i in others],
                [cases.datasets[i] for i in others],
            )
            columns = [names.index(family) for family in model.families]
            found[turn][np.ix_(held, columns)] = model.probabilities(cases.values[held])
    return found


def answering(cases: Cases, probabilities: Array) -> list[Answering]:
    """Choose from where on each family is named, and say how that does."""
    names = tuple(sorted(set(cases.families)))
    families = np.array(cases.families)
    return [_answering(cases, families, names, probabilities, family) for family in names]


def _answering(
    cases: Cases,
    families: np.ndarray[Any, np.dtype[np.str_]],
    names: Sequence[str],
    probabilities: Array,
    family: str,
) -> Answering:
    families = families[cases.is_asked]
    probabilities = probabilities[:, cases.is_asked]
    groups_of = [g for g, is_asked in zip(cases.groups, cases.is_asked, strict=True) if is_asked]
    own = families == family
    place = names.index(family)
    is_best = probabilities.argmax(axis=2) == place
    times = Groups(groups_of).weights()
    datasets = [d for d, is_asked in zip(cases.datasets, cases.is_asked, strict=True) if is_asked]
    alike = shares(families.tolist(), datasets)
    at = []
    for threshold in THRESHOLDS:
        said = (is_best & (probabilities[:, :, place] >= threshold)).mean(axis=0)
        if said.any():
            (value,) = _precision(said, families, names, family, alike[None])
            drawn = _precision(said, families, names, family, times * alike)
            known = drawn[np.isfinite(drawn)]
            low = float(np.percentile(known, 2.5)) if len(known) else 0.0
            at.append(
                _Point(
                    threshold=threshold,
                    precision=float(value),
                    low=low,
                    answers=float(said.sum()),
                    right=float(said[own].sum()),
                )
            )
    many = [a for a in at if a.answers >= LEAST_ANSWERS]
    able = [a for a in many if a.precision >= LEAST_PRECISION and a.low >= LEAST_SURELY]
    why_not = ""
    others = {g for g, mine in zip(groups_of, own, strict=True) if not mine}
    if family == OTHER:
        why_not = "several families that too few stand for"
    elif len(others) < LEAST_GROUPS:
        why_not = f"{len(others)} groups of other families are too few to tell it from"
    elif not able:
        why_not = (
            f"right in {LEAST_PRECISION:.0%} of {LEAST_ANSWERS} answers or more, and surely in "
            f"{LEAST_SURELY:.0%}, from no probability on"
        )
    chosen = None if why_not else able[0]
    return Answering(
        family=family,
        clips=cases.families.count(family),
        groups=len({g for g, f in zip(cases.groups, cases.families, strict=True) if f == family}),
        named_from=None if chosen is None else chosen.threshold,
        precision=None if chosen is None else round(chosen.precision, 3),
        low=0.0 if chosen is None else chosen.low,
        answers=0 if chosen is None else round(chosen.answers),
        right=0 if chosen is None else round(chosen.right),
        recall=0.0 if chosen is None else chosen.right / max(float(own.sum()), 1.0),
        best_precision=max((a.precision for a in many), default=None),
        why_not=why_not,
    )


def _precision(
    said: Array,
    families: np.ndarray[Any, np.dtype[np.str_]],
    names: Sequence[str],
    family: str,
    times: Array,
) -> Array:
    """
    Return how often an answer is right, were every family as frequent, for each draw of clips.

    Args:
        said: share of the deals in which each clip was answered so, `[N]`.
        times: how often each clip counts, `[draws, N]`.
    """
    rates = {}
    for name in names:
        of = times[:, families == name]
        total = of.sum(axis=1)
        told = of @ said[families == name]
        rates[name] = np.divide(told, total, out=np.zeros(len(times)), where=total > 0)
    total = np.sum(list(rates.values()), axis=0)
    unknown = np.full(len(times), np.nan)
    return np.asarray(np.divide(rates[family], total, out=unknown, where=total > 0))


def attribution_json(cases: Cases, found: Sequence[Answering], *, evidence_sha256: str) -> str:
    """Write the file that detection reads; the same evidence gives the same bytes."""
    model = fit(cases.values, cases.families, cases.datasets)
    of = {answering.family: answering for answering in found}
    body = {
        "version": f"families-{evidence_sha256[:8]}",
        "evidence_sha256": evidence_sha256,
        "words": words(cases, found),
        "least_measured": int(np.ceil(LEAST_SHARE * len(cases.names))),
        "features": [
            {
                "detector": detector.value,
                "reading": reading,
                "transform": transform.value,
                "mean": _rounded(mean),
                "deviation": _rounded(deviation),
            }
            for (detector, reading), transform, mean, deviation in zip(
                cases.names, cases.transforms, model.means, model.deviations, strict=True
            )
        ],
        "families": [
            {
                "name": family,
                "intercept": _rounded(intercept),
                "weights": [_rounded(weight) for weight in weights],
                "named_from": of[family].named_from,
                "clips": of[family].clips,
                "groups": of[family].groups,
                "precision": of[family].precision,
                "answers": of[family].answers,
            }
            for family, intercept, weights in zip(
                model.families, model.intercepts, model.weights, strict=True
            )
        ],
    }
    return json.dumps(body, indent=1, allow_nan=False) + "\n"


def words(cases: Cases, found: Sequence[Answering]) -> str:
    """Say what the figures rest on, and which families are never named."""
    never = [
        f"{a.family} ({a.why_not})" for a in found if a.named_from is None and a.family != OTHER
    ]
    never += [*cases.left_out, "whole-image synthesis (no clips)"]
    return (
        f"Fitted on {len(cases.families)} manipulated clips of {len(set(cases.groups))} groups. "
        f"Never named: {'; '.join(never)}."
    )


def attribute_command(
    evidence: Path, file: Path, *, console: Console, splits: Sequence[str] = ()
) -> list[Answering]:
    """
    Fit, measure on groups left out, write the file, and show it.

    Args:
        splits: whose clips count; all of them where none is given.

    Raises:
        BadDataset: there is no evidence, or too little of it.
    """
    clips = [clip for clip in read_evidence(evidence) if not splits or clip.split in splits]
    cases = cases_of(clips)
    found = answering(cases, left_out(cases))
    put(attribution_json(cases, found, evidence_sha256=sha256_of(evidence)).encode(), file)
    drawn = Table(
        "family", "clips", "groups", "named from", "precision", "at least", "right / answers", "why"
    )
    for a in found:
        drawn.add_row(
            a.family,
            str(a.clips),
            str(a.groups),
            UNKNOWN if a.named_from is None else f"{a.named_from:.2f}",
            _share(a.precision if a.named_from is not None else a.best_precision),
            _share(a.low if a.named_from is not None else None),
            f"{a.right} / {a.answers}",
            a.why_not,
        )
    console.print(drawn)
    console.print(f"written to {file}", highlight=False, soft_wrap=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.training.attribution",
        description=(__doc__ or "").strip().splitlines()[0],
    )
    parser.add_argument("--evidence", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--split", action="append", default=[], choices=SPLITS)
    given = parser.parse_args(arguments)
    try:
        attribute_command(
            given.evidence, given.out, console=Console(stderr=True), splits=given.split
        )
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _suspicion(clip: ClipEvidence) -> float | None:
    """Return the frame classifier's log odds of whoever is longest on screen."""
    if not clip.persons:
        return None
    return readings(clip.persons[0].evidence).get((DetectorName.FRAME_CLASSIFIER, LOGIT))


def _log_odds(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


if __name__ == "__main__":
    sys.exit(main())
