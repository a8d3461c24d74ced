"""Does a set hold good looks at one person, apart what is held out, and say what it left out?"""

import io
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from rich.console import Console

from app.errors import InsufficientStorage
from tests.media import make_video
from tests.workers.training.forging.make_sets import astronaut, make_face_set, write_pictures
from workers.detection.stage import Image
from workers.training.errors import BadDataset
from workers.training.forging.face_sets import (
    REPORT,
    SHEET,
    CurationOptions,
    FaceSet,
    Reason,
    check_two_people,
    curate,
    open_face_set,
)
from workers.training.forging.views import STORED_PX

GOOD = 16
FEW = CurationOptions(least_faces=4)
RATE_HZ = 8
FRAMES = 20
quiet = Console(quiet=True)


@pytest.fixture(scope="module", autouse=True)
def nothing_was_pulled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever was pulled on this machine: no network tells people apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPVERDICT_MODELS__DIR", str(tmp_path_factory.mktemp("models")))
        yield


def flawed() -> dict[Reason, Image]:
    """Pictures that must not get into a set, by why."""
    good = astronaut(100)
    covered = good.copy()
    covered[95:150, 105:155] = (30, 160, 60)
    blue = np.clip(good * np.array([0.75, 0.95, 1.2]), 0, 255).astype(np.uint8)
    far = np.full((320, 320, 3), 120, np.uint8)
    far[100:220, 100:220] = astronaut(101, side_px=120)
    return {
        Reason.NO_FACE: np.full((320, 320, 3), 90, np.uint8),
        Reason.UNCLEAR: np.concatenate([astronaut(102), astronaut(103)], axis=1),
        Reason.TOO_SMALL: far,
        Reason.CUT_OFF: np.ascontiguousarray(good[:, 125:]),
        Reason.NOT_SHARP: np.asarray(cv2.GaussianBlur(good, (0, 0), 2.5), np.uint8),
        Reason.TINTED: blue,
        Reason.OCCLUDED: covered,
        Reason.STILL: astronaut(0),
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    good = [astronaut(n) for n in range(GOOD)]
    write_pictures(folder, [*good[:4], *flawed().values(), *good[4:]])
    (folder / "0002a.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")
    return folder


@pytest.fixture(scope="module")
def few_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("few"), [astronaut(n) for n in (0, 1, 2, 0)])


@pytest.fixture(scope="module")
def of_pictures(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    return curate([pictures], tmp_path_factory.mktemp("set"), FEW, console=quiet)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person who never keeps still, two and a half seconds long."""
    path = tmp_path_factory.mktemp("video") / "astronaut.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"crf": "16"})
        stream.width = stream.height = 320
        stream.pix_fmt = "yuv420p"
        for n in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(astronaut(n), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def of_video(video: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    return curate([video], tmp_path_factory.mktemp("set") / "deep" / "er", FEW, console=quiet)


def report_of(faces: FaceSet) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((faces.folder / REPORT).read_text())
    return document


def test_every_flawed_picture_is_left_out_for_its_own_reason(of_pictures):
    left_out = report_of(of_pictures)["left_out"]

    assert left_out == dict.fromkeys(flawed(), 1) | {Reason.UNREADABLE: 1}
    assert len(of_pictures) == GOOD
    assert {face.name for face in of_pictures.rows}.isdisjoint({"0002a.png", "notes.txt"})


def test_the_report_counts_everything_that_was_looked_at(of_pictures):
    report = report_of(of_pictures)

    assert report["looked_at"] == len(of_pictures) + sum(report["left_out"].values())
    assert report["to_train_on"] == len(of_pictures.training)
    assert report["held_out"] == len(of_pictures.held_out)
    counted = sum(n for poses in report["coverage"].values() for n in poses.values())
    assert counted == len(of_pictures)
    assert report["is_checked_for_one_person"] is False


def test_the_sheet_is_a_picture(of_pictures):
    sheet = cv2.imread(str(of_pictures.folder / SHEET))

    assert sheet is not None
    assert min(sheet.shape[:2]) > 400


def test_a_face_is_kept_upright_with_its_points_and_measures(of_pictures):
    middle = (STORED_PX - 1) / 2
    for face, points in zip(of_pictures.rows, of_pictures.landmarks, strict=True):
        low, high = points.min(axis=0), points.max(axis=0)
        assert np.abs((low + high) / 2 - middle).max() < 2
        assert (high - low).max() == pytest.approx(160, abs=3)  # the region, of 1.6 of it
        eyes_px = points[263] - points[33]
        assert abs(np.degrees(np.arctan2(eyes_px[1], eyes_px[0]))) < 8
        assert 0 < face.colour_mean[2] < face.colour_mean[0] < 255  # skin is rather red
        assert face.presence > 0.9
        assert abs(face.turn) < 0.5
        assert face.source_sha256 in of_pictures.sources.values()


def test_the_end_of_a_video_is_held_out_a_second_apart(of_video):
    held_out = [of_video.rows[row] for row in of_video.held_out]
    training = [of_video.rows[row] for row in of_video.training]

    assert len(held_out) == round(0.15 * FRAMES)
    assert max(f.pts_s for f in held_out) == max(f.pts_s for f in of_video.rows)
    assert min(f.pts_s for f in held_out) - max(f.pts_s for f in training) >= 1.0
    assert report_of(of_video)["left_out"] == {Reason.GAP: RATE_HZ - 1}


def test_the_last_pictures_of_a_folder_are_held_out(of_pictures):
    names = [face.name for face in of_pictures.rows]

    assert names == sorted(names)
    assert of_pictures.held_out == (14, 15)


def test_a_second_call_with_the_same_sources_and_options_returns_what_is_there(of_video, video):
    made = (of_video.folder / "faces.bin").stat().st_mtime_ns
    said = io.StringIO()

    again = curate([video], of_video.folder, FEW, console=Console(file=said))

    assert again.rows == of_video.rows
    assert (of_video.folder / "faces.bin").stat().st_mtime_ns == made
    assert said.getvalue() == ""


def test_other_options_or_a_spoilt_set_make_it_anew(few_pictures, tmp_path):
    options = CurationOptions(least_faces=1, held_out=0.3)
    first = curate([few_pictures], tmp_path, options, console=quiet)
    assert (len(first.training), len(first.held_out)) == (2, 1)

    fewer = options.model_copy(update={"most_faces": 2})
    second = curate([few_pictures], tmp_path, fewer, console=quiet)
    assert (len(second.training), len(second.held_out)) == (1, 1)
    assert report_of(second)["left_out"][Reason.SURPLUS] == 1
    assert (tmp_path / "faces.bin").stat().st_size == 2 * STORED_PX**2 * 3

    (tmp_path / "landmarks.bin").write_bytes(b"cut off")
    assert curate([few_pictures], tmp_path, fewer, console=quiet).rows == second.rows


def test_too_few_faces_are_counted_and_the_remedy_is_said(few_pictures, tmp_path):
    words = r"2 good faces to train on, 64 are needed. Of 4 frames.*1 x same picture.*longer"
    with pytest.raises(BadDataset, match=words):
        curate([few_pictures], tmp_path, CurationOptions(held_out=0.4), console=quiet)

    assert not list(tmp_path.iterdir())


def test_a_video_without_a_face_is_refused_in_words(tmp_path):
    video = make_video(tmp_path / "drawn.mp4", frames=6)

    with pytest.raises(BadDataset, match=rf"0 good faces.*6 x {Reason.NO_FACE}.*Give sources"):
        curate([video], tmp_path / "set", FEW, console=quiet)


def test_when_all_are_rejected_the_most_common_reason_is_advised_on(pictures, tmp_path):
    with pytest.raises(BadDataset, match=r"face too small.*lower least_face_px"):
        curate([pictures], tmp_path, FEW.model_copy(update={"least_face_px": 500.0}), console=quiet)


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere.mp4", "there is no"), ("empty", "has no pictures"), ("text.mp4", "is no video")],
)
def test_a_source_that_cannot_be_one_is_refused(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("a text")

    with pytest.raises(BadDataset, match=words):
        curate([tmp_path / name], tmp_path / "set", FEW, console=quiet)


def test_a_full_disk_is_told_as_one(few_pictures, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(InsufficientStorage, match="most_looks"):
            curate([few_pictures], tmp_path, FEW, console=quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_whole_set_does_not_open(tmp_path):
    with pytest.raises(BadDataset, match="no whole set"):
        open_face_set(tmp_path)

    faces = make_face_set(tmp_path)
    (tmp_path / "faces.bin").write_bytes(b"cut off")
    with pytest.raises(BadDataset, match="made anew"):
        open_face_set(faces.folder)


def direction(angle_deg: float) -> np.ndarray:
    vector = np.zeros(128, np.float32)
    vector[:2] = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return vector


def test_one_person_given_twice_is_refused(tmp_path):
    a, same, other = (
        make_face_set(tmp_path / str(seed), seed=seed, count=2, embedding=direction(angle))
        for seed, angle in ((0, 0), (30, 40), (60, 80))
    )

    with pytest.raises(BadDataset, match=r"the same person.*somebody else"):
        check_two_people(a, same, console=quiet)
    check_two_people(a, other, console=quiet)


def test_one_video_for_both_is_refused_without_any_network(tmp_path):
    a, b = (
        make_face_set(tmp_path / name, seed=seed, count=2, source_sha256="1" * 64)
        for name, seed in (("a", 0), ("b", 30))
    )

    with pytest.raises(BadDataset, match="as a and as b"):
        check_two_people(a, b, console=quiet)


def test_where_no_network_tells_people_apart_that_is_said(tmp_path, capsys):
    a, b = (make_face_set(tmp_path / str(seed), seed=seed, count=2) for seed in (0, 30))

    check_two_people(a, b, console=Console(width=300))

    assert "models pull mobilefacenet" in capsys.readouterr().out
