"""Does one command leave a network as it is served, and the story of how it came about?"""

import hashlib
import io
import json
from pathlib import Path

import onnxruntime
import pytest
from rich.console import Console

from tests.workers.training.tiny import TinyTask, make_recipe
from workers.training import tasks
from workers.training.errors import BadDataset, BadRecipe
from workers.training.loop import train
from workers.training.manifest import Row, make_manifest, write_manifest
from workers.training.recipe import Recipe
from workers.training.run import forget, train_command

QUIET = Console(file=io.StringIO())
TOML = """
[run]
seed = 3
steps = 4
batch = 4
loader_workers = 0
threads = 1
pictures_every = 2
validate_every = 4
log_every = 1
[optimiser]
rate = 0.05
warmup_steps = 2
[data]
bank = "bank"
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    row = Row(
        path="a.mp4",
        sha256="0" * 64,
        kind="video",
        clip="a.mp4",
        label="real",
        method="",
        family="",
        group="a",
        dataset="d",
        quality="",
        pair="",
        mask="",
        split="train",
        time_s=None,
    )
    write_manifest(tmp_path / "data.csv", make_manifest([row], root=tmp_path))
    return tmp_path / "data.csv"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe for "tiny", which is put among the tasks for as long as the test runs."""
    monkeypatch.setitem(tasks.TASKS, "tiny", lambda raw: TinyTask(Recipe.model_validate(raw)))
    monkeypatch.setitem(tasks.SERVED_AS, "tiny", "tiny_network")
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    return path


def test_a_run_leaves_the_network_and_its_story(tmp_path: Path, recipe: Path, manifest: Path):
    out = tmp_path / "run"

    onnx = train_command("tiny", recipe, out, [f"data.manifest={manifest}"], QUIET)

    story = json.loads((out / "run.json").read_text())
    served = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    used = Recipe.model_validate_json((out / "recipe.json").read_text())
    assert onnx == out / "tiny_network.onnx"
    assert [o.name for o in served.get_outputs()] == ["logit"]
    assert story["onnx_sha256"] == hashlib.sha256(onnx.read_bytes()).hexdigest()
    assert story["recipe_sha256"] == used.sha256
    assert story["data_manifest_sha256"] in manifest.read_text()
    assert (story["seed"], story["steps"], story["processes"]) == (3, 4, 1)
    assert 0 < story["waiting_share"] < 1
    assert story["onnx_difference"] < 1e-4
    assert story["validation"]["step"] == 4


def test_a_run_that_is_forgotten_leaves_nothing_of_its_own_and_everything_else(tmp_path: Path):
    train(
        TinyTask(make_recipe(run={"pictures_every": 6, "validate_every": 6})),
        tmp_path,
        console=QUIET,
    )
    (tmp_path / "notes.txt").write_text("mine")

    forget(tmp_path)

    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_data_that_are_not_there_are_missed_before_anything_is_trained(
    tmp_path: Path, recipe: Path
):
    with pytest.raises(BadDataset, match=r"gone\.csv"):
        train_command("tiny", recipe, tmp_path / "run", ["data.manifest=gone.csv"], QUIET)

    assert not (tmp_path / "run").exists()


def test_a_recipe_for_another_network_is_refused(tmp_path: Path, recipe: Path):
    recipe.write_text('task = "segmenter"\n' + TOML)

    with pytest.raises(BadRecipe, match=r"for 'segmenter', not for 'tiny'"):
        train_command("tiny", recipe, tmp_path / "run", [], QUIET)


def test_every_task_says_what_its_network_is_served_as():
    assert set(tasks.TASKS) == set(tasks.SERVED_AS)
