"""
How are the figures of a fit told to people? As tables of a page that somebody else introduces.

Whatever stands above the mark in the page is kept when the figures are written anew.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.domain.policy import Point, Policy
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Array, Estimate
from workers.training.fusion.figures import Alone
from workers.training.fusion.fit import Selection
from workers.training.fusion.labels import Labels
from workers.training.fusion.table import Table

MARK = "<!-- Below: written by `deepverdict train fusion`. Above: kept. -->"
HEAD = "# Evidence: what each detector is worth, and what they are worth together\n"
NOTHING = "-"
ALONE = (
    " One feature decides: the rule that ships rises with the classifier's score and orders videos "
    "as that does, so that its AUC is the classifier's. What is between the two columns comes of "
    "each fold having a line of its own."
)
LEAST_COUNTED = 8
"""Clips of a label that are behind a figure by family; fewer are not told."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Videos that the fusion and the classifier alone have scored."""

    name: str
    table: Table
    fused: Array  # log odds [N]
    base: Array  # of the classifier alone [N]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figures:
    """All that is told."""

    policy: Policy
    reference: str  # version of the real clips that cues were set beside
    whole: Table  # clips in which somebody was seen
    table: Table  # those in which somebody can be judged
    alone: tuple[Alone, ...]
    learned: frozenset[str]  # features whose networks learned from the train split
    selection: Selection
    added: Mapping[str, Estimate]  # of each feature: what it adds to the base alone
    strength: float
    scored: tuple[Scored, ...]
    trivial: Mapping[str, Array]  # scores [N] of `table`
    calibration: Mapping[str, float]
    labels: tuple[Labels, ...]
    labels_shipped: tuple[Labels, ...]


def with_figures(before: str, figures: Figures) -> str:
    """Return a page with new figures below what stood above the mark."""
    head = before.partition(MARK)[0].rstrip("\n") if MARK in before else HEAD.rstrip("\n")
    return f"{head}\n\n{MARK}\n\n{tables(figures)}"


def tables(figures: Figures) -> str:
    """Return every table, as Markdown."""
    parts = (
        _made(figures),
        _features(figures),
        _families(figures),
        _gains(figures),
        _weights(figures),
        _together(figures),
        _trivial(figures),
        _points(figures),
        _calibration(figures),
        _labels("What the policy says of the clips it was fitted on", figures.labels),
        _labels("What it says by the shipped networks", figures.labels_shipped),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _made(figures: Figures) -> str:
    made = figures.policy.made
    assert made is not None, "what was fitted says on what"
    table = figures.table
    fakes = int(table.is_fake.sum())
    unjudged = len(figures.whole.clips) - len(table.clips)
    return "\n".join([
        "## What was fitted, on what",
        "",
        *_table(
            ("", ""),
            [
                ("policy", figures.policy.version),
                ("clips", f"{len(table.clips)}: {fakes} fakes, {len(table.clips) - fakes} real"),
                ("groups of people and sources", str(len(set(table.groups)))),
                ("left out: nobody can be judged", str(unjudged)),
                ("evidence", f"sha256 {made.evidence_sha256[:12]}"),
                ("data manifest", f"sha256 {made.manifest_sha256[:12]}"),
                ("real clips that cues are set beside", figures.reference),
                ("code", made.code),
                ("inverse of the ridge", f"{figures.strength:g}"),
            ],
        ),
        "",
        "Every clip is judged by networks of a fold that never saw its group. The label is the "
        "clip's, and is taken to be that of whoever is longest on screen. Intervals are 95 % by "
        "bootstrap over groups, 2,000 draws.",
    ])  # fmt: skip


def _features(figures: Figures) -> str:
    kept = {term.feature for term in figures.policy.fusion.terms}
    rows = [
        (
            f"`{a.feature}`",
            _number(a.auc.value),
            _interval(a.auc),
            _number(a.same_source) if a.pairs else NOTHING,
            _of(a.abstained_real, a.real_clips),
            _of(a.abstained_fake, a.fake_clips),
            ", ".join(f"{name} {count}" for name, count in list(a.reasons.items())[:2]) or NOTHING,
            "decides" if a.feature in kept else "information only",
        )
        for a in figures.alone
    ]
    learned = ", ".join(f"`{name}`" for name in sorted(figures.learned))
    return "\n".join([
        "## Each feature alone",
        "",
        *_table(
            ("feature", "AUC", "95 %", "same source", "no answer, real", "no answer, fake",
             "why, most often", "say"),
            rows,
        ),
        "",
        "AUC: a fake above a real clip, of those with an answer; a coin has .5, and a cue below it "
        "points the wrong way here. Same source: the AUC were fakes compared with real clips of "
        "their own data set alone, which no difference between sources can flatter."
        + (f" Measured without the train split, from which its network learned, and never fitted: "
           f"{learned}." if learned else ""),
    ])  # fmt: skip


def _families(figures: Figures) -> str:
    families = sorted({name for a in figures.alone for name in a.by_family})
    counts = {
        family: sum(c.family == family and c.is_fake for c in figures.whole.clips)
        for family in families
    }
    rows = [
        (
            f"`{a.feature}`",
            *(_with_interval(a.by_family.get(f), counts[f]) for f in families),
        )
        for a in figures.alone
    ]
    return "\n".join([
        "## By family of fakes, against all real clips",
        "",
        *_table(("feature", *(f"{f}, {counts[f]} clips" for f in families)), rows),
    ])  # fmt: skip


def _gains(figures: Figures) -> str:
    selection = figures.selection
    rows = [
        (
            f"`{name}`",
            _signed(figures.added.get(name)),
            _signed(selection.at_first.get(name)),
            _signed(gain),
            word,
        )
        for name, gain, word in (
            *((d.name, d.gain, "out") for d in selection.dropped),
            *((name, gain, "in") for name, gain in selection.gains.items()),
        )
    ]
    return "\n".join([
        "## What each adds to the others",
        "",
        *_table(
            ("feature", "added to the classifier alone", "left out of all",
             "left out at its turn", ""),
            rows,
        ),
        "",
        "By how much the video AUC rises where the feature is added, or falls where it is left "
        "out, cross-fitted, paired clip by clip. From the top down the one with the least lower "
        "bound went, and the rest was fitted anew; what stays has an interval above zero. The "
        "classifier is the base and stays in any case.",
    ])  # fmt: skip


def _weights(figures: Figures) -> str:
    fusion = figures.policy.fusion
    rows = [
        (
            f"`{term.feature}`",
            f"{term.weight:.3f}",
            f"{math.sqrt(max(fusion.covariance[1 + i][1 + i], 0.0)):.3f}",
            f"{term.mean:.3g}",
            f"{term.deviation:.3g}",
        )
        for i, term in enumerate(fusion.terms)
    ]
    return "\n".join([
        "## Weights",
        "",
        *_table(("feature", "weight", "its deviation", "mean", "deviation"), rows),
        "",
        f"Log odds for one deviation above the mean; the intercept is {fusion.intercept:.3f}, "
        f"+- {math.sqrt(max(fusion.covariance[0][0], 0.0)):.3f}. A feature that is missing moves "
        "nothing: flags took up what abstaining tells of a clip's source while the weights were "
        "fitted, and were set to their mean afterwards.",
    ])  # fmt: skip


def _together(figures: Figures) -> str:
    rows = []
    terms = figures.policy.fusion.terms
    for scored in figures.scored:
        is_fake, groups = scored.table.is_fake, scored.table.groups
        if not is_fake.any() or is_fake.all():
            continue
        fused = metrics.auc_interval(scored.fused, is_fake, groups)
        base = metrics.auc_interval(scored.base, is_fake, groups)
        ahead = metrics.auc_difference(scored.fused, scored.base, is_fake, groups)
        rows.append((
            scored.name,
            f"{int(is_fake.sum())} / {int((~is_fake).sum())}",
            _with_interval(fused, LEAST_COUNTED),
            _with_interval(base, LEAST_COUNTED),
            _signed(ahead),
        ))  # fmt: skip
    return "\n".join([
        "## Together, beside the classifier alone",
        "",
        *_table(
            ("clips", "fakes / real", "fusion, AUC", "classifier alone", "fusion ahead by"), rows
        ),
        "",
        "AUC of videos; a video is as suspect as its most suspect person. The fusion's weights "
        "never saw the clip's group in any row." + (ALONE if len(terms) == 1 else ""),
    ])  # fmt: skip


def _trivial(figures: Figures) -> str:
    table = figures.table
    fused = figures.scored[0].fused
    rows = []
    for name, scores in figures.trivial.items():
        has = np.isfinite(scores)
        is_fake = table.is_fake[has]
        groups = [g for g, is_there in zip(table.groups, has, strict=True) if is_there]
        if not is_fake.any() or is_fake.all():
            continue
        rows.append((
            name,
            str(int(has.sum())),
            _with_interval(metrics.auc_interval(scores[has], is_fake, groups), LEAST_COUNTED),
            _signed(metrics.auc_difference(fused[has], scores[has], is_fake, groups)),
        ))  # fmt: skip
    return "\n".join([
        "## What would do without looking at a forgery",
        "",
        *_table(("score", "clips", "AUC", "fusion ahead by"), rows),
        "",
        "Metadata: size, rate, bitrate, codec and length. Both it and the missing features are "
        "scored by a model of all other groups: what they reach, sources alone give away.",
    ])  # fmt: skip


def _points(figures: Figures) -> str:
    families = sorted({name for p in figures.policy.points for name in p.by_family})
    rows = [
        (
            f"`{point.name}`",
            f"{point.manipulated_from:.3f}",
            f"{point.false_positives} of {point.real_clips}",
            f"{point.false_positives_at_most:.1%}",
            f"{point.found} of {point.fake_clips}",
            f"{point.clear_below:.3f}",
            f"{point.cleared_fakes}",
            _coverage(figures, point),
            *(
                _of(point.by_family[f].found, point.by_family[f].clips)
                if f in point.by_family
                else NOTHING
                for f in families
            ),
        )
        for point in figures.policy.points
    ]
    return "\n".join([
        "## Operating points and their errors",
        "",
        *_table(
            ("point", "manipulated from", "false positives", "at most", "fakes found",
             "clear below", "fakes called clear", "coverage", *(f"found: {f}" for f in families)),
            rows,
        ),
        "",
        "Counted on cross-fitted probabilities of the clips above. At most: the upper end of the "
        "exact 95 % interval, were these real clips like those to come. With fewer than a hundred "
        "real clips the strict point lies above all of them, and one in a hundred cannot be told "
        "from four.",
        "",
        _elsewhere(figures),
    ])  # fmt: skip


def _elsewhere(figures: Figures) -> str:
    """Count at the same lines on the parts that are held out further."""
    rows = []
    for scored in figures.scored[2:]:
        is_fake = scored.table.is_fake
        probabilities = 1 / (1 + np.exp(-scored.fused))
        for point in figures.policy.points:
            is_found = probabilities >= point.manipulated_from
            alarms = metrics.counted(is_found[~is_fake])
            rows.append((
                scored.name,
                f"`{point.name}`",
                f"{alarms.k} of {alarms.n}",
                f"{alarms.high:.0%}",
                _of(int(is_found[is_fake].sum()), int(is_fake.sum())),
                _of(int((probabilities[is_fake] < point.clear_below).sum()), int(is_fake.sum())),
            ))  # fmt: skip
    return "\n".join(
        _table(
            ("clips", "point", "false positives", "at most", "fakes found", "fakes called clear"),
            rows,
        )
    )


def _coverage(figures: Figures, point: Point) -> str:
    probabilities = 1 / (1 + np.exp(-figures.scored[0].fused))
    outside = (probabilities >= point.manipulated_from) | (probabilities < point.clear_below)
    return f"{outside.mean():.0%}"


def _calibration(figures: Figures) -> str:
    c = figures.calibration
    return "\n".join([
        "## Calibration of the fused probability",
        "",
        f"Expected calibration error {c['value']:.3f} ({c['low']:.3f} to {c['high']:.3f}), at even "
        f"odds, cross-fitted; a perfect forecaster would show {c['of_chance']:.3f} with so few "
        f"clips. Brier score {c['brier']:.3f} (a coin: .250), log loss {c['log_loss']:.3f} (a "
        "coin: .693).",
    ])  # fmt: skip


def _labels(title: str, labels: Sequence[Labels]) -> str:
    if not labels:
        return ""
    columns = ("manipulated", "inconclusive", "no_manipulation_found", "rejected")
    rows = [
        (
            f"`{said.point}`",
            said.truth,
            *(str(said.counts.get(column, 0)) for column in columns),
            ", ".join(f"{name} {count}" for name, count in said.reasons.items()) or NOTHING,
        )
        for said in labels
    ]
    return "\n".join([
        f"## {title}",
        "",
        *_table(("point", "clips", *columns, "why inconclusive"), rows),
    ])  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else NOTHING


def _interval(found: Estimate) -> str:
    if not math.isfinite(found.low) or not math.isfinite(found.high):
        return NOTHING
    return f"{found.low:.2f} to {found.high:.2f}"


def _with_interval(found: Estimate | None, clips: int) -> str:
    if found is None or not math.isfinite(found.value) or clips < LEAST_COUNTED:
        return NOTHING
    return f"{found.value:.3f} ({_interval(found)})"


def _signed(found: Estimate | None) -> str:
    if found is None or not math.isfinite(found.value):
        return NOTHING
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _of(count: int, clips: int) -> str:
    return f"{count} of {clips}"
