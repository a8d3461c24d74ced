"""Real faces for tests: clips from beside the checkout, followed by the networks from there."""

from collections.abc import Iterator
from pathlib import Path

import av
import onnxruntime

from workers.detection.face_detectors import YuNet
from workers.detection.face_mesh import FaceMesh
from workers.detection.faces import FaceFollower
from workers.detection.stage import FaceClip, Frame


class MeshNetwork:
    """The ONNX of the face mesh, on one core."""

    def __init__(self, weights: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = weights / "mediapipe_face_mesh_468.onnx"
        self._session = onnxruntime.InferenceSession(str(path), options)
        self.output_names = tuple(o.name for o in self._session.get_outputs())

    def run(self, inputs):
        return self._session.run(None, dict(inputs))


def real_follower(weights: Path) -> FaceFollower:
    """Build the follower with the networks that the product uses."""
    return FaceFollower(
        YuNet((weights / "yunet_s_640.onnx").read_bytes()),
        FaceMesh(MeshNetwork(weights)),
        detect_every=10,
        samples_per_person=16,
        max_persons=16,
    )


def read_clip(path: Path, *, first: int = 0, frames: int = 10**6, at: int = 0) -> Iterator[Frame]:
    """Read some frames of a clip; they are numbered and timed as if the video began `at` before."""
    with av.open(str(path)) as container:
        rate_hz = float(container.streams.video[0].average_rate)
        for n, picture in enumerate(container.decode(video=0)):
            if n >= first + frames:
                return
            if n >= first:
                index = at + n - first
                yield Frame(
                    index=index,
                    pts_s=index / rate_hz,
                    rgb=picture.to_ndarray(format="rgb24"),
                    scale=1.0,
                    is_keyframe=bool(picture.key_frame),
                )


def follow_clip(path: Path, weights: Path) -> tuple[FaceClip, ...]:
    """Follow everybody in a whole clip."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        width, height = stream.width, stream.height
    follower = real_follower(weights)
    return follower.follow(read_clip(path), width_px=width, height_px=height).persons
