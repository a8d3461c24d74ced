"""Does one command leave a forger and its story, go on with one, and say what is wrong?"""

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner, Result

from app import cli
from app.cli.console import EXIT_FAILED, EXIT_REJECTED
from app.errors import InsufficientStorage
from tests.workers.training.forging.make_sets import astronaut, make_face_set, write_pictures
from workers.training import checkpoints
from workers.training.errors import BadCheckpoint, BadDataset, BadRecipe, NonFiniteLoss
from workers.training.forging import command
from workers.training.forging.command import train_forger
from workers.training.forging.face_sets import FaceSet
from workers.training.forging.runs import MARK, load_forger
from workers.training.history import read_history

QUIET = Console(file=io.StringIO())
TOML = """
task = "forger"
[run]
seed = 3
steps = 4
batch = 1
loader_workers = 0
threads = 1
checkpoint_every_s = 0.0
pictures_every = 4
validate_every = 4
log_every = 1
[optimiser]
rate = 1e-3
betas = [0.5, 0.999]
warmup_steps = 0
[network]
width = 8
latent = 8
[critic]
width = 8
"""
Curate = Callable[..., FaceSet]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn heads stand for a source, whose name is a number; 1 and 9 are one person."""

    def curate(sources: list[Path], folder: Path, *_options: object, **_more: object) -> FaceSet:
        person = np.eye(8, dtype=np.float32)[int(sources[0].stem) % 8]
        return make_face_set(folder, seed=10 * int(sources[0].stem), embedding=person)

    monkeypatch.setattr(command, "curate", curate)


def trained(recipe: Path, out: Path, *, b: str = "2.mp4", **options: object) -> Path:
    return train_forger([Path("1.mp4")], [Path(b)], out, recipe=recipe, console=QUIET, **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("drawn")
def test_a_run_leaves_a_forger_its_story_and_what_it_drew(recipe: Path, tmp_path: Path):
    out = trained(recipe, tmp_path / "run", steps=2, overrides=["run.pictures_every=2"])

    story = json.loads((out / "run.json").read_text())
    sheet = cv2.imread(str(out / "pictures" / "step-000002.png"))
    assert {p.name for p in out.iterdir()} >= {
        *("faces", "recipe.json", "metrics.csv", "validation.csv", "pictures"),
        *("checkpoint.pt", "network.pt", "run.json"),
    }
    assert (story["kind"], story["architecture"]) == ("forger", "masked-attention-64")
    assert story["mark"] == MARK
    assert story["network_sha256"] == hashlib.sha256((out / "network.pt").read_bytes()).hexdigest()
    assert story["a"] == [{"name": "person10.mp4", "sha256": f"{10:064x}"}]
    assert (story["steps"], story["faces"]) == (2, {"a": 3, "b": 3})
    assert 0 < story["measures"]["ssim_a"] < 1
    assert read_history(out / "validation.csv")[-1]["ssim_a"] > 0
    assert sheet.std() > 20


@pytest.mark.usefixtures("drawn")
def test_a_trained_forger_draws_faces_and_where_they_go(recipe: Path, tmp_path: Path):
    maker = load_forger(trained(recipe, tmp_path / "run"))
    views = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)

    to_a, masks = maker.make(views, "a")
    to_b, _ = maker.make(views, "b")

    assert (maker.side_px, maker.architecture) == (64, "masked-attention-64")
    assert (to_a.dtype, to_a.shape) == (np.uint8, views.shape)
    assert (masks.dtype, masks.shape) == (np.uint8, (3, 64, 64))
    assert not np.array_equal(to_a, to_b)
    assert np.array_equal(maker.make(views[1:2], "a")[0], to_a[1:2])


@pytest.mark.usefixtures("drawn")
def test_a_forger_that_is_not_whole_is_refused(recipe: Path, tmp_path: Path):
    with pytest.raises(BadCheckpoint, match=r"no finished forger in .*gone"):
        load_forger(tmp_path / "gone")

    out = trained(recipe, tmp_path / "run")
    (out / "network.pt").write_bytes((out / "network.pt").read_bytes() + b"x")
    with pytest.raises(BadCheckpoint, match=r"network\.pt has sha256"):
        load_forger(out)


@pytest.mark.usefixtures("drawn")
def test_the_same_command_goes_on_and_a_fresh_one_begins_anew(recipe: Path, tmp_path: Path):
    out = trained(recipe, tmp_path / "run")
    first = read_history(out / "metrics.csv")

    trained(recipe, out)
    assert read_history(out / "metrics.csv") == first

    with pytest.raises(BadCheckpoint, match=r"run\.steps: was 4, is now 2"):
        trained(recipe, out, steps=2)
    trained(recipe, out, steps=2, is_fresh=True)
    assert len(read_history(out / "metrics.csv")) == 2


@pytest.mark.usefixtures("drawn")
def test_a_full_disk_ends_training_with_what_to_do_and_the_last_checkpoint_whole(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "run"
    sync = os.fsync

    def full_after_two_steps(handle: int) -> None:
        found = out / "checkpoint.json"
        if found.exists() and json.loads(found.read_text())["step"] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(checkpoints.os, "fsync", full_after_two_steps)

    with pytest.raises(InsufficientStorage, match=r"No space left.*whole; make room"):
        trained(recipe, out)

    found = checkpoints.load(out)
    assert found is not None
    assert found.step == 2


@pytest.mark.usefixtures("drawn")
def test_a_rate_that_ends_in_no_numbers_stops_with_the_last_checkpoint_whole(
    recipe: Path, tmp_path: Path
):
    with pytest.raises(NonFiniteLoss, match=r"lower optimiser\.rate"):
        trained(recipe, tmp_path / "run", overrides=["optimiser.rate=1e30", "losses.adversarial=0"])

    found = checkpoints.load(tmp_path / "run")
    assert found is not None
    assert all(torch.isfinite(value).all() for value in found.network.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("network.width=7", r"multiple of 8"),
        ("losses.gone=1", r"losses\.gone"),
        ("task=segmenter", r"want --set section\.key"),
        ("losses.game=chess", r"losses\.game.*minimax"),
        ("run.steps=0", r"run\.steps"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused_before_any_face_is_looked_for(
    recipe: Path, tmp_path: Path, change: str, said: str
):
    with pytest.raises(BadRecipe, match=said):
        trained(recipe, tmp_path / "run", overrides=[change])

    assert not (tmp_path / "run").exists()


def test_a_recipe_for_another_network_is_refused(recipe: Path, tmp_path: Path):
    recipe.write_text(TOML.replace('"forger"', '"segmenter"'))

    with pytest.raises(BadRecipe, match=r"for 'segmenter', not for 'forger'"):
        trained(recipe, tmp_path / "run")


@pytest.mark.usefixtures("drawn")
def test_one_person_on_both_sides_is_refused(recipe: Path, tmp_path: Path):
    with pytest.raises(BadDataset, match=r"the same person"):
        trained(recipe, tmp_path / "run", b="9.mp4")

    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def given(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["train", "forger", *map(str, arguments)])


def test_too_few_faces_are_counted_and_end_with_what_to_do(recipe: Path, tmp_path: Path):
    pictures = write_pictures(tmp_path / "anna", [astronaut(0), astronaut(1)])

    shown = given("--a", pictures, "--b", pictures, "--recipe", recipe, "--out", tmp_path / "run")

    assert shown.exit_code == EXIT_REJECTED
    assert "anna" in shown.stderr
    assert "64 are needed" in shown.stderr


def test_the_command_passes_on_what_it_was_told(monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, object] = {}

    def train(*people: list[Path], **options: object) -> Path:
        asked.update(options, people=people)
        return Path("out")

    monkeypatch.setattr(command, "train_forger", train)
    told = ("--a", "1.mp4", "--a", "more", "--b", "2.mp4", "--steps", "9", "--set", "run.seed=1")

    shown = given(*told, "--recipe", "forger_plain", "--fresh")

    assert shown.exit_code == 0, shown.output
    assert asked["people"] == (
        [Path("1.mp4"), Path("more")],
        [Path("2.mp4")],
        Path("out/forger_plain"),
    )
    assert asked["recipe"] == Path("forger_plain")
    assert (asked["steps"], asked["overrides"]) == (9, ["run.seed=1"])
    assert asked["is_fresh"] is True


def test_a_run_that_went_wrong_exits_1(monkeypatch: pytest.MonkeyPatch):
    def train(*_people: list[Path], **_options: object) -> Path:
        raise NonFiniteLoss("step 8: loss nan")

    monkeypatch.setattr(command, "train_forger", train)

    shown = given("--a", "1.mp4", "--b", "2.mp4")

    assert shown.exit_code == EXIT_FAILED
    assert "step 8: loss nan" in shown.stderr
