"""
Which faces are one person? A network compares the faces of all shots.

Faces are joined from the most alike on. Two that were in one frame are two persons, whatever they
look like; a face of which there are too few good looks stays alone. What decides is the least alike
pair of faces of a person (complete linkage): one face that is a little like two people does not
join them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workers.detection import align
from workers.detection.face_regions import points_in_crop
from workers.detection.identity import FaceEmbedder, one_person
from workers.detection.stage import FaceClip, FaceSample, FaceTrack, Floats, Image

LOOKS = 5
"""Of a face that the network is shown, the best of as many stretches of its time on screen."""
LEAST_LOOKS = 2
"""Good ones that agree with one another; from fewer nothing is told."""
LEAST_FRONTALITY = 0.35
"""Of a good look. In a half profile networks see another person."""
LEAST_SHARPNESS = 4.0
"""Of a good look: variance of the Laplacian. Black and smeared ones are under it."""
LEAST_FACE_PX = 32.0
"""Side of the face box in the video, median over a face's frames."""
APART = -2.0
"""A cosine that nothing has: of faces that cannot be one person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """
    From which cosines on two faces are one person's, to one network.

    The median directions of two faces are compared.
    """

    likely: float  # every two faces of one person are at least so alike
    surely: float  # and, of any two groups that are joined, the nearest two at least so


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Look:
    """A look at a face that may be good enough."""

    sample: FaceSample
    points_px: Floats  # [LANDMARKS, 2] in pixels of the crop
    goodness: float


class PersonLinker:
    """
    Joins faces into persons.

    Args:
        embedder: compares faces; what it raises is raised.
        alike: measured with this embedder.
        samples_per_person: looks that are kept of each person, over all tracks.
    """

    def __init__(self, embedder: FaceEmbedder, *, alike: Alike, samples_per_person: int) -> None:
        self.alike = alike
        self._embedder = embedder
        self._samples_per_person = samples_per_person

    def link(self, faces: Sequence[FaceClip]) -> tuple[FaceClip, ...]:
        """
        Join the faces of one video into persons.

        Args:
            faces: each within one shot, its tracks by time.

        Returns:
            "p1", "p2", ... by time on screen, longest first; of equals the larger, then the
            earlier. The same faces give the same persons.
        """
        directions = [self.direction(face) for face in faces]
        persons = [
            _joined([faces[i] for i in group], wanted=self._samples_per_person)
            for group in grouped(likenesses(directions, faces), self.alike)
        ]
        persons.sort(key=lambda p: (-p.followed_s, -p.median_face_px, float(p.tracks[0].pts_s[0])))
        return tuple(
            replace(person, person_id=f"p{n}") for n, person in enumerate(persons, start=1)
        )

    def direction(self, face: FaceClip) -> Floats | None:
        """Return the median direction `[D]` of a face's best looks; None where they are few."""
        looks = best_looks(face)
        if len(looks) < LEAST_LOOKS:
            return None
        pictures: list[Image] = [look.sample.crop for look in looks]
        vectors = self._embedder.embed(pictures, [look.points_px for look in looks])
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        likely = self.alike.likely
        if not len(vectors) or (vectors @ vectors.T >= likely).sum(axis=1).max() < LEAST_LOOKS:
            return None
        return one_person(vectors, same_person=likely)


def best_looks(face: FaceClip) -> list[_Look]:
    """Choose frontal and sharp looks, spread over a face's time on screen; at most `LOOKS`."""
    if not face.median_face_px >= LEAST_FACE_PX:  # NaN is not
        return []
    looks = [_look(track, sample) for track in face.tracks for sample in track.samples]
    stretches = np.array_split(np.arange(len(looks)), LOOKS)
    best = [max((looks[i] for i in s), key=lambda k: k.goodness) for s in stretches if len(s)]
    return [look for look in best if look.goodness > 0]


def likenesses(directions: Sequence[Floats | None], faces: Sequence[FaceClip]) -> Floats:
    """Return how alike every two faces are, `[N, N]`; `APART` where they cannot be one person."""
    found = np.full((len(faces), len(faces)), APART, np.float32)
    seen = [np.unique(np.concatenate([t.frame_index for t in face.tracks])) for face in faces]
    for a, one in enumerate(directions):
        for b, other in enumerate(directions[:a]):
            if one is None or other is None or _are_together(seen[a], seen[b]):
                continue
            found[a, b] = found[b, a] = float(one @ other)
    return found


def grouped(likeness: Floats, alike: Alike) -> list[list[int]]:
    """
    Put together what is alike.

    Args:
        likeness: `[N, N]`, as `likenesses` gives it.

    Returns:
        Every number under N once; groups, and the numbers in each, rise.
    """
    groups = [[i] for i in range(len(likeness))]
    while len(groups) > 1:
        pairs = [
            (float(between.min()), -a, -b)
            for b in range(len(groups))
            for a in range(b)
            if (between := likeness[np.ix_(groups[a], groups[b])]).max() >= alike.surely
        ]
        least, a, b = max(pairs, default=(APART, 0, 0))
        if least < alike.likely:
            break
        groups[-a] = sorted(groups[-a] + groups.pop(-b))
    return groups


def evenly(tracks: Sequence[FaceTrack], *, wanted: int) -> tuple[FaceTrack, ...]:
    """Keep at most `wanted` looks over all tracks, evenly by time on screen."""
    places = [(t, s) for t, track in enumerate(tracks) for s in range(len(track.samples))]
    if len(places) <= wanted:
        return tuple(tracks)
    before_s = np.cumsum([0.0, *(float(t.pts_s[-1] - t.pts_s[0]) for t in tracks)])
    at_s = np.array(
        [before_s[t] + tracks[t].samples[s].pts_s - float(tracks[t].pts_s[0]) for t, s in places]
    )
    left = list(range(len(places)))
    chosen: set[tuple[int, int]] = set()
    for target_s in np.linspace(0, before_s[-1], 2 * wanted + 1)[1::2]:
        nearest = min(left, key=lambda i: (abs(at_s[i] - target_s), i))
        left.remove(nearest)
        chosen.add(places[nearest])
    return tuple(
        replace(track, samples=tuple(k for s, k in enumerate(track.samples) if (t, s) in chosen))
        for t, track in enumerate(tracks)
    )


def _joined(faces: Sequence[FaceClip], *, wanted: int) -> FaceClip:
    """Make one person of some faces."""
    tracks = sorted((t for f in faces for t in f.tracks), key=lambda t: float(t.pts_s[0]))
    return replace(faces[0], tracks=evenly(tracks, wanted=wanted))


def _look(track: FaceTrack, sample: FaceSample) -> _Look:
    points = points_in_crop(track, sample)
    return _Look(sample=sample, points_px=points, goodness=_goodness(points, sample))


def _goodness(points_px: Floats, sample: FaceSample) -> float:
    """Rate a look, nought where it is no good: turned away, smeared, or without landmarks."""
    if not np.isfinite(points_px).all() or not sample.sharpness >= LEAST_SHARPNESS:
        return 0.0
    frontality = align.frontality(points_px)
    return frontality * float(np.log(sample.sharpness)) if frontality >= LEAST_FRONTALITY else 0.0


def _are_together(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Say whether two faces were ever in one frame, of their frames, each once and rising."""
    return bool(np.intersect1d(one, other, assume_unique=True).size)
