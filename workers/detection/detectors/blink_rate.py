"""
Do the eyes blink as eyes do?

Counts blinks by the eye aspect ratio of the landmarks: an eye that is shut for a moment, against
how far it was open just before and after.

Abstains: unless the person was followed for half a minute at 20 frames a second, with both eyes in
view for most of it. A real person may well not blink for ten seconds (6 in 100 do not, at 17 blinks
a minute), so a short clip says nothing: that nobody blinked in it is no finding.

Suspicious is a person who blinks rarely, never one who blinks often: a generator that saw no shut
eyes makes none, and none is known that makes too many, while a real person of ours blinks 14 times
in ten seconds of talk.

How it is fooled: forgeries have blinked since their makers train on shut eyes, and a face swap or a
re-enactment blinks whenever its driver does. Real people blink rarely while they read or stare. How
much the rate tells is not known, as hardly a clip at hand is half a minute long.

How well it counts: on 12 real clips with 63 blinks told by eye it finds 61 and two that are none
(F1 0.97, 0.93 to 0.99 by resampling clips), and as many in every second frame of them. Eight of the
clips, with 52, were read before anything was counted in them (50 found, one that is none); the
thresholds were chosen on 9 of the others. Stretches in which lids cannot be told by eye are left
out, four whole clips among them, so that faces that turn and glance down do worse than this.
Twenty frames a second are wanted all the same: a quick blink is over in a tenth of one.
The cuts of EyeBlink8 beside the checkout cannot tell how well: their table has a blink in each, and
by eye the lids are shut in 4 of 64, and in one of these also open before and after. That one is
found, and nothing else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
from workers.detection.reference import Reference, Suspicious, Transform
from workers.detection.stage import Examination, FaceClip, FaceTrack, Floats

EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
"""Corner, two of the upper lid, corner, two of the lower lid, in MediaPipe's numbering."""

LEAST_FOLLOWED_S = 30.0
LEAST_RATE_HZ = 20.0
LEAST_PRESENCE = 0.5
LEAST_EYE_PX = 10.0
"""Width of an eye; below it a lid is one pixel high, open or shut."""
LEAST_SYMMETRY = 0.5
"""Width of the narrower eye over that of the wider: less is a profile."""
LEAST_VISIBLE = 0.7
"""Share of the frames in which both eyes must be in view."""

OPEN_WINDOW_S = 3.0
"""How far before and after a frame the open eye is looked for."""
OPEN_QUANTILE = 0.5
"""Of the frames around: with our landmarks the median is how open an eye is that is open. With it,
limits from 0.70 to 0.74 below and 0.80 to 0.88 above count as by eye on three clips, 9 blinks."""
SHUT_BELOW = 0.72
"""Of the open eye: a blink goes below it."""
OPEN_ABOVE = 0.85
"""Of the open eye: a blink ends above it. Two thresholds, so that a flutter is one blink."""
LEAST_BLINK_S = 0.04
MOST_BLINK_S = 0.8
"""An eye that is shut for longer rests, or looks down."""

DEEP = 0.5
"""Depth of a blink in which the lids came at least halfway together. A whole blink reads as less
than 1, as its lowest moment lies between two frames and the landmarks lag."""
SUSPICIOUS = Suspicious.LOW
TRANSFORM = Transform.NONE
"""For the reference: 0 blinks a minute is a value as any other, and a logarithm has none for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blink:
    """One time that the eyes were shut for a moment."""

    start_s: float  # the last frame with open eyes
    end_s: float  # the first frame with open eyes again
    depth: float  # how far the eye was shut at most: 0 open, 1 as flat as a line

    @property
    def duration_s(self) -> float:
        """From open to open."""
        return self.end_s - self.start_s


def eye_aspect_ratio(eye_px: Floats) -> Floats:
    """
    Measure how open one eye is in each frame.

    Args:
        eye_px: `[T, 6, 2]` corner, two upper-lid, corner, two lower-lid points. Any common scale
            will do: the ratio has no unit.

    Returns:
        `[T]` height over width. Near 0.3 when open, under 0.2 when shut. NaN where the eye has
        no width, which means landmarks collapsed.

    Raises:
        ValueError: the last two axes are not `6, 2`.

    Source: Soukupova & Cech, "Real-Time Eye Blink Detection using Facial Landmarks", CVWW 2016,
    eq. 1.
    """
    if eye_px.shape[-2:] != (6, 2):
        raise ValueError(f"want [T, 6, 2], got {list(eye_px.shape)}")
    lids = np.linalg.norm(eye_px[:, [1, 2]] - eye_px[:, [5, 4]], axis=-1).sum(axis=-1)
    width = np.linalg.norm(eye_px[:, 0] - eye_px[:, 3], axis=-1)
    ratio: Floats = np.full_like(width, np.nan)
    np.divide(lids, 2 * width, out=ratio, where=width > 0)
    return ratio


def openness(track: FaceTrack) -> Floats:
    """
    Measure how open both eyes are in each frame of a track.

    Returns:
        `[T]` mean aspect ratio of the two; NaN where they are not both in view.
    """
    eyes = [track.landmarks_px[:, list(eye)] for eye in EYES]
    widths = np.stack([np.linalg.norm(e[:, 0] - e[:, 3], axis=-1) for e in eyes])
    narrow, wide = widths.min(axis=0), widths.max(axis=0)
    is_in_view = (
        (track.presence >= LEAST_PRESENCE)
        & (narrow >= LEAST_EYE_PX)
        & (narrow >= LEAST_SYMMETRY * wide)
    )
    ratio = np.stack([eye_aspect_ratio(e) for e in eyes]).mean(axis=0)
    return np.where(is_in_view, ratio, np.nan).astype(np.float32)


def blinks(pts_s: NDArray[np.float64], openness: Floats) -> tuple[Blink, ...]:
    """
    Find the blinks in a track.

    Args:
        pts_s: `[T]` times, rising; evenly spaced or not.
        openness: `[T]` in any unit; NaN where the eyes were not in view, which ends whatever
            was going on.

    Returns:
        By time. An eye that is shut at the first or last frame in view is no blink: how long it
        was shut is not known.
    """
    relative = openness / _open_level(pts_s, openness)
    found: list[Blink] = []
    last_open: int | None = None
    is_shut = False
    for i, level in enumerate(relative):
        if not math.isfinite(level):
            last_open, is_shut = None, False
        elif level >= OPEN_ABOVE:
            if is_shut and last_open is not None:
                start_s, end_s = float(pts_s[last_open]), float(pts_s[i])
                if LEAST_BLINK_S <= end_s - start_s <= MOST_BLINK_S:
                    depth = 1 - float(relative[last_open : i + 1].min())
                    found.append(Blink(start_s=start_s, end_s=end_s, depth=depth))
            last_open, is_shut = i, False
        elif level < SHUT_BELOW:
            is_shut = True
    return tuple(found)


class BlinkRate:
    """
    Compares how often a person blinks with how often people do.

    Args:
        reference: blink rates of real clips; those that are long enough.
    """

    name = DetectorName.BLINK_RATE
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Count the blinks of a person who was followed for long enough."""
        del prior
        return Examination(evidence=self._refuse(clip) or self._count(clip))

    def _refuse(self, clip: FaceClip) -> Abstention | None:
        needs = (
            f"{LEAST_FOLLOWED_S:.0f} s of track at {LEAST_RATE_HZ:.0f} fps or more, "
            f"both eyes in view for {LEAST_VISIBLE:.0%} of it"
        )
        if clip.followed_s < LEAST_FOLLOWED_S:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.TRACK_TOO_SHORT,
                detail=f"the face was followed for {clip.followed_s:.1f} s, "
                "and real people need not blink in so short a time",
                needs=needs,
            )
        rate_hz = sum(len(t.pts_s) - 1 for t in clip.tracks) / clip.followed_s
        if rate_hz < LEAST_RATE_HZ:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.FRAME_RATE_TOO_LOW,
                detail=f"the face was seen {rate_hz:.1f} times a second",
                needs=needs,
            )
        visible = np.concatenate([np.isfinite(openness(t)) for t in clip.tracks])
        if visible.mean() < LEAST_VISIBLE:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.EYES_NOT_VISIBLE,
                detail=f"both eyes are in view in {visible.mean():.0%} of the frames",
                needs=needs,
            )
        return None

    def _count(self, clip: FaceClip) -> Finding:
        by_track = [openness(track) for track in clip.tracks]
        found = [
            blink
            for track, lids in zip(clip.tracks, by_track, strict=True)
            for blink in blinks(track.pts_s, lids)
        ]
        frames = sum(int(np.isfinite(lids).sum()) for lids in by_track)
        visible_s = clip.followed_s * frames / clip.frames
        per_min = 60 * len(found) / visible_s
        measurements = {
            "blinks": float(len(found)),
            "blinks_per_min": per_min,
            "eyes_in_view_s": visible_s,
        }
        if found:
            measurements["median_blink_s"] = float(np.median([b.duration_s for b in found]))
            measurements["median_blink_depth"] = float(np.median([b.depth for b in found]))
            measurements["deep_blinks_share"] = float(np.mean([b.depth >= DEEP for b in found]))
        return Finding(
            detector=self.name,
            cue=self._reference.cue(self.name, per_min, "blinks a minute", suspicious=SUSPICIOUS),
            frames=frames,
            spans=tuple(
                Span(first_s=float(t.pts_s[0]), last_s=float(t.pts_s[-1]))
                for t, lids in zip(clip.tracks, by_track, strict=True)
                if np.isfinite(lids).any()
            ),
            measurements=measurements,
            caveat="Blinking tells little: newer forgeries blink, and people who read hardly do.",
        )


def _open_level(pts_s: NDArray[np.float64], openness: Floats) -> Floats:
    """Return how open the eye is when it is open, around each frame, `[T]`."""
    level = np.full_like(openness, np.nan)
    starts = np.searchsorted(pts_s, pts_s - OPEN_WINDOW_S, side="left")
    ends = np.searchsorted(pts_s, pts_s + OPEN_WINDOW_S, side="right")
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        nearby = openness[start:end]
        nearby = nearby[np.isfinite(nearby)]
        if len(nearby) and math.isfinite(openness[i]):
            level[i] = np.quantile(nearby, OPEN_QUANTILE)
    return np.where(level > 0, level, np.nan).astype(np.float32)
