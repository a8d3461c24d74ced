"""Do `deepverdict train`, `data index` and `evaluate` pass on what they were told?"""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app import cli
from app.cli.console import EXIT_FAILED, EXIT_REJECTED
from app.cli.training import SERVED
from workers.training import errors, index, run
from workers.training.evaluate import command
from workers.training.tasks import TASKS


def given(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


class Recorder:
    """Stands where the work is done, and keeps what it was asked."""

    def __init__(self, answer: object = None) -> None:
        self.arguments: tuple[object, ...] = ()
        self.options: dict[str, object] = {}
        self._answer = answer

    def __call__(self, *arguments: object, **options: object) -> object:
        self.arguments, self.options = arguments, options
        return self._answer


def test_everything_that_can_be_trained_can_be_asked_for():
    assert SERVED.keys() == TASKS.keys()


def test_train_passes_on_the_recipe_its_changes_and_the_folder(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(run, "train_command", done := Recorder(Path("out/mine/n.onnx")))

    shown = given(
        "train", "segmenter", "--recipe", "mine.toml", "--set", "run.steps=2", "--set", "run.seed=1"
    )
    assert shown.exit_code == 0, shown.output
    assert done.arguments[:4] == (
        "segmenter",
        Path("mine.toml"),
        Path("out/mine"),
        ["run.steps=2", "run.seed=1"],
    )
    assert done.options == {"is_fresh": False}
    assert "out/mine/n.onnx" in shown.output

    given("train", "classifier", "--out", "here", "--fresh")
    assert done.arguments[:4] == ("classifier", Path("classifier"), Path("here"), [])
    assert done.options == {"is_fresh": True}


def test_a_recipe_that_cannot_be_used_is_the_callers_to_mend(tmp_path: Path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[run]\nsteps = 0\n")

    shown = given("train", "classifier", "--recipe", recipe)

    assert shown.exit_code == EXIT_REJECTED
    assert "run.steps" in shown.stderr


def test_a_run_that_was_stopped_or_went_wrong_exits_1(monkeypatch: pytest.MonkeyPatch):
    def stopped(*_arguments: object, **_options: object) -> Path:
        raise errors.Interrupted("stopped at step 3")

    monkeypatch.setattr(run, "train_command", stopped)

    shown = given("train", "classifier")

    assert shown.exit_code == EXIT_FAILED
    assert "stopped at step 3" in shown.stderr


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "workers.training.run")
    monkeypatch.setitem(sys.modules, "torch", None)

    shown = given("train", "classifier")

    assert shown.exit_code == EXIT_FAILED
    assert "needs torch" in shown.stderr
    assert "pip install -e '.[train]'" in shown.stderr


def test_index_writes_beside_the_data_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index, "index", done := Recorder())

    shown = given("data", "index", tmp_path, "--shares", "0.7,0.1,0.1,0.1", "--seed", "7")

    assert shown.exit_code == 0, shown.output
    assert done.arguments == (tmp_path,)
    assert done.options | {"console": None} == {
        "layout": None,
        "out": tmp_path / "manifest.csv",
        "seed": 7,
        "shares": (0.7, 0.1, 0.1, 0.1),
        "console": None,
    }


def test_the_shares_that_the_help_shows_are_those_of_the_indexer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(index, "index", done := Recorder())

    given("data", "index", tmp_path)

    assert done.options["shares"] == index.SHARES


def test_shares_that_are_no_four_numbers_are_a_usage_error(tmp_path: Path):
    shown = given("data", "index", tmp_path, "--shares", "0.5,half")

    assert shown.exit_code == 2
    assert "four numbers" in shown.stderr


def test_evaluate_passes_on_networks_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "evaluate", done := Recorder())
    manifest = tmp_path / "m.csv"
    manifest.touch()

    shown = given(
        "evaluate", "--manifest", manifest, "--models", "frame_classifier", "--models", "n.onnx"
    )

    assert shown.exit_code == 0, shown.output
    assert done.arguments == (manifest,)
    assert done.options | {"console": None} == {
        "bank": None,
        "models": ["frame_classifier", "n.onnx"],
        "out": Path("out/evaluation"),
        "split": "test",
        "console": None,
        "weights": None,
        "grid": False,
    }
