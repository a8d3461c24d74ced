"""
How does a person see at a glance who was meant, when, and where on the face? In the video itself.

The video is followed once more, as when it was judged, and drawn over: a box around everybody that
the verdict names, with what it says of them, and the pixels that the segmenter marks. Nothing is
decided here. Who is found now and stands in no verdict, as networks may have changed, is boxed in
grey and not named.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from app.domain.overlay import OverlayOrder, OverlayPerson
from workers.detection import align
from workers.detection.stage import CROP_SIDE_PX, FaceClip, Floats, Frame, Image, Sound
from workers.encode import ClipWriter, PictureShape

LONGER_SIDE_PX = 1280
CRF, PRESET = 23, "veryfast"
BATCH = 8
MOST_MARKED = 900
"""Frames of a person that the segmenter is asked about; of longer ones every second or third, and
what it marked stays until the next."""
SAME_TIMES_S = 0.5
"""Somebody found now is whom the verdict names where both come and go within so much."""

LOW, HIGH, UNKNOWN = (0, 114, 178), (213, 94, 0), (160, 160, 160)
"""Blue, vermilion, grey: RGB. Okabe & Ito's, told apart with any colour vision."""
HEAT = np.array(HIGH, np.float32)
MOST_HEAT = 0.65
FONT = cv2.FONT_HERSHEY_SIMPLEX
METADATA = {
    "title": "deepverdict overlay",
    "comment": "Boxes and marks were drawn by deepverdict; this is not the original.",
}


class Marker(Protocol):
    """What marks manipulated pixels: `PixelSegmenter`."""

    def mark(self, crops: Sequence[Image]) -> Floats:
        """Return how likely each pixel is manipulated, `[N, CROP_SIDE_PX, CROP_SIDE_PX]`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boxed:
    """One person in one frame, in pixels of the video."""

    key: int  # the same for the same person
    person: OverlayPerson | None  # None: somebody whom the verdict does not name
    box_px: Floats  # [4] x, y, width, height
    landmarks_px: Floats  # [P, 2]
    is_marked: bool  # whether the segmenter is to be asked


def render(
    out: Path,
    frames: Iterable[Frame],
    clips: Sequence[FaceClip],
    *,
    order: OverlayOrder,
    size: tuple[int, int],
    rate_hz: float,
    marker: Marker | None,
    sound: Sound | None,
) -> Iterator[int]:
    """
    Draw over a video and write it; gives the number of each frame once it is written.

    Args:
        out: the MP4 to write.
        frames: the frames that `clips` were followed in.
        clips: everybody, as found now.
        order: what the verdict says of whom.
        size: width and height of the video.
        rate_hz: of the frames.
        marker: asked about everybody's pixels; None marks nothing.
        sound: what is heard, in the time of the frames.

    Raises:
        OSError, FFmpegError: the file cannot be written.
    """
    seen = by_frame(clips, order)
    shown = _even(size)
    shape = PictureShape(size=shown, rate_hz=rate_hz)
    held: dict[int, Floats] = {}
    with ClipWriter(out, shape, crf=CRF, preset=PRESET, sound=sound, metadata=METADATA) as writer:
        coming = iter(frames)
        while some := list(islice(coming, BATCH)):
            for frame, marks in zip(some, _marks(some, seen, marker, held), strict=True):
                picture = draw(frame, seen.get(frame.index, ()), marks, size=shown, order=order)
                writer.write(picture, frame.pts_s)
                yield frame.index


def by_frame(clips: Sequence[FaceClip], order: OverlayOrder) -> Mapping[int, Sequence[Boxed]]:
    """Say who is where in each frame, by its number."""
    named = matched(clips, order.persons)
    found: dict[int, list[Boxed]] = {}
    for key, (clip, person) in enumerate(zip(clips, named, strict=True)):
        every = -(-clip.frames // MOST_MARKED)
        turn = 0
        for track in clip.tracks:
            for index, box, points in zip(
                track.frame_index, track.box_px, track.landmarks_px, strict=True
            ):
                boxed = Boxed(
                    key=key,
                    person=person,
                    box_px=box,
                    landmarks_px=points,
                    is_marked=turn % every == 0,
                )
                found.setdefault(int(index), []).append(boxed)
                turn += 1
    return found


def matched(
    clips: Sequence[FaceClip], persons: Sequence[OverlayPerson]
) -> list[OverlayPerson | None]:
    """Find each clip among the persons of the verdict: by name, where the times agree."""
    by_id = {person.id: person for person in persons}
    return [
        person if person is not None and _is_same(clip, person) else None
        for clip, person in ((clip, by_id.get(clip.person_id)) for clip in clips)
    ]


def draw(
    frame: Frame,
    boxed: Sequence[Boxed],
    marks: Mapping[int, Floats],
    *,
    size: tuple[int, int],
    order: OverlayOrder,
) -> Image:
    """
    Draw over one frame.

    Args:
        frame: `[H, W, 3]`, scaled by `frame.scale` from the video.
        boxed: who is in it.
        marks: `[CROP_SIDE_PX, CROP_SIDE_PX]` by the key of the person.
        size: width and height of the result; `[height, width, 3]` is returned.
    """
    picture = np.asarray(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = size[0] / (frame.rgb.shape[1] / frame.scale)
    for one in boxed:
        if one.key in marks:
            picture = _heated(picture, one, marks[one.key], scale=scale)
    for one in boxed:
        _box(picture, one, scale=scale)
    _words(picture, f"deepverdict | {order.caption}", (8, size[1] - 10), UNKNOWN)
    return picture


def colour(fake_probability: float | None) -> tuple[int, int, int]:
    """Return blue for low probabilities, vermilion for high ones, grey between and for none."""
    if fake_probability is None:
        return UNKNOWN
    far = np.array(HIGH if fake_probability > 1 / 2 else LOW, float)
    share = abs(2 * fake_probability - 1)
    red, green, blue = np.rint(np.array(UNKNOWN) * (1 - share) + far * share).astype(int)
    return int(red), int(green), int(blue)


def _marks(
    frames: Sequence[Frame],
    seen: Mapping[int, Sequence[Boxed]],
    marker: Marker | None,
    held: dict[int, Floats],
) -> list[dict[int, Floats]]:
    """Ask about all faces of some frames at once; `held` keeps what was last marked of whom."""
    if marker is None:
        return [{} for _ in frames]
    asked = [
        (place, one.key, align.crop(frame.rgb, _region(one, scale=frame.scale)))
        for place, frame in enumerate(frames)
        for one in seen.get(frame.index, ())
        if one.is_marked and np.isfinite(one.landmarks_px).all()
    ]
    answers = marker.mark([crop for _, _, crop in asked]) if asked else ()
    fresh: list[dict[int, Floats]] = [{} for _ in frames]
    for (place, key, _), mask in zip(asked, answers, strict=True):
        fresh[place][key] = mask
    result = []
    for new in fresh:
        held.update(new)
        result.append(dict(held))
    return result


def _region(one: Boxed, *, scale: float) -> align.FaceRegion:
    """Return what a sample of the face would show, in pixels of a frame of that scale."""
    region = align.region_of_crop(align.region_of_landmarks(one.landmarks_px))
    x, y = region.centre_px
    return align.FaceRegion(
        centre_px=((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5),
        side_px=region.side_px * scale,
        angle_rad=region.angle_rad,
    )


def _heated(picture: Image, one: Boxed, mask: Floats, *, scale: float) -> Image:
    """Colour the marked pixels, the surer the stronger."""
    if not np.isfinite(one.landmarks_px).all():
        return picture
    affine = _region(one, scale=scale).frame_from_crop(CROP_SIDE_PX)
    crop_from_picture = np.asarray(cv2.invertAffineTransform(affine), np.float32)
    grey = np.rint(np.clip(mask, 0, 1) * 255).astype(np.uint8)
    laid = align.warp(grey, crop_from_picture, size=(picture.shape[1], picture.shape[0]))
    rows, columns = np.flatnonzero(laid.any(axis=1)), np.flatnonzero(laid.any(axis=0))
    if not len(rows):
        return picture
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    share = (MOST_HEAT / 255) * laid[part][..., None].astype(np.float32)
    picture[part] = np.rint(picture[part] * (1 - share) + HEAT * share).astype(np.uint8)
    return picture


def _box(picture: Image, one: Boxed, *, scale: float) -> None:
    x, y, width, height = (round(float(v) * scale) for v in one.box_px)
    probability = None if one.person is None else one.person.fake_probability
    shade = colour(probability)
    cv2.rectangle(picture, (x, y), (x + width, y + height), shade, 2, cv2.LINE_AA)
    if one.person is not None:
        said = "no opinion" if probability is None else f"{probability:.2f}"
        _words(picture, f"{one.person.id}  {said}", (x, max(y - 8, 16)), shade)


def _words(picture: Image, text: str, at: tuple[int, int], shade: tuple[int, int, int]) -> None:
    """Write a line that can be read on anything: light, on a dark plate."""
    side = picture.shape[1]
    size = max(0.4, side / 1600)
    (width, height), below = cv2.getTextSize(text, FONT, size, 1)
    x, y = at
    corner = (x - 3, y - height - 4), (x + width + 3, y + below + 1)
    cv2.rectangle(picture, *corner, (20, 20, 20), cv2.FILLED)
    light = tuple(min(255, round(v * 0.5 + 128)) for v in shade)
    cv2.putText(picture, text, (x, y), FONT, size, light, 1, cv2.LINE_AA)


def _is_same(clip: FaceClip, person: OverlayPerson) -> bool:
    first_s, last_s = clip.tracks[0].pts_s[0], clip.tracks[-1].pts_s[-1]
    return bool(
        abs(first_s - person.first_s) <= SAME_TIMES_S
        and abs(last_s - person.last_s) <= SAME_TIMES_S
    )


def _even(size: tuple[int, int]) -> tuple[int, int]:
    """Scale down to what is shown, with sides that every player can show."""
    scale = min(1.0, LONGER_SIDE_PX / max(size))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in size)
    return width, height
