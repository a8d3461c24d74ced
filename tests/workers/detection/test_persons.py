"""
Are the faces of many shots joined where they are one person's, and never where they are not?

First with faces whose directions are known, then with the real networks on real clips.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.make_faces import make_clip, make_track
from tests.workers.detection.make_scenes import make_follower, make_frames, make_wall
from workers.detection.identity import DIMENSIONS
from workers.detection.persons import Alike, PersonLinker, evenly, grouped
from workers.detection.stage import FaceClip, FaceTrack, Floats, Image

ANNE, BOB, CARL = 10, 90, 170  # grey of the skin, and the angle of the direction
ALIKE = Alike(likely=0.5, surely=0.6)
SHOT_S = 4.0


class Greys:
    """Takes the mean grey of a picture, in degrees, for whose face it is."""

    sha256 = "0" * 64

    def __init__(self) -> None:
        self.asked: list[int] = []

    def embed(self, pictures: Sequence[Image], landmarks_px: Sequence[Floats]) -> Floats:
        assert all(np.isfinite(points).all() for points in landmarks_px)
        self.asked.append(len(pictures))
        angles = np.radians([picture[100:150, 100:150].mean() for picture in pictures])
        vectors = np.zeros((len(pictures), DIMENSIONS), np.float32)
        vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
        return vectors


def a_face(
    who: int,
    *,
    at_s: float = 0.0,
    seconds: float = SHOT_S,
    shot: int = 0,
    samples: int = 16,
    face_px: float = 160.0,
) -> FaceClip:
    """Build a face that is followed for one shot, of which every look shows the same grey."""
    track = make_track(
        frames=round(seconds * 30),
        first_s=at_s,
        first_frame=round(at_s * 30),
        shot=shot,
        samples=samples,
        face_px=face_px,
    )
    return make_clip(facing(painted(track, who)))


def painted(track: FaceTrack, who: int) -> FaceTrack:
    looks = [replace(s, crop=np.full_like(s.crop, who)) for s in track.samples]
    return replace(track, samples=tuple(looks))


def facing(track: FaceTrack) -> FaceTrack:
    """Put the nose between the eyes: the drawn head has its points anywhere."""
    points = track.landmarks_px.copy()
    points[:, 1] = (points[:, 33] + points[:, 263]) / 2
    return replace(track, landmarks_px=points)


def link(*faces: FaceClip, samples_per_person: int = 16) -> tuple[FaceClip, ...]:
    linker = PersonLinker(Greys(), alike=ALIKE, samples_per_person=samples_per_person)
    return linker.link(faces)


def shots_of(person: FaceClip) -> list[int]:
    return [track.shot for track in person.tracks]


def test_two_people_who_take_turns_over_six_shots_are_two_persons():
    faces = [a_face(BOB if shot % 2 else ANNE, at_s=shot * SHOT_S, shot=shot) for shot in range(6)]

    anne, bob = link(*faces)

    assert (anne.person_id, bob.person_id) == ("p1", "p2")
    assert (shots_of(anne), shots_of(bob)) == ([0, 2, 4], [1, 3, 5])
    assert anne.frames == 3 * 120
    assert np.concatenate([t.pts_s for t in anne.tracks]).tolist() == sorted(
        t for track in anne.tracks for t in track.pts_s
    )


def test_two_faces_that_are_seen_together_are_never_one_person():
    """Twins, or one person in a split screen: who is there twice cannot be told."""
    together = [a_face(ANNE), a_face(ANNE)]
    later = a_face(ANNE, at_s=10.0, shot=1)

    persons = link(*together, later)

    assert sorted(map(shots_of, persons)) == [[0], [0, 1]]


def test_who_is_seen_together_with_one_shot_of_a_person_joins_none_of_it():
    """Anne is in both shots; her double beside her in the second is not she in the first."""
    persons = link(
        a_face(ANNE, seconds=8.0),
        a_face(ANNE + 1, at_s=10.0, seconds=6.0, shot=1),
        a_face(ANNE + 20, at_s=10.0, shot=1),
    )

    assert [shots_of(p) for p in persons] == [[0, 1], [1]]
    assert persons[1].frames == 120


def test_persons_are_in_order_of_their_time_on_screen():
    persons = link(
        a_face(ANNE, seconds=3.0),
        a_face(BOB, at_s=3.0, seconds=5.0, shot=1),
        a_face(CARL, at_s=8.0, seconds=4.0, shot=2),
        a_face(ANNE, at_s=12.0, seconds=3.0, shot=3),
    )

    assert [p.person_id for p in persons] == ["p1", "p2", "p3"]
    assert [shots_of(p) for p in persons] == [[0, 3], [1], [2]]


def test_faces_are_linked_alike_in_whatever_order_they_come():
    faces = [
        a_face(who, at_s=4.0 * shot, seconds=3.0 + shot / 10, shot=shot)
        for shot, who in enumerate([ANNE, BOB, CARL, ANNE + 5, BOB - 5])
    ]

    forwards, backwards = link(*faces), link(*reversed(faces))

    assert [shots_of(p) for p in forwards] == [shots_of(p) for p in backwards]


def test_a_face_between_two_people_does_not_join_them():
    """Each is near enough to the one between, and not to each other."""
    likeness = np.float32([[1, 0.7, 0.1], [0.7, 1, 0.65], [0.1, 0.65, 1]])

    assert grouped(likeness, ALIKE) == [[0, 1], [2]]


def test_what_is_only_likely_joins_nobody_by_itself():
    likeness = np.float32([[1, 0.55], [0.55, 1]])

    assert grouped(likeness, ALIKE) == [[0], [1]]


def test_a_look_that_is_only_likely_is_let_in_where_another_is_sure():
    likeness = np.float32([[1, 0.8, 0.55], [0.8, 1, 0.7], [0.55, 0.7, 1]])

    assert grouped(likeness, ALIKE) == [[0, 1, 2]]


def test_faces_without_landmarks_stay_alone():
    def lost(face: FaceClip) -> FaceClip:
        (track,) = face.tracks
        nowhere = np.full_like(track.landmarks_px, np.nan)
        return replace(face, tracks=(replace(track, landmarks_px=nowhere),))

    persons = link(lost(a_face(ANNE)), lost(a_face(ANNE, at_s=9.0, shot=1)))

    assert [shots_of(p) for p in persons] == [[0], [1]]


def test_a_face_with_one_look_stays_alone():
    persons = link(a_face(ANNE), a_face(ANNE, at_s=9.0, seconds=1.0, shot=1, samples=1))

    assert [shots_of(p) for p in persons] == [[0], [1]]


def test_smeared_and_tiny_faces_stay_alone():
    def smeared(face: FaceClip) -> FaceClip:
        (track,) = face.tracks
        looks = tuple(replace(s, sharpness=0.0) for s in track.samples)
        return replace(face, tracks=(replace(track, samples=looks),))

    persons = link(
        a_face(ANNE),
        smeared(a_face(ANNE, at_s=9.0, shot=1)),
        a_face(ANNE, at_s=18.0, shot=2, face_px=20.0),
    )

    assert len(persons) == 3


def test_faces_turned_away_stay_alone():
    def turned(face: FaceClip) -> FaceClip:
        (track,) = face.tracks
        points = track.landmarks_px.copy()
        points[:, 1] = points[:, 33]
        return replace(face, tracks=(replace(track, landmarks_px=points),))

    assert len(link(a_face(ANNE), turned(a_face(ANNE, at_s=9.0, shot=1)))) == 2


def test_a_network_that_answers_with_no_number_joins_nobody():
    class Broken(Greys):
        def embed(self, pictures, landmarks_px):
            return np.full_like(super().embed(pictures, landmarks_px), np.nan)

    linker = PersonLinker(Broken(), alike=ALIKE, samples_per_person=16)

    assert len(linker.link([a_face(ANNE), a_face(ANNE, at_s=9.0, shot=1)])) == 2


def test_nobody_is_nobody():
    assert link() == ()


def test_no_more_than_five_looks_of_a_face_are_compared():
    greys = Greys()

    PersonLinker(greys, alike=ALIKE, samples_per_person=16).link([a_face(ANNE)])

    assert greys.asked == [5]


def test_looks_of_a_linked_person_are_spread_over_all_of_its_time():
    long, short = a_face(ANNE, seconds=9.0), a_face(ANNE, at_s=20.0, seconds=3.0, shot=1)

    (person,) = link(long, short, samples_per_person=8)

    assert len(person.samples) == 8
    assert [len(track.samples) for track in person.tracks] == [6, 2]
    assert [s.pts_s for s in person.samples] == sorted(s.pts_s for s in person.samples)
    assert np.diff([s.pts_s for s in person.tracks[0].samples]).max() < 3.0


def test_looks_are_kept_as_they_are_where_they_are_few():
    track = make_track(frames=60, samples=4)

    assert evenly([track], wanted=4) == (track,)


def test_the_inputs_are_left_as_they_were():
    faces = [a_face(ANNE), a_face(ANNE, at_s=9.0, shot=1)]
    before = [[s.crop.copy() for s in face.samples] for face in faces]

    link(*faces)

    for face, crops in zip(faces, before, strict=True):
        for sample, crop in zip(face.samples, crops, strict=True):
            np.testing.assert_array_equal(sample.crop, crop)


class Everybody:
    """Takes everybody for one person, or nobody."""

    def __init__(self, *, is_one: bool) -> None:
        self._is_one = is_one
        self.given: list[int] = []

    def link(self, faces: Sequence[FaceClip]) -> tuple[FaceClip, ...]:
        self.given.append(len(faces))
        if not self._is_one or not faces:
            return tuple(faces)
        tracks = tuple(t for f in faces for t in f.tracks)
        return (replace(faces[0], tracks=tracks),)


@pytest.mark.parametrize(("is_one", "persons", "passed_over"), [(True, 1, 0), (False, 3, 3)])
def test_persons_are_counted_once_they_are_linked(is_one: bool, persons: int, passed_over: int):
    linker = Everybody(is_one=is_one)
    frames = make_frames(lambda n: [(40, 60, 60)], frames=60, wall=lambda n: make_wall(n // 10))

    followed = make_follower(max_persons=3, linker=linker).follow(
        frames, width_px=320, height_px=240
    )

    assert linker.given == [6]
    assert len(followed.persons) == persons
    assert followed.too_many == passed_over
