"""Where do the 468 points of one face lie, and is a face there at all?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workers.detection.align import FaceRegion, crop
from workers.detection.stage import LANDMARKS, Floats, Image

SIDE_PX = 192
MARGIN = 1.5
INPUT, POINTS, PRESENCE = "input_1", "conv2d_21", "conv2d_31"


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
    """What the network sees in one region of one frame."""

    points_px: Floats  # [468, 2] in pixels of the frame
    presence: float  # [0, 1]; how sure the network is that a face is there


class FaceMesh:
    """
    Places the MediaPipe face mesh in a region where a face is known, or thought, to be.

    Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile
    GPUs", 2019.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._points = network.output_names.index(POINTS)
        self._presence = network.output_names.index(PRESENCE)

    def place(self, rgb: Image, region: FaceRegion) -> Landmarks:
        """Place the points; they mean something only where `presence` is high."""
        wide = region.scaled(MARGIN)
        picture = crop(rgb, wide, side_px=SIDE_PX)
        # One at a time: the network's batch is fixed at 1.
        batch = picture.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        outputs = self._network.run({INPUT: batch})
        in_crop = outputs[self._points].reshape(LANDMARKS, 3)[:, :2].astype(np.float32)
        affine = wide.frame_from_crop(SIDE_PX)
        logit = float(outputs[self._presence].reshape(()))
        return Landmarks(
            points_px=in_crop @ affine[:, :2].T + affine[:, 2],
            presence=float(1 / (1 + np.exp(-np.clip(logit, -50, 50)))),
        )
