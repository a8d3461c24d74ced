"""
How does a person see at a glance what was found? On one picture: the telling looks at everybody.

Each look is shown twice: where the face is in the frame, and close up. Where a mask was made it
glows over both. English words and figures only; drawn with OpenCV, which has no other letters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import Abstention, DetectorName, Evidence, Finding, Person
from workers.detection import align
from workers.detection.artifacts import over_frame
from workers.detection.stage import (
    CROP_MARGIN,
    CROP_SIDE_PX,
    FaceClip,
    FaceSample,
    Floats,
    Image,
    PixelMask,
)

Colour = tuple[int, int, int]

COLUMNS, MOST_LOOKS = 3, 6
FRAME_WIDTH, HEIGHT = 320, 180  # of the frame in a tile; the face beside it is a square
GAP, MARGIN, CAPTION, HEADER, TITLE = 14, 28, 30, 44, 60
TILE_WIDTH = FRAME_WIDTH + HEIGHT
WIDTH = 2 * MARGIN + COLUMNS * TILE_WIDTH + (COLUMNS - 1) * GAP

PAPER: Colour = (22, 24, 28)
CARD: Colour = (34, 37, 43)
INK: Colour = (232, 234, 238)
FAINT: Colour = (150, 156, 166)
GLOW: Colour = (255, 72, 40)
CALM: Colour = (122, 162, 204)
ALARM: Colour = (255, 92, 60)
GLOW_STRENGTH = 0.65


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SheetRow:
    """One person on the sheet."""

    person: Person
    clip: FaceClip
    masks: tuple[PixelMask, ...]


def contact_sheet(title: str, rows: Sequence[SheetRow]) -> bytes:
    """Draw the sheet, a PNG. Whoever has no looks is left out."""
    heading = _paper(TITLE)
    write(heading, title, at=(MARGIN, 42), size=0.8, ink=INK, is_bold=True)
    blocks = [_block(row) for row in rows if row.clip.samples]
    sheet = np.concatenate([heading, *blocks, _paper(MARGIN // 2)])
    is_done, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    assert is_done, "a PNG can be made of any picture"
    return encoded.tobytes()


def _block(row: SheetRow) -> Image:
    """Draw one person: a line about them, then the looks."""
    header = _paper(HEADER)
    person = row.person
    write(header, person.id, at=(MARGIN, 30), size=0.75, ink=INK, is_bold=True)
    about = (
        f"{_clock(person.first_s)} to {_clock(person.last_s)},  {person.frames} frames,  "
        f"face {person.median_face_px:.0f} px     {_opinions(person.evidence)}"
    )
    write(header, about, at=(MARGIN + 52, 29), size=0.5, ink=FAINT)
    suspicion = _observed(person.evidence, DetectorName.FRAME_CLASSIFIER)
    masks = {mask.sample.frame_index: mask for mask in row.masks}
    tiles = [
        _tile(row.clip, look, masks.get(look.frame_index), suspicion.get(look.frame_index))
        for look in _telling(row.clip.samples, masks, suspicion)
    ]
    lines = [tiles[at : at + COLUMNS] for at in range(0, len(tiles), COLUMNS)]
    return np.concatenate([header, *(_line(line) for line in lines)])


def _telling(
    looks: Sequence[FaceSample],
    masks: Mapping[int, PixelMask],
    fake_probability: Mapping[int, float],
) -> list[FaceSample]:
    """Choose the looks with most marked, then the most suspect; by time. A few where none is."""
    if not masks and not fake_probability:
        chosen = np.unique(np.linspace(0, len(looks) - 1, COLUMNS).round().astype(int))
        return [looks[i] for i in chosen]
    areas = {index: mask.area for index, mask in masks.items()}
    ranked = sorted(
        looks,
        key=lambda k: (-areas.get(k.frame_index, -1.0), -fake_probability.get(k.frame_index, 0)),
    )
    return sorted(ranked[:MOST_LOOKS], key=lambda k: k.pts_s)


def _line(tiles: Sequence[Image]) -> Image:
    paper = _paper(HEIGHT + CAPTION + GAP)
    for n, tile in enumerate(tiles):
        left = MARGIN + n * (TILE_WIDTH + GAP)
        paper[: tile.shape[0], left : left + TILE_WIDTH] = tile
    return paper


def _tile(
    clip: FaceClip, look: FaceSample, mask: PixelMask | None, fake_probability: float | None
) -> Image:
    """Draw one look: the frame with the face framed, the face, a caption."""
    tile = np.full((HEIGHT + CAPTION, TILE_WIDTH, 3), CARD, np.uint8)
    frame, top_left = _fitted(look.thumbnail, width=FRAME_WIDTH, height=HEIGHT)
    affine = align.in_video(look.frame_from_crop, scale=clip.frame_width_px / frame.shape[1])
    face, _ = _fitted(look.crop, width=HEIGHT, height=HEIGHT)
    if mask is not None:
        size = (frame.shape[1], frame.shape[0])
        frame = _glowing(frame, over_frame(mask.probability, affine, size=size))
        near = cv2.resize(mask.probability, (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
        face = _glowing(face, np.rint(np.clip(near, 0, 1) * 255).astype(np.uint8))
    ink = _alarm(fake_probability)
    frame = frame.copy()
    cv2.polylines(frame, [_outline(affine)], True, ink, 2, cv2.LINE_AA)
    x, y = top_left
    tile[y : y + frame.shape[0], x : x + frame.shape[1]] = frame
    tile[:HEIGHT, FRAME_WIDTH:] = face
    words = _clock(look.pts_s)
    write(tile, words, at=(10, HEIGHT + 20), size=0.46, ink=FAINT)
    if fake_probability is not None:
        write(tile, f"fake {fake_probability:.2f}", at=(110, HEIGHT + 20), size=0.46, ink=ink)
    if mask is not None:
        marked = f"{mask.area:.0%} marked"
        write(tile, marked, at=(FRAME_WIDTH + 10, HEIGHT + 20), size=0.46, ink=FAINT)
    return tile


def _fitted(picture: Image, *, width: int, height: int) -> tuple[Image, tuple[int, int]]:
    """Scale a picture to fit; returns it and where its top left comes to lie."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    return np.asarray(small, np.uint8), ((width - size[0]) // 2, (height - size[1]) // 2)


def _glowing(picture: Image, mask: Image) -> Image:
    """Let the marked pixels of a picture glow, the surer the stronger."""
    strength = (mask.astype(np.float32) / 255 * GLOW_STRENGTH)[..., None]
    mixed = picture * (1 - strength) + np.array(GLOW, np.float32) * strength
    return np.asarray(np.rint(mixed), np.uint8)


def _outline(frame_from_crop: Floats) -> NDArray[np.int32]:
    """Return the corners of the face box in the frame, as `[4, 2]` whole pixels."""
    face = CROP_SIDE_PX / CROP_MARGIN
    low, high = (CROP_SIDE_PX - face) / 2, (CROP_SIDE_PX + face) / 2
    corners = np.array([(low, low), (high, low), (high, high), (low, high)], np.float32)
    placed = corners @ frame_from_crop[:, :2].T + frame_from_crop[:, 2]
    return np.asarray(np.rint(placed), np.int32)


def _opinions(evidence: Sequence[Evidence]) -> str:
    """Say in one line what the detectors with a probability think; else why the first has none."""
    found = {
        e.detector.replace("_", " "): e.fake_probability
        for e in evidence
        if isinstance(e, Finding) and e.fake_probability is not None
    }
    if not found:
        reasons = [e.reason.replace("_", " ") for e in evidence if isinstance(e, Abstention)]
        return f"not judged: {reasons[0]}" if reasons else ""
    return "     ".join(f"{name} {probability:.2f}" for name, probability in found.items())


def _observed(evidence: Sequence[Evidence], detector: DetectorName) -> Mapping[int, float]:
    """Return the fake probability by frame, as one detector saw it."""
    return {
        o.frame_index: o.fake_probability
        for e in evidence
        if isinstance(e, Finding) and e.detector == detector
        for o in e.observations
        if o.fake_probability is not None
    }


def _alarm(fake_probability: float | None) -> Colour:
    """Return calm blue for 0, red for 1, grey where nobody judged."""
    if fake_probability is None:
        return FAINT
    calm, alarm = np.array(CALM), np.array(ALARM)
    r, g, b = (calm + (alarm - calm) * fake_probability).round().astype(int).tolist()
    return (r, g, b)


def _clock(pts_s: float) -> str:
    minutes, seconds = divmod(pts_s, 60)
    return f"{minutes:.0f}:{seconds:04.1f}"


def _paper(height: int) -> Image:
    return np.full((height, WIDTH, 3), PAPER, np.uint8)


def write(
    picture: Image,
    words: str,
    *,
    at: tuple[int, int],
    size: float,
    ink: Colour,
    is_bold: bool = False,
) -> None:
    """Write a line of ASCII; `at` is the left end of its baseline."""
    plain = words.encode("ascii", "replace").decode()
    weight = 2 if is_bold else 1
    cv2.putText(picture, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, ink, weight, cv2.LINE_AA)
