"""Which workers are alive, and can they work? They say so themselves; the gateway asks here."""

from datetime import timedelta

from app.db import workers as worker_rows
from app.db.records import condition_to_json, worker_from_row
from app.db.session import Database, now
from app.db.tables import WorkerRow
from app.domain.worker import LiveWorker, WorkerCondition

FORGET_AFTER = timedelta(days=1)


def announce(db: Database, *, worker: str, code: str, condition: WorkerCondition) -> None:
    """Say that a worker is there and what it can do; forget those that died long ago."""
    with db.writing() as session:
        moment = now(session)
        worker_rows.remove_unseen_since(session, moment - FORGET_AFTER)
        session.merge(
            WorkerRow(
                id=worker,
                code=code,
                started_at=moment,
                last_seen_at=moment,
                is_busy=False,
                condition=condition_to_json(condition),
            )
        )


def seen(db: Database, *, worker: str, is_busy: bool) -> None:
    """Say that a worker is still there."""
    with db.writing() as session:
        row = session.get(WorkerRow, worker)
        if row is not None:
            row.last_seen_at = now(session)
            row.is_busy = is_busy


def leave(db: Database, *, worker: str) -> None:
    """Say that a worker is about to go."""
    with db.writing() as session:
        worker_rows.remove(session, worker)


def alive(db: Database, *, within_s: float) -> tuple[LiveWorker, ...]:
    """Return the workers that were heard of within `within_s`."""
    with db.reading() as session:
        since = now(session) - timedelta(seconds=within_s)
        return tuple(worker_from_row(row) for row in worker_rows.seen_since(session, since))
