"""How is a synthetic video known for one? By what its container says, and, if wanted, at sight."""

from pathlib import Path

import cv2
import numpy as np

from workers.detection.stage import Image
from workers.training.clips import open_clip

MARK_KEY = "comment"
"""Of a container's metadata: the one key that MP4, QuickTime, Matroska and WebM all keep, and that
players show."""
MARK = "deepverdict synthetic media"
"""What the value begins with."""
SOURCE_KEY = "description"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
"""IPTC's word for a composite with synthetic parts, as C2PA manifests have it."""

_TEXT = "SYNTHETIC"
_HEIGHT_SHARE = 0.045
_LEAST_TEXT_PX = 8
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_PX = 21.0  # height of its capitals at scale 1


def metadata(what: str) -> dict[str, str]:
    """Return what a container is to say; `what` tells in words what was done."""
    return {MARK_KEY: f"{MARK}: {what}", SOURCE_KEY: SOURCE_TYPE}


def is_marked(path: Path) -> bool:
    """
    Whether a video says of itself that it is synthetic. Its first frame is decoded, in the jail.

    Raises:
        RejectedMedia: it is no video that can be read.
    """
    with open_clip(path, max_frames=1) as stream:
        return stream.probe.metadata.get(MARK_KEY, "").startswith(MARK)


def put_in_sight(frame: Image) -> Image:
    """Write SYNTHETIC into the lower left corner of a frame, white on a dark bar."""
    height, width = frame.shape[:2]
    text_px = max(_LEAST_TEXT_PX, _HEIGHT_SHARE * min(height, width))
    scale = text_px / _FONT_PX
    thick_px = max(1, round(1.8 * scale))
    (text_width, _), _ = cv2.getTextSize(_TEXT, _FONT, scale, thick_px)
    edge = round(text_px / 2)
    out = frame.copy()
    bar = out[max(0, height - round(text_px) - 2 * edge) :, : text_width + 2 * edge]
    bar[:] = (bar * np.float32(0.35)).astype(np.uint8)
    cv2.putText(
        out, _TEXT, (edge, height - edge), _FONT, scale, (255, 255, 255), thick_px, cv2.LINE_AA
    )
    return out
