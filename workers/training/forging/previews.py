"""What does a forger draw so far? A sheet of held-out faces, for a person to look at."""

from collections.abc import Sequence

import cv2
import numpy as np

from models.nets.forger import Forger, Identity
from workers.detection.stage import Image
from workers.training.forging.face_sets import FaceSet
from workers.training.forging.measures import WAYS, held_out, plain_views
from workers.training.forging.runs import Pictures, draw, laid_over

COLUMNS = 8
CELL_PX = 128
_CAPTION_PX = 168
_TITLE_PX = 34
_GAP_PX = 6
_PAPER, _INK = 224, (30, 30, 30)


def preview_sheet(forger: Forger, a: FaceSet, b: FaceSet) -> Image:
    """
    Draw both directions, each as four rows: source, reconstruction, swap and mask of the swap.

    Args:
        a, b: whose faces are shown: some that are not learnt from, spread over what was held out.

    Returns:
        `[H, W, 3]`.
    """
    sets: dict[Identity, FaceSet] = {"a": a, "b": b}
    blocks = []
    for who, other in WAYS:
        rows = held_out(sets[who], at_most=COLUMNS)
        views = plain_views(sets[who], rows, forger.shape.side_px)
        blocks.append(_block(forger, views, who, other))
    width = max(block.shape[1] for block in blocks)
    return np.concatenate([_widened(block, width) for block in blocks], axis=0)


def _block(forger: Forger, views: Pictures, who: Identity, other: Identity) -> Image:
    own = laid_over(views, *draw(forger, views, who))
    faces, masks = draw(forger, views, other)
    rows = (
        (f"{who}, held out", views),
        (f"{who} drawn as {who}", own),
        (f"{who} drawn as {other}", laid_over(views, faces, masks)),
        ("mask of the swap", np.repeat(masks[..., None], 3, axis=3)),
    )
    lines = [_row(caption, pictures) for caption, pictures in rows]
    title = np.full((_TITLE_PX, lines[0].shape[1], 3), _PAPER, np.uint8)
    _write(title, f"{who} to {other} (synthetic)", scale=0.6)
    return np.concatenate([title, *lines], axis=0)


def _row(caption: str, pictures: Sequence[Image] | Pictures) -> Image:
    words = np.full((CELL_PX + _GAP_PX, _CAPTION_PX, 3), _PAPER, np.uint8)
    _write(words, caption, scale=0.45)
    cells = [words]
    for picture in pictures:
        cell = np.full((CELL_PX + _GAP_PX, CELL_PX + _GAP_PX, 3), _PAPER, np.uint8)
        cell[:CELL_PX, :CELL_PX] = cv2.resize(
            picture, (CELL_PX, CELL_PX), interpolation=cv2.INTER_LINEAR
        )
        cells.append(cell)
    return np.concatenate(cells, axis=1)


def _write(paper: Image, words: str, *, scale: float) -> None:
    at = (8, paper.shape[0] // 2 + 5)
    cv2.putText(paper, words, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)


def _widened(block: Image, width: int) -> Image:
    missing = width - block.shape[1]
    return np.pad(block, ((0, 0), (0, missing), (0, 0)), constant_values=_PAPER)
