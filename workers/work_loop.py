"""
How does a process of ours live from the queue, whatever it does with what it takes?

    reconcile when due -> claim -> work -> again; or wait to be rung for, or for the next look

One loop in one thread. It trusts nothing but the database's answers: a doorbell only makes it look
sooner, a write that changes no row means that the work is no longer its own, and it may be killed
at any line without harm.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from app import log
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.services.leasing import Reconciled
from app.settings import LeaseSettings

BACKOFF_S = (0.5, 10.0)  # first and longest wait for a database that went away
BEAT_AT_MOST_S = 3.0  # cancelled work is dead within five seconds, however long leases are
LOOK_EVERY_S = 0.25  # how long the loop may be deaf to a request to stop

_log = log.get(__name__)

ClaimT = TypeVar("ClaimT")
T = TypeVar("T")


@dataclass(slots=True)
class Lease:
    """When a claim is over for certain, by this machine's steady clock."""

    length_s: float
    over_at_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin now."""
        self.renew()

    def renew(self) -> None:
        """Begin again: the database agreed."""
        self.over_at_s = time.monotonic() + self.length_s

    @property
    def left_s(self) -> float:
        """Seconds until nothing may be written any more."""
        return self.over_at_s - time.monotonic()

    def insist(self, write: Callable[[], T]) -> T | None:
        """Write, again and again while the database is away; None once the lease is over."""
        wait_s = BACKOFF_S[0]
        while True:
            try:
                return write()
            except DatabaseUnavailable:
                _log.warning("database.went_away", lease_left_s=round(self.left_s, 1))
                if self.left_s <= 0:
                    return None
                time.sleep(min(wait_s, max(self.left_s, 0)))
                wait_s *= 2


class WorkLoop(ABC, Generic[ClaimT]):
    """One a process. `run` is its life; the other public methods may be called by any thread."""

    def __init__(self, *, db: Database, limits: LeaseSettings, worker: str) -> None:
        self._db = db
        self._limits = limits
        self._worker = worker
        self._beat_every_s = min(limits.lease_s / 3, BEAT_AT_MOST_S)
        self._reconcile_at_s = 0.0

        self._turn = threading.Condition()
        self._rings = 0  # doorbells heard
        self._answered = 0  # of those, how many the loop has looked for work after
        self._stop_at_s: float | None = None
        self._is_over = False

    def run(self) -> None:
        """
        Take work until `stop`.

        Raises:
            OperatorMustAct: work cannot be done here; the words are in the error.
        """
        try:
            with structlog.contextvars.bound_contextvars(worker=self._worker):
                self._run()
        finally:
            self._end()
            with self._turn:
                self._is_over = True
                self._turn.notify_all()

    def stop(self) -> None:
        """Claim nothing more; let the running work end within the grace, or hand it back."""
        with self._turn:
            if self._stop_at_s is None:
                self._stop_at_s = time.monotonic()
            self._turn.notify_all()

    def ring_and_wait(self) -> None:
        """Have the loop look for work, and wait until it finds none: a busy one hears once."""
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

    @property
    def is_grace_over(self) -> bool:
        """Whether running work has had its time to end since `stop` was called."""
        return (
            self._stop_at_s is not None
            and time.monotonic() >= self._stop_at_s + self._limits.drain_grace_s
        )

    @abstractmethod
    def _make_ready(self) -> bool:
        """Get what work needs; False where told to stop meanwhile."""

    @abstractmethod
    def _reconcile(self) -> Reconciled:
        """Mend what others left behind."""

    @abstractmethod
    def _claim(self) -> ClaimT | None:
        """Take what comes next; None where there is nothing."""

    @abstractmethod
    def _work(self, claim: ClaimT) -> None:
        """Do the work of one claim, to whatever end."""

    def _leave(self) -> None:
        """Tell others that this worker is about to go."""

    def _end(self) -> None:
        """Put away what is left, however the loop ended."""

    def _run(self) -> None:
        backoff_s = BACKOFF_S[0]
        while not self.is_stopping:
            heard = self._rings
            try:
                if not self._make_ready():
                    continue
                self._reconcile_if_due()
                claim = self._claim()
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
            self._leave()
        except DatabaseUnavailable:
            _log.warning("worker.left_unsaid")

    def _reconcile_if_due(self) -> None:
        if time.monotonic() < self._reconcile_at_s:
            return
        self._reconcile_at_s = time.monotonic() + self._limits.reconcile_interval_s
        done = self._reconcile()
        if done.requeued or done.quarantined or done.rung:
            _log.info(
                "queue.reconciled",
                requeued=done.requeued,
                quarantined=done.quarantined,
                rung=done.rung,
            )

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
