"""
Does the skin of the cheeks and of the forehead redden in one rhythm, as a heart would have it?

With every beat of the heart skin takes up a little more green light, some tenths of a step of 255.
Measured is how alike both cheeks and the forehead do so: the mean correlation of their pulse
signals, from 42 to 180 a minute. What is painted into a face frame by frame has no reason to.

Abstains: for less than ten seconds of track at 20 frames a second; for small faces; where the head
moves much; in the dark; where the codec repeats most of the skin from frame to frame. How strongly
a video was compressed otherwise cannot be told from its pictures, and compression takes the pulse
away long before it is seen.

How it is fooled: a face swap carries the driver's pulse with it (Seibold et al., "High-quality
deepfakes have a heart!", 2025), a shadow that moves with the head looks like one, and most videos
on the web have lost theirs. It is weak: of the 20 real and 49 fake clips it was tried on first a
fake was less alike than a real one in 48 of 100 pairs, and its rhythm stood out less in 54: no
better than a coin.

Source: Wang et al., "Algorithmic Principles of Remote PPG", IEEE Trans. Biomed. Eng. 2017 (POS).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    DetectorName,
    Evidence,
    Finding,
    Span,
)
from workers.detection import face_regions
from workers.detection.face_regions import Mask
from workers.detection.reference import Reference, Suspicious, Transform
from workers.detection.stage import (
    LANDMARKS,
    SMALL_SIDE_PX,
    Examination,
    FaceClip,
    FaceTrack,
    Floats,
)

Doubles = NDArray[np.float64]

LEAST_TRACK_S = 10.0
LEAST_RATE_HZ = 20.0
LEAST_FACE_PX = 60.0
SLACK = 0.99
"""Ten seconds of film at 29.97 frames a second are a frame short of it."""
LEAST_PATCH_PX = 30
"""Pixels of the small picture in each region; fewer do not average the noise away."""
MOST_WANDER_PX = 1.5
"""Of the small picture: how far points lie from where they mostly are, in the mean. One real clip
in ten has more, those who turn their heads."""
LEAST_LIGHT = 32.0
"""Of 255: darker skin reflects too little to show a change of a hundredth of it."""
MOST_REPEATED = 0.5
"""Share of the skin's pixels that are the same in the next frame; at most 0.32 in real clips."""
LOOKS = 9
"""Frames that the regions are laid by; the small pictures are steady."""
WINDOW_S = 1.6
"""Stretch that one projection is made for: a beat of a slow heart, after Wang et al."""
SLOWEST_HZ, FASTEST_HZ = 0.7, 3.0
BESIDE_HZ = 0.1
"""What still counts to the rhythm, on either side of it and of its octave."""
SUSPICIOUS = Suspicious.LOW
TRANSFORM = Transform.NONE
"""For the reference: a correlation is in [-1, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beats:
    """What was seen of a pulse."""

    coherence: float  # mean correlation of cheeks and forehead, in [-1, 1]
    of_cheeks: float  # correlation of the two cheeks
    snr_db: float  # of the strongest rhythm and its octave over the others
    rate_per_min: float  # of the strongest rhythm


def pulse_signal(colours: Doubles, rate_hz: float) -> Doubles:
    """
    Turn colours over time into pulses by the projection onto the plane orthogonal to skin (POS).

    Args:
        colours: `[S, K, 3]` mean red, green and blue of K regions, evenly in time.

    Returns:
        `[S, K]` in parts of the skin's brightness; light that changes on everything is not in it.
    """
    frames = max(2, round(WINDOW_S * rate_hz))
    signal = np.zeros(colours.shape[:2])
    if len(colours) < frames:
        return signal
    windows = np.lib.stride_tricks.sliding_window_view(colours, frames, axis=0)  # [N, K, 3, F]
    level = windows.mean(axis=-1, keepdims=True)
    red, green, blue = np.moveaxis(windows / np.where(level > 0, level, 1), 2, 0)
    first, second = green - blue, green + blue - 2 * red
    spread = second.std(axis=-1, keepdims=True)
    share = first.std(axis=-1, keepdims=True) / np.where(spread > 0, spread, 1)
    beats = first + share * second
    beats -= beats.mean(axis=-1, keepdims=True)
    for i in range(frames):
        signal[i : i + len(beats)] += beats[..., i]
    return signal


def measure(colours: Doubles, rate_hz: float) -> Beats:
    """
    Measure the pulse in the colours of both cheeks and the forehead.

    Args:
        colours: `[S, 3, 3]` left cheek, right cheek, forehead; red, green, blue; evenly in time.
    """
    signal = pulse_signal(colours, rate_hz)
    spectrum = np.fft.rfft(signal - signal.mean(axis=0), axis=0)
    hz = np.fft.rfftfreq(len(signal), 1 / rate_hz)
    spectrum[(hz < SLOWEST_HZ) | (hz > FASTEST_HZ)] = 0
    beats = np.fft.irfft(spectrum, len(signal), axis=0)
    size = np.sqrt((beats**2).mean(axis=0))
    beats /= np.where(size > 0, size, 1)
    alike = {
        (a, b): float((beats[:, a] * beats[:, b]).mean())
        for a, b in combinations(range(beats.shape[1]), 2)
    }
    snr_db, strongest_hz = _rhythm(beats.mean(axis=1), rate_hz)
    return Beats(
        coherence=float(np.mean(list(alike.values()))),
        of_cheeks=alike[0, 1],
        snr_db=snr_db,
        rate_per_min=60 * strongest_hz,
    )


class Pulse:
    """
    Compares how alike the skin's regions pulse with how alike they do in real clips.

    Args:
        reference: the same in real clips.
    """

    name = DetectorName.PULSE
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Measure a person whose face was followed for long enough without a break."""
        del prior
        track = max(clip.tracks, key=_seen_s)
        return Examination(evidence=self._refuse(clip, track) or self._measure(track))

    def _refuse(self, clip: FaceClip, track: FaceTrack) -> Abstention | None:
        seen_s = _seen_s(track)
        if seen_s < SLACK * LEAST_TRACK_S:
            return self._abstain(
                AbstainReason.TRACK_TOO_SHORT,
                f"the face was followed for {seen_s:.1f} s without a break",
                f"{LEAST_TRACK_S:.0f} s or more at {LEAST_RATE_HZ:.0f} fps or more",
            )
        rate_hz = len(track.small) / seen_s
        if rate_hz < SLACK * LEAST_RATE_HZ:
            return self._abstain(
                AbstainReason.FRAME_RATE_TOO_LOW,
                f"the face was seen {rate_hz:.1f} times a second",
                f"{LEAST_RATE_HZ:.0f} fps or more",
            )
        if not clip.median_face_px >= LEAST_FACE_PX:
            return self._abstain(
                AbstainReason.FACE_TOO_SMALL,
                f"the face is {clip.median_face_px:.0f} px wide and high",
                f"{LEAST_FACE_PX:.0f} px or more",
            )
        return None

    def _measure(self, track: FaceTrack) -> Finding | Abstention:
        points = _points(track)
        if points is None:
            return self._abstain(
                AbstainReason.LANDMARKS_UNSTABLE,
                "the points of the face are missing in most frames",
                "points in most frames",
            )
        still = np.median(points, axis=0).astype(np.float32)
        wander_px = float(np.median(np.abs(points - still).mean(axis=(1, 2))))
        if wander_px > MOST_WANDER_PX:
            return self._abstain(
                AbstainReason.LANDMARKS_UNSTABLE,
                f"the head turns: its points wander by {wander_px:.1f} px of {SMALL_SIDE_PX}",
                f"{MOST_WANDER_PX} px or less",
            )
        regions = [
            face_regions.polygon_mask(still, corners, SMALL_SIDE_PX)
            for corners in (*face_regions.CHEEKS, face_regions.FOREHEAD)
        ]
        if any(region.sum() < LEAST_PATCH_PX for region in regions):
            return self._abstain(
                AbstainReason.SKIN_NOT_VISIBLE,
                "the cheeks or the forehead are hardly in view",
                f"{LEAST_PATCH_PX} px of each in a picture of {SMALL_SIDE_PX} px",
            )
        colours = np.stack([_mean_colours(track, region) for region in regions], axis=1)
        if (light := float(np.median(colours, axis=0).mean(axis=1).min())) < LEAST_LIGHT:
            return self._abstain(
                AbstainReason.TOO_DARK,
                f"mean brightness of the darkest region {light:.0f} of 255",
                f"{LEAST_LIGHT:.0f} or more",
            )
        repeated = _repeated(track, regions[0] | regions[1] | regions[2])
        if repeated > MOST_REPEATED:
            return self._abstain(
                AbstainReason.TOO_COMPRESSED,
                f"{repeated:.0%} of the skin's pixels are repeated from frame to frame",
                f"{MOST_REPEATED:.0%} or fewer",
            )
        pts_s = track.pts_s[: len(track.small)]
        rate_hz = (len(pts_s) - 1) / float(pts_s[-1] - pts_s[0])
        seen = measure(_evenly(_without_keyframes(colours, track), pts_s), rate_hz)
        return Finding(
            detector=self.name,
            cue=self._reference.cue(
                self.name,
                seen.coherence,
                "mean correlation of cheeks and forehead",
                suspicious=SUSPICIOUS,
            ),
            frames=len(pts_s),
            spans=(Span(first_s=float(pts_s[0]), last_s=float(pts_s[-1])),),
            measurements={
                "pulse_coherence": seen.coherence,
                "pulse_coherence_of_cheeks": seen.of_cheeks,
                "pulse_snr_db": seen.snr_db,
                "strongest_rhythm_per_min": seen.rate_per_min,
                "wander_small_px": wander_px,
            },
            caveat="Weak, never decisive: no better than a coin on 100 clips. Compression takes a "
            "pulse away, and a face swap keeps that of the actor.",
        )

    def _abstain(self, reason: AbstainReason, detail: str, needs: str) -> Abstention:
        return Abstention(detector=self.name, reason=reason, detail=detail, needs=needs)


def _seen_s(track: FaceTrack) -> float:
    """Return how long the small pictures of a track last, its last one included."""
    frames = len(track.small)
    if frames <= 1:
        return 0.0
    return float(track.pts_s[frames - 1] - track.pts_s[0]) * frames / (frames - 1)


def _points(track: FaceTrack) -> Floats | None:
    """Return the mesh in some of the small pictures, `[N, LANDMARKS, 2]`."""
    looks = np.unique(np.linspace(0, len(track.small) - 1, LOOKS).round().astype(int))
    is_placed = np.isfinite(track.landmarks_px[looks, :LANDMARKS]).all(axis=(1, 2))
    if is_placed.mean() < 1 / 2:
        return None
    points = np.stack(
        [face_regions.points_in_small(track.landmarks_px[i]) for i in looks[is_placed]]
    )
    return points if np.isfinite(points).all() else None


def _mean_colours(track: FaceTrack, region: Mask) -> Doubles:
    """Return the mean red, green and blue of a region over time, `[S, 3]`."""
    return np.asarray(track.small[:, region].mean(axis=1, dtype=np.float64))


def _repeated(track: FaceTrack, region: Mask) -> float:
    """Return the share of a region's pixels that are the same in the frame that follows."""
    skin = track.small[:, region]
    return float((skin[1:] == skin[:-1]).all(axis=2).mean())


def _without_keyframes(colours: Doubles, track: FaceTrack) -> Doubles:
    """Take out the jumps at keyframes, which come in a rhythm of their own."""
    is_keyframe = track.is_keyframe[: len(colours)]
    if is_keyframe.mean() >= 1 / 2:
        return colours
    steps = np.diff(colours, axis=0)
    steps[is_keyframe[1:]] = 0
    return np.concatenate([colours[:1], colours[:1] + np.cumsum(steps, axis=0)])


def _evenly(colours: Doubles, pts_s: Doubles) -> Doubles:
    """Interpolate colours `[S, K, 3]` at even times."""
    even_s = np.linspace(pts_s[0], pts_s[-1], len(pts_s))
    flat = colours.reshape(len(colours), -1)
    return np.stack([np.interp(even_s, pts_s, c) for c in flat.T], axis=1).reshape(colours.shape)


def _rhythm(signal: Doubles, rate_hz: float) -> tuple[float, float]:
    """Return by how much the strongest rhythm stands out, in decibels, and its frequency."""
    padded = 4 * len(signal)
    power = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), padded)) ** 2
    hz = np.fft.rfftfreq(padded, 1 / rate_hz)
    is_pulse = (hz >= SLOWEST_HZ) & (hz <= FASTEST_HZ)
    strongest_hz = float(hz[is_pulse][power[is_pulse].argmax()])
    is_in_rhythm = (np.abs(hz - strongest_hz) <= BESIDE_HZ) | (
        np.abs(hz - 2 * strongest_hz) <= BESIDE_HZ
    )
    inside = float(power[is_pulse & is_in_rhythm].sum())
    outside = float(power[is_pulse & ~is_in_rhythm].sum())
    least = np.finfo(float).tiny
    return 10 * float(np.log10(max(inside, least) / max(outside, least))), strongest_hz
