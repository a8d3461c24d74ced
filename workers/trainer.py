"""
What is one trainer, as a process? What takes runs off the queue `train`, one at a time.

    reconcile when due -> claim -> train in a process of its own, telling what it writes -> conclude

The loop is that of `workers.work_loop`. Networks are trained in the other process, which alone
loads torch, stands back for everything else on the machine, and may be killed at any moment: its
folder has a checkpoint, from which the next attempt goes on.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from app import child, log
from app.db.session import Database
from app.domain.job import Actor, JobError, JobState
from app.domain.model_version import ModelVersion
from app.domain.training_run import RUN_ID, TrainingClaim
from app.errors import DatabaseUnavailable, Misconfigured
from app.queue import Bell, QueueName
from app.services import model_versions
from app.services import training_leases as leases
from app.services.leasing import Reconciled
from app.settings import Settings
from workers.process import live
from workers.run_folder import RunFolder
from workers.work_loop import LOOK_EVERY_S, Lease, WorkLoop

EXECUTE = "workers.training.runs:execute"
TERMINATE_WITHIN_S = 15.0  # a checkpoint is written meanwhile
SEEN_FOLDER = ".trainers"  # under the runs' directory: one file a machine, for health checks
READ_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The process is gone; what it said is empty where it was killed."""

    how: str
    said: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The run is not this trainer's any more, or was cancelled: to a trainer they are the same."""


def run(settings: Settings, execute: str = EXECUTE) -> int:
    """
    Take training runs until SIGTERM or SIGINT; return the exit status.

    Args:
        execute: `package.module:function` that does what a plan asks for, in the other process.

    Raises:
        Misconfigured: torch is not installed, or the directories cannot be used.
    """
    if importlib.util.find_spec("torch") is None:
        raise Misconfigured("a trainer needs torch; run: pip install -e '.[train]'")
    try:
        (settings.runs_dir / SEEN_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise Misconfigured(f"runs cannot be kept in {settings.runs_dir}: {why}") from why
    if not settings.sets_dir.is_dir():
        raise Misconfigured(f"there is no directory of data {settings.sets_dir}; make one")

    def trainer(db: Database, bell: Bell, name: str) -> Trainer:
        return Trainer(db=db, bell=bell, settings=settings, trainer=name, execute=execute)

    return live(settings, QueueName.TRAIN, trainer)


def seen_file(settings: Settings, host: str) -> Path:
    """Return the file that a trainer of `host` touches while it lives."""
    return settings.runs_dir / SEEN_FOLDER / host[:64]


class Trainer(WorkLoop[TrainingClaim]):
    """One a process."""

    def __init__(
        self, *, db: Database, bell: Bell, settings: Settings, trainer: str, execute: str
    ) -> None:
        super().__init__(db=db, limits=settings.training, worker=trainer)
        self._bell = bell
        self._settings = settings
        self._execute = execute
        self._runs = settings.runs_dir.resolve()
        self._seen = seen_file(settings, socket.gethostname())

    def _make_ready(self) -> bool:
        self._seen.touch()
        return True

    def _reconcile(self) -> Reconciled:
        self._sweep()
        return leases.reconcile(self._db, self._bell, limits=self._limits)

    def _claim(self) -> TrainingClaim | None:
        return leases.claim(self._db, trainer=self._worker, limits=self._limits)

    def _sweep(self) -> None:
        """Remove the folders of runs whose owner had everything removed."""
        there = [p.name for p in self._runs.iterdir() if re.fullmatch(RUN_ID, p.name)]
        for run_id in leases.purged_of(self._db, there):
            shutil.rmtree(self._runs / run_id, ignore_errors=True)  # once more at the next look
            _log.info("run.removed", run_id=run_id)

    def _work(self, claim: TrainingClaim) -> None:
        with structlog.contextvars.bound_contextvars(run_id=claim.run_id, attempt=claim.attempt):
            lease = Lease(self._limits.lease_s)
            watch = _Watch(claim, RunFolder(self._runs / claim.run_id))
            _log.info("run.claimed", lease_token=claim.lease_token, kind=claim.plan.kind)
            try:
                self._settle(watch, self._train(watch, lease), lease)
            except Exception:  # noqa: BLE001 - the boundary of a run: a bug here must not stop others
                _log.exception("run.mishandled")
                why = _ours("internal", "The training could not be watched. The log says why.")
                self._retry(claim, why, JobState.FAILED, lease)
            _log.info("run.left", took_s=round(watch.took_s, 3))

    def _train(self, watch: "_Watch", lease: Lease) -> Ended | Lost:
        folder = self._runs / watch.claim.run_id
        try:
            folder.mkdir(exist_ok=True)
        except OSError as why:
            error = {"ending": "retry", "code": "storage", "detail": f"no folder: {why.strerror}"}
            return Ended(how="", said=error)
        # What a loop has to beat; the process itself cannot ask the database.
        promoted = lease.insist(lambda: model_versions.current(self._db))
        if promoted is None:
            return Lost()
        process = _TrainingProcess(self._execute, watch.claim, folder, self._settings, promoted)
        try:
            return self._attend(process, watch, lease)
        finally:
            process.kill()

    def _attend(self, process: "_TrainingProcess", watch: "_Watch", lease: Lease) -> Ended | Lost:
        """Keep the lease while the process works; return how it ended."""
        beat_at_s = 0.0
        while (ended := process.ended(within_s=LOOK_EVERY_S)) is None:
            if self.is_stopping:
                process.terminate()
            if self.is_grace_over:
                process.kill()
            now_s = time.monotonic()
            if now_s >= beat_at_s:
                beat_at_s = now_s + self._beat_every_s
                if not self._beat(watch, lease):
                    process.terminate()
                    process.ended(within_s=TERMINATE_WITHIN_S if lease.left_s > 0 else 0)
                    return Lost()
        return ended

    def _tell_last(self, watch: "_Watch", lease: Lease) -> None:
        """Tell what was not told yet, as often as it takes: nobody looks into the folder again."""
        news = watch.folder.news(seconds=watch.seconds, is_last=True)
        lease.insist(
            lambda: leases.heartbeat(self._db, watch.claim, lease_s=self._limits.lease_s, news=news)
        )

    def _beat(self, watch: "_Watch", lease: Lease) -> bool:
        """Renew the lease and tell what is new; False where it is lost, or must be by now."""
        self._seen.touch()
        news = watch.folder.news(seconds=watch.seconds)
        try:
            if not leases.heartbeat(self._db, watch.claim, lease_s=self._limits.lease_s, news=news):
                return False
            lease.renew()
        except DatabaseUnavailable:
            # Nobody else can claim the run either, until the lease is over.
            _log.warning("database.went_away", lease_left_s=round(lease.left_s, 1))
            watch.folder.forget()
            return lease.left_s > 0
        return True

    def _settle(self, watch: "_Watch", ending: Ended | Lost, lease: Lease) -> None:
        """Write the end of the attempt, as often as it takes while the lease may hold."""
        if isinstance(ending, Lost):
            _log.warning("run.lost")
            return
        claim, said = watch.claim, ending.said
        self._tell_last(watch, lease)
        error = JobError(
            code=str(said.get("code", "internal")),
            detail=str(said.get("detail", "")),
            actor=Actor.CLIENT if said.get("ending") == "rejected" else Actor.OPERATOR,
        )
        match said.get("ending"):
            case "done":
                result = said.get("result", {})
                if lease.insist(lambda: leases.conclude(self._db, claim, result)):
                    _log.info("run.concluded")
            case "rejected":
                if lease.insist(lambda: leases.reject(self._db, claim, error)):
                    _log.info("run.rejected", code=error.code)
            case "failed":
                if lease.insist(lambda: leases.fail(self._db, claim, error)):
                    _log.error("run.failed", code=error.code, detail=error.detail)
            case "retry":
                self._retry(claim, error, JobState.FAILED, lease)
            case _ if said.get("ending") == "interrupted" or self.is_stopping:
                if lease.insist(lambda: leases.hand_back(self._db, claim)):
                    _log.info("run.handed_back")
            case _:
                _log.error("training.died", how=ending.how)
                detail = f"The training process did not live to answer: {ending.how}."
                self._retry(claim, _ours("worker-died", detail), JobState.QUARANTINED, lease)

    def _retry(
        self, claim: TrainingClaim, error: JobError, last_state: JobState, lease: Lease
    ) -> None:
        state = lease.insist(
            lambda: leases.retry(self._db, claim, error, limits=self._limits, last_state=last_state)
        )
        if state is not None:
            _log.warning("run.retried", code=error.code, state=state)


class _Watch:
    """What a trainer knows of the run that it works on."""

    def __init__(self, claim: TrainingClaim, folder: RunFolder) -> None:
        self.claim = claim
        self.folder = folder
        self._started_s = time.monotonic()

    @property
    def took_s(self) -> float:
        """Seconds spent on this attempt."""
        return time.monotonic() - self._started_s

    @property
    def seconds(self) -> float:
        """Seconds spent on the run, over all attempts that were told of."""
        return round(self.claim.progress.seconds + self.took_s, 1)


class _TrainingProcess:
    """
    The process that trains, from its start to its end.

    What it says is read as JSON, and only once it is gone.
    """

    def __init__(
        self,
        execute: str,
        claim: TrainingClaim,
        folder: Path,
        settings: Settings,
        promoted: Sequence[ModelVersion],
    ) -> None:
        self._said = bytearray()
        self._ended: Ended | None = None
        self._is_terminated = False
        self._ours, theirs = os.pipe()
        os.set_blocking(self._ours, False)
        # What the process is not told, it cannot be made to tell.
        public = settings.model_copy(update={"database_url": None, "broker_url": None})
        try:
            self._process = child.start(
                execute, theirs, claim.plan, folder, public, tuple(promoted), pass_fds=[theirs]
            )
        finally:
            os.close(theirs)

    def ended(self, *, within_s: float) -> Ended | None:
        """Wait for its end; None where it has not ended by then."""
        give_up_at_s = time.monotonic() + within_s
        while self._ended is None:
            self._read()
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                self._reap()
            elif time.monotonic() >= give_up_at_s:
                return None
            else:
                time.sleep(min(0.05, within_s))
        return self._ended

    def terminate(self) -> None:
        """Ask it, once, to write a checkpoint and end."""
        if not self._is_terminated and self._ended is None:
            self._is_terminated = True
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and all that it started; harmless where it is gone."""
        if self._ended is None:
            self._reap()

    def _reap(self) -> None:
        # Its own children too, while its number cannot yet have been given to another.
        child.kill(self._process)
        status = self._process.wait()
        self._read()
        os.close(self._ours)
        self._ended = Ended(how=child.words(status), said=_object(bytes(self._said)))

    def _read(self) -> None:
        while len(self._said) <= MAX_MESSAGE_BYTES:
            try:
                read = os.read(self._ours, READ_BYTES)
            except BlockingIOError:
                return
            if not read:
                return
            self._said += read


def _object(data: bytes) -> dict[str, Any]:
    """Read a JSON object; empty where a killed process left half of one, or none."""
    try:
        document = json.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _ours(code: str, detail: str) -> JobError:
    return JobError(code=code, detail=detail, actor=Actor.OPERATOR)
