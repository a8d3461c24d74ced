"""
How do the faces of a data set move? Followed once as the service does, and kept.

    python -m workers.training.motion_bank M.csv --out out/motion

A bank holds the motion of the person who is longest in each clip, as `landmark_flow` of detection
measures it: of the small pictures as they are, and of the same ones blurred, since what flow tells
depends on how sharp a video is. `motion.json` lists the recordings, one a track.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from app.errors import RejectedMedia, ServiceError
from app.settings import Settings
from workers.detection.decode import open_video
from workers.detection.faces import FaceFollower
from workers.detection.landmark_flow import ERRORS, POINTS, Motion, motion_of
from workers.detection.stage import FaceTrack, Floats
from workers.kit import face_networks
from workers.training.errors import BadDataset
from workers.training.manifest import DataManifest, Row, read_manifest

BLUR_PX = 1.0
"""Of the blurred version, in pixels of the small picture: what a clip loses by being sent on."""
AS_IT_IS, BLURRED = 0, 1
VERSIONS = 2
WORST_SHARE = 0.01
"""Of clips that cannot be read; more mean that the data set is not what it seems."""

_ROWS = "motion.json"
_ARRAYS = ("pts_s", "place", "stray", "error", "is_whole")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One face, followed without a break."""

    clip: str
    label: str
    method: str
    family: str
    group: str
    dataset: str
    quality: str
    split: str
    pair: str  # the real clip that it was made from
    first: int  # place of its first frame in the arrays
    frames: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionBank:
    """The motion of many faces, F frames in all. Arrays are read as they are asked for."""

    pts_s: NDArray[np.float64]  # [F]
    place: Floats  # [F, POINTS, 2]
    stray: Floats  # [VERSIONS, F, POINTS, 2]
    error: Floats  # [VERSIONS, F, ERRORS]
    is_whole: NDArray[np.bool_]  # [F]
    recordings: tuple[Recording, ...]
    manifest_sha256: str

    @classmethod
    def open(cls, folder: Path) -> "MotionBank":
        """
        Open a bank for reading.

        Raises:
            BadDataset: there is none, or its files do not fit together.
        """
        try:
            known = json.loads((folder / _ROWS).read_text(encoding="utf-8"))
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
            bank = cls(
                **arrays,
                recordings=tuple(Recording(**recording) for recording in known["recordings"]),
                manifest_sha256=known["manifest_sha256"],
            )
        except (OSError, ValueError, KeyError, TypeError) as wrong:
            raise BadDataset(
                f"{folder} holds no whole bank of motion ({wrong}); make it anew with "
                "`python -m workers.training.motion_bank`"
            ) from wrong
        count = sum(recording.frames for recording in bank.recordings)
        if bank.place.shape != (count, len(POINTS), 2) or bank.error.shape[1:] != (count, ERRORS):
            raise BadDataset(f"{folder}: arrays and recordings do not fit together; make it anew")
        return bank

    @cached_property
    def by_clip(self) -> Mapping[str, tuple[Recording, ...]]:
        """The recordings of each clip, by time."""
        found: dict[str, list[Recording]] = {}
        for recording in self.recordings:
            found.setdefault(recording.clip, []).append(recording)
        return {clip: tuple(recordings) for clip, recordings in found.items()}

    def motion(self, recording: Recording, version: int = AS_IT_IS) -> Motion:
        """Return how the face of a recording moved."""
        at = slice(recording.first, recording.first + recording.frames)
        return Motion(
            pts_s=self.pts_s[at],
            place=self.place[at],
            stray=self.stray[version, at],
            error=self.error[version, at],
            is_whole=self.is_whole[at],
        )


class Followed(NamedTuple):
    """A clip, and the tracks of the person who is longest in it."""

    row: Row
    tracks: Sequence[FaceTrack]


def open_or_build(manifest: DataManifest, folder: Path, *, console: Console) -> MotionBank:
    """Open the bank of a manifest; make it where there is none, or one of other data."""
    if (folder / _ROWS).exists():
        bank = MotionBank.open(folder)
        if bank.manifest_sha256 == manifest.sha256:
            return bank
        console.print(f"{folder} was made from other data; making it anew")
    videos = [r for r in manifest.rows if r.kind == "video" and r.label != "no_face"]
    clips = track(followed(manifest, videos), "following faces", total=len(videos), console=console)
    return write_motion_bank(folder, clips, manifest_sha256=manifest.sha256)


def followed(manifest: DataManifest, rows: Sequence[Row]) -> Iterator[Followed]:
    """
    Follow the faces of clips as the service does.

    Raises:
        BadDataset: more than `WORST_SHARE` of the clips cannot be read.
        ModelUnavailable: a network that finds faces is missing.
    """
    settings = Settings()
    networks = face_networks(settings)
    follower = FaceFollower(
        networks.detector,
        networks.landmarks,
        detect_every=settings.faces.detect_every,
        samples_per_person=settings.analysis.samples_per_person,
        max_persons=settings.analysis.max_persons,
    )
    damage: list[str] = []
    for row in rows:
        try:
            with open_video(
                manifest.root / row.path,
                limits=settings.media,
                sampling=settings.analysis,
                allow_unsandboxed=settings.worker.allow_unsandboxed,
            ) as video:
                found = follower.follow(
                    video, width_px=video.probe.width, height_px=video.probe.height
                )
        except RejectedMedia as why:
            damage.append(f"{row.path}: {why}")
            if len(damage) > WORST_SHARE * len(rows):
                raise BadDataset(
                    f"more than {WORST_SHARE:.0%} of the clips cannot be read: "
                    f"{'; '.join(damage[:3])}; mend or remove them, and index the data anew"
                ) from why
            continue
        yield Followed(row, found.persons[0].tracks if found.persons else ())


def write_motion_bank(
    folder: Path, clips: Iterable[Followed], *, manifest_sha256: str
) -> MotionBank:
    """Measure how followed faces moved, write it down, and open that."""
    recordings: list[Recording] = []
    motions: list[tuple[Motion, Motion]] = []
    first = 0
    for row, tracks in clips:
        for face in tracks:
            plain = motion_of(face)
            recordings.append(_recording(row, first=first, frames=len(plain.pts_s)))
            motions.append((plain, motion_of(replace(face, small=_blurred(face.small)))))
            first += len(plain.pts_s)
    if not motions:
        raise BadDataset("no face was followed in any clip; give a manifest of videos of people")
    versions = ([plain for plain, _ in motions], [blurred for _, blurred in motions])
    arrays = {
        "pts_s": np.concatenate([plain.pts_s for plain, _ in motions]),
        "place": np.concatenate([plain.place for plain, _ in motions]),
        "stray": np.stack([np.concatenate([m.stray for m in of]) for of in versions]),
        "error": np.stack([np.concatenate([m.error for m in of]) for of in versions]),
        "is_whole": np.concatenate([plain.is_whole for plain, _ in motions]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _ROWS).unlink(missing_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    known = {
        "manifest_sha256": manifest_sha256,
        "recordings": [asdict(recording) for recording in recordings],
    }
    (folder / _ROWS).write_text(json.dumps(known, indent=1), encoding="utf-8")
    return MotionBank.open(folder)


def _recording(row: Row, *, first: int, frames: int) -> Recording:
    return Recording(
        clip=row.clip,
        label=row.label,
        method=row.method,
        family=row.family,
        group=row.group,
        dataset=row.dataset,
        quality=row.quality,
        split=row.split,
        pair=row.pair,
        first=first,
        frames=frames,
    )


def _blurred(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not len(small):
        return small
    drawn = [cv2.GaussianBlur(picture, (0, 0), BLUR_PX) for picture in small]
    return np.asarray(np.stack(drawn), np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.training.motion_bank",
        description=(__doc__ or "").strip().splitlines()[0],
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        bank = open_or_build(read_manifest(given.manifest), given.out, console=console)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    console.print(f"{len(bank.by_clip)} clips, {len(bank.pts_s)} frames", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
