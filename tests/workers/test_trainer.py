"""The trainer on a real database, with real processes; doubles train, but for one that is real."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import TrainingRunRow
from app.domain.job import JobState
from app.domain.training_run import TrainingRun
from app.errors import Misconfigured
from app.queue import CeleryBell, QueueName
from app.services import training_runs as runs
from app.settings import Settings, TrainingSettings
from tests.fakes import RecordingBell
from tests.make_runs import make_plan
from tests.workers.process import WorkerProcess
from tests.workers.test_inference import is_alive
from tests.workers.test_supervisor import PATIENCE_S, FlakyDatabase, until
from tests.workers.trainings import HOLD_FILE, STEPS, train_tiny
from workers import trainer as trainers
from workers.health import is_trainer_alive
from workers.trainer import Trainer

LIMITS = TrainingSettings(
    lease_s=3.0,
    poll_interval_s=0.05,
    reconcile_interval_s=0.2,
    retry_delay_s=0.0,
    max_attempts=3,
    drain_grace_s=20.0,
    niceness=3,
)
STARTS_WITHIN_S = 120.0  # torch is loaded meanwhile
TINY_LOSSES = ("loss", "entropy", "gradient_norm", "rate")
"""Columns of a history that do not depend on how fast a machine is."""


class Workshop:
    """A database, the data, the runs' folders, and trainers on them."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db = db
        self.folder = folder
        self.settings = Settings(_env_file=None, data_dir=folder, training=LIMITS)
        self.settings.sets_dir.mkdir(parents=True)
        (self.settings.sets_dir / "media.csv").touch()
        (self.settings.runs_dir / trainers.SEEN_FOLDER).mkdir(parents=True)

    def submit(self, **does: Any) -> str:
        """Queue a run that does something, see `tests.workers.trainings.as_told`."""
        overrides = {f"told.{what}": value for what, value in does.items()}
        plan = make_plan(overrides=overrides)
        return runs.submit(self.db, RecordingBell(), tenant="desk", name=None, plan=plan).id

    def run(self, run_id: str) -> TrainingRun:
        return runs.get(self.db, tenant="desk", run_id=run_id).run

    def until_state(self, run_id: str, state: JobState, *, within_s: float = PATIENCE_S) -> None:
        until(
            lambda: self.run(run_id).state is state,
            f"{run_id} {state}, but {self.run(run_id)}",
            within_s=within_s,
        )

    def pids(self, run_id: str) -> list[int]:
        """Return the processes that have trained a run so far."""
        path = self.settings.runs_dir / run_id / "attempts"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def until_begun(self, run_id: str, *, attempts: int = 1) -> int:
        until(lambda: len(self.pids(run_id)) == attempts, f"{attempts} attempts of {run_id}")
        return self.pids(run_id)[-1]

    @contextmanager
    def training(
        self, *, db: Database | None = None, function: str = "as_told", **limits: Any
    ) -> Iterator[Trainer]:
        """Run a trainer's loop in a thread for as long as the block lasts."""
        settings = self.settings.model_copy(update={"training": LIMITS.model_copy(update=limits)})
        trainer = Trainer(
            db=db or self.db,
            bell=RecordingBell(),
            settings=settings,
            trainer="t1",
            execute=f"tests.workers.trainings:{function}",
        )
        thread = threading.Thread(target=trainer.run, name="trainer")
        thread.start()
        try:
            yield trainer
        finally:
            trainer.stop()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Iterator[Workshop]:
    """Where the kind of database makes no difference."""
    database = Database(sqlite_url)
    yield Workshop(database, tmp_path / "data")
    database.close()


@pytest.fixture
def each(db: Database, tmp_path: Path) -> Workshop:
    """On each kind of database in turn."""
    return Workshop(db, tmp_path / "data")


@pytest.fixture
def flaky(sqlite_url: str) -> Iterator[FlakyDatabase]:
    """A second way to the database of `shop`."""
    database = FlakyDatabase(sqlite_url)
    yield database
    database.close()


def test_a_run_is_taken_told_of_and_concluded(each: Workshop):
    run_id = each.submit()

    with each.training():
        each.until_state(run_id, JobState.SUCCEEDED)

    run = each.run(run_id)
    assert run.result == {"steps": 2}
    assert (run.progress.step, run.progress.steps) == (2, 3)
    assert [(c.step, c.size_bytes) for c in run.progress.checkpoints] == [(2, 7)]
    assert run.progress.seconds > 0
    rows = runs.metrics(each.db, tenant="desk", run_id=run_id)
    assert [(row.step, row.metrics) for row in rows] == [(1, {"loss": 0.5}), (2, {})]
    shown = runs.picture(each.db, tenant="desk", run_id=run_id, series="", step=2)
    assert shown.png == b"two faces"


def test_a_run_can_be_watched_while_it_goes_on(shop: Workshop):
    run_id = shop.submit(sleeps_s=60)

    with shop.training():
        until(lambda: shop.run(run_id).progress.stage == "told", "told of")
        runs.remove(shop.db, tenant="desk", run_id=run_id)

    assert shop.run(run_id).state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("ending", "state", "actor", "attempts"),
    [
        ("rejected", JobState.REJECTED, "client", 1),
        ("failed", JobState.FAILED, "operator", 1),
        ("retry", JobState.FAILED, "operator", 3),
    ],
)
def test_a_run_that_fails_ends_by_who_must_act(shop: Workshop, ending, state, actor, attempts):
    run_id = shop.submit(ending=ending, writes=False)

    with shop.training():
        shop.until_state(run_id, state)

    error = shop.run(run_id).error
    assert error is not None
    assert (error.code, error.detail, error.actor) == ("bad-dataset", "12 faces", actor)
    assert len(shop.pids(run_id)) == attempts


def test_a_run_that_kills_its_process_three_times_is_quarantined_and_holds_up_nobody(
    shop: Workshop,
):
    poison, other = shop.submit(kills_itself=True, writes=False), shop.submit()

    with shop.training():
        shop.until_state(poison, JobState.QUARANTINED)
        shop.until_state(other, JobState.SUCCEEDED)

    error = shop.run(poison).error
    assert error is not None
    assert "SIGKILL" in error.detail
    assert len(shop.pids(poison)) == 3


@pytest.mark.parametrize("ignores_term", [False, True])
def test_a_cancelled_runs_process_is_dead_soon(shop: Workshop, monkeypatch, ignores_term):
    monkeypatch.setattr(trainers, "TERMINATE_WITHIN_S", 0.5)
    run_id = shop.submit(sleeps_s=60, ignores_term=ignores_term)

    with shop.training():
        pid = shop.until_begun(run_id)
        runs.remove(shop.db, tenant="desk", run_id=run_id)
        cancelled_s = time.monotonic()
        until(lambda: not is_alive(pid), "dead")

    assert time.monotonic() - cancelled_s < 5
    assert shop.run(run_id).state is JobState.CANCELLED


def test_a_drained_trainer_hands_its_run_back_and_the_attempt_is_not_counted(each: Workshop):
    run_id = each.submit(sleeps_s=60, writes=False)

    with each.training():
        pid = each.until_begun(run_id)

    assert (each.run(run_id).state, each.run(run_id).attempt) == (JobState.QUEUED, 0)
    assert not is_alive(pid)


def test_a_drained_trainer_does_not_wait_for_ever(shop: Workshop):
    run_id = shop.submit(sleeps_s=60, ignores_term=True)

    with shop.training(drain_grace_s=0.2):
        pid = shop.until_begun(run_id)

    assert shop.run(run_id).state is JobState.QUEUED
    assert not is_alive(pid)


def test_a_trainer_whose_run_was_given_to_another_kills_it_and_writes_nothing_more(
    each: Workshop,
):
    run_id = each.submit(sleeps_s=60)

    with each.training(poll_interval_s=60.0):
        pid = each.until_begun(run_id)
        with each.db.writing() as session:
            session.execute(
                update(TrainingRunRow).values(
                    lease_token=TrainingRunRow.lease_token + 1, lease_owner="t2"
                )
            )
        until(lambda: not is_alive(pid), "dead")

    with each.db.reading() as session:
        row = session.get_one(TrainingRunRow, run_id)
        assert (row.state, row.lease_owner) == (JobState.RUNNING, "t2")


def test_a_database_that_is_away_for_less_than_the_lease_costs_nothing_and_hides_nothing(
    flaky: FlakyDatabase, shop: Workshop
):
    run_id = shop.submit(sleeps_s=1.5)

    with shop.training(lease_s=20.0, db=flaky):
        flaky.is_away = bool(shop.until_begun(run_id))
        time.sleep(2.5)  # the training ends meanwhile, and cannot be written
        flaky.is_away = False
        shop.until_state(run_id, JobState.SUCCEEDED)

    assert len(shop.pids(run_id)) == 1
    assert shop.run(run_id).progress.step == 2


def test_the_folder_of_a_removed_run_is_removed_and_no_other(shop: Workshop):
    gone, kept = shop.submit(), shop.submit()

    with shop.training():
        for run_id in (gone, kept):
            shop.until_state(run_id, JobState.SUCCEEDED)
        runs.remove(shop.db, tenant="desk", run_id=gone)
        until(lambda: not (shop.settings.runs_dir / gone).exists(), "removed")

    assert (shop.settings.runs_dir / kept / "checkpoint.pt").exists()


def test_a_machine_knows_whether_its_trainer_lives(shop: Workshop):
    assert not is_trainer_alive(shop.settings, host=os.uname().nodename)

    with shop.training():
        until(lambda: is_trainer_alive(shop.settings, host=os.uname().nodename), "seen")

    assert not is_trainer_alive(shop.settings, host="another")


def test_a_trainer_without_its_data_says_what_to_do(shop: Workshop, tmp_path: Path):
    elsewhere = Settings(_env_file=None, data_dir=tmp_path / "empty")

    with pytest.raises(Misconfigured, match="no directory of data"):
        trainers.run(elsewhere)


class Trainers:
    """Real trainer processes on one database."""

    def __init__(self, shop: Workshop, url: str) -> None:
        self._log = shop.folder / "trainer.log"
        self._environment = {
            "DEEPVERDICT_DATA_DIR": str(shop.folder),
            "DEEPVERDICT_DATABASE_URL": url,
            "DEEPVERDICT_TRAINING__LEASE_S": "3",
            "DEEPVERDICT_TRAINING__POLL_INTERVAL_S": "0.2",
            "DEEPVERDICT_TRAINING__RECONCILE_INTERVAL_S": "0.5",
            "DEEPVERDICT_TRAINING__RETRY_DELAY_S": "0",
        }

    def start(self, function: str, *, modules: Path | None = None, **more: str) -> WorkerProcess:
        return WorkerProcess(
            {**self._environment, **more},
            log=self._log,
            program=("tests.workers.trainings", function),
            modules=modules,
        )


def test_a_training_that_was_killed_goes_on_from_its_checkpoint_as_if_it_had_not_been(
    shop: Workshop, sqlite_url: str
):
    """A real training, by the way that all go: kill -9 of its trainer, then SIGTERM, then peace."""
    ours = Trainers(shop, sqlite_url)
    run_id = shop.submit()
    modules = shop.folder / "modules"
    folder = shop.settings.runs_dir / run_id
    folder.mkdir()
    hold = folder / HOLD_FILE
    seen = []

    def reached(step: int) -> bool:
        seen.append(shop.run(run_id).progress)
        return any(c.step >= step for c in seen[-1].checkpoints)

    hold.write_text("8")
    with ours.start("tiny") as first:
        until(lambda: reached(5), f"a checkpoint: {first.words()}", within_s=STARTS_WITHIN_S)
        first.kill()
    left_at = json.loads((folder / "checkpoint.json").read_text())["step"]
    seen.clear()
    hold.write_text(str(left_at + 3))
    with ours.start("tiny", modules=modules) as second:
        until(lambda: reached(left_at + 1), second.words(), within_s=STARTS_WITHIN_S)
        assert second.terminate() == 0
    stopped = shop.run(run_id)
    assert (stopped.state, stopped.attempt) == (JobState.QUEUED, 0)
    assert [c.step for c in stopped.progress.checkpoints] == [stopped.progress.step]
    hold.unlink()
    with ours.start("tiny") as third:
        until(
            lambda: reached(STEPS) and shop.run(run_id).state is JobState.SUCCEEDED,
            third.words(),
            within_s=STARTS_WITHIN_S,
        )

    assert min(progress.step for progress in seen) >= 5  # it never began again
    rows = runs.metrics(shop.db, tenant="desk", run_id=run_id)
    assert [row.step for row in rows] == list(range(1, STEPS + 1))
    assert [[row.metrics[name] for name in TINY_LOSSES] for row in rows] == [
        [row[name] for name in TINY_LOSSES] for row in never_stopped(shop.folder / "whole")
    ]
    assert (folder / "log.txt").read_text().count("going on from step") == 2
    assert STEPS in {p.step for p in runs.get(shop.db, tenant="desk", run_id=run_id).pictures}
    assert shop.run(run_id).result["niceness"] > os.nice(0)
    assert not {"torch", "numpy", "workers.training"} & set(modules.read_text().split())


def never_stopped(folder: Path) -> list[dict[str, float]]:
    """Train the same in one go, with no trainer; return its history."""
    from rich.console import Console

    from workers.training.history import read_history
    from workers.training.loop import HISTORY_FILE

    train_tiny(folder, Console(quiet=True))
    return read_history(folder / HISTORY_FILE)


def test_a_trainer_that_never_polls_is_woken_by_a_bell_of_its_own(
    tmp_path: Path, postgres_url: str, redis_url: str
):
    db = Database(postgres_url)
    shop = Workshop(db, tmp_path / "data")
    bells = [CeleryBell(redis_url, queue) for queue in QueueName]
    never = {
        "DEEPVERDICT_BROKER_URL": redis_url,
        "DEEPVERDICT_TRAINING__POLL_INTERVAL_S": "600",
        "DEEPVERDICT_TRAINING__RECONCILE_INTERVAL_S": "600",
    }
    with Trainers(shop, postgres_url).start("as_told", **never) as trainer:
        trainer.until_logged("worker.started")
        detect, train = bells
        run_id = shop.submit()
        assert detect.ring(run_id)
        time.sleep(0.5)
        assert train.ring(run_id)
        shop.until_state(run_id, JobState.SUCCEEDED)

        assert trainer.terminate() == 0
    for bell in bells:
        bell.close()
    db.close()
