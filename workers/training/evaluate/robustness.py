"""
What is left of a network's scores once a clip was compressed, shrunk, blurred, or made noisy?

The frames around a clip's looks, at most `STRETCH_S` of them, are decoded, changed as whole
pictures, and the same looks are cut out of them at the same places: so differences are those of
the network, not of the face finder. The network sees the same looks untouched for comparison.
Clips that are given as pictures have no frames to change and are left out.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from app.errors import RejectedMedia
from workers.detection import align
from workers.detection.stage import CROP_SIDE_PX, Floats, Image
from workers.training.bank import BORDER_PX, Face, FaceBank
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Array
from workers.training.evaluate.scores import ClipScore, Network, clip_scores, columns
from workers.training.evaluate.videos import frames_between

UNTOUCHED = "untouched"
RATE_FACTORS = (23, 28, 35, 40)
CONDITIONS = (
    *(f"H.264 CRF {crf}" for crf in RATE_FACTORS),
    "half size",
    "noise 10",
    "blur 2",
    "crop 20 %",
)
STRETCH_S = 3.0
LEAD_IN_FRAMES = 12
"""Encoded before the first look, so that it is no first frame, which codecs spend more on."""
NOISE = 10.0
BLUR_PX = 2.0
CROP = 0.20
BLOCK_PX = 16
"""Of a macroblock: parts are cut out along their grid, so that a codec meets the same blocks."""
ROOM_PX = 32
PRESET, RATE_HZ = "veryfast", 25
"""Of the encoder."""

Affine = NDArray[np.float64]
Looks = Mapping[str, NDArray[np.uint8]]
"""By condition, served crops `[looks, 256, 256, 3]`."""


def grid(
    bank: FaceBank,
    networks: Sequence[Network],
    rows: Sequence[int],
    root: Path,
    *,
    conditions: Sequence[str] = CONDITIONS,
    seed: int = 0,
    console: Console | None = None,
) -> dict[str, dict[str, list[ClipScore]]]:
    """
    Score every clip under every condition, by name of the network and of the condition.

    `UNTOUCHED` is among the conditions of the result. Clips that cannot be decoded are left out.
    """
    answers: dict[str, dict[str, list[float]]] = {
        network.name: {name: [] for name in (UNTOUCHED, *conditions)} for network in networks
    }
    seen: list[int] = []
    clips = _stretches(bank, rows)
    for chosen in track(clips, "changing clips", console=console, disable=console is None):
        looks = distorted(bank, chosen, root, conditions=conditions, seed=seed)
        if looks is None:
            continue
        seen += chosen
        for network in networks:
            for name, pictures in looks.items():
                answers[network.name][name] += network.logits(pictures).tolist()
    return {
        network: {
            name: clip_scores(bank, seen, np.array(logits)) for name, logits in by_name.items()
        }
        for network, by_name in answers.items()
    }


def distorted(
    bank: FaceBank,
    rows: Sequence[int],
    root: Path,
    *,
    conditions: Sequence[str] = CONDITIONS,
    seed: int = 0,
) -> Looks | None:
    """Cut the looks of one clip anew under each condition; None where it cannot be decoded."""
    faces = [bank.rows[row] for row in rows]
    first = max(0, faces[0].frame_index - LEAD_IN_FRAMES)
    box: tuple[int, int, int, int] | None = None
    parts: list[Image] = []
    size = (0, 0)
    try:
        for frame in frames_between(root / faces[0].path, first, faces[-1].frame_index):
            if box is None:
                size = (frame.rgb.shape[1], frame.rgb.shape[0])
                box = _around(faces, size)
            x, y, right, bottom = box
            parts.append(np.ascontiguousarray(frame.rgb[y:bottom, x:right]))
    except RejectedMedia:
        return None
    if box is None or len(parts) <= faces[-1].frame_index - first:
        return None
    at = [face.frame_index - first for face in faces]
    affines = [_frame_from_served(face) - [[0, 0, box[0]], [0, 0, box[1]]] for face in faces]
    looks = {UNTOUCHED: np.stack([bank.served(row) for row in rows])}
    for name in conditions:
        looks[name] = np.stack(_change(name, parts, at, affines, box=box, size=size, seed=seed))
    return looks


def through_h264(pictures: Sequence[Image], *, crf: int) -> list[Image]:
    """
    Encode pictures of one size as H.264 of a constant rate factor and decode them again.

    Sides must be even: 4:2:0 stores one colour for two by two pixels.
    """
    height, width = pictures[0].shape[:2]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE_HZ))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": PRESET}
        stream.thread_count = 1
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r", format="matroska") as container:
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
            for frame in container.decode(video=0)
        ]


def figures(
    by_condition: Mapping[str, Sequence[ClipScore]],
    *,
    threshold: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Return, for each condition, the AUC, its change, and false positives at a fixed threshold.

    Args:
        by_condition: of one network, from `grid`.
        threshold: a clip's log odds from which it counts as manipulated; where none is given,
            that of 5 % false positives among the untouched real clips.
    """
    untouched, is_fake, groups = columns(by_condition[UNTOUCHED])
    if threshold is None:
        threshold = metrics.threshold_for(untouched[~is_fake], 0.05)
    found: dict[str, Any] = {}
    for name, scores in by_condition.items():
        logits = columns(scores)[0]
        found[name] = {
            "auc": asdict(metrics.auc_interval(logits, is_fake, groups, seed=seed)),
            "change": asdict(metrics.auc_difference(logits, untouched, is_fake, groups, seed=seed)),
            "false_positives": asdict(metrics.counted(logits[~is_fake] >= threshold)),
            "found": asdict(metrics.counted(logits[is_fake] >= threshold)),
        }
    return {"threshold": threshold, "clips": len(groups), "conditions": found}


def _stretches(bank: FaceBank, rows: Sequence[int]) -> list[list[int]]:
    """Choose, of each video, the looks of the stretch that holds most of them."""
    by_clip: dict[str, list[int]] = {}
    for row in rows:
        if bank.rows[row].kind == "video":
            by_clip.setdefault(bank.rows[row].clip, []).append(row)
    chosen = []
    for of_clip in by_clip.values():
        at = np.array([bank.rows[row].pts_s for row in of_clip])
        last = np.searchsorted(at, at + STRETCH_S, side="right")
        start = int(np.argmax(last - np.arange(len(at))))
        chosen.append(of_clip[start : int(last[start])])
    return chosen


def _around(faces: Sequence[Face], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the part of the frame that holds every look: left, top, right, bottom; even sides."""
    corner = CROP_SIDE_PX - 1
    corners = np.array([[0, 0, 1], [corner, 0, 1], [0, corner, 1], [corner, corner, 1]])
    points = np.concatenate([corners @ _frame_from_served(face).T for face in faces])
    low = np.floor((points.min(axis=0) - ROOM_PX) / BLOCK_PX) * BLOCK_PX
    high = np.ceil((points.max(axis=0) + ROOM_PX) / BLOCK_PX) * BLOCK_PX
    left, top = (int(v) for v in np.maximum(low, 0))
    right, bottom = (int(v) for v in np.minimum(high, size))
    return left, top, right - (right - left) % 2, bottom - (bottom - top) % 2


def _frame_from_served(face: Face) -> Affine:
    """Return the affine `[2, 3]` from pixels of the served crop to those of the frame."""
    affine = np.array(face.frame_from_crop, dtype=np.float64).reshape(2, 3)
    affine[:, 2] += affine[:, :2].sum(axis=1) * BORDER_PX
    return affine


def _change(
    name: str,
    parts: Sequence[Image],
    at: Sequence[int],
    affines: Sequence[Affine],
    *,
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    seed: int,
) -> list[Image]:
    if name.startswith("H.264"):
        encoded = through_h264(parts, crf=int(name.rsplit(maxsplit=1)[-1]))
        return [_cut(encoded[i], affine) for i, affine in zip(at, affines, strict=True)]
    if name == "half size":
        return [
            _cut(_halved(parts[i]), _on_scaled(affine, 0.5))
            for i, affine in zip(at, affines, strict=True)
        ]
    change = _whole_picture(name, box=box, size=size, seed=seed)
    return [_cut(change(parts[i], i), affine) for i, affine in zip(at, affines, strict=True)]


def _whole_picture(
    name: str, *, box: tuple[int, int, int, int], size: tuple[int, int], seed: int
) -> Callable[[Image, int], Image]:
    """Return what is done to a part of a frame, given its number."""

    def noisy(part: Image, number: int) -> Image:
        noise = np.random.default_rng([seed, number]).normal(0, NOISE, part.shape)
        return np.asarray(np.clip(np.rint(part + noise), 0, 255), dtype=np.uint8)

    def blurred(part: Image, _: int) -> Image:
        return np.asarray(cv2.GaussianBlur(part, (0, 0), BLUR_PX), dtype=np.uint8)

    def cropped(part: Image, _: int) -> Image:
        off_x, off_y = (round(CROP / 2 * side) for side in size)
        left, top = max(0, off_x - box[0]), max(0, off_y - box[1])
        right, bottom = size[0] - off_x - box[0], size[1] - off_y - box[1]
        kept = np.zeros_like(part)
        kept[top:bottom, left:right] = part[top:bottom, left:right]
        return kept

    known = {"noise 10": noisy, "blur 2": blurred, "crop 20 %": cropped}
    if name not in known:
        raise ValueError(f"no condition {name!r}; there are {list(CONDITIONS)}")
    return known[name]


def _cut(part: Image, affine: Affine) -> Image:
    narrow: Floats = affine.astype(np.float32)
    return align.warp(part, narrow, size=(CROP_SIDE_PX, CROP_SIDE_PX))


def _halved(part: Image) -> Image:
    half = (part.shape[1] // 2, part.shape[0] // 2)
    return np.asarray(cv2.resize(part, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _on_scaled(affine: Affine, scale: float) -> Affine:
    """Turn an affine into pixels of a picture into one into those of the scaled picture."""
    scaled: Array = affine * scale
    scaled[:, 2] = (affine[:, 2] + 0.5) * scale - 0.5
    return scaled
