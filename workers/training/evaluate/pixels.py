"""
Do the pixels that a network marks agree with those that were manipulated?

The truth is derived, not given: a fake's look less that of the real clip it was made from, with
its holes closed. A swap's mask is nearly the hull of the face, so one that is always drawn over
the hull stands beside the network; and the area that is marked on real faces says what the masks
of fakes are worth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.detection.detectors.pixel_segmenter import MARKED_FROM
from workers.detection.face_regions import hull_mask
from workers.detection.stage import CROP_SIDE_PX
from workers.training.bank import BORDER_PX, FaceBank
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Array
from workers.training.evaluate.scores import BATCH, Network

Bools = NDArray[np.bool_]
Marker = Callable[[FaceBank, Sequence[int]], Bools]
"""Rows to what is marked of their served crops, `[N, 256, 256]`."""

ALL_ZERO, HULL = "nothing marked", "face hull"
MANY = 0.01
"""A real look with more of it marked than this counts as marked."""


def nothing(_: FaceBank, rows: Sequence[int]) -> Bools:
    """Mark no pixel."""
    return np.zeros((len(rows), CROP_SIDE_PX, CROP_SIDE_PX), dtype=bool)


def face_hull(bank: FaceBank, rows: Sequence[int]) -> Bools:
    """Mark the whole face, whatever it is."""
    points = (np.asarray(bank.landmarks[row]) - np.float32(BORDER_PX) for row in rows)
    return np.stack([hull_mask(each, CROP_SIDE_PX) for each in points])


def by_network(network: Network) -> Marker:
    """Mark what a network marks."""

    def marked(bank: FaceBank, rows: Sequence[int]) -> Bools:
        return network.masks(np.stack([bank.served(row) for row in rows])) > MARKED_FROM

    return marked


def overlap(marked: Bools, truth: Bools) -> tuple[Array, Array]:
    """
    Return the intersection over union and the F1 of each mask, `[N]` each.

    Args:
        marked: `[N, H, W]`.
        truth: `[N, H, W]`.
    """
    common = (marked & truth).sum(axis=(1, 2)).astype(np.float64)
    union = (marked | truth).sum(axis=(1, 2))
    both = marked.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))
    # Two empty masks agree.
    iou = np.divide(common, union, out=np.ones_like(common), where=union > 0)
    f1 = np.divide(2 * common, both, out=np.ones_like(common), where=both > 0)
    return iou, f1


def figures(
    bank: FaceBank, rows: Sequence[int], markers: Mapping[str, Marker], *, seed: int = 0
) -> dict[str, Any]:
    """
    Compare masks with derived ones on fakes, and measure the area marked on real faces.

    Args:
        rows: of clips; fakes without a mask are left out.
        markers: by name; nothing and the hull are always among the result.
    """
    fakes = [row for row in rows if bank.rows[row].label == "fake" and bank.rows[row].has_mask]
    reals = [row for row in rows if bank.rows[row].label == "real"]
    everyone: dict[str, Marker] = {ALL_ZERO: nothing, HULL: face_hull, **markers}
    return {
        "truth": "derived by differencing aligned pairs",
        "fake_looks": len(fakes),
        "real_looks": len(reals),
        "by_marker": {
            name: _on_fakes(bank, fakes, marker, seed) | _on_reals(bank, reals, marker, seed)
            for name, marker in everyone.items()
        },
    }


def _on_fakes(bank: FaceBank, rows: Sequence[int], marker: Marker, seed: int) -> dict[str, Any]:
    ious, f1s = [np.zeros(0)], [np.zeros(0)]
    for part in _parts(rows):
        truth = np.stack([bank.served_mask(row) for row in part]) > 255 * MARKED_FROM
        iou, f1 = overlap(marker(bank, part), truth)
        ious.append(iou)
        f1s.append(f1)
    iou, f1 = np.concatenate(ious), np.concatenate(f1s)
    methods = [bank.rows[row].method for row in rows]
    by_method = {
        method: _per_clip(bank, [r for r, m in zip(rows, methods, strict=True) if m == method],
                          iou[np.array(methods) == method], seed)
        for method in sorted(set(methods))
    }  # fmt: skip
    return {
        "iou": _per_clip(bank, rows, iou, seed),
        "f1": _per_clip(bank, rows, f1, seed),
        "iou_by_method": by_method,
    }


def _on_reals(bank: FaceBank, rows: Sequence[int], marker: Marker, seed: int) -> dict[str, Any]:
    parts = [marker(bank, part).mean(axis=(1, 2)) for part in _parts(rows)]
    area = np.concatenate([np.zeros(0), *parts])
    return {
        "false_positive_area": _per_clip(bank, rows, area, seed),
        "real_looks_marked": _per_clip(bank, rows, (area > MANY).astype(np.float64), seed),
    }


def _per_clip(bank: FaceBank, rows: Sequence[int], values: Array, seed: int) -> dict[str, Any]:
    """Average looks over clips, and clips with an interval over groups."""
    clips: dict[str, list[float]] = {}
    groups: dict[str, str] = {}
    for row, value in zip(rows, values, strict=True):
        clips.setdefault(bank.rows[row].clip, []).append(float(value))
        groups[bank.rows[row].clip] = bank.rows[row].group
    means = np.array([np.mean(values) for values in clips.values()])
    return asdict(metrics.mean_interval(means, [groups[clip] for clip in clips], seed=seed))


def _parts(rows: Sequence[int]) -> list[Sequence[int]]:
    return [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
