"""
Are the faces of many shots joined where they are one person's, and never where they are not?

First with faces whose directions are known, then with the real networks on real clips.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.domain.evidence import Finding
from app.domain.policy import ALONE
from app.settings import Settings
from tests.make_faces import make_clip, make_track
from tests.workers.detection.edits import cut_together, side_by_side, tiled
from tests.workers.detection.make_scenes import make_follower, make_frames, make_wall
from tests.workers.detection.real_faces import follow_film
from workers.detection import faces
from workers.detection.detectors.frame_classifier import FrameClassifier
from workers.detection.identity import DIMENSIONS
from workers.detection.persons import Alike, PersonLinker, evenly, grouped
from workers.detection.stage import FaceClip, FaceTrack, Floats, Image
from workers.kit import FRAME_CLASSIFIER, build_registry, person_linker

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


def test_many_faces_take_no_more_room_than_some(monkeypatch: pytest.MonkeyPatch):
    """Until they are linked; those longest on screen keep their small pictures."""
    monkeypatch.setattr(faces, "MOST_LOOKS", 30)
    monkeypatch.setattr(faces, "MOST_SMALL_HELD", 25)
    shots = [0] * 20 + [1] * 10 + [2] * 12 + [3] * 10 + [4] * 10
    frames = make_frames(
        lambda n: [(40, 60, 60)], frames=len(shots), wall=lambda n: make_wall(shots[n])
    )

    followed = make_follower(linker=Everybody(is_one=True)).follow(
        frames, width_px=320, height_px=240
    )

    (person,) = followed.persons
    looks = [len(track.samples) for track in person.tracks]
    assert all(1 <= few <= 6 for few in looks)
    assert {len(t.pts_s): len(t.small) for t in person.tracks} == {20: 20, 12: 1, 10: 1}


# --- With the real networks, on people of groups that no training saw.

SPEAKER, WRITER, SINGER = (
    "liveportrait__d8__912a02.mp4",
    "blinktest__blink04__67924e.mp4",
    "celebdf__id32_0003__905c3d.mp4",
)
SWAPPED = "celebdf__id32_id34_0003__b7af56.mp4"
"""Its face is that of somebody else. All are of the splits that nothing was trained on."""


@pytest.fixture(scope="module")
def linker() -> PersonLinker:
    found = person_linker(Settings(_env_file=None))
    assert found is not None
    return found


def test_two_people_who_take_turns_in_a_film_are_two_persons(
    shared_media: Path, tmp_path: Path, linker: PersonLinker
):
    real = shared_media / "videos" / "real"
    film = cut_together(
        tmp_path / "film.mp4",
        [
            (real / who, at_s, 0.8)
            for who, at_s in ((SPEAKER, 0.5), (WRITER, 1.0), (SPEAKER, 6.0), (WRITER, 7.0))
        ],
        size=(320, 320),
    )

    apart = follow_film(film, linker=None).persons
    linked = follow_film(film, linker=linker).persons

    assert len(apart) == 4
    assert sorted(map(shots_of, linked)) == [[0, 2], [1, 3]]
    assert all(len(person.samples) <= 16 for person in linked)


def test_people_beside_each_other_stay_apart_over_a_cut(
    shared_media: Path, tmp_path: Path, linker: PersonLinker
):
    """Both come back after it, in each other's place."""
    real = shared_media / "videos" / "real"
    both = [real / SPEAKER, real / SINGER]
    first = side_by_side(tmp_path / "1.mp4", both, seconds=0.8)
    second = side_by_side(tmp_path / "2.mp4", both[::-1], seconds=0.8)
    film = cut_together(
        tmp_path / "film.mp4", [(first, 0, 1.2), (second, 0, 1.2)], size=(1328, 480)
    )

    persons = follow_film(film, linker=linker).persons

    assert [shots_of(person) for person in persons] == [[0, 1], [0, 1]]


def test_of_one_swapped_and_one_real_person_the_swapped_one_is_named(
    shared_media: Path, tmp_path: Path, linker: PersonLinker
):
    videos = shared_media / "videos"
    clips = [videos / "real" / WRITER, videos / "fake" / SWAPPED]
    film = side_by_side(tmp_path / "film.mp4", clips, seconds=1.2)
    classifier = FrameClassifier(build_registry(Settings(_env_file=None)).load(FRAME_CLASSIFIER))

    clips_of = follow_film(film, linker=linker).persons
    evidence = {c.person_id: classifier.examine(c, {}).evidence for c in clips_of}

    places = {c.person_id: float(np.median(c.tracks[0].box_px[:, 0])) for c in clips_of}
    (real, swapped) = sorted(places, key=places.__getitem__)
    found = {name: e for name, e in evidence.items() if isinstance(e, Finding)}
    at = ALONE.point().manipulated_from
    assert found[swapped].fake_probability >= at > found[real].fake_probability


def test_forty_faces_are_followed_as_far_as_there_is_room_for(
    shared_media: Path, tmp_path: Path, linker: PersonLinker
):
    real = shared_media / "videos" / "real"
    clips = [path for path in sorted(real.glob("*.mp4")) if "no_face" not in path.name][:40]
    film = tiled(tmp_path / "crowd.mp4", clips, across=8, side_px=120, seconds=0.4)

    followed = follow_film(film, linker=linker, max_persons=16)

    assert len(followed.persons) == 16
    assert followed.too_many > 0
