"""Where does the MediaPipe face mesh lie? The teacher of our own landmarks; opt-in."""

from collections.abc import Sequence

import numpy as np

from workers.detection.align import FaceRegion, crop
from workers.detection.landmarks import Landmarks, Network, in_frame, presence
from workers.detection.stage import LANDMARKS, Image

SIDE_PX = 192
MARGIN = 1.5
INPUT, POINTS, PRESENCE = "input_1", "conv2d_21", "conv2d_31"


class FaceMesh:
    """
    Places the 468 points of the mesh, without irises.

    Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile
    GPUs", 2019.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._points = network.output_names.index(POINTS)
        self._presence = network.output_names.index(PRESENCE)

    def place(self, rgb: Image, region: FaceRegion) -> Landmarks:
        """Place the points of one face; they mean something only where `presence` is high."""
        wide = region.scaled(MARGIN)
        picture = crop(rgb, wide, side_px=SIDE_PX)
        batch = picture.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        outputs = self._network.run({INPUT: batch})
        in_crop = outputs[self._points].reshape(LANDMARKS, 3)[:, :2].astype(np.float32)
        return Landmarks(
            points_px=in_frame(in_crop, wide, side_px=SIDE_PX),
            presence=presence(float(outputs[self._presence].reshape(()))),
        )

    def place_all(self, rgb: Image, regions: Sequence[FaceRegion]) -> list[Landmarks]:
        """Place the points of every face, one at a time: the network's batch is fixed at 1."""
        return [self.place(rgb, region) for region in regions]
