"""Do names become paths and nothing else, and does every failure say who must act?"""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.domain.training_run import DEFAULT_RECIPES, ROLES, TrainingKind, TrainingPlan
from app.errors import InsufficientStorage, Misconfigured
from app.settings import Settings
from tests.conftest import ROOT
from tests.make_runs import make_plan
from workers.training import runs
from workers.training.errors import BadDataset, BadRecipe, Interrupted, NonFiniteLoss
from workers.training.recipe import read_recipe
from workers.training.runs import COMMANDS, Order

RUN_ID = "01KDEEPVERD1CT000000000007"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Directories with a little in them."""
    made = Settings(_env_file=None, data_dir=tmp_path / "data", database_url="sqlite:///secret.db")
    for folder in (made.sets_dir, made.runs_dir / RUN_ID):
        folder.mkdir(parents=True)
    for name in ("media.csv", "anna.mp4", "ben"):
        (made.sets_dir / name).touch()
    (made.sets_dir / "ours.toml").write_text('task = "classifier"\n')
    (tmp_path / "outside.csv").touch()
    (made.sets_dir / "link.csv").symlink_to(tmp_path / "outside.csv")
    return made


@pytest.fixture(autouse=True)
def _here() -> Iterator[None]:
    """Come back to where the tests are run."""
    before = Path.cwd()
    yield
    os.chdir(before)


def order(settings: Settings, plan: TrainingPlan) -> Order:
    return runs.ordered(
        plan,
        settings.runs_dir / RUN_ID,
        sets=settings.sets_dir,
        runs=settings.runs_dir,
        console=Console(quiet=True),
    )


def test_a_plan_becomes_what_a_command_is_given(settings: Settings) -> None:
    plan = make_plan(
        overrides={"run.steps": 40, "optimiser.rate": 1e-5, "data.leave_out": ("x y",)}
    )

    made = order(settings, plan)

    assert made.recipe.name == "classifier.toml"
    raw: Any = read_recipe(made.recipe, made.overrides)
    assert raw["run"]["steps"] == 40
    assert raw["optimiser"]["rate"] == 1e-5
    assert raw["data"]["leave_out"] == ["x y"]
    assert raw["data"]["manifest"] == str((settings.sets_dir / "media.csv").resolve())
    assert raw["data"]["bank"] == str(settings.runs_dir / RUN_ID / "bank")
    assert made.out == settings.runs_dir / RUN_ID


def test_text_in_an_override_stays_one_text(settings: Settings) -> None:
    plan = make_plan(overrides={"a.b": "true", "a.c": "1", "a.d": True, "a.e": ""})

    raw: Any = read_recipe(order(settings, plan).recipe, order(settings, plan).overrides)

    assert raw["a"] == {"b": "true", "c": "1", "d": True, "e": ""}


def test_a_recipe_of_the_operators_is_one_of_the_data(settings: Settings) -> None:
    assert order(settings, make_plan(recipe="ours.toml")).recipe.parent == settings.sets_dir


def test_a_forger_may_be_named_by_the_run_that_made_it(settings: Settings) -> None:
    data = {"forgers": (RUN_ID, "ben"), "manifest": ("media.csv",)}
    plan = make_plan(TrainingKind.GENERATE, recipe="ours.toml", overrides={}, data=data)

    assert order(settings, plan).data["forgers"] == (
        settings.runs_dir / RUN_ID,
        (settings.sets_dir / "ben").resolve(),
    )


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../outside.csv",
        "/etc/passwd",
        ".",
        "",
        "a/b",
        "~root",
        "link.csv",
        "media.csv\0",
        RUN_ID,
    ],
)
def test_a_name_that_leads_out_is_no_name(settings: Settings, name: str) -> None:
    with pytest.raises(BadDataset, match=r"leads out|no data called"):
        order(settings, make_plan(data={"manifest": (name,)}))


def test_data_that_are_not_there_are_said_beside_those_that_are(settings: Settings) -> None:
    with pytest.raises(BadDataset, match=r"no data called 'carl'; there are anna.mp4, ben"):
        order(settings, make_plan(data={"manifest": ("carl",)}))


@pytest.mark.parametrize("name", ["gan", "../classifier", "/etc/passwd", "classifier\n", ".."])
def test_a_recipe_that_is_not_there_is_said_beside_those_that_are(
    settings: Settings, name: str
) -> None:
    with pytest.raises(BadRecipe, match=r"there are .*classifier"):
        order(settings, make_plan(recipe=name))


@pytest.mark.parametrize("name", ["carl.toml", "../ours.toml", "/ours.toml"])
def test_a_recipe_of_the_operators_that_is_not_there_is_no_recipe(
    settings: Settings, name: str
) -> None:
    with pytest.raises(BadDataset, match=r"leads out|no data called"):
        order(settings, make_plan(recipe=name))


def test_data_of_other_kinds_are_refused(settings: Settings) -> None:
    with pytest.raises(BadDataset, match="takes no data called etc"):
        order(settings, make_plan(data={"manifest": ("media.csv",), "etc": ("ben",)}))
    with pytest.raises(BadDataset, match="needs data called manifest"):
        order(settings, make_plan(data={}))


def test_every_kind_has_a_command_roles_and_a_recipe() -> None:
    assert set(COMMANDS) == set(ROLES) == set(DEFAULT_RECIPES) == set(TrainingKind)


def ends(settings: Settings, does: Callable[[Order], Any], monkeypatch: Any) -> dict[str, Any]:
    monkeypatch.setattr(runs, "COMMANDS", {TrainingKind.CLASSIFIER: does})
    return runs.ended(make_plan(), settings.runs_dir / RUN_ID, settings)


@pytest.mark.parametrize(
    ("why", "ending", "code"),
    [
        (BadDataset("12 faces"), "rejected", "bad-dataset"),
        (BadRecipe("no such key"), "rejected", "bad-recipe"),
        (NonFiniteLoss("step 7"), "failed", "non-finite-loss"),
        (Misconfigured("no network"), "failed", "misconfigured"),
        (InsufficientStorage("make room"), "retry", "insufficient-storage"),
        (OSError(errno.ENOSPC, "No space left"), "retry", "insufficient-storage"),
        (OSError(errno.EIO, "of a disk"), "retry", "internal"),
        (KeyError("a bug"), "retry", "internal"),
    ],
    ids=lambda v: repr(v)[:40],
)
def test_a_failure_says_who_must_act(
    settings: Settings, monkeypatch: Any, why: Exception, ending: str, code: str
) -> None:
    def fail(_: Order) -> None:
        raise why

    said = ends(settings, fail, monkeypatch)

    assert (said["ending"], said["code"]) == (ending, code)
    assert "a bug" not in said["detail"]


def test_a_stopped_training_says_so(settings: Settings, monkeypatch: Any) -> None:
    def stop(_: Order) -> None:
        raise Interrupted("with a checkpoint")

    assert ends(settings, stop, monkeypatch)["ending"] == "interrupted"


def test_what_a_training_says_is_kept_in_its_folder(settings: Settings, monkeypatch: Any) -> None:
    said = ends(settings, lambda o: o.console.print("step 1") or {"a": 1}, monkeypatch)

    assert said == {"ending": "done", "result": {"a": 1}}
    assert (settings.runs_dir / RUN_ID / "log.txt").read_text() == "step 1\n"


def test_only_one_process_works_on_a_run(settings: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr(runs, "LOCK_WITHIN_S", 0.1)
    lock = settings.runs_dir / RUN_ID / "lock"
    program = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        said = ends(settings, lambda _: {}, monkeypatch)
        assert (said["ending"], said["code"]) == ("retry", "retry-later")
        other.kill()

    assert ends(settings, lambda _: {}, monkeypatch)["ending"] == "done"


def test_the_process_answers_once_is_told_no_secret_and_stands_back(settings: Settings) -> None:
    program = f"""
import json, os
from pathlib import Path
from app.domain.training_run import TrainingKind
from app.settings import Settings
from tests.make_runs import make_plan
from workers.training import runs

def look(order):
    again = Settings()
    return {{"nice": os.nice(0), "cwd": os.getcwd(), "url": again.database_url,
             "models": str(again.models_dir), "detector": again.faces.detector}}

runs.COMMANDS = {{TrainingKind.CLASSIFIER: look}}
settings = Settings(_env_file=None, data_dir={str(settings.data_dir)!r})
read, write = os.pipe()
runs.execute(write, make_plan(), Path({str(settings.runs_dir / RUN_ID)!r}), settings)
print(os.read(read, 10000).decode())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    said = json.loads(done.stdout.splitlines()[-1])
    assert said["ending"] == "done"
    assert said["result"] == {
        "nice": min(19, os.nice(0) + 10),
        "cwd": str(settings.sets_dir.resolve()),
        "url": None,
        "models": str(settings.models_dir.resolve()),
        "detector": "deepverdict",
    }
