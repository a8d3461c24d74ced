"""
Whose face is it? A network turns a face into a direction; two of one person point the same way.

Not who somebody is: there is no list of people here, and nothing of a face outlasts its video.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workers.detection import align
from workers.detection.landmarks import Network
from workers.detection.stage import Floats, Image

SIDE_PX = 112
DIMENSIONS = 128
BATCH = 16
INPUT, EMBEDDING = "faces", "embedding"
THEIR_INPUT, THEIR_OUTPUT = "input", "output"
SAME_PERSON = 0.45
"""Cosine from which two faces, or the median faces of two sets, are one person's to MobileFaceNet.

Measured on 1,728 faces of the 72 real clips of `manifests/media-2026-11.csv`, 24 of each. Median
faces of clips: of two groups of people 0.43 at most (2,469 pairs); of one person 0.46 at least, and
0.54 in all but one of 72 pairs. Single faces: beside the median of their own clip all but one are
over it, which lies under a caption; beside that of another group's clip 8 in 118,512 are."""

TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
"""Where left eye, right eye, tip of the nose, left and right corner of the mouth lie in what such
networks learn from. Deng et al., "ArcFace", CVPR 2019; left and right are the viewer's."""


class FaceEmbedder(Protocol):
    """Tells faces apart."""

    @property
    def sha256(self) -> str:
        """Digest of the network."""
        ...

    def embed(self, pictures: Sequence[Image], landmarks_px: Sequence[Floats]) -> Floats:
        """
        Return a unit vector for each face, `[N, DIMENSIONS]`.

        Args:
            pictures: `[H, W, 3]` each.
            landmarks_px: `[P, 2]` each, at least the 468 of the mesh, in pixels of the picture;
                finite.
        """
        ...


class DeepverdictEmbedder:
    """
    Tells faces apart by our own network.

    Args:
        network: takes `faces` (uint8 `[N, 112, 112, 3]` RGB), gives `embedding` (`[N, DIMENSIONS]`
            of length 1).
        sha256: of its bytes.
    """

    def __init__(self, network: Network, *, sha256: str) -> None:
        self._network = network
        self._output = network.output_names.index(EMBEDDING)
        self.sha256 = sha256

    def embed(self, pictures: Sequence[Image], landmarks_px: Sequence[Floats]) -> Floats:
        """Return a unit vector for each face, `[N, DIMENSIONS]`."""
        faces = [aligned(p, points) for p, points in zip(pictures, landmarks_px, strict=True)]
        found = [np.zeros((0, DIMENSIONS), np.float32)]
        for at in range(0, len(faces), BATCH):
            batch = np.stack(faces[at : at + BATCH])
            found.append(self._network.run({INPUT: batch})[self._output].astype(np.float32))
        return unit(np.concatenate(found))


class MobileFaceNet:
    """
    Tells faces apart by MobileFaceNet.

    Source: Chen et al., "MobileFaceNets", CCBR 2018; trained with the loss of Deng et al.,
    "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019.

    Args:
        network: takes `[1, 3, 112, 112]` BGR, (x - 127.5) / 127.5, gives `[1, DIMENSIONS]`.
        sha256: of its bytes.
    """

    def __init__(self, network: Network, *, sha256: str) -> None:
        self._network = network
        self._output = network.output_names.index(THEIR_OUTPUT)
        self.sha256 = sha256

    def embed(self, pictures: Sequence[Image], landmarks_px: Sequence[Floats]) -> Floats:
        """Return a unit vector for each face, `[N, DIMENSIONS]`."""
        vectors = [
            self.embed_aligned(aligned(picture, points))
            for picture, points in zip(pictures, landmarks_px, strict=True)
        ]
        return np.stack(vectors) if vectors else np.zeros((0, DIMENSIONS), np.float32)

    def embed_aligned(self, face: Image) -> Floats:
        """Return the unit vector `[DIMENSIONS]` of a face as `aligned` gives it."""
        batch = (face[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 127.5
        vector = self._network.run({THEIR_INPUT: batch})[self._output].reshape(DIMENSIONS)
        return unit(vector.astype(np.float32))


def aligned(picture: Image, points_px: Floats) -> Image:
    """Return a face as such networks want it, `[112, 112, 3]` RGB."""
    return align.warp(np.asarray(picture), picture_from_face(points_px), size=(SIDE_PX, SIDE_PX))


def picture_from_face(points_px: Floats) -> Floats:
    """Return the affine `[2, 3]` from pixels of an aligned face to those of its picture."""
    eyes_and_mouth = [
        points_px[list(align.LEFT_EYE)].mean(axis=0),
        points_px[list(align.RIGHT_EYE)].mean(axis=0),
        points_px[align.NOSE_TIP],
        *points_px[list(align.MOUTH)],
    ]
    return align.fitted(TEMPLATE, np.stack(eyes_and_mouth))


def one_person(vectors: Floats, *, same_person: float = SAME_PERSON) -> Floats:
    """
    Return the median direction of the person that most of the faces show, `[D]`.

    Args:
        vectors: `[N, D]` unit vectors, N at least 1.
        same_person: cosine from which two of them show the same.
    """
    neighbours = vectors @ vectors.T >= same_person
    most_seen = neighbours[int(neighbours.sum(axis=1).argmax())]
    return unit(np.median(vectors[most_seen], axis=0).astype(np.float32))


def likeness(a: Floats, b: Floats) -> float:
    """Return the cosine of two unit vectors, in [-1, 1]."""
    return float(a @ b)


def unit(vector: NDArray[np.float32]) -> Floats:
    """Return a vector `[..., D]` of length 1 along its last axis; nought stays nought."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector / np.maximum(length, np.finfo(np.float32).tiny), np.float32)
