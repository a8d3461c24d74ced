"""Does the overlay show who is meant, and which pixels, at the right place and time?"""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.job import Progress
from app.domain.overlay import OverlayOrder, OverlayPerson
from tests.media import make_video
from tests.workers.detection.make_scenes import RATE_HZ, SIZE, make_follower, make_frames
from tests.workers.detection.test_analyze import make_analyzer
from workers.detection.overlay import HIGH, LOW, UNKNOWN, by_frame, colour, render
from workers.detection.stage import CROP_SIDE_PX, FaceClip, Frame, Image

ORDER = OverlayOrder(persons=(), caption="inconclusive | policy 1")
FRAMES = 30


class LeftHalf:
    """Marks the left half of every face."""

    def __init__(self) -> None:
        self.asked = 0

    def mark(self, crops: Sequence[Image]) -> NDArray[np.float32]:
        self.asked += len(crops)
        mask = np.zeros((len(crops), CROP_SIDE_PX, CROP_SIDE_PX), np.float32)
        mask[:, :, : CROP_SIDE_PX // 2] = 1
        return mask


def frames() -> list[Frame]:
    """A face that stands still in the middle; it comes after ten frames."""
    return list(make_frames(lambda n: [(120.0, 80.0, 80.0)] if n >= 10 else [], frames=FRAMES))


def clips() -> tuple[FaceClip, ...]:
    width, height = SIZE
    return make_follower().follow(frames(), width_px=width, height_px=height).persons


def named(clip: FaceClip, fake_probability: float | None) -> OverlayOrder:
    track = clip.tracks[0]
    person = OverlayPerson(
        id=clip.person_id,
        first_s=float(track.pts_s[0]),
        last_s=float(track.pts_s[-1]),
        fake_probability=fake_probability,
    )
    return OverlayOrder(persons=(person,), caption="manipulated | policy 1")


def drawn(out: Path, order: OverlayOrder, marker: LeftHalf | None = None) -> list[Image]:
    list(
        render(
            out,
            frames(),
            clips(),
            order=order,
            size=SIZE,
            rate_hz=RATE_HZ,
            marker=marker,
            sound=None,
        )
    )
    with av.open(str(out)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


def difference(pictures: list[Image]) -> list[NDArray[np.bool_]]:
    """Say which pixels differ from the frames, codec noise apart."""
    return [
        np.abs(p.astype(int) - f.rgb.astype(int)).max(axis=2) > 60
        for p, f in zip(pictures, frames(), strict=True)
    ]


def test_the_box_stands_around_the_face_for_as_long_as_it_is_there(tmp_path: Path):
    (clip,) = clips()

    before, *_, during = difference(drawn(tmp_path / "out.mp4", named(clip, 0.9)))

    x, y, _, height = clip.tracks[0].box_px[-1]
    rows, columns = np.nonzero(during[: SIZE[1] - 40])
    assert rows.max() == pytest.approx(y + height, abs=3)
    assert columns.min() == pytest.approx(x, abs=4)
    assert not before[: SIZE[1] - 40].any()


def test_the_marked_half_of_the_face_is_coloured_and_the_other_is_not(tmp_path: Path):
    (clip,) = clips()
    marker = LeftHalf()

    picture = drawn(tmp_path / "out.mp4", named(clip, 0.9), marker)[-1].astype(int)

    plain = drawn(tmp_path / "plain.mp4", named(clip, 0.9))[-1].astype(int)
    change = np.abs(picture - plain).max(axis=2)[90:150]
    assert change[:, 130:150].mean() > 30
    assert change[:, 170:190].mean() < 8
    assert marker.asked == clip.frames


def test_somebody_whom_the_verdict_does_not_name_is_boxed_in_grey(tmp_path: Path):
    (clip,) = clips()
    other_times = OverlayOrder(
        persons=(OverlayPerson(id="p1", first_s=40.0, last_s=60.0, fake_probability=0.9),),
        caption="",
    )

    (boxed,) = by_frame([clip], other_times)[FRAMES - 1]
    assert boxed.person is None
    (boxed,) = by_frame([clip], named(clip, 0.9))[FRAMES - 1]
    assert boxed.person is not None


def test_colours_go_from_blue_over_grey_to_vermilion() -> None:
    assert [colour(p) for p in (0.0, 0.5, 1.0, None)] == [LOW, UNKNOWN, HIGH, UNKNOWN]


def test_a_face_whose_landmarks_are_lost_is_boxed_and_not_marked(tmp_path: Path):
    (clip,) = clips()
    clip.tracks[0].landmarks_px[:] = np.nan
    marker = LeftHalf()

    done = list(
        render(
            tmp_path / "out.mp4",
            frames(),
            [clip],
            order=named(clip, None),
            size=SIZE,
            rate_hz=RATE_HZ,
            marker=marker,
            sound=None,
        )
    )

    assert done == list(range(FRAMES))
    assert marker.asked == 0


def test_an_analyzer_draws_over_a_real_file(tmp_path: Path) -> None:
    video = make_video(tmp_path / "in.mp4", with_sound=True)
    told: list[Progress] = []
    make_analyzer(follower=make_follower()).render(
        video, tmp_path / "out.mp4", order=ORDER, report=told.append
    )

    with av.open(str(tmp_path / "out.mp4")) as written, av.open(str(video)) as source:
        assert len(written.streams.audio) == 1
        assert len(list(written.decode(video=0))) == len(list(source.decode(video=0)))
    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
