"""
How does a candidate stand beside the networks in use? The same clips, the same lines, paired.

Every figure is had of both networks on the same looks, and its interval from the differences, by
groups drawn with replacement: what is common to both, such as a hard clip, cancels out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from workers.detection.detectors.pixel_segmenter import MARKED_FROM
from workers.training.bank import FaceBank
from workers.training.calibrate import Calibration, calibrate
from workers.training.evaluate import metrics, pixels, robustness
from workers.training.evaluate.metrics import Array
from workers.training.evaluate.scores import (
    BATCH,
    ClipScore,
    Network,
    clip_rows,
    columns,
    score_bank,
)
from workers.training.manifest import DataManifest
from workers.training.rounds.gate import UNKNOWN, Better, Measure, Role
from workers.training.rounds.recipe import Frozen, FrozenSet, GateOptions

WORDS: Mapping[str, str] = {
    "auc": "AUC",
    "compressed_auc": "AUC, strongly compressed",
    "false_positives": "false positives on real clips",
    "false_area": "area marked on real faces",
    "iou": "overlap of masks on fakes",
}
BETTER: Mapping[str, Better] = {
    "auc": "higher",
    "compressed_auc": "higher",
    "false_positives": "lower",
    "false_area": "lower",
    "iou": "higher",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectors:
    """The networks of one side; those in use, or a candidate."""

    classifier: Network
    calibration: Calibration  # drawn for both sides alike
    segmenter: Network | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """One frozen set, ready to be judged."""

    frozen: Frozen
    data: DataManifest
    bank: FaceBank
    rows: tuple[int, ...]


def name_of(figure: str, frozen: FrozenSet) -> str:
    """Return what a figure of a set is called in tables."""
    return f"{WORDS[figure]} ({frozen.name})"


def rows_of(bank: FaceBank, frozen: FrozenSet) -> tuple[int, ...]:
    """
    Choose the looks of a set's clips.

    Raises:
        BadDataset: no clip of it has a face.
    """
    rows = [row for split in frozen.splits for row in clip_rows(bank, split)]
    methods = set(frozen.methods)
    faces = (bank.rows[row] for row in sorted(rows))
    return tuple(
        f.row for f in faces if f.label == "real" or not methods or f.method in methods
    )  # fmt: skip


def calibrated(network: Network, bank: FaceBank, rows: Sequence[int], *, seed: int) -> Calibration:
    """Draw a network's line and operating point; raises BadDataset where there are too few."""
    return calibrate(score_bank(bank, network.logits, rows), seed=seed)


def compare(
    judged: Sequence[Judged],
    current: Detectors,
    candidate: Detectors,
    options: GateOptions,
    *,
    seed: int,
    console: Console,
) -> list[Measure]:
    """Measure both on every set: what the gate decides by, and what is only shown."""
    return [
        measure
        for one in judged
        for measure in _Comparison(
            one, (current, candidate), options, seed=seed, console=console
        ).measures()
    ]


def wanted(frozen: Sequence[Frozen]) -> list[str]:
    """Name what the gate must be told of."""
    return [
        name_of(figure, one)
        for one in frozen
        for figure in ([*(["auc"] if one.is_primary else []), *one.guards])
    ]


class _Comparison:
    """Both sides on one set."""

    def __init__(
        self,
        judged: Judged,
        sides: tuple[Detectors, Detectors],
        options: GateOptions,
        *,
        seed: int,
        console: Console,
    ) -> None:
        self._judged, self._options, self._seed = judged, options, seed
        self._console = console
        self._sides = sides
        self._scores: tuple[list[ClipScore], ...] | None = None

    def measures(self) -> list[Measure]:
        frozen = self._judged.frozen
        bank = self._judged.bank
        groups = len({bank.rows[row].group for row in self._judged.rows})
        roles: dict[str, Role] = {"auc": "primary"} if frozen.is_primary else {}
        for guarded in frozen.guards:
            roles.setdefault(guarded, "guard")
        for shown in frozen.shown:
            roles.setdefault(shown, "shown")
        makers: Mapping[str, Callable[[], tuple[float, float, metrics.Estimate]]] = {
            "auc": lambda: self._auc(self._clip_scores()),
            "compressed_auc": self._compressed_auc,
            "false_positives": self._false_positives,
            "false_area": self._false_area,
            "iou": self._iou,
        }
        found = []
        for figure, role in roles.items():
            name = name_of(figure, frozen)
            self._console.print(f"measuring {name}", highlight=False)
            current, candidate, difference = makers[figure]()
            found.append(
                Measure(
                    name=name,
                    role=role,
                    better=BETTER[figure],
                    current=current,
                    candidate=candidate,
                    difference=difference,
                    groups=groups,
                    margin=getattr(self._options.margins, figure) if role == "guard" else 0.0,
                )
            )
        return found

    def _clip_scores(self) -> tuple[list[ClipScore], ...]:
        if self._scores is None:
            judged = self._judged
            self._scores = tuple(
                score_bank(judged.bank, side.classifier.logits, judged.rows) for side in self._sides
            )
        return self._scores

    def _auc(self, scores: Sequence[Sequence[ClipScore]]) -> tuple[float, float, metrics.Estimate]:
        before, is_fake, groups = columns(scores[0])
        after = columns(scores[1])[0]
        return (
            metrics.auc(before, is_fake),
            metrics.auc(after, is_fake),
            metrics.auc_difference(after, before, is_fake, groups, seed=self._seed),
        )

    def _compressed_auc(self) -> tuple[float, float, metrics.Estimate]:
        judged, condition = self._judged, self._options.compressed
        networks = [side.classifier for side in self._sides]
        by_network = robustness.grid(
            judged.bank,
            networks,
            judged.rows,
            judged.data.root,
            conditions=(condition,),
            seed=self._seed,
            console=self._console,
        )
        return self._auc([by_network[network.name][condition] for network in networks])

    def _false_positives(self) -> tuple[float, float, metrics.Estimate]:
        alarms = [
            np.array(
                [
                    side.calibration.probability(score.logit) >= side.calibration.manipulated_from
                    for score in scores
                    if not score.is_fake
                ],
                dtype=np.float64,
            )
            for side, scores in zip(self._sides, self._clip_scores(), strict=True)
        ]
        groups = [score.group for score in self._clip_scores()[0] if not score.is_fake]
        return self._paired(alarms[0], alarms[1], groups)

    def _false_area(self) -> tuple[float, float, metrics.Estimate]:
        bank = self._judged.bank
        rows = [row for row in self._judged.rows if bank.rows[row].label == "real"]
        return self._of_masks(rows, lambda marked, _: marked.mean(axis=(1, 2)))

    def _iou(self) -> tuple[float, float, metrics.Estimate]:
        bank = self._judged.bank
        rows = [row for row in self._judged.rows if bank.rows[row].has_mask]
        return self._of_masks(rows, lambda marked, truth: pixels.overlap(marked, truth)[0])

    def _of_masks(
        self, rows: Sequence[int], figure: Callable[[pixels.Bools, pixels.Bools], Array]
    ) -> tuple[float, float, metrics.Estimate]:
        """Take a figure of every look's mask, average looks over clips, and compare clips."""
        networks = [side.segmenter for side in self._sides]
        if not rows or any(network is None for network in networks):
            return (UNKNOWN.value, UNKNOWN.value, UNKNOWN)
        bank = self._judged.bank
        looks = []
        for network in networks:
            assert network is not None
            mark = pixels.by_network(network)
            parts = (rows[at : at + BATCH] for at in range(0, len(rows), BATCH))
            looks.append(
                np.concatenate([figure(mark(bank, part), _truth(bank, part)) for part in parts])
            )
        clips: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            clips.setdefault(bank.rows[row].clip, []).append(place)
        groups = [bank.rows[rows[places[0]]].group for places in clips.values()]
        before, after = (
            np.array([values[places].mean() for places in clips.values()]) for values in looks
        )
        return self._paired(before, after, groups)

    def _paired(
        self, before: Array, after: Array, groups: Sequence[str]
    ) -> tuple[float, float, metrics.Estimate]:
        if not len(before):
            return (UNKNOWN.value, UNKNOWN.value, UNKNOWN)
        difference = metrics.mean_interval(after - before, groups, seed=self._seed)
        return float(before.mean()), float(after.mean()), difference


def _truth(bank: FaceBank, rows: Sequence[int]) -> pixels.Bools:
    return np.stack([bank.served_mask(row) for row in rows]) > 255 * MARKED_FROM
