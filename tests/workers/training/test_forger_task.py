"""Does a forger learn in turns, as planned, from where it was told to, and on after a kill?"""

import io
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from tests.conftest import ROOT
from tests.workers.training.forging.make_sets import make_face_set
from workers.training import checkpoints
from workers.training.errors import BadRecipe
from workers.training.forging.runs import architecture
from workers.training.history import read_history
from workers.training.loop import train
from workers.training.recipe import read_recipe
from workers.training.tasks.forger import ForgerRecipe, ForgerTask

QUIET = Console(file=io.StringIO())
CLOCKS = {"images_per_s", "waiting_share", "seconds"}


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def make_recipe(**changes: dict[str, object]) -> ForgerRecipe:
    sections: dict[str, dict[str, object]] = {
        "run": {
            "seed": 3,
            "steps": 8,
            "batch": 2,
            "loader_workers": 0,
            "threads": 1,
            "checkpoint_every_s": 0.0,
            "pictures_every": 0,
            "validate_every": 0,
            "log_every": 1,
        },
        "optimiser": {"rate": 2e-4, "betas": (0.5, 0.999), "warmup_steps": 0, "ema": 0.9},
        "network": {"width": 8, "latent": 8},
        "critic": {"width": 8},
    }
    for name, change in changes.items():
        sections[name] = sections.get(name, {}) | change
    return ForgerRecipe.model_validate({"task": "forger", **sections})


def make_task(folder: Path, kind: type[ForgerTask] = ForgerTask, **changes: dict[str, object]):
    a, b = (make_face_set(folder / who, seed=seed) for who, seed in (("a", 10), ("b", 20)))
    return kind(make_recipe(**changes), a, b, embedder=None)


def weights(module: nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])


def learnt(folder: Path) -> list[dict[str, float]]:
    """Return what of a history depends on nothing but recipe and faces."""
    rows = read_history(folder / "metrics.csv")
    return [{name: v for name, v in row.items() if name not in CLOCKS} for row in rows]


def test_a_forger_learns_the_faces_that_it_is_shown(tmp_path: Path):
    still = {"jitter_px": (0, 0), "most_turn_deg": 0, "most_zoom": 0, "most_shift": 0}
    task = make_task(
        tmp_path,
        run={"steps": 16, "log_every": 4},
        optimiser={"rate": 4e-3},
        losses={"adversarial": 0.0},
        warps={**still, "flip_share": 0, "colour_match_share": 0, "motion_blur_share": 0},
    )

    train(task, tmp_path / "run", console=QUIET)

    rows = learnt(tmp_path / "run")
    assert rows[-1]["reconstruction"] < 0.7 * rows[0]["reconstruction"]


def test_critics_sit_out_until_their_time_and_learn_from_then_on(tmp_path: Path):
    task = make_task(tmp_path, schedule={"adversarial_from": 0.5})
    start = weights(task.network().critics)

    train(task, tmp_path / "run", console=QUIET, stop_after_steps=4)
    before = checkpoints.load(tmp_path / "run")
    network = train(task, tmp_path / "run", console=QUIET)

    rows = learnt(tmp_path / "run")
    assert before is not None
    idle = task.network()
    idle.load_state_dict(before.network)
    np.testing.assert_array_equal(weights(idle.critics), start)
    assert not np.array_equal(weights(network.critics), start)
    assert [row["adversarial"] > 0 for row in rows] == [False] * 4 + [True] * 4
    assert [row["critics_loss"] > 0 for row in rows] == [False] * 4 + [True] * 4


def test_decoders_change_places_at_the_step_that_is_planned_and_at_no_other(tmp_path: Path):
    task = make_task(tmp_path, schedule={"swap_decoders_at": 0.75})
    network = task.network()
    of_a, of_b = (weights(network.forger.decoders[who]) for who in "ab")

    for step in (0, 5, 7):
        task.before_step(network, step)
    assert np.array_equal(weights(network.forger.decoders["a"]), of_a)

    task.before_step(network, 6)
    assert np.array_equal(weights(network.forger.decoders["a"]), of_b)
    assert np.array_equal(weights(network.forger.decoders["b"]), of_a)


def test_a_plain_autoencoder_has_no_critics_and_one_part(tmp_path: Path):
    task = make_task(
        tmp_path,
        losses={"adversarial": 0.0},
        network={"attention": False, "has_mask": False},
    )
    network = task.network()

    assert [part.name for part in task.parts(network)] == ["forger"]
    assert network.critics is None
    assert architecture(task.shape) == "plain-64"


def test_a_forger_starts_from_another_of_the_same_layers(tmp_path: Path):
    other = train(make_task(tmp_path), tmp_path / "one", console=QUIET)

    whole = make_task(tmp_path, network={"initial": str(tmp_path / "one")}).network()
    alone = make_task(
        tmp_path, network={"initial": str(tmp_path / "one")}, critic={"width": 16}
    ).network()

    assert np.array_equal(weights(whole), weights(other))
    assert np.array_equal(weights(alone.forger), weights(other.forger))


def test_what_a_forger_cannot_start_from_is_said(tmp_path: Path):
    train(make_task(tmp_path), tmp_path / "one", console=QUIET, stop_after_steps=1)
    unlike = {"initial": str(tmp_path / "one"), "width": 16, "attention": False}

    with pytest.raises(BadRecipe, match=r"width: 8 there, 16 here; attention: True there, False"):
        make_task(tmp_path, network=unlike).network()
    with pytest.raises(BadRecipe, match=r"none.*is no run of a forger"):
        make_task(tmp_path, network={"initial": str(tmp_path / "none")}).network()


def test_a_run_does_not_go_on_with_faces_of_others(tmp_path: Path):
    train(make_task(tmp_path), tmp_path / "run", console=QUIET, stop_after_steps=1)
    a, c = make_face_set(tmp_path / "a", seed=10), make_face_set(tmp_path / "c", seed=30)

    with pytest.raises(checkpoints.BadCheckpoint, match=r"data\.b: was .*person20.*person30"):
        train(ForgerTask(make_recipe(), a, c, embedder=None), tmp_path / "run", console=QUIET)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forger", "masked-attention-64"),
        ("forger_128", "masked-attention-128"),
        ("forger_plain", "plain-64"),
    ],
)
def test_the_recipes_that_come_along_can_be_used(name: str, words: str):
    recipe = ForgerRecipe.model_validate(read_recipe(Path(name)))

    assert architecture(recipe.network.shape) == words
    assert recipe.losses.has_critics == (name != "forger_plain")


def test_layers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        make_recipe(network={"width": 7})


class Killed(ForgerTask):
    """Is killed in the middle of its sixth step, between the critics' turn and the forger's."""

    def turns(self, network, batch, *, done):  # type: ignore[no-untyped-def]
        for turn in super().turns(network, batch, done=done):
            yield turn
            if round(done * self.recipe.run.steps) == 5:
                signal.raise_signal(signal.SIGKILL)


BE_KILLED = """
import sys
from pathlib import Path

from tests.workers.training.test_forger_task import QUIET, Killed, make_task, train

folder = Path(sys.argv[1])
train(make_task(folder, Killed, schedule={"swap_decoders_at": 0.8}), folder / "run", console=QUIET)
"""


def test_a_run_that_was_killed_goes_on_to_the_very_same_curve(tmp_path: Path):
    planned = {"swap_decoders_at": 0.8}
    ended = subprocess.run(
        [sys.executable, "-c", BE_KILLED, str(tmp_path)], cwd=ROOT, check=False, timeout=300
    )
    done = checkpoints.load(tmp_path / "run")
    wanted = train(make_task(tmp_path, schedule=planned), tmp_path / "straight", console=QUIET)

    found = train(make_task(tmp_path, schedule=planned), tmp_path / "run", console=QUIET)

    assert ended.returncode == -signal.SIGKILL
    assert done is not None
    assert done.step == 5
    # One thread adds in one order: equal to the last digit, not to a tolerance.
    assert learnt(tmp_path / "run") == learnt(tmp_path / "straight")
    np.testing.assert_array_equal(weights(found), weights(wanted))
