"""Can a video be swapped from a terminal, and is what goes wrong told in a sentence?"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from tests.workers.training.swapping.make_swap import Tint, portrait, write_clip
from workers.training.clips import open_clip
from workers.training.swapping import command, marks


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "portrait.mp4"
    return write_clip(path, [portrait(n) for n in range(8)], [n / 25 for n in range(8)])


def swap(forger: Path, source: Path, out: Path, *more: str) -> Result:
    order = ["train", "swap", "--forger", str(forger), "--video", str(source), "--out", str(out)]
    return CliRunner().invoke(app, [*order, "--to", "b", *more])


def test_a_video_is_swapped_and_marked(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_forger", lambda folder: Tint())

    done = swap(tmp_path, source, tmp_path / "out.mp4", "--seed", "3")

    assert done.exit_code == 0, done.output
    assert "8 of 8 frames swapped" in done.output
    record = json.loads((tmp_path / "out.json").read_text())
    assert (record["seed"], record["choices"]["visible_mark"]) == (3, True)
    assert marks.is_marked(tmp_path / "out.mp4")
    with open_clip(tmp_path / "out.mp4") as stream:
        corner = next(iter(stream)).rgb[-12:, :60]
    assert corner.max() > 200
    assert corner.min() < 90


def test_a_folder_without_a_forger_is_told(source: Path, tmp_path: Path) -> None:
    done = swap(tmp_path, source, tmp_path / "out.mp4")

    assert done.exit_code == 1
    assert "no finished forger" in done.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_a_place_that_is_taken_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_forger", lambda folder: Tint())
    (tmp_path / "out.mp4").touch()

    done = swap(tmp_path, source, tmp_path / "out.mp4")

    assert done.exit_code == 2
    assert "there already" in done.stderr
