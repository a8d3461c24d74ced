"""
Do the points of the face move as faces do, and do the pixels between them move along?

A small recurrent network reads two to four seconds of a face at a time: where its landmarks lie
once the head's movement is taken out, how they move, and how far the pixels around each moved
beyond it. Its log odds over all stretches are averaged, the most extreme tenth at either end left
out.

Abstains: where there is no stretch of 64 frames on end with landmarks, below 14 frames a second,
for small faces, in the dark, where landmarks are missing or unsure.

How it is fooled: whoever drives a forgery moves it as a person moves, so that a re-enactment is as
lively as its driver; landmarks are smoothed by the network that places them, and flow by
compression. The other way, shaky cameras, hair and hands before the face, and heavy compression
move pixels that no face moved. The manifest's caveat says what was measured.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    DetectorName,
    Evidence,
    Finding,
    Span,
)
from models.registry import OnnxModel
from workers.detection import landmark_flow
from workers.detection.close_looks import LEAST_LIGHT
from workers.detection.detectors import aggregation
from workers.detection.landmark_flow import RATE_HZ, WINDOW, Motion
from workers.detection.stage import SMALL_SIDE_PX, Examination, FaceClip, FaceTrack

INPUT, FAKE_LOGIT = "motion", "fake_logit"
LEAST_FACE_PX = 60.0
LEAST_PRESENCE = 0.9
MOST_MISSING = 0.1  # share of frames without landmarks
LIGHT_EVERY = 15
"""Small pictures from one whose brightness is measured to the next."""
MOST_FRAMES = 900
"""Of a person, from the longest track on: flow takes a second for some 600 of them."""


class LandmarkFlow:
    """
    Asks a network about stretches of a face's movement.

    Args:
        model: takes `motion` (float32 `[N, WINDOW, CHANNELS]`), gives `fake_logit` (`[N]`), which
            its calibration, where it has one, turns into probabilities.
    """

    name = DetectorName.LANDMARK_FLOW
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, model: OnnxModel) -> None:
        self._model = model

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Judge a person who was followed for long enough, in enough frames."""
        del prior
        return Examination(evidence=self._refuse(clip) or self._judge(clip))

    def _refuse(self, clip: FaceClip) -> Abstention | None:
        if clip.frames <= WINDOW:
            return self._too_few(f"the face was followed in {clip.frames} frames")
        rate_hz = sum(len(t.pts_s) - 1 for t in clip.tracks) / max(clip.followed_s, 1e-9)
        if rate_hz < RATE_HZ[0]:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.FRAME_RATE_TOO_LOW,
                detail=f"the face was seen {rate_hz:.1f} times a second",
                needs=f"{RATE_HZ[0]:.0f} fps or more",
            )
        if not clip.median_face_px >= LEAST_FACE_PX:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.FACE_TOO_SMALL,
                detail=f"the face is {clip.median_face_px:.0f} px wide and high",
                needs=f"{LEAST_FACE_PX:.0f} px or more",
            )
        presence = np.concatenate([t.presence for t in clip.tracks])
        is_missing = np.concatenate(
            [~np.isfinite(t.landmarks_px).all(axis=(1, 2)) for t in clip.tracks]
        )
        if not np.median(presence) >= LEAST_PRESENCE or is_missing.mean() > MOST_MISSING:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.LANDMARKS_UNSTABLE,
                detail=f"landmarks are missing in {is_missing.mean():.0%} of the frames, "
                f"their network is {np.median(presence):.0%} sure of the others",
                needs=f"missing in {MOST_MISSING:.0%} or fewer, {LEAST_PRESENCE:.0%} sure",
            )
        return None

    def _too_dark(self, light: float) -> Abstention:
        return Abstention(
            detector=self.name,
            reason=AbstainReason.TOO_DARK,
            detail=f"brightness of the face {light:.0f} of 255",
            needs=f"{LEAST_LIGHT:.0f} of 255: pixels that show where they went",
        )

    def _judge(self, clip: FaceClip) -> Finding | Abstention:
        if (light := _light(clip.tracks)) < LEAST_LIGHT:
            return self._too_dark(light)
        motions = [
            thin
            for track in _longest(clip.tracks)
            if (thin := landmark_flow.thinned(landmark_flow.motion_of(track))) is not None
        ]
        windows = [window for motion in motions for window in landmark_flow.windows_of(motion)]
        if not windows:
            return self._too_few("there is no such stretch with landmarks in every frame")
        column = self._model.output_names.index(FAKE_LOGIT)
        said = self._model.run({INPUT: np.stack(windows)})[column].astype(np.float64)
        logits = aggregation.bounded(said)
        typical = aggregation.trimmed_mean(logits)
        stray = np.concatenate([np.abs(m.stray[m.is_whole]).ravel() for m in motions])
        return Finding(
            detector=self.name,
            fake_probability=float(aggregation.probability(typical, self._model.calibration)),
            frames=sum(map(_frames_in_windows, motions)),
            spans=tuple(span for motion in motions for span in _spans(motion)),
            is_calibrated=self._model.is_calibrated,
            model=self._model.versioned_name,
            measurements={
                "fake_logit": typical,
                "fake_logit_deviation": float(logits.std()),
                "stretches": float(len(windows)),
                "mean_flow_beyond_the_landmarks_px": float(stray.mean()),
            },
            caveat=self._model.caveat,
        )

    def _too_few(self, detail: str) -> Abstention:
        return Abstention(
            detector=self.name,
            reason=AbstainReason.TOO_FEW_FRAMES,
            detail=detail,
            needs=f"{WINDOW + 1} frames on end at {RATE_HZ[0]:.0f} to {RATE_HZ[1]:.0f} fps",
        )


def _light(tracks: Sequence[FaceTrack]) -> float:
    """Return the median brightness of the middle of the face, of 255; 255 where nothing is kept."""
    middle = slice(SMALL_SIDE_PX // 4, 3 * SMALL_SIDE_PX // 4)
    seen = [t.small[::LIGHT_EVERY, middle, middle].mean(axis=(1, 2, 3)) for t in tracks]
    found = np.concatenate(seen)
    return float(np.median(found)) if len(found) else 255.0


def _longest(tracks: Sequence[FaceTrack]) -> list[FaceTrack]:
    """Choose the longest tracks, up to `MOST_FRAMES` and one at least; given back by time."""
    order = sorted(range(len(tracks)), key=lambda i: -len(tracks[i].small))
    frames = 0
    chosen: list[int] = []
    for i in order:
        if chosen and frames + len(tracks[i].small) > MOST_FRAMES:
            continue
        chosen.append(i)
        frames += len(tracks[i].small)
    return [tracks[i] for i in sorted(chosen)]


def _covered(motion: Motion) -> list[tuple[int, int]]:
    """Return the stretches that windows cover, first and last frame of each."""
    found: list[tuple[int, int]] = []
    for start in landmark_flow.starts_of(motion):
        last = start + WINDOW - 1
        if found and start <= found[-1][1] + 1:
            found[-1] = (found[-1][0], last)
        else:
            found.append((start, last))
    return found


def _frames_in_windows(motion: Motion) -> int:
    return sum(last - first + 1 for first, last in _covered(motion))


def _spans(motion: Motion) -> list[Span]:
    return [
        Span(first_s=float(motion.pts_s[first]), last_s=float(motion.pts_s[last]))
        for first, last in _covered(motion)
    ]
