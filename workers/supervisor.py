"""
How does a worker take a job, keep it, and let go of it?

    reconcile when due -> claim -> analyse in the inference process, heartbeating -> conclude

One loop in one thread. It trusts nothing but the database's answers: a doorbell only makes it look
sooner, a write that changes no row means that the job is no longer its own, and it may be killed
at any line without harm. It holds no arrays and loads no networks.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import structlog

from app import log
from app.db.session import Database
from app.domain.evidence import Analysis
from app.domain.job import Actor, Claim, JobError, JobState, Progress, Stage
from app.domain.policy import CURRENT
from app.domain.verdict import decide
from app.domain.worker import WorkerCondition
from app.errors import DatabaseUnavailable, OperatorMustAct
from app.queue import Bell
from app.services import leases, workers
from app.settings import WorkerSettings
from app.storage import BlobStore
from workers.inference import (
    Assignment,
    Died,
    Failed,
    InferenceProcess,
    Outcome,
    Ready,
    Refused,
    Rejected,
    Tampered,
)

BEAT_AT_MOST_S = 3.0  # a cancelled job's process is dead within five seconds, however long leases
SEEN_EVERY_S = 10.0  # `/readyz` counts workers heard of within a minute
START_WITHIN_S = 300.0  # loading every network from a cold disk takes seconds
LOOK_EVERY_S = 0.25  # how long the loop may be deaf to a request to stop
BACKOFF_S = (0.5, 10.0)  # first and longest wait for a database that went away

_log = log.get(__name__)

T = TypeVar("T")


class Interrupted(Enum):
    """Why an analysis was ended that might have gone on."""

    LEASE_LOST = "lease_lost"  # or cancelled: to a worker they are the same
    DRAINED = "drained"


@dataclass(slots=True)
class _Lease:
    """When the lease is over for certain, by this machine's steady clock."""

    length_s: float
    over_at_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.over_at_s = time.monotonic() + self.length_s

    @property
    def left_s(self) -> float:
        return self.over_at_s - time.monotonic()


class Supervisor:
    """One a worker process. `run` is its life; the other methods may be called from any thread."""

    def __init__(
        self,
        *,
        db: Database,
        store: BlobStore,
        bell: Bell,
        inference: InferenceProcess,
        limits: WorkerSettings,
        worker: str,
        code: str,
    ) -> None:
        self._db = db
        self._store = store
        self._bell = bell
        self._inference = inference
        self._limits = limits
        self._worker = worker
        self._code = code
        self._beat_every_s = min(limits.lease_s / 3, BEAT_AT_MOST_S)
        self._reconcile_at_s = 0.0
        self._tell_at_s = 0.0
        self._condition: WorkerCondition | None = None
        self._is_told = False

        self._turn = threading.Condition()
        self._rings = 0  # doorbells heard
        self._answered = 0  # of those, how many the loop has looked for work after
        self._stop_at_s: float | None = None
        self._is_over = False

    def run(self) -> None:
        """
        Take jobs until `stop`.

        Raises:
            OperatorMustAct: the inference process refuses to start; its words are in the error.
        """
        try:
            with structlog.contextvars.bound_contextvars(worker=self._worker):
                self._run()
        finally:
            self._inference.kill()
            with self._turn:
                self._is_over = True
                self._turn.notify_all()

    def stop(self) -> None:
        """Claim nothing more; let the running job end within the grace, or hand it back."""
        with self._turn:
            if self._stop_at_s is None:
                self._stop_at_s = time.monotonic()
            self._turn.notify_all()

    def ring_and_wait(self) -> None:
        """Have the loop look for work, and wait until it finds none: a busy worker hears once."""
        with self._turn:
            self._rings += 1
            mine = self._rings
            self._turn.notify_all()
            self._turn.wait_for(
                lambda: self._answered >= mine or self._is_over or self._stop_at_s is not None
            )

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop_at_s is not None

    def _run(self) -> None:
        backoff_s = BACKOFF_S[0]
        while not self.is_stopping:
            heard = self._rings
            try:
                if not self._make_ready():
                    continue
                self._reconcile()
                self._tell(is_busy=False)
                claim = leases.claim(self._db, worker=self._worker, limits=self._limits)
            except DatabaseUnavailable:
                _log.warning("database.went_away", wait_s=backoff_s)
                self._wait(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_S[1])
                continue
            backoff_s = BACKOFF_S[0]
            if claim is None:
                self._wait_for_ring(heard)
            else:
                self._work(claim)
        _log.info("worker.drained")
        try:
            workers.leave(self._db, worker=self._worker)
        except DatabaseUnavailable:
            _log.warning("worker.left_unsaid")

    def _make_ready(self) -> bool:
        """Start the inference process where there is none; False where told to stop meanwhile."""
        if self._inference.is_running:
            return True
        started_s = time.monotonic()
        self._inference.start()
        while not self.is_stopping:
            match self._inference.receive(LOOK_EVERY_S):
                case Ready(condition=condition):
                    _log.info(
                        "inference.started",
                        took_s=round(time.monotonic() - started_s, 3),
                        device=condition.device,
                        missing_models=condition.missing_models,
                        sandbox=condition.sandbox,
                    )
                    if condition != self._condition:
                        self._condition, self._is_told = condition, False
                    return True
                case Refused(detail=detail):
                    raise OperatorMustAct(detail)
                case Died(how=how):
                    raise OperatorMustAct(f"the inference process did not start: {how}")
                case _ if time.monotonic() - started_s > START_WITHIN_S:
                    raise OperatorMustAct(
                        f"the inference process was not ready after {START_WITHIN_S:.0f} s"
                    )
        return False

    def _reconcile(self) -> None:
        if time.monotonic() < self._reconcile_at_s:
            return
        self._reconcile_at_s = time.monotonic() + self._limits.reconcile_interval_s
        done = leases.reconcile(self._db, self._bell, limits=self._limits)
        if done.requeued or done.quarantined or done.rung:
            _log.info(
                "jobs.reconciled",
                requeued=done.requeued,
                quarantined=done.quarantined,
                rung=done.rung,
            )

    def _tell(self, *, is_busy: bool) -> None:
        """Say that this worker lives, and once what it works with."""
        if self._condition is not None and not self._is_told:
            workers.announce(
                self._db, worker=self._worker, code=self._code, condition=self._condition
            )
            self._is_told = True
        elif time.monotonic() < self._tell_at_s:
            return
        workers.seen(self._db, worker=self._worker, is_busy=is_busy)
        self._tell_at_s = time.monotonic() + SEEN_EVERY_S

    def _wait(self, timeout_s: float) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self.is_stopping, timeout=timeout_s)

    def _wait_for_ring(self, heard: int) -> None:
        until_reconcile_s = max(self._reconcile_at_s - time.monotonic(), 0)
        with self._turn:
            self._answered = heard
            self._turn.notify_all()
            self._turn.wait_for(
                lambda: self._rings > heard or self.is_stopping,
                timeout=min(self._limits.poll_interval_s, until_reconcile_s),
            )

    def _work(self, claim: Claim) -> None:
        with structlog.contextvars.bound_contextvars(job_id=claim.job_id, attempt=claim.attempt):
            started_s = time.monotonic()
            lease = _Lease(self._limits.lease_s)
            _log.info("job.claimed", lease_token=claim.lease_token, size_bytes=claim.size_bytes)
            try:
                self._settle(claim, self._examine(claim, lease), lease)
            except Exception:  # noqa: BLE001 - the boundary of a job: a bug here must not stop others
                _log.exception("job.mishandled")
                self._inference.kill()
                why = _ours("internal", "The analysis could not be concluded. The log says why.")
                self._settle(claim, Failed(error=why), lease)
            _log.info("job.left", took_s=round(time.monotonic() - started_s, 3))

    def _examine(self, claim: Claim, lease: _Lease) -> Outcome | Interrupted:
        with ExitStack() as lent:
            try:
                path = lent.enter_context(self._store.local_file(claim.blob_key))
            except OSError:
                _log.exception("blob.lending_failed")
                return Failed(error=_ours("storage", "The stored video could not be read."))
            self._inference.assign(
                Assignment(path=str(path), sha256=claim.sha256, size_bytes=claim.size_bytes)
            )
            ending = self._attend(claim, lease)
            if not isinstance(ending, Analysis | Rejected | Tampered):
                self._inference.kill()
            return ending

    def _attend(self, claim: Claim, lease: _Lease) -> Outcome | Interrupted:
        """Keep the lease while the process works; return what it said, or why it was cut off."""
        progress = Progress(stage=Stage.STARTING, fraction=0.0)
        deadline_at_s = time.monotonic() + self._limits.job_deadline_s
        beat_at_s = 0.0
        while True:
            message = self._inference.receive(min(beat_at_s - time.monotonic(), LOOK_EVERY_S))
            if isinstance(message, Progress):
                if message.stage is not progress.stage:
                    beat_at_s = 0.0  # those who watch are told of every stage at once
                progress = message
            elif isinstance(message, Outcome):
                return message
            now_s = time.monotonic()
            if now_s >= deadline_at_s:
                return Died(how=f"no answer within {self._limits.job_deadline_s:g} s")
            if (
                self._stop_at_s is not None
                and now_s >= self._stop_at_s + self._limits.drain_grace_s
            ):
                return Interrupted.DRAINED
            if now_s >= beat_at_s:
                beat_at_s = now_s + self._beat_every_s
                if not self._beat(claim, lease, progress):
                    return Interrupted.LEASE_LOST

    def _beat(self, claim: Claim, lease: _Lease, progress: Progress) -> bool:
        """Renew the lease; False where it is lost, or must be by now."""
        try:
            if not leases.heartbeat(
                self._db, claim, lease_s=self._limits.lease_s, progress=progress
            ):
                return False
            lease.renew()
            self._tell(is_busy=True)
        except DatabaseUnavailable:
            # Nobody else can claim the job either, until the lease is over.
            _log.warning("database.went_away", lease_left_s=round(lease.left_s, 1))
            return lease.left_s > 0
        return True

    def _settle(self, claim: Claim, ending: Outcome | Interrupted, lease: _Lease) -> None:
        """Write the end of the attempt, as often as it takes while the lease may hold."""
        match ending:
            case Analysis():
                self._conclude(claim, ending, lease)
            case Rejected(error=error):
                if self._insist(lambda: leases.reject(self._db, claim, error), lease):
                    _log.info("job.rejected", code=error.code)
            case Tampered(error=error):
                if self._insist(lambda: leases.fail(self._db, claim, error), lease):
                    _log.error("job.failed", code=error.code, detail=error.detail)
            case Failed(error=error):
                self._retry(claim, error, JobState.FAILED, lease)
            case Died(how=how):
                _log.error("inference.died", how=how)
                detail = f"The analysis process did not live to answer: {how}."
                self._retry(claim, _ours("worker-died", detail), JobState.QUARANTINED, lease)
            case Interrupted.LEASE_LOST:
                _log.warning("job.lost")
            case Interrupted.DRAINED:
                if self._insist(lambda: leases.hand_back(self._db, claim), lease):
                    _log.info("job.handed_back")

    def _conclude(self, claim: Claim, analysis: Analysis, lease: _Lease) -> None:
        verdict = decide(analysis.persons, analysis.video, analysis.abstentions, CURRENT)
        if self._insist(lambda: leases.conclude(self._db, claim, analysis, verdict), lease):
            _log.info(
                "job.concluded",
                label=verdict.label,
                persons=len(analysis.persons),
                frames=analysis.video.frames_kept,
                analysis_s=analysis.timings.get("total_s"),
            )

    def _retry(self, claim: Claim, error: JobError, last_state: JobState, lease: _Lease) -> None:
        state = self._insist(
            lambda: leases.retry(
                self._db, claim, error, limits=self._limits, last_state=last_state
            ),
            lease,
        )
        if state is not None:
            _log.warning("job.retried", code=error.code, state=state)

    def _insist(self, write: Callable[[], T], lease: _Lease) -> T | None:
        """Write, again and again while the database is away; None once the lease is over."""
        wait_s = BACKOFF_S[0]
        while True:
            try:
                return write()
            except DatabaseUnavailable:
                _log.warning("database.went_away", lease_left_s=round(lease.left_s, 1))
                if lease.left_s <= 0:
                    return None
                time.sleep(min(wait_s, max(lease.left_s, 0)))
                wait_s *= 2


def _ours(code: str, detail: str) -> JobError:
    return JobError(code=code, detail=detail, actor=Actor.OPERATOR)
