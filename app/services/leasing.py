"""
How is work given to one worker at a time, whatever its kind?

A claim is a lease with a token. Every write is made under the row's lock and only while the row
still runs under that very token, by the database's clock; whoever was given up for dead and comes
back finds its token void, writes nothing and is told so.

Each function is one transaction. A commit whose answer was lost may be repeated: a write that
finds itself done already reports success.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from sqlalchemy.orm import InstrumentedAttribute, Session

from app import log
from app.db import leased
from app.db.session import Database, now
from app.db.tables import Leased
from app.domain.job import Actor, JobError, JobState
from app.queue import Bell
from app.settings import LeaseSettings

RECONCILE_BATCH = 100
RING_BATCH = 10  # a ring wakes any idle worker, and a busy one looks again by itself

_log = log.get(__name__)

R = TypeVar("R", bound=Leased)
R_contra = TypeVar("R_contra", bound=Leased, contravariant=True)


class Held(Protocol):
    """What a claim of any kind says of the lease it stands for."""

    @property
    def row_id(self) -> str:
        """What is leased."""
        ...

    @property
    def lease_token(self) -> int:
        """Void once the row's own has moved on."""
        ...


class Enter(Protocol[R_contra]):
    """Moves a locked row to another state, and writes down whatever belongs to that."""

    def __call__(
        self,
        session: Session,
        row: R_contra,
        state: JobState,
        *,
        actor: str,
        note: str = "",
        error: JobError | None = None,
    ) -> None:
        """Raises ValueError where the row may not go there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[R]):
    """A kind of work: where its rows are, which comes first, and how one moves on."""

    noun: str  # what the log calls one
    table: type[R]
    order: Sequence[InstrumentedAttribute[object]]
    enter: Enter[R]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What one look over the queue mended; all zero where all is well."""

    requeued: int = 0  # workers that were given up for dead
    quarantined: int = 0
    rung: int = 0  # doorbells that were lost, or never rung

    def __add__(self, other: "Reconciled") -> "Reconciled":
        """Say what two looks mended, of two kinds of work."""
        return Reconciled(
            requeued=self.requeued + other.requeued,
            quarantined=self.quarantined + other.quarantined,
            rung=self.rung + other.rung,
        )


def take(session: Session, work: Work[R], *, worker: str, lease_s: float) -> R | None:
    """
    Take the row that should run next; None where there is none.

    The attempt is counted here, before anybody looks at what the row is about: a worker that is
    killed by it cannot count it afterwards.
    """
    row = leased.lock_next(session, work.table, work.order)
    if row is None:
        return None
    row.attempt += 1
    row.lease_token += 1
    row.lease_owner = worker
    row.lease_expires_at = now(session) + timedelta(seconds=lease_s)
    work.enter(session, row, JobState.RUNNING, actor=worker, note="claimed")
    return row


def renew(session: Session, work: Work[R], claim: Held, *, lease_s: float) -> R | None:
    """Keep a row for another `lease_s` and return it, locked; None where the claim is void."""
    row = leased.lock(session, work.table, claim.row_id)
    if row is None or not _holds(work, claim, row):
        return None
    row.lease_expires_at = now(session) + timedelta(seconds=lease_s)
    return row


def touch(session: Session, row: Leased) -> None:
    """Have those who watch the row see that it changed."""
    row.version += 1
    row.updated_at = now(session)


def settle(
    db: Database,
    work: Work[R],
    claim: Held,
    state: JobState,
    change: Callable[[Session, R], None],
) -> bool:
    """Have `change` take the row to `state`, unless it is there; False where the claim is void."""
    with db.writing() as session:
        row = leased.lock(session, work.table, claim.row_id)
        if row is None:
            return False
        if _is_done(claim, row, state):
            return True
        if not _holds(work, claim, row):
            return False
        change(session, row)
        return True


def end(db: Database, work: Work[R], claim: Held, state: JobState, error: JobError) -> bool:
    """End the work with an error; False where the claim is void."""

    def change(session: Session, row: R) -> None:
        work.enter(session, row, state, actor=owner(row), note=_note(error), error=error)

    return settle(db, work, claim, state, change)


def hand_back(db: Database, work: Work[R], claim: Held) -> bool:
    """Put a row back as if it had never been taken; False where the claim is void."""

    def change(session: Session, row: R) -> None:
        row.attempt -= 1
        work.enter(session, row, JobState.QUEUED, actor=owner(row), note="handed back")

    return settle(db, work, claim, JobState.QUEUED, change)


def retry(
    db: Database,
    work: Work[R],
    claim: Held,
    error: JobError,
    *,
    limits: LeaseSettings,
    last_state: JobState,
) -> JobState | None:
    """
    Give the row another try after a wait, or end it in `last_state` if it had its last.

    Returns where the row went; None where the claim is void.
    """
    with db.writing() as session:
        row = leased.lock(session, work.table, claim.row_id)
        if row is None:
            return None
        for state in (JobState.QUEUED, last_state):
            if _is_done(claim, row, state):
                return state
        if not _holds(work, claim, row):
            return None
        is_last = row.attempt >= limits.max_attempts
        state = last_state if is_last else JobState.QUEUED
        work.enter(session, row, state, actor=owner(row), note=_note(error), error=error)
        if not is_last:
            wait_s = limits.retry_delay_s * 2 ** (row.attempt - 1)
            row.run_after = now(session) + timedelta(seconds=wait_s)
        return state


def reconcile(db: Database, bell: Bell, work: Work[R], *, limits: LeaseSettings) -> Reconciled:
    """
    Mend what a death left behind; any worker may, and on PostgreSQL one at a time does.

    Rows of workers that were not heard of for a lease go back to the queue, or into quarantine
    once they have taken down `max_attempts` workers. Rows that wait and were not rung for lately
    are rung for again: that is also how a doorbell lost by the broker is made good.
    """
    requeued = quarantined = 0
    with db.writing() as session:
        if not leased.become_reconciler(session):
            return Reconciled()
        for row in leased.lock_expired(session, work.table, limit=RECONCILE_BATCH):
            note = f"{owner(row)} was not heard of in time"
            error = JobError(
                code="worker-died",
                detail=f"its worker died in each of {row.attempt} attempts",
                actor=Actor.OPERATOR,
            )
            is_poison = row.attempt >= limits.max_attempts
            state = JobState.QUARANTINED if is_poison else JobState.QUEUED
            work.enter(session, row, state, actor="reconciler", note=note, error=error)
            if is_poison:
                quarantined += 1
            else:
                # Due for a doorbell at once, in the lines below.
                row.last_published_at = None
                requeued += 1
        session.flush()
        unrung = leased.lock_unrung(
            session, work.table, for_s=limits.republish_after_s, limit=RING_BATCH
        )
        for row in unrung:
            row.last_published_at = now(session)
        waiting = [row.id for row in unrung]
    rung = 0
    for row_id in waiting:  # after the commit: who is rung for must be there to be found
        if not bell.ring(row_id):
            break  # a broker that is down costs a timeout a ring; workers poll meanwhile
        rung += 1
    return Reconciled(requeued=requeued, quarantined=quarantined, rung=rung)


def owner(row: Leased) -> str:
    """Name whoever holds a row."""
    return row.lease_owner or "unknown"


def _holds(work: Work[R], claim: Held, row: R) -> bool:
    """Whether the row is still the claim's to write to."""
    is_held = row.state == JobState.RUNNING.value and row.lease_token == claim.lease_token
    if not is_held:
        _log.info(f"{work.noun}.fenced_off", id=claim.row_id, state=row.state)
    return is_held


def _is_done(claim: Held, row: Leased, state: JobState) -> bool:
    """
    Whether the claim's own write was made already, its commit's answer having been lost.

    The token moves on with each claim, so a row in `state` under this one was put there by this
    claim; or, back in the queue, by the reconciler in its stead, which comes to the same.
    """
    return row.state == state.value and row.lease_token == claim.lease_token


def _note(error: JobError) -> str:
    return f"{error.code}: {error.detail}"
