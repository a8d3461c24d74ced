"""
Which poses and expressions do the faces of a set show?

Measured on the upright points alone: how far the head is turned and tilted, how wide mouth and eyes
are open, as shares of the face, so that they mean the same at every size. The sheet shows a person
what a forger will be able to make of somebody: what is not on it, it never learns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection import align
from workers.detection.contact_sheet import CARD, FAINT, INK, PAPER, write
from workers.detection.detectors.blink_rate import SHUT_BELOW
from workers.detection.stage import Floats, Image
from workers.training.teachers import eye_openness

_LIPS = (13, 14)  # where the lips meet, above and below
_INNER_CORNERS = (78, 308)  # of the mouth

_TURNED, _FAR_TURNED = 0.2, 0.5
_UP, _DOWN = 0.44, 0.66
"""In 72 real clips the tip of the nose lies at 0.41 to 0.70 of the way in nine faces of ten, with
a median of 0.545."""
_OPEN, _WIDE = 0.1, 0.35
"""In those clips, which are mostly of people who talk, a third is under the first, and a sixth
over the second."""

CELL_PX = 112
_GAP, _MARGIN, _TITLE, _CAPTION, _ROW_LABEL, _TABLE = 8, 24, 92, 24, 120, 380
_LINE = 26


class Pose(StrEnum):
    """Where a face looks; left and right are the viewer's."""

    FAR_LEFT = "far left"
    LEFT = "left"
    FRONT = "front"
    RIGHT = "right"
    FAR_RIGHT = "far right"
    UP = "up"
    DOWN = "down"


class Face(StrEnum):
    """What a face does."""

    MOUTH_SHUT = "mouth shut"
    MOUTH_OPEN = "mouth open"
    MOUTH_WIDE = "mouth wide open"
    EYES_SHUT = "eyes shut or low"


Cell = tuple[Pose, Face]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """How one face is held."""

    turn: float  # 0 from the front; -1 or 1: the tip of the nose lies over the left or right eye
    tilt: float  # where the tip of the nose lies between eyes (0) and mouth (1); low: looks up
    mouth_open: float  # gap between the lips over the width of the mouth
    eyes_open: float  # mean aspect ratio of the eyes; see `blink_rate.eye_aspect_ratio`


def expression(points_px: Floats) -> Expression:
    """Measure one face by its upright points `[468, 2]`."""
    points = points_px.astype(np.float64)
    outer = points[[align.LEFT_EYE[0], align.RIGHT_EYE[0]]]
    eyes = points[[*align.LEFT_EYE, *align.RIGHT_EYE]].mean(axis=0)
    mouth = points[list(align.MOUTH)].mean(axis=0)
    nose = points[align.NOSE_TIP]
    gap, width = (
        float(np.linalg.norm(points[one] - points[other])) for one, other in (_LIPS, _INNER_CORNERS)
    )
    return Expression(
        turn=float(np.clip(2 * _share_of_way(nose, outer[0], outer[1]) - 1, -1, 1)),
        tilt=float(np.clip(_share_of_way(nose, eyes, mouth), -1, 2)),
        mouth_open=gap / width if width > 0 else 0.0,
        eyes_open=float(np.nan_to_num(eye_openness(points_px[None]))[0]),
    )


def cells(expressions: Sequence[Expression]) -> list[Cell]:
    """
    Put each face of one person into a cell of pose and expression.

    Eyes are shut that are much less open than the person's mostly are.
    """
    if not expressions:
        return []
    usual = float(np.median([e.eyes_open for e in expressions]))
    return [(_pose(e), _face(e, shut_below=SHUT_BELOW * usual)) for e in expressions]


def evened_out(cells: Sequence[Cell], *, most: int) -> list[int]:
    """
    Choose at most so many faces, of each cell about as many, evenly spread within it.

    Returns:
        Their places, in order.
    """
    by_cell: dict[Cell, list[int]] = {}
    for place, cell in enumerate(cells):
        by_cell.setdefault(cell, []).append(place)
    chosen: list[int] = []
    smallest_first = sorted(by_cell.values(), key=len)
    for done, places in enumerate(smallest_first):
        # What the small cells cannot fill falls to the larger ones.
        quota = (most - len(chosen)) // (len(smallest_first) - done)
        at = np.linspace(0, len(places) - 1, min(quota, len(places))).round().astype(int)
        chosen.extend(places[i] for i in at)
    return sorted(chosen)


def counts(expressions: Sequence[Expression]) -> dict[str, dict[str, int]]:
    """Count the faces of each cell: expression -> pose -> how many."""
    found = cells(expressions)
    return {face: {pose: found.count((pose, face)) for pose in Pose} for face in Face}


def sheet(
    title: str,
    views: Sequence[Image],
    expressions: Sequence[Expression],
    quality: Sequence[float],
    facts: Mapping[str, int],
) -> bytes:
    """
    Draw what there is of each pose and expression, a PNG.

    Args:
        title: whose faces they are.
        views: `[CELL_PX, CELL_PX, 3]`, one a face.
        expressions: of the same faces.
        quality: likewise; the best face of a cell stands for it.
        facts: to be written beside the grid, in their order.
    """
    found = cells(expressions)
    columns, rows = len(Pose), len(Face)
    pitch = CELL_PX + _GAP
    grid_right = _MARGIN + _ROW_LABEL + columns * pitch
    height = _TITLE + max(rows * (pitch + _CAPTION), _LINE * (len(facts) + 1)) + _MARGIN
    paper: NDArray[Any] = np.full((height, grid_right + _TABLE, 3), PAPER, np.uint8)
    write(paper, title[:90], at=(_MARGIN, 38), size=0.75, ink=INK, is_bold=True)
    for column, pose in enumerate(Pose):
        left = _MARGIN + _ROW_LABEL + column * pitch
        write(paper, pose, at=(left + 4, _TITLE - 12), size=0.5, ink=FAINT)
    for row, face in enumerate(Face):
        top = _TITLE + row * (pitch + _CAPTION)
        write(paper, face, at=(_MARGIN, top + CELL_PX // 2), size=0.42, ink=FAINT)
        for column, pose in enumerate(Pose):
            left = _MARGIN + _ROW_LABEL + column * pitch
            places = [i for i, cell in enumerate(found) if cell == (pose, face)]
            tile = paper[top : top + CELL_PX, left : left + CELL_PX]
            tile[:] = views[max(places, key=lambda i: quality[i])] if places else CARD
            ink = INK if places else FAINT
            write(paper, str(len(places)), at=(left + 4, top + CELL_PX + 18), size=0.48, ink=ink)
    for line, (words, number) in enumerate(facts.items()):
        baseline = _TITLE + 14 + line * _LINE
        write(paper, f"{number:6d}", at=(grid_right + 8, baseline), size=0.48, ink=INK)
        write(paper, words, at=(grid_right + 76, baseline), size=0.44, ink=FAINT)
    is_done, encoded = cv2.imencode(".png", cv2.cvtColor(paper, cv2.COLOR_RGB2BGR))
    assert is_done, "a PNG can be made of any picture"
    return encoded.tobytes()


def _pose(expression: Expression) -> Pose:
    if abs(expression.turn) >= _FAR_TURNED:
        return Pose.FAR_LEFT if expression.turn < 0 else Pose.FAR_RIGHT
    if abs(expression.turn) >= _TURNED:
        return Pose.LEFT if expression.turn < 0 else Pose.RIGHT
    if expression.tilt < _UP:
        return Pose.UP
    return Pose.DOWN if expression.tilt > _DOWN else Pose.FRONT


def _face(expression: Expression, *, shut_below: float) -> Face:
    if expression.eyes_open < shut_below:
        return Face.EYES_SHUT
    if expression.mouth_open >= _WIDE:
        return Face.MOUTH_WIDE
    return Face.MOUTH_OPEN if expression.mouth_open >= _OPEN else Face.MOUTH_SHUT


def _share_of_way(
    point: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> float:
    """Say how far along a line from start to end a point lies."""
    along = end - start
    length = float(along @ along)
    return float((point - start) @ along) / length if length > 0 else 0.0
