"""Where do the points of a face lie, and is a face there at all?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workers.detection.align import FaceRegion, crop
from workers.detection.stage import Floats, Image

SIDE_PX = 128
MARGIN = 1.5
BATCH = 16
INPUT, POINTS, PRESENCE = "faces", "points", "presence_logit"


class Network(Protocol):
    """What is needed of `models.registry.OnnxModel`."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        ...

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Run once; gives the outputs in the order of `output_names`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landmarks:
    """What a network sees in one region of one frame."""

    points_px: Floats  # [P, 2] in pixels of the frame; the first LANDMARKS lie on the skin
    presence: float  # [0, 1]; how sure the network is that a face is there


class Landmarker(Protocol):
    """Places points in regions where a face is known, or thought, to be."""

    def place(self, rgb: Image, region: FaceRegion) -> Landmarks:
        """Place the points of one face; they mean something only where `presence` is high."""
        ...

    def place_all(self, rgb: Image, regions: Sequence[FaceRegion]) -> list[Landmarks]:
        """Place the points of every face of a frame, in the order of the regions."""
        ...


class FaceLandmarks:
    """
    Places our own landmarks, all faces of a frame at once.

    Args:
        network: takes `faces` (uint8 `[N, 128, 128, 3]` RGB, `MARGIN` times the region), gives
            `points` (`[N, LANDMARKS_WITH_IRISES, 2]` px of that
            crop) and `presence_logit` (`[N]`).
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._points = network.output_names.index(POINTS)
        self._presence = network.output_names.index(PRESENCE)

    def place(self, rgb: Image, region: FaceRegion) -> Landmarks:
        """Place the points of one face; they mean something only where `presence` is high."""
        return self.place_all(rgb, [region])[0]

    def place_all(self, rgb: Image, regions: Sequence[FaceRegion]) -> list[Landmarks]:
        """Place the points of every face of a frame, in the order of the regions."""
        found: list[Landmarks] = []
        for at in range(0, len(regions), BATCH):
            wide = [region.scaled(MARGIN) for region in regions[at : at + BATCH]]
            faces = np.stack([crop(rgb, region, side_px=SIDE_PX) for region in wide])
            outputs = self._network.run({INPUT: faces})
            for region, points, logit in zip(
                wide, outputs[self._points], outputs[self._presence], strict=True
            ):
                found.append(
                    Landmarks(
                        points_px=in_frame(points.astype(np.float32), region, side_px=SIDE_PX),
                        presence=presence(float(logit)),
                    )
                )
        return found


def in_frame(points_px: Floats, region: FaceRegion, *, side_px: int) -> Floats:
    """Turn points `[P, 2]` of an upright crop of `side_px` into points of the frame."""
    affine = region.frame_from_crop(side_px)
    return points_px @ affine[:, :2].T + affine[:, 2]


def presence(logit: float) -> float:
    """Turn the log odds of a face into a probability."""
    return float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))
