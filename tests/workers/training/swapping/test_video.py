"""Is a whole video swapped: every frame at its time, the mask true, the record complete?"""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from app.errors import RejectedMedia
from app.settings import Settings
from tests import media
from tests.workers.training.swapping.make_swap import (
    MadeFrom,
    Record,
    Tint,
    make_scene,
    portrait,
    write_clip,
)
from workers.detection.stage import Frame, Image
from workers.kit import FaceNetworks, face_networks
from workers.training.clips import open_clip
from workers.training.errors import BadDataset, BadOutput
from workers.training.swapping import marks
from workers.training.swapping.choices import Compositing
from workers.training.swapping.video import SwapRecord, copy_video, read_record, swap_video

PTS_S = (0.0, 0.04, 0.08, 0.13, 0.16, 0.21, 0.24, 0.3, 0.33, 0.36, 0.4, 0.46, 0.5, 0.55, 0.6)
"""Of a phone, whose rate varies."""
HIDDEN = (6, 7)
"""Frames in which nobody can see the face."""
CHOICES = Compositing(colour="none", visible_mark=False, crf=8, preset="ultrafast")


@cache
def networks() -> FaceNetworks:
    return face_networks(Settings(_env_file=None, analysis={"threads": 1}))


def swap(source: Path, out: Path, maker: Tint | None = None, **more: object) -> SwapRecord:
    return swap_video(
        source,
        maker or Tint(),
        "b",
        out,
        CHOICES,
        seed=4,
        console=Console(quiet=True),
        networks=networks(),
        **more,
    )


def frames_of(path: Path) -> list[Frame]:
    with open_clip(path) as stream:
        return list(stream)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [portrait(n, is_hidden=n in HIDDEN) for n in range(len(PTS_S))]
    return write_clip(tmp_path_factory.mktemp("source") / "portrait.mp4", frames, PTS_S)


@pytest.fixture(scope="module")
def swapped(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SwapRecord]:
    out = tmp_path_factory.mktemp("swapped") / "out.mp4"
    return out, swap(source, out)


@pytest.fixture(scope="module")
def pictures(
    source: Path, swapped: tuple[Path, SwapRecord]
) -> tuple[list[Frame], list[Frame], list[Frame]]:
    """The source, what became of it, and the mask."""
    out, _ = swapped
    return frames_of(source), frames_of(out), frames_of(out.with_suffix(".mask.mp4"))


def test_the_video_and_its_mask_have_the_frames_of_the_source_at_their_times(
    pictures: tuple[list[Frame], list[Frame], list[Frame]],
) -> None:
    for frames in pictures:
        assert [f.pts_s for f in frames] == pytest.approx(PTS_S, abs=1e-3)
        assert frames[0].rgb.shape == (192, 256, 3)


def test_where_the_mask_is_white_the_face_is_the_forgers_and_where_it_is_black_it_is_not(
    pictures: tuple[list[Frame], list[Frame], list[Frame]],
) -> None:
    for before, after, mask in zip(*pictures, strict=True):
        change = after.rgb.astype(int) - before.rgb
        alpha = mask.rgb[..., 0]
        # What Tint does to a face is to take red and add blue.
        bluer = change[..., 2] - change[..., 0]
        assert bluer[alpha == 255].mean() > 60
        assert abs(bluer[alpha == 0].mean()) < 3
        assert 0.02 < (alpha > 127).mean() < 0.5


def test_a_face_that_was_hidden_for_a_moment_is_bridged(
    swapped: tuple[Path, SwapRecord],
) -> None:
    _, record = swapped

    assert set(HIDDEN) <= set(record.bridged)
    assert record.swapped == tuple(range(len(PTS_S)))
    assert record.left == ()


def test_the_record_says_what_was_done_to_what(
    source: Path, swapped: tuple[Path, SwapRecord]
) -> None:
    out, record = swapped
    document = json.loads(out.with_suffix(".json").read_text())

    assert document["synthetic"] is True
    assert document["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert document["video_sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert document["forger_sha256"] == Tint().record.network_sha256
    assert Compositing(**document["choices"]) == CHOICES
    assert (document["seed"], document["to"], document["frames"]) == (4, "b", len(PTS_S))
    assert read_record(out) == record


def test_the_video_says_that_it_is_synthetic(swapped: tuple[Path, SwapRecord]) -> None:
    out, _ = swapped

    assert marks.is_marked(out)


def test_nothing_stands_beside_the_three_files(swapped: tuple[Path, SwapRecord]) -> None:
    out, _ = swapped

    assert sorted(p.name for p in out.parent.iterdir()) == ["out.json", "out.mask.mp4", "out.mp4"]


def test_a_stretch_is_swapped_with_its_own_time(source: Path, tmp_path: Path) -> None:
    record = swap(source, tmp_path / "out.mp4", first_frame=8, max_frames=6)

    assert (record.first_frame, record.frames) == (8, 6)
    times_s = [f.pts_s for f in frames_of(tmp_path / "out.mp4")]
    assert times_s == pytest.approx([t - PTS_S[8] for t in PTS_S[8:14]], abs=1e-3)


def test_the_same_swap_gives_the_same_bytes(
    source: Path, swapped: tuple[Path, SwapRecord], tmp_path: Path
) -> None:
    out, record = swapped
    again = swap(source, tmp_path / out.name)

    assert again == record
    assert (tmp_path / out.name).read_bytes() == out.read_bytes()


def test_a_copy_has_the_frames_and_no_swap(
    pictures: tuple[list[Frame], list[Frame], list[Frame]], source: Path, tmp_path: Path
) -> None:
    copy_video(
        source, tmp_path / "real.mp4", crf=8, preset="ultrafast", first_frame=2, max_frames=4
    )

    before, _, _ = pictures
    with open_clip(tmp_path / "real.mp4") as stream:
        after = list(stream)

    assert [f.pts_s for f in after] == pytest.approx([t - PTS_S[2] for t in PTS_S[2:6]], abs=1e-3)
    for one, two in zip(before[2:6], after, strict=True):
        assert np.abs(one.rgb.astype(int) - two.rgb).mean() < 3
    assert marks.MARK_KEY not in stream.probe.metadata


def wall(number: int) -> Image:
    return make_scene(number // 4)


def test_a_video_without_faces_is_turned_away_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "wall.mp4", [wall(n) for n in range(8)], PTS_S[:8])
    out = tmp_path / "out" / "swapped.mp4"

    with pytest.raises(BadDataset, match=r"no face was found in .*wall\.mp4, in 8 frames"):
        swap(source, out)

    assert list(out.parent.iterdir()) == []


def test_a_video_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    cut = media.truncate(media.make_video(tmp_path / "clip.mp4"), 0.3)
    out = tmp_path / "out" / "swapped.mp4"

    for path in (tmp_path / "text.mp4", cut):
        with pytest.raises(RejectedMedia):
            swap(path, out)
    with pytest.raises(BadDataset, match="there is no video"):
        swap(tmp_path / "nowhere.mp4", out)

    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("taken", ["out.mp4", "out.mask.mp4", "out.json"])
def test_nothing_is_written_over(source: Path, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"mine")

    with pytest.raises(BadOutput, match=f"{taken} is there already"):
        swap(source, tmp_path / "out.mp4")

    assert [p.name for p in tmp_path.iterdir()] == [taken]


def test_only_mp4_is_written(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadOutput, match=r"ends in \.mp4"):
        swap(source, tmp_path / "out.avi")


def test_a_video_of_the_very_person_is_turned_away(source: Path, tmp_path: Path) -> None:
    learnt = MadeFrom(hashlib.sha256(source.read_bytes()).hexdigest())

    with pytest.raises(BadDataset, match="swap it to a"):
        swap(source, tmp_path / "out.mp4", Tint(record=Record(b=[learnt])))


def test_nobody_wanted_is_told_from_nobody_there(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="looks like b already"):
        swap(source, tmp_path / "out.mp4", whose=lambda _: 0.0)


class Empty(Tint):
    """Wants none of its faces to be seen."""

    def make(self, views: np.ndarray, to: str) -> tuple[np.ndarray, np.ndarray]:
        faces, masks = super().make(views, to)
        return faces, np.zeros_like(masks)


def test_a_forger_with_empty_masks_is_told(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="masks of this forger are empty"):
        swap(source, tmp_path / "out.mp4", Empty())

    assert list(tmp_path.iterdir()) == []


class Failing(Tint):
    """Breaks off in the middle of the video."""

    def make(self, views: np.ndarray, to: str) -> tuple[np.ndarray, np.ndarray]:
        if len(views) < 8:
            raise ZeroDivisionError
        return super().make(views, to)


def test_a_swap_that_breaks_off_leaves_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        swap(source, tmp_path / "out.mp4", Failing())

    assert list(tmp_path.iterdir()) == []
