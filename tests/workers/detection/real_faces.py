"""Real faces for tests: clips from beside the checkout, followed by our own networks."""

from collections.abc import Iterator
from pathlib import Path

import av

from app.settings import Settings
from workers.detection.faces import FaceFollower, Followed, Linker
from workers.detection.stage import FaceClip, Frame
from workers.kit import face_networks


def real_follower(*, linker: Linker | None = None, max_persons: int = 16) -> FaceFollower:
    """Build the follower with the networks that the product uses."""
    networks = face_networks(Settings(_env_file=None))
    return FaceFollower(
        networks.detector,
        networks.landmarks,
        detect_every=10,
        samples_per_person=16,
        max_persons=max_persons,
        linker=linker,
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


def follow_film(path: Path, *, linker: Linker | None, max_persons: int = 16) -> Followed:
    """Follow everybody in a film, over its shots where there is a linker."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        width, height = stream.width, stream.height
    follower = real_follower(linker=linker, max_persons=max_persons)
    return follower.follow(read_clip(path), width_px=width, height_px=height)


def follow_clip(path: Path) -> tuple[FaceClip, ...]:
    """Follow everybody in a whole clip."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        width, height = stream.width, stream.height
    follower = real_follower()
    return follower.follow(read_clip(path), width_px=width, height_px=height).persons
