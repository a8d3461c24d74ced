"""
How does evidence become a policy? Fitted, measured on whom it never saw, and written with figures.

    evidence.jsonl -> table -> what decides -> weights, lines, errors -> POLICY.json, CARD.md

Everything that is said of a clip is said by weights that never saw its group, and by networks that
did not either; the one exception, weights and features that are shipped, is what comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from app.domain.evidence import DetectorName
from app.domain.fusion import FEATURES, Reading
from app.domain.policy import (
    CURRENT,
    NETWORKS,
    CueFigures,
    Estimate,
    Made,
    PointName,
    Policy,
    policy_to_json,
)
from app.version import code_version
from models.manifest import shipped_manifest
from models.pull import put
from workers.detection.detectors import aggregation
from workers.detection.reference import read_reference
from workers.training.bank import FaceBank
from workers.training.errors import BadDataset
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Array
from workers.training.fusion import fit
from workers.training.fusion.card import Figures, Scored, with_figures
from workers.training.fusion.evidence import (
    ClipEvidence,
    cue_kinds,
    read_evidence,
    set_beside,
    sha256_of,
)
from workers.training.fusion.figures import Alone, alone, trivial
from workers.training.fusion.labels import count_labels
from workers.training.fusion.points import draw_points
from workers.training.fusion.table import Table, make_table
from workers.training.manifest import Split

BASE = "frame_classifier"
"""The feature that decides whatever is beside it: without it no person is judged."""
DRAWS = 500
"""Of groups, for the covariance of the weights."""


def fuse_command(
    evidence: Path,
    file: Path,
    *,
    version: str,
    card: Path,
    shipped: Path | None,
    bank: Path | None,
    reference: Path | None,
    console: Console,
) -> Policy:
    """
    Fit, measure, and write the policy and its card.

    Args:
        shipped: folder of evidence by the networks that came along; clips of the train split, from
            which those learned, are passed over.
        bank: folder of a face bank, to measure softness as a baseline.
        reference: file of real clips; the one in use unless given.

    Raises:
        BadDataset: there is too little evidence, or the classifier learned from what it judged.
    """
    beside = read_reference(reference) if reference else read_reference()
    kinds = cue_kinds()
    clips = set_beside(read_evidence(evidence), beside, kinds)
    held_out = set_beside(read_evidence(shipped), beside, kinds) if shipped else []
    fitted = fuse(
        clips,
        version=version,
        evidence_sha256=sha256_of(evidence),
        held_out=held_out,
        bank=FaceBank.open(bank) if bank else None,
        reference=beside.version,
        console=console,
    )
    put(policy_to_json(fitted.policy).encode(), file)
    before = card.read_text(encoding="utf-8") if card.is_file() else ""
    put(with_figures(before, fitted.figures).encode(), card)
    kept = [term.feature for term in fitted.policy.fusion.terms]
    console.print(f"These decide: {', '.join(kept)}", highlight=False)
    for point in fitted.policy.points:
        console.print(
            f"{point.name}: from {point.manipulated_from:g} on {point.false_positives} of "
            f"{point.real_clips} real clips, {point.found} of {point.fake_clips} fakes; "
            f"{point.cleared_fakes} fakes below {point.clear_below:g}",
            highlight=False,
        )
    console.print(f"written to {file} and {card}", highlight=False, soft_wrap=True)
    return fitted.policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A policy, and all that was measured on the way."""

    policy: Policy
    figures: Figures


def fuse(
    clips: Sequence[ClipEvidence],
    *,
    version: str,
    evidence_sha256: str,
    held_out: Sequence[ClipEvidence],
    bank: FaceBank | None,
    reference: str,
    console: Console,
) -> Fitted:
    """Do as `fuse_command` with evidence that was read, and write nothing."""
    learned = learned_features(clips)
    whole = make_table(clips, required=CURRENT.required, min_frames=CURRENT.min_frames)
    table = whole.judged()
    candidates = candidates_of(table, learned)
    console.print(
        f"{len(table.clips)} clips, {int(table.is_fake.sum())} of them fakes, "
        f"{len(set(table.groups))} groups; choosing from {len(candidates)} features",
        highlight=False,
    )
    selection = fit.select(table, candidates, [BASE])
    console.print("choosing again within folds, to know what that is worth", highlight=False)
    chosen_apart = fit.select_and_score(table, candidates, [BASE])
    crossed = fit.cross_fit(table, selection.kept)
    odds = crossed.videos(table)
    model, strength = fit.final_fit(table, selection.kept)
    seen = [name for name in whole.names if np.isfinite(whole.column(name)).any()]
    if not model.weights[selection.kept.index(BASE)] > 0:
        raise BadDataset(
            "the classifier tells fakes from real clips no better than a coin here; there is no "
            "policy to be had without it"
        )
    by_feature = {name: alone(whole, name, is_learned=name in learned) for name in seen}
    policy = Policy(
        version=version,
        fusion=fit.as_fusion(table, selection.kept, model, strength, draws=DRAWS),
        required=CURRENT.required,
        min_frames=CURRENT.min_frames,
        disagreement=CURRENT.disagreement,
        points=draw_points(
            aggregation.probability(odds), table.is_fake, [c.family for c in table.clips]
        ),
        default_point=PointName.FPR_1,  # real footage called fake is the worse mistake
        cues=tuple(
            _cue(name, by_feature[name], selection, is_kept=name in selection.kept) for name in seen
        ),
        made=Made(
            evidence_sha256=evidence_sha256,
            manifest_sha256=clips[0].manifest_sha256,
            code=code_version(),
            clips=len(table.clips),
            groups=len(set(table.groups)),
            networks=networks_of(selection.kept),
        ),
    )
    scored = [
        Scored(name="all clips, out of fold", table=table, fused=odds, base=_base(table)),
        Scored(
            name="the same, features chosen without the clip's group",
            table=table,
            fused=chosen_apart,
            base=_base(table),
        ),
        _of_split("test split, out of fold", table, odds, "test"),
    ]
    strangers = [clip for clip in held_out if clip.split != "train"]
    if strangers:
        stranger = make_table(
            strangers, required=CURRENT.required, min_frames=CURRENT.min_frames
        ).judged()
        known = set(table.groups)
        stranger = stranger.only(np.array([c.group in known for c in stranger.clips]))
        its_odds = crossed.videos(stranger)
        scored += [
            Scored(
                name="val, cal and test, by the shipped networks",
                table=stranger,
                fused=its_odds,
                base=_base(stranger),
            ),
            _of_split("test split, by the shipped networks", stranger, its_odds, "test"),
        ]
    figures = Figures(
        policy=policy,
        reference=reference,
        whole=whole,
        table=table,
        alone=tuple(by_feature.values()),
        learned=learned,
        selection=selection,
        added={
            name: fit.gains_of(table, [name], [BASE], deals=fit.DEALS)[name] for name in candidates
        },
        strength=strength,
        scored=tuple(scored),
        trivial=trivial(table, bank),
        calibration=_calibration(odds, table),
        labels=count_labels(clips, policy),
        labels_shipped=count_labels(strangers, policy),
    )
    return Fitted(policy=policy, figures=figures)


def learned_features(clips: Sequence[ClipEvidence]) -> frozenset[str]:
    """
    Name the features whose networks judged clips of the train split that they learned from.

    Raises:
        BadDataset: the classifier did.
    """
    shipped = {name: f"sha256:{entry.sha256}" for name, entry in shipped_manifest().items()}
    train = [clip for clip in clips if clip.split == "train"]
    asked = {
        detector
        for network, detector in NETWORKS.items()
        if any(clip.judged_by.get(network, "") == shipped.get(network) for clip in train)
    }
    if DetectorName.FRAME_CLASSIFIER in asked:
        raise BadDataset(
            "clips of the train split were judged by a classifier that learned from them; collect "
            "evidence by networks of folds, `deepverdict train cues --classifiers FOLDS.json`"
        )
    return frozenset(
        name
        for name, feature in FEATURES.items()
        if feature.detector in asked and feature.reading is not Reading.Z
    )


def candidates_of(table: Table, learned: frozenset[str]) -> list[str]:
    """Name what may decide beside the base: measured often enough, by who did not learn from it."""
    measured = np.isfinite(table.of_main).sum(axis=0)
    return [
        name
        for name, count in zip(table.names, measured, strict=True)
        if name != BASE and name not in learned and count >= fit.LEAST_MEASURED
    ]


def networks_of(features: Sequence[str]) -> dict[str, str]:
    """
    Name the versions of networks that the features come from.

    Those of folds stand in for the ones that came along, made by the same recipes.
    """
    asked = {FEATURES[name].detector for name in features if FEATURES[name].reading != Reading.Z}
    along = shipped_manifest()
    return {name: along[name].version for name, by in NETWORKS.items() if by in asked}


def _base(table: Table) -> Array:
    return table.of_videos(np.nan_to_num(table.values[:, table.names.index(BASE)], nan=-np.inf))


def _of_split(name: str, table: Table, odds: Array, split: Split) -> Scored:
    chosen = np.array([clip.split == split for clip in table.clips], dtype=bool)
    part = table.only(chosen)
    return Scored(name=name, table=part, fused=odds[chosen], base=_base(part))


def _cue(name: str, figures: Alone, selection: fit.Selection, *, is_kept: bool) -> CueFigures:
    gains = {**{d.name: d.gain for d in selection.dropped}, **selection.gains}
    return CueFigures(
        feature=name,
        decides=is_kept,
        auc=_estimate(figures.auc),
        gain=_estimate(gains.get(name)),
        real_clips=figures.real_clips,
        fake_clips=figures.fake_clips,
        abstained_real=figures.abstained_real,
        abstained_fake=figures.abstained_fake,
    )


def _estimate(found: metrics.Estimate | None) -> Estimate | None:
    """Write a figure as a policy has it; None where it is not known."""
    if found is None or not np.isfinite([found.value, found.low, found.high]).all():
        return None
    value, low, high = (round(x, 4) + 0.0 for x in (found.value, found.low, found.high))
    return Estimate(value=value, low=low, high=high)


def _calibration(odds: Array, table: Table) -> Mapping[str, float]:
    """Return how far cross-fitted probabilities are from what came, and what chance would show."""
    probabilities = aggregation.probability(odds)
    error = metrics.calibration_error(probabilities, table.is_fake, table.groups)
    return {
        "value": error.value,
        "low": error.low,
        "high": error.high,
        "of_chance": metrics.calibration_error_of_chance(probabilities, table.is_fake),
        "brier": metrics.brier(probabilities, table.is_fake, table.groups).value,
        "log_loss": metrics.log_loss(probabilities, table.is_fake),
    }
