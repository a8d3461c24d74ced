"""Looks at faces, cut out once."""

import hashlib
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from rich.console import Console
from skimage import data

from tests.workers.training.make_bank import make_bank
from workers.detection.stage import CROP_SIDE_PX
from workers.training.bank import (
    BANK_SIDE_PX,
    BORDER_PX,
    FRAMES_PER_CLIP,
    FaceBank,
    build_bank,
    open_or_build,
)
from workers.training.errors import BadDataset
from workers.training.manifest import DataManifest, Row, make_manifest

FRAMES = 40
SIZE = (320, 320)
quiet = Console(quiet=True)


def write_clip(path: Path, *, tint: int = 0) -> Path:
    """A person who drifts to the right; with a tint, over the mouth alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    portrait = data.astronaut()[:320, 60:380].copy()
    if tint:
        portrait[150:180, 140:190, 0] = np.clip(
            portrait[150:180, 140:190, 0].astype(int) + tint, 0, 255
        )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "16", "threads": "1"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for n in range(FRAMES):
            moved = np.roll(portrait, n // 4, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def a_row(path: str, label: str, **more: object) -> Row:
    values: dict[str, object] = {
        "path": path,
        "sha256": hashlib.sha256(path.encode()).hexdigest(),
        "kind": "video",
        "clip": path,
        "label": label,
        "method": "original" if label == "real" else "tint",
        "family": "real" if label == "real" else "faceswap",
        "group": "astronaut",
        "dataset": "drawn",
        "split": "train",
    }
    return Row(**(values | more))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> DataManifest:
    root = tmp_path_factory.mktemp("clips")
    write_clip(root / "real.mp4")
    write_clip(root / "fake.mp4", tint=90)
    portrait = data.astronaut()[20:220, 120:320]
    cv2.imwrite(str(root / "still.png"), portrait[..., ::-1])
    return make_manifest(
        [
            a_row("real.mp4", "real"),
            a_row("fake.mp4", "fake", pair="real.mp4"),
            a_row("still.png", "real", kind="picture"),
        ],
        root=root,
    )


@pytest.fixture(scope="module")
def bank(manifest: DataManifest, tmp_path_factory: pytest.TempPathFactory) -> FaceBank:
    return build_bank(manifest, tmp_path_factory.mktemp("bank"), console=quiet, processes=1)


def test_a_clip_gives_evenly_spread_looks_and_a_still_gives_one(bank: FaceBank) -> None:
    looks = [bank.rows[row].frame_index for row in bank.by_clip["real.mp4"]]
    assert len(looks) == FRAMES_PER_CLIP
    assert np.ptp(np.diff(looks)) <= 1
    assert len(bank.by_clip["still.png"]) == 1


def test_a_fake_is_cut_where_its_real_is_at_the_same_frames(bank: FaceBank) -> None:
    fakes = [bank.rows[row] for row in bank.by_clip["fake.mp4"]]
    assert len(fakes) == FRAMES_PER_CLIP
    for fake in fakes:
        real = bank.rows[fake.pair]
        assert (real.clip, real.frame_index) == ("real.mp4", fake.frame_index)
        assert real.frame_from_crop == fake.frame_from_crop
        # Away from what was tinted the two are the same but for the codec.
        away = np.abs(bank.faces[fake.row, :60].astype(int) - bank.faces[real.row, :60])
        assert away.mean() < 4


def test_the_mask_of_a_pair_marks_what_differs(bank: FaceBank) -> None:
    fake = bank.rows[bank.by_clip["fake.mp4"][0]]
    assert fake.has_mask
    difference = np.abs(bank.faces[fake.row].astype(int) - bank.faces[fake.pair].astype(int)).max(
        axis=2
    )
    marked = bank.masks[fake.row] > 127
    assert marked[difference > 40].mean() > 0.8
    assert marked.mean() < 0.5
    assert not bank.rows[fake.pair].has_mask


def test_the_middle_of_a_look_is_what_networks_are_served(bank: FaceBank) -> None:
    row = bank.by_clip["real.mp4"][0]
    served = bank.served(row)
    assert served.shape == (CROP_SIDE_PX, CROP_SIDE_PX, 3)
    assert (served == bank.faces[row, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]).all()
    inside = bank.landmarks[row]
    assert (inside > BORDER_PX).all()
    assert (inside < BANK_SIDE_PX - BORDER_PX).all()


def test_a_bank_of_other_data_is_made_anew_and_one_of_the_same_is_kept(
    manifest: DataManifest, bank: FaceBank, tmp_path: Path
) -> None:
    still = make_manifest([a_row("still.png", "real", kind="picture")], root=manifest.root)
    first = open_or_build(still, tmp_path, console=quiet)
    before = (tmp_path / "faces.bin").stat().st_mtime_ns
    assert open_or_build(still, tmp_path, console=quiet).rows == first.rows
    assert (tmp_path / "faces.bin").stat().st_mtime_ns == before
    other = make_manifest(
        [a_row("still.png", "real", kind="picture", group="other")], root=manifest.root
    )
    assert open_or_build(other, tmp_path, console=quiet).rows[0].group == "other"


def test_more_than_one_in_a_hundred_unreadable_files_abort(
    manifest: DataManifest, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes((manifest.root / "real.mp4").read_bytes()[:600])
    (tmp_path / "empty.png").write_bytes(b"")
    rows = [a_row("broken.mp4", "real"), a_row("empty.png", "real", kind="picture")]
    with pytest.raises(BadDataset, match="2 of 2 files cannot be read"):
        build_bank(
            make_manifest(rows, root=tmp_path), tmp_path / "bank", console=quiet, processes=1
        )
    with pytest.raises(BadDataset, match="no whole face bank"):
        FaceBank.open(tmp_path / "bank")


def test_a_bank_whose_files_do_not_fit_its_list_is_refused(tmp_path: Path) -> None:
    make_bank(tmp_path)
    with (tmp_path / "masks.bin").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(BadDataset, match="made anew"):
        FaceBank.open(tmp_path)
    (tmp_path / "bank.json").write_text(json.dumps({"rows": []}))
    with pytest.raises(BadDataset):
        FaceBank.open(tmp_path)
