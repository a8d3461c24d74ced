"""
How well are people told apart by their faces, as detection does it?

    python -m workers.training.evaluate.persons videos.csv

The network is the one of the setting `faces.identity`.

Each real clip is followed, and its longest seen face cut in two as if by an edit: two faces of one
person. The median direction of each is compared with those of all others. Halves of a clip, and
faces in clips of one person, must be linked; faces of two groups must not. Nothing is compared
within a group of which it is not known who is who.
"""

import argparse
import itertools
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import ModelUnavailable, ServiceError
from app.settings import Settings
from workers.detection.faces import FaceFollower
from workers.detection.persons import Alike, PersonLinker, grouped
from workers.detection.stage import FaceClip, FaceTrack, Floats
from workers.kit import face_networks, person_linker
from workers.training.clips import open_clip
from workers.training.evaluate.metrics import auc
from workers.training.manifest import SPLITS, Row, Split, read_manifest

PARTS = 2
LEAST_FRAMES = 12
"""Of a part of a face that is taken for a face in a shot."""
_TWO_IN_A_GROUP = "ffpp-"
"""Groups of this data set are two people each, named in the file."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One face as after an edit."""

    clip: str
    who: str
    group: str
    split: Split
    direction: Floats | None  # None where there are too few good looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How well one network tells people apart. Shares in [0, 1]."""

    faces: int
    without_direction: int
    same: int  # pairs
    different: int
    auc: float
    equal_error: float
    equal_error_at: float  # cosine
    least_same: float  # the least alike pair of one person
    most_different: float  # the most alike pair of two people
    missed: float  # of the pairs of one person, under the threshold
    false_links: float  # of the pairs of two people, at the threshold or over
    groups_whole: int  # persons whose faces were all put together, and with nobody else's
    persons: int
    mixed: int  # groups that linking made of two people or more


def parts_of(face: FaceClip) -> list[FaceClip]:
    """Cut a face in two as an edit would, its looks with it; empty where it is too brief."""
    track = max(face.tracks, key=lambda t: len(t.pts_s))
    bounds = np.linspace(0, len(track.pts_s), PARTS + 1).astype(int)
    if np.diff(bounds).min() < LEAST_FRAMES:
        return []
    return [
        replace(face, tracks=(_cut(track, int(low), int(high), shot=n),))
        for n, (low, high) in enumerate(itertools.pairwise(bounds))
    ]


def who_is(row: Row) -> str:
    """Name the person that a real clip shows, as far as that is known."""
    if row.group.startswith(_TWO_IN_A_GROUP):
        return f"{row.group}/{Path(row.path).name.split('__')[1]}"
    return row.group


def measured(parts: Sequence[Part], alike: Alike) -> Figures:
    """Compare every two faces, and link them all as if they were in one video."""
    known = [p for p in parts if p.direction is not None]
    vectors = np.stack([p.direction for p in known if p.direction is not None])
    cosines = vectors @ vectors.T
    who = np.array([p.who for p in known])
    group = np.array([p.group for p in known])
    is_same = who[:, None] == who[None]
    counts = np.triu(is_same | (group[:, None] != group[None]), k=1)
    cosine, same = cosines[counts].astype(np.float64), is_same[counts]
    error, at = _equal_error(cosine, same)
    linked = grouped(np.asarray(cosines, np.float32), alike)
    everybody = {name: set(np.flatnonzero(who == name)) for name in set(who)}
    return Figures(
        faces=len(parts),
        without_direction=len(parts) - len(known),
        same=int(same.sum()),
        different=int((~same).sum()),
        auc=float(auc(cosine, same)),
        equal_error=error,
        equal_error_at=at,
        least_same=float(cosine[same].min()),
        most_different=float(cosine[~same].max()),
        missed=float((cosine[same] < alike.surely).mean()),
        false_links=float((cosine[~same] >= alike.surely).mean()),
        groups_whole=sum(set(g) in everybody.values() for g in linked),
        persons=len(everybody),
        mixed=sum(len(set(group[g])) > 1 for g in linked),
    )


def parts_in(rows: Iterable[tuple[Row, FaceClip]], linker: PersonLinker) -> list[Part]:
    """Cut the faces of clips, and ask where each part points."""
    return [
        Part(
            clip=row.clip,
            who=who_is(row),
            group=row.group,
            split=row.split,
            direction=linker.direction(part),
        )
        for row, face in rows
        for part in parts_of(face)
    ]


def _cut(track: FaceTrack, low: int, high: int, *, shot: int) -> FaceTrack:
    index = track.frame_index[low:high]
    return replace(
        track,
        shot=shot,
        frame_index=index,
        pts_s=track.pts_s[low:high],
        box_px=track.box_px[low:high],
        landmarks_px=track.landmarks_px[low:high],
        presence=track.presence[low:high],
        is_keyframe=track.is_keyframe[low:high],
        samples=tuple(s for s in track.samples if index[0] <= s.frame_index <= index[-1]),
        small=track.small[:1],
    )


def _equal_error(cosine: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the error at which as many are missed as are mistaken, and the cosine there."""
    places = np.unique(cosine)
    missed = np.searchsorted(np.sort(cosine[same]), places) / same.sum()
    mistaken = 1 - np.searchsorted(np.sort(cosine[~same]), places) / (~same).sum()
    at = int(np.abs(missed - mistaken).argmin())
    return float((missed[at] + mistaken[at]) / 2), float(places[at])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.training.evaluate.persons",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", type=Path, help="data manifest with the clips")
    given = parser.parse_args(arguments)
    settings = Settings()
    try:
        linker = person_linker(settings)
        if linker is None:
            raise ModelUnavailable(f"no network for faces.identity = {settings.faces.identity}")
        manifest = read_manifest(given.manifest)
        rows = [r for r in manifest.rows if r.kind == "video" and r.label == "real"]
        parts = parts_in(_followed(rows, manifest.root, settings), linker)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    figures = {
        split: asdict(measured(own, linker.alike))
        for split in SPLITS
        if (own := [part for part in parts if part.split == split])
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


def _followed(
    rows: Sequence[Row], root: Path, settings: Settings
) -> Iterator[tuple[Row, FaceClip]]:
    """Follow whoever is longest on screen in each clip."""
    networks = face_networks(settings)
    follower = FaceFollower(
        networks.detector,
        networks.landmarks,
        detect_every=settings.faces.detect_every,
        samples_per_person=settings.analysis.samples_per_person,
        max_persons=settings.analysis.max_persons,
    )
    for row in rows:
        with open_clip(root / row.path) as stream:
            width, height = stream.probe.width, stream.probe.height
            persons = follower.follow(stream, width_px=width, height_px=height).persons
        if persons:
            yield row, persons[0]


if __name__ == "__main__":
    sys.exit(main())
