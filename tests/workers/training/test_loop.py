"""Does a run learn, go on as if it had never stopped, and stop before it spoils its weights?"""

import errno
import io
import json
import multiprocessing
import os
import re
import signal
import socket
import time
from multiprocessing.queues import Queue
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from app.errors import InsufficientStorage
from tests.workers.training.tiny import Pictures, TinyGame, TinyTask, make_recipe
from workers.training import checkpoints
from workers.training.errors import BadCheckpoint, BadDataset, Interrupted, NonFiniteLoss
from workers.training.history import History, read_history
from workers.training.loop import learning_rate, train
from workers.training.processes import joined
from workers.training.task import Batch, Example

Told = tuple[int, list[list[int]], list[float], str, list[float]]
"""Rank, numbers of the examples by step, weights at the end, what was printed; those of a game."""
QUIET = Console(file=io.StringIO())
LEARNT = ("loss", "entropy", "gradient_norm", "rate")


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def learnt(folder: Path) -> np.ndarray:
    """Return what of a run's history depends on nothing but its recipe, `[rows, values]`."""
    rows = read_history(folder / "metrics.csv")
    return np.array([[row["step"], *(row[name] for name in LEARNT)] for row in rows])


def played(folder: Path) -> np.ndarray:
    """Return what of a game's history depends on nothing but its recipe, `[rows, values]`."""
    clocks = {"images_per_s", "waiting_share", "seconds"}
    rows = read_history(folder / "metrics.csv")
    return np.array([[v for name, v in row.items() if name not in clocks] for row in rows])


def weights(network: nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in network.parameters()])


def test_a_run_learns_what_it_is_shown(tmp_path: Path):
    task = TinyTask(make_recipe(run={"steps": 120, "log_every": 40}))

    network = train(task, tmp_path, console=QUIET)

    assert task.validate(network)["accuracy"] > 0.9
    assert not network.training
    assert [row["step"] for row in read_history(tmp_path / "metrics.csv")] == [40, 80, 120]


@pytest.mark.parametrize("log_every", [1, 4])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path, log_every: int):
    straight, halted = TinyTask(make_recipe(run={"log_every": log_every})), tmp_path / "halted"
    wanted = train(straight, tmp_path / "straight", console=QUIET)
    first, second = (TinyTask(make_recipe(run={"log_every": log_every})) for _ in range(2))

    train(first, halted, console=QUIET, stop_after_steps=5)
    found = train(second, halted, console=QUIET)

    assert first.seen + second.seen == straight.seen
    np.testing.assert_allclose(learnt(halted), learnt(tmp_path / "straight"), atol=1e-6)
    np.testing.assert_allclose(weights(found), weights(wanted), atol=1e-6)
    assert len(learnt(halted)) == 12 // log_every


def test_rows_written_after_the_checkpoint_are_written_anew(tmp_path: Path):
    train(TinyTask(), tmp_path, console=QUIET, stop_after_steps=5)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("6,9,9,9,9,9,9,9\n7,9,9")

    train(TinyTask(), tmp_path, console=QUIET)

    assert [row["step"] for row in read_history(tmp_path / "metrics.csv")] == list(range(1, 13))
    assert learnt(tmp_path)[5, 1] < 9


def test_a_finished_run_is_not_trained_again(tmp_path: Path):
    wanted = train(TinyTask(), tmp_path, console=QUIET)
    again = TinyTask()

    found = train(again, tmp_path, console=QUIET)

    assert again.seen == []
    np.testing.assert_array_equal(weights(found), weights(wanted))
    kept = checkpoints.load_network(tmp_path)
    assert all(torch.equal(kept[name], value) for name, value in found.state_dict().items())


def test_a_run_does_not_go_on_under_another_recipe(tmp_path: Path):
    train(TinyTask(), tmp_path, console=QUIET, stop_after_steps=2)

    with pytest.raises(BadCheckpoint, match=r"optimiser\.rate: was 0\.05, is now 0\.5"):
        train(TinyTask(make_recipe(optimiser={"rate": 0.5})), tmp_path, console=QUIET)


def test_loaders_beside_the_steps_change_nothing(tmp_path: Path):
    train(TinyTask(), tmp_path / "none", console=QUIET)
    train(TinyTask(make_recipe(run={"loader_workers": 2})), tmp_path / "two", console=QUIET)

    np.testing.assert_allclose(learnt(tmp_path / "two"), learnt(tmp_path / "none"), atol=1e-6)


def test_a_loss_that_is_no_number_stops_before_the_step_and_names_the_examples(tmp_path: Path):
    recipe = make_recipe(run={"checkpoint_every_s": 0.0})

    with pytest.raises(NonFiniteLoss, match=r"step 8: loss nan.*28 to 31 of seed 3.*step 7") as no:
        train(TinyTask(recipe, spoilt_at=30), tmp_path, console=QUIET)

    found = checkpoints.load(tmp_path)
    assert "entropy" in str(no.value)
    assert found is not None
    assert found.step == 7
    assert all(torch.isfinite(value).all() for value in found.network.values())


class _Interrupting(TinyTask):
    """Sends a signal to its own process at its third batch, as a terminal or a service would."""

    number = signal.SIGTERM

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if len(self.seen) == 2:
            os.kill(os.getpid(), self.number)
        return super().losses(network, batch)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_writes_a_checkpoint_and_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals
):
    before = signal.getsignal(number)
    task = _Interrupting()
    task.number = number

    with pytest.raises(Interrupted, match=r"step 3 of 12.*same command"):
        train(task, tmp_path, console=QUIET)

    found = checkpoints.load(tmp_path)
    assert found is not None
    assert found.step == 3
    assert signal.getsignal(number) is before


def _train_for_ever(folder: Path) -> None:
    os.setsid()
    recipe = make_recipe(run={"steps": 10**9, "loader_workers": 2})
    with pytest.raises(Interrupted):
        train(TinyTask(recipe), folder, console=QUIET)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_at_once_ends_them_all_with_a_checkpoint(
    tmp_path: Path, number: signal.Signals
):
    child = multiprocessing.get_context("spawn").Process(target=_train_for_ever, args=(tmp_path,))
    child.start()
    assert child.pid is not None
    try:
        give_up_at = time.monotonic() + 180
        while len(read_history(tmp_path / "metrics.csv")) < 3:
            assert child.is_alive()
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        os.killpg(child.pid, number)
        child.join(30)

        found = checkpoints.load(tmp_path)
        assert child.exitcode == 0
        assert found is not None
        assert found.step == len(read_history(tmp_path / "metrics.csv"))
    finally:
        if child.is_alive():
            os.killpg(child.pid, signal.SIGKILL)


class _Damaged(Pictures):
    def __getitem__(self, i: int) -> Example:
        raise BadDataset(f"example {i}: a.png is no picture")


def test_what_is_wrong_with_an_example_is_said_by_its_own_name(tmp_path: Path):
    task = TinyTask(make_recipe(run={"loader_workers": 1}))
    task.examples = lambda: _Damaged(3)  # type: ignore[method-assign]

    with pytest.raises(BadDataset, match=r"a\.png is no picture"):
        train(task, tmp_path, console=QUIET)


def test_a_person_sees_pictures_validations_and_the_time_waiting_for_data(tmp_path: Path):
    said = io.StringIO()
    recipe = make_recipe(run={"pictures_every": 6, "validate_every": 6, "log_every": 12})

    train(TinyTask(recipe), tmp_path, console=Console(file=said, width=200))

    drawn = sorted((tmp_path / "pictures").iterdir())
    assert [p.name for p in drawn] == ["step-000001.png", "step-000006.png", "step-000012.png"]
    shown = np.concatenate([Pictures(3)[i]["picture"] for i in range(44, 48)], axis=1)
    np.testing.assert_array_equal(cv2.imread(str(drawn[-1]))[:, :, ::-1], shown)
    assert [row["step"] for row in read_history(tmp_path / "validation.csv")] == [6, 12]
    assert "step 6, validated: accuracy" in said.getvalue()
    assert re.search(r"12/12 +loss 0\.\d+ +\d+ images/s +waiting for data \d+%", said.getvalue())
    (row,) = read_history(tmp_path / "metrics.csv")
    assert 0 < row["waiting_share"] < 1
    assert json.loads((tmp_path / "recipe.json").read_text())["run"]["seed"] == 3


def test_a_terminal_gets_a_bar(tmp_path: Path):
    screen = io.StringIO()

    train(TinyTask(), tmp_path, console=Console(file=screen, force_terminal=True, width=120))

    assert "12/12" in screen.getvalue()


def test_the_rate_rises_then_falls_along_half_a_cosine():
    options = make_recipe(
        optimiser={"rate": 1.0, "warmup_steps": 4, "final_rate_share": 0.1}
    ).optimiser
    rates = [learning_rate(step, 104, options) for step in range(105)]

    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[54] == pytest.approx(0.55)
    assert rates[104] == pytest.approx(0.1)
    assert sorted(rates[4:], reverse=True) == rates[4:]


def test_a_history_refuses_a_value_that_its_first_row_had_not(tmp_path: Path):
    history = History(tmp_path / "h.csv", step=0)
    history.add(1, {"loss": 0.5})

    with pytest.raises(ValueError, match="entropy"):
        history.add(2, {"loss": 0.5, "entropy": 1.0})


def _train_as_one_of_two(rank: int, port: int, folder: Path, said: "Queue[Told]") -> None:
    """Be what `torchrun` would start."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "two",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    screen = io.StringIO()
    recipe = make_recipe(run={"batch": 2, "steps": 6})
    task = TinyTask(recipe)
    with joined():
        network = train(task, folder / "plain", console=Console(file=screen, width=200))
        game = train(TinyGame(recipe), folder / "game", console=QUIET)
    said.put(
        (rank, task.seen, weights(network).tolist(), screen.getvalue(), weights(game).tolist())
    )


def test_two_processes_train_one_network_on_examples_of_their_own(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawned = multiprocessing.get_context("spawn")
    said: Queue[Told] = spawned.Queue()
    children = [
        spawned.Process(target=_train_as_one_of_two, args=(rank, port, tmp_path, said), daemon=True)
        for rank in range(2)
    ]
    for child in children:
        child.start()
    first, second = sorted(said.get(timeout=180) for _ in children)
    for child in children:
        child.join(60)

    assert [child.exitcode for child in children] == [0, 0]
    assert first[1] == [[4 * step, 4 * step + 1] for step in range(6)]
    assert second[1] == [[4 * step + 2, 4 * step + 3] for step in range(6)]
    assert first[2] == second[2]
    assert first[4] == second[4]
    assert "6/6" in first[3]
    assert second[3] == ""
    assert len(read_history(tmp_path / "plain" / "metrics.csv")) == 6


def test_parts_take_their_turns_each_with_a_rate_and_names_of_its_own(tmp_path: Path):
    game = TinyGame()

    train(game, tmp_path, console=QUIET)

    rows = read_history(tmp_path / "metrics.csv")
    kept = checkpoints.load(tmp_path)
    assert game.played == ["judge", "judge", "drawer"] * 12
    assert {"judge_loss", "judge_gradient_norm", "loss", "fooled", "gradient_norm"} <= set(rows[0])
    assert [row["rate"] for row in rows[4:7]] == [
        pytest.approx(learning_rate(step, 12, game.recipe.optimiser) * share)
        for step, share in ((4, 1.0), (5, 1.0), (6, 0.5))
    ]
    assert kept is not None
    rates = {k: state["param_groups"][0]["lr"] for k, state in kept.optimisers.items()}
    taken = {k: state["state"][0]["step"] for k, state in kept.optimisers.items()}
    assert rates["judge"] == pytest.approx(2 * rates["drawer"])
    assert taken == {"judge": 24, "drawer": 12}


def test_a_turn_moves_the_weights_of_its_own_part_alone(tmp_path: Path):
    start = TinyGame(judged_from=2.0)
    torch.manual_seed(start.recipe.run.seed)
    before = weights(start.network()["judge"])

    network = train(start, tmp_path / "idle", console=QUIET)

    rows = read_history(tmp_path / "idle" / "metrics.csv")
    np.testing.assert_allclose(weights(network["judge"]), before, atol=1e-7)
    assert {row["judge_loss"] for row in rows} == {row["judge_gradient_norm"] for row in rows}
    assert all(row["gradient_norm"] > 0 for row in rows)


def test_a_game_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path):
    wanted = train(TinyGame(exchange_at=5, judged_from=0.5), tmp_path / "straight", console=QUIET)
    for stop in (5, 3, None):
        halted = TinyGame(exchange_at=5, judged_from=0.5)
        found = train(halted, tmp_path / "halted", console=QUIET, stop_after_steps=stop)

    np.testing.assert_array_equal(played(tmp_path / "halted"), played(tmp_path / "straight"))
    np.testing.assert_array_equal(weights(found), weights(wanted))


def test_what_is_planned_for_a_step_is_done_to_the_network_and_to_its_running_mean(tmp_path: Path):
    still = make_recipe(optimiser={"rate": 1e-9})

    exchanged = train(TinyGame(still, exchange_at=11), tmp_path / "last", console=QUIET)
    plain = train(TinyGame(still), tmp_path / "never", console=QUIET)

    moved = exchanged["drawer"].bias - plain["drawer"].bias
    assert float(moved) == pytest.approx(100.0, abs=1e-3)


def test_a_game_stops_before_a_turn_that_would_spoil_a_part_and_keeps_whole_steps(tmp_path: Path):
    recipe = make_recipe(run={"checkpoint_every_s": 0.0})

    with pytest.raises(NonFiniteLoss, match=r"step 8: loss nan.*28 to 31 of seed 3.*step 7"):
        train(TinyGame(recipe, spoilt_at=30), tmp_path, console=QUIET)

    found = checkpoints.load(tmp_path)
    assert found is not None
    assert found.step == 7
    assert all(torch.isfinite(value).all() for value in found.network.values())
    assert {int(s["state"][0]["step"]) for s in found.optimisers.values()} == {7, 14}


def test_a_full_disk_ends_a_run_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    history = History(tmp_path / "h.csv", step=0)
    history.add(1, {"loss": 0.5})
    monkeypatch.setattr(Path, "open", full)

    with pytest.raises(InsufficientStorage, match=r"h\.csv.*No space left.*make room"):
        history.add(2, {"loss": 0.5})
