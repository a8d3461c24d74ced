"""
Is everybody followed, for as long as they are there and no longer?

First with red squares for faces, then with the real networks on real clips.
"""

import itertools
import weakref
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.workers.detection.make_scenes import (
    RATE_HZ,
    RedFinder,
    Square,
    make_follower,
    make_frames,
    make_wall,
    template,
)
from tests.workers.detection.real_faces import read_clip, real_follower
from workers.detection import align
from workers.detection.faces import FaceFollower, Followed
from workers.detection.stage import CROP_SIDE_PX, Frame

ANNE: Square = (40, 60, 60)
BOB: Square = (200, 90, 50)


def follow(frames: Iterator[Frame], **settings: int) -> Followed:
    return make_follower(**settings).follow(frames, width_px=320, height_px=240)


def test_a_face_is_followed_through_every_frame() -> None:
    def walks(n: int) -> list[Square]:
        return [(40 + 2 * n, 60 + n / 2, 60)]

    followed = follow(make_frames(walks, frames=75))

    (person,) = followed.persons
    (track,) = person.tracks
    assert person.person_id == "p1"
    assert person.rate_hz == pytest.approx(RATE_HZ)
    assert (person.frame_width_px, person.frame_height_px) == (320, 240)
    np.testing.assert_array_equal(track.frame_index, np.arange(75), strict=True)
    np.testing.assert_allclose(track.pts_s, np.arange(75) / RATE_HZ)
    np.testing.assert_allclose(track.box_px[74], (188, 97, 59, 59), atol=2)
    np.testing.assert_allclose(track.landmarks_px[30], template() * 59 + (100, 75), atol=2)
    assert track.is_keyframe.tolist() == [n % 50 == 0 for n in range(75)]
    assert (followed.too_brief, followed.too_many, followed.unfollowed) == (0, 0, 0)


def test_the_detector_runs_now_and_then_only() -> None:
    finder = RedFinder()
    make_follower(finder, detect_every=10).follow(
        make_frames(lambda n: [ANNE], frames=60), width_px=320, height_px=240
    )

    assert finder.asked == 6


def test_arrays_have_the_types_that_detectors_are_promised() -> None:
    ((track,),) = (p.tracks for p in follow(make_frames(lambda n: [ANNE], frames=30)).persons)

    assert track.landmarks_px.shape == (30, 478, 2)
    assert track.box_px.shape == (30, 4)
    assert {a.dtype for a in (track.landmarks_px, track.box_px, track.presence)} == {
        np.dtype(np.float32)
    }
    assert track.pts_s.dtype == np.float64
    assert track.frame_index.dtype == np.int64
    assert track.is_keyframe.dtype == np.bool_


def test_samples_are_upright_crops_with_a_way_back_to_the_video() -> None:
    (person,) = follow(make_frames(lambda n: [ANNE], frames=90), samples_per_person=8).persons

    assert len(person.samples) == 8
    for sample in person.samples:
        assert sample.crop.shape == (CROP_SIDE_PX, CROP_SIDE_PX, 3)
        assert sample.thumbnail.shape == (240, 320, 3)
        affine = sample.frame_from_crop
        centre = affine[:, :2] @ np.float32([127.5, 127.5]) + affine[:, 2]
        np.testing.assert_allclose(centre, (69.5, 89.5), atol=1.5)
        red, green, blue = sample.crop[128, 128].astype(int)
        assert red > 200
        assert max(green, blue) < 60


def test_frames_that_were_shrunk_give_pixels_of_the_video() -> None:
    frames = make_frames(lambda n: [ANNE], frames=20, scale=0.5)

    (person,) = make_follower().follow(frames, width_px=640, height_px=480).persons

    assert person.median_face_px == pytest.approx(119, abs=3)
    affine = person.samples[0].frame_from_crop
    centre = affine[:, :2] @ np.float32([127.5, 127.5]) + affine[:, 2]
    np.testing.assert_allclose(centre, (139.5, 179.5), atol=3)


def test_two_people_are_two_persons_the_longer_seen_first() -> None:
    followed = follow(make_frames(lambda n: [ANNE, BOB] if n < 40 else [BOB], frames=80))

    bob, anne = followed.persons
    assert (bob.person_id, anne.person_id) == ("p1", "p2")
    assert (bob.frames, anne.frames) == (80, 40)
    assert bob.median_face_px == pytest.approx(49, abs=2)


def test_whoever_comes_in_later_is_found_by_the_next_detection() -> None:
    followed = follow(make_frames(lambda n: [ANNE, BOB] if n >= 25 else [ANNE], frames=80))

    _, bob = followed.persons
    assert 25 <= bob.tracks[0].frame_index[0] <= 30


def test_a_short_gap_makes_two_tracks_of_one_person() -> None:
    followed = follow(make_frames(lambda n: [] if 30 <= n < 45 else [ANNE], frames=80))

    (person,) = followed.persons
    assert [len(t.pts_s) for t in person.tracks] == [30, 30]
    assert person.tracks[0].shot == person.tracks[1].shot == 0
    assert person.followed_s == pytest.approx(58 / RATE_HZ)


def test_after_a_long_absence_it_is_another_person() -> None:
    followed = follow(make_frames(lambda n: [] if 30 <= n < 70 else [ANNE], frames=120))

    assert [p.frames for p in followed.persons] == [50, 30]


def test_after_a_gap_in_another_place_it_is_another_person() -> None:
    def jumps(n: int) -> list[Square]:
        return [ANNE] if n < 30 else [] if n < 35 else [BOB]

    assert len(follow(make_frames(jumps, frames=80)).persons) == 2


def test_a_cut_ends_the_tracks_even_where_a_face_is_in_the_same_place() -> None:
    frames = make_frames(lambda n: [ANNE], frames=90, wall=lambda n: make_wall(n // 45))

    persons = follow(frames).persons

    assert [p.tracks[0].shot for p in persons] == [0, 1]
    assert [(p.tracks[0].frame_index[0], p.frames) for p in persons] == [(0, 45), (45, 45)]


def test_a_face_that_was_there_for_a_moment_is_left_out_and_counted() -> None:
    followed = follow(make_frames(lambda n: [ANNE, BOB] if 30 <= n < 33 else [BOB], frames=60))

    assert len(followed.persons) == 1
    assert followed.too_brief == 1


def test_a_tiny_face_is_left_out_and_counted() -> None:
    followed = follow(make_frames(lambda n: [(40, 60, 14)], frames=60))

    assert followed.persons == ()
    assert followed.too_small == 1


def test_at_most_so_many_persons_are_kept_the_longest_seen() -> None:
    def crowd(n: int) -> list[Square]:
        return [(10 + 75 * i, 90, 50) for i in range(4) if n < 30 + 10 * i]

    followed = follow(make_frames(crowd, frames=70), max_persons=2)

    assert len(followed.persons) == 2
    assert followed.too_many > 0


def test_the_longest_seen_of_all_shots_are_kept() -> None:
    shots = [20, 60, 10, 40, 30]
    ends = list(itertools.accumulate(shots))

    def shot(n: int) -> int:
        return next(i for i, end in enumerate(ends) if n < end)

    frames = make_frames(lambda n: [ANNE], frames=sum(shots), wall=lambda n: make_wall(shot(n)))

    assert [p.frames for p in follow(frames, max_persons=3).persons] == [60, 40, 30]


def test_a_face_at_the_edge_is_followed() -> None:
    (person,) = follow(make_frames(lambda n: [(-15, -10, 60)], frames=40)).persons

    assert person.frames == 40


def test_a_face_that_the_detector_denies_is_given_up() -> None:
    class Hasty(RedFinder):
        """Sees what is there in the first frame only."""

        def find(self, rgb):
            faces = super().find(rgb)
            return faces if self.asked == 1 else super().find(np.zeros_like(rgb))

    follower = make_follower(Hasty(), detect_every=10)
    followed = follower.follow(
        make_frames(lambda n: [ANNE], frames=100), width_px=320, height_px=240
    )

    assert followed.persons == ()
    assert followed.too_brief == 1


def test_a_face_that_landmarks_deny_is_counted() -> None:
    class Generous(RedFinder):
        """Sees a face on the bare wall."""

        def find(self, rgb):
            rgb = rgb.copy()
            rgb[100:160, 100:160] = (230, 20, 20)
            return super().find(rgb)

    followed = make_follower(Generous(), detect_every=10).follow(
        make_frames(lambda n: [], frames=30), width_px=320, height_px=240
    )

    assert followed.persons == ()
    assert followed.unfollowed == 3


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_hardly_any_frames_give_nobody(frames: int) -> None:
    assert follow(make_frames(lambda n: [ANNE], frames=frames)).persons == ()


def test_frames_are_taken_one_by_one_and_let_go() -> None:
    alive: list[int] = []

    def watched() -> Iterator[Frame]:
        for frame in make_frames(lambda n: [ANNE], frames=60):
            alive.append(frame.index)
            weakref.finalize(frame.rgb, alive.remove, frame.index)
            yield frame

    follow(watched(), samples_per_person=4)

    # Thumbnails of frames that are small enough are the frames themselves.
    assert len(alive) <= 9


# With the real networks.


@pytest.fixture(scope="module")
def follower() -> FaceFollower:
    return real_follower()


@pytest.mark.shared
def test_both_people_of_a_film_scene_are_found(follower: FaceFollower, shared_media: Path) -> None:
    path = shared_media / "videos/fake/webpair__FakeBateman__e2d06a.mp4"
    frames = read_clip(path, first=10, frames=40)

    front, back, *_ = follower.follow(frames, width_px=424, height_px=390).persons

    assert front.frames == 40
    assert front.median_face_px > 2 * back.median_face_px


@pytest.mark.shared
def test_the_man_in_the_background_is_found_beside_the_speaker(
    follower: FaceFollower, shared_media: Path
) -> None:
    path = shared_media / "videos/real/ffpp__585__c40__1800c4.mp4"

    followed = follower.follow(read_clip(path, first=100, frames=50), width_px=1280, height_px=720)

    speaker, man, *_ = followed.persons
    assert speaker.frames == 50
    assert man.tracks[0].box_px[0, 0] < 300 < speaker.tracks[0].box_px[0, 0]


@pytest.mark.shared
def test_nobody_is_found_in_a_screencast(follower: FaceFollower, shared_media: Path) -> None:
    path = shared_media / "videos/real/noface__no_face__852057.mp4"

    followed = follower.follow(read_clip(path, frames=20), width_px=1920, height_px=1080)

    assert followed.persons == ()
    assert followed.unfollowed == 0


@pytest.mark.shared
def test_two_clips_in_a_row_give_a_person_each(follower: FaceFollower, shared_media: Path) -> None:
    one = shared_media / "videos/real/ffpp__183__c23__4d0c3f.mp4"
    other = shared_media / "videos/real/ffpp__481__c23__69702e.mp4"
    frames = itertools.chain(read_clip(one, frames=30), read_clip(other, frames=25, at=30))

    persons = follower.follow(frames, width_px=1280, height_px=720).persons

    assert [(p.tracks[0].shot, p.frames) for p in persons] == [(0, 30), (1, 25)]


@pytest.mark.shared
def test_a_tilted_face_is_upright_in_its_crops(follower: FaceFollower, shared_media: Path) -> None:
    path = shared_media / "videos/real/ffpp__183__c23__4d0c3f.mp4"

    def tilted() -> Iterator[Frame]:
        turn = cv2.getRotationMatrix2D((640, 360), 25, 1.0)
        for frame in read_clip(path, frames=12):
            rgb = cv2.warpAffine(frame.rgb, turn, (1280, 720))
            yield Frame(index=frame.index, pts_s=frame.pts_s, rgb=rgb, scale=1.0, is_keyframe=False)

    (straight,) = follower.follow(read_clip(path, frames=12), width_px=1280, height_px=720).persons
    (person,) = follower.follow(tilted(), width_px=1280, height_px=720).persons

    angles = [
        np.degrees(align.region_of_landmarks(p.tracks[0].landmarks_px[5]).angle_rad)
        for p in (straight, person)
    ]
    assert angles[0] - angles[1] == pytest.approx(25, abs=4)
    differences = np.abs(straight.samples[5].crop.astype(int) - person.samples[5].crop.astype(int))
    assert np.median(differences) < 12
