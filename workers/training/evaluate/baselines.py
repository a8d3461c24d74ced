"""
What would somebody reach who did no training of their own?

Chance, the file's metadata, two measures of softness, and published networks, all scored on the
same clips as the network that is judged. A network that does not beat each of them has not shown
that it looks at forgery.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.convert import convert
from workers.detection.detectors.aggregation import MAX_LOGIT
from workers.training.bank import FaceBank
from workers.training.evaluate.metrics import Array, Bools, even_odds
from workers.training.evaluate.scores import ClipScore, Network, clip_scores
from workers.training.evaluate.sharpness import face_blur, face_blur_ratio
from workers.training.evaluate.videos import VideoFile

PUBLISHED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "meso4 (deepfakes)": ("meso4", ("meso4_df.h5",)),
    "meso4 (face2face)": ("meso4", ("meso4_f2f.h5",)),
    "mesoinception4 (deepfakes)": ("mesoinception4", ("mesoinception_df.h5",)),
    "mesoinception4 (face2face)": ("mesoinception4", ("mesoinception_f2f.h5",)),
    "classnseg": ("classnseg", ("classnseg_encoder.pt", "classnseg_decoder.pt")),
}
"""Converter and originals, as they are called in a mirror folder."""
RIDGE = 1.0
NEWTON_STEPS = 30
SMALL_STEP = 1e-8


def published_networks(folder: Path) -> list[Network]:
    """Convert the published networks whose originals are all in the folder, in a fixed order."""
    found = []
    for name, (converter, files) in PUBLISHED.items():
        paths = [folder / file for file in files]
        if all(path.is_file() for path in paths):
            content = convert(converter, [path.read_bytes() for path in paths])
            found.append(Network(name, content))
    return found


def chance(clips: Sequence[ClipScore], *, seed: int) -> list[ClipScore]:
    """Score each clip by a draw that depends on its name and the seed alone."""

    def drawn(clip: str) -> float:
        digest = hashlib.sha256(f"{seed}:{clip}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 * 2 - 1

    return [replace(score, logit=drawn(score.clip)) for score in clips]


def softness(bank: FaceBank, rows: Sequence[int]) -> dict[str, list[ClipScore]]:
    """Score clips by how soft the face is, by itself and beside its surroundings."""
    measures: Mapping[str, Callable[[FaceBank, int], float]] = {
        "face blur": face_blur,
        "face blur / surroundings": face_blur_ratio,
    }
    return {
        name: clip_scores(bank, rows, _within_bounds([measure(bank, row) for row in rows]))
        for name, measure in measures.items()
    }


def metadata_only(clips: Sequence[ClipScore], files: Mapping[str, VideoFile]) -> list[ClipScore]:
    """
    Score clips by what their files say, from a model that was fitted on all other groups.

    Clips without a video file are left out.
    """
    known = [score for score in clips if score.clip in files]
    if not known:
        return []
    features = _features([files[score.clip] for score in known])
    is_fake = np.array([score.is_fake for score in known])
    groups = np.array([score.group for score in known])
    logits = np.zeros(len(known))
    for group in sorted(set(groups)):
        left_out = groups == group
        logits[left_out] = _linear(
            fit_logistic(features[~left_out], is_fake[~left_out]), features[left_out]
        )
    return [replace(score, logit=float(x)) for score, x in zip(known, logits, strict=True)]


def fit_logistic(features: Array, is_fake: Bools, *, ridge: float = RIDGE) -> Array:
    """
    Fit log odds that are linear in the features, both labels weighing the same.

    Args:
        features: `[N, F]`, of comparable scale.
        is_fake: `[N]`.
        ridge: how strongly slopes are drawn to 0; the intercept is free.

    Returns:
        Intercept and slopes, `[1 + F]`.
    """
    x = np.column_stack([np.ones(len(features)), features])
    weight = even_odds(is_fake)
    penalty = np.full(x.shape[1], ridge)
    penalty[0] = SMALL_STEP
    found = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-x @ found))
        slope = x.T @ (weight * (is_fake - p)) - penalty * found
        curve = (x.T * (weight * p * (1 - p))) @ x + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        found += step
        if np.abs(step).max() < SMALL_STEP:
            break
    return found


def _linear(fitted: Array, features: Array) -> Array:
    return np.asarray(fitted[0] + features @ fitted[1:])


def _features(files: Sequence[VideoFile]) -> Array:
    """Describe files in numbers of mean 0 and deviation 1, `[N, F]`."""
    numbers = np.log([[f.width, f.height, f.rate_hz, f.bits_per_s, f.duration_s] for f in files])
    codecs = sorted({f.codec for f in files})
    kinds = np.array([[float(f.codec == codec) for codec in codecs] for f in files])
    both = np.column_stack([numbers, kinds])
    deviation = both.std(axis=0)
    return np.asarray((both - both.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))


def _within_bounds(values: Sequence[float]) -> Array:
    """Shift a measure so that it lies in the middle of what log odds may be; order is kept."""
    found = np.asarray(values, dtype=np.float64)
    return np.clip(found - np.median(found), -MAX_LOGIT, MAX_LOGIT) if len(found) else found
