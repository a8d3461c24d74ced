"""Which row may one worker take, and whose is it? The queries that all kinds of work share."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import ColumnElement, Select, func, or_, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.db.session import now
from app.db.tables import Leased
from app.domain.job import NEXT, JobState

RECONCILER = 0x6465657077  # the advisory lock of whoever mends leases; any number of its own

R = TypeVar("R", bound=Leased)


def find(session: Session, table: type[R], *, tenant: str, row_id: str) -> R | None:
    """Return a row of `tenant`; None also for what others own and what was purged."""
    return session.scalar(_owned(table, tenant, row_id))


def lock_owned(session: Session, table: type[R], *, tenant: str, row_id: str) -> R | None:
    """Do as `find`, and keep everybody else from the row until the transaction ends."""
    return session.scalar(_owned(table, tenant, row_id).with_for_update())


def _owned(table: type[R], tenant: str, row_id: str) -> Select[R]:
    return select(table).where(
        table.id == row_id, table.tenant == tenant, table.state != JobState.PURGED.value
    )


def lock(session: Session, table: type[R], row_id: str) -> R | None:
    """Return a row whoever owns it, and keep everybody else from it."""
    return session.scalar(select(table).where(table.id == row_id).with_for_update())


def lock_next(
    session: Session, table: type[R], order: Sequence[InstrumentedAttribute[object]]
) -> R | None:
    """Return the row that should run next, passing over those that another worker is taking."""
    return session.scalar(
        select(table)
        .where(table.state == JobState.QUEUED.value, table.run_after <= now(session))
        .order_by(*order)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def lock_expired(session: Session, table: type[R], *, limit: int) -> Sequence[R]:
    """Return running rows whose worker was not heard of in time."""
    return session.scalars(
        select(table)
        .where(_is_expired(session, table))
        .order_by(table.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()


def lock_unrung(session: Session, table: type[R], *, for_s: float, limit: int) -> Sequence[R]:
    """Return rows that could run and were never rung for, or not in `for_s`; the longest first."""
    moment = now(session)
    return session.scalars(
        select(table)
        .where(
            table.state == JobState.QUEUED.value,
            table.run_after <= moment,
            or_(
                table.last_published_at.is_(None),
                table.last_published_at <= moment - timedelta(seconds=for_s),
            ),
        )
        .order_by(table.last_published_at.asc().nulls_first())
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()


def count_expired(session: Session, table: type[R]) -> int:
    """Count running rows whose lease is over: more than a few, for long, and nobody mends."""
    found = session.scalar(
        select(func.count()).select_from(table).where(_is_expired(session, table))
    )
    return found or 0


def become_reconciler(session: Session) -> bool:
    """Be the only one who mends leases until the transaction ends; False if somebody else is."""
    if session.get_bind().dialect.name == "sqlite":
        return True  # the only writer anyway
    taken = session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": RECONCILER})
    return bool(taken)


def move(session: Session, row: Leased, state: JobState) -> None:
    """
    Bring what a row's state says of its lease and its moments in line with the new state.

    Raises:
        ValueError: nothing may go from where the row is to `state`.
    """
    if state not in NEXT[JobState(row.state)]:
        raise ValueError(f"what is {row.state} cannot become {state}")
    moment = now(session)
    row.state = state.value
    row.version += 1
    row.updated_at = moment
    if state is not JobState.RUNNING:
        row.lease_owner = row.lease_expires_at = None
    if state is JobState.QUEUED:
        row.run_after = moment
    elif state.is_terminal:
        row.finished_at = row.finished_at or moment


def storable(words: str) -> str:
    """Replace what PostgreSQL cannot store; a decoder's words may quote a hostile file."""
    return words.replace("\0", "?").encode(errors="replace").decode()


def _is_expired(session: Session, table: type[R]) -> ColumnElement[bool]:
    return (table.state == JobState.RUNNING.value) & (table.lease_expires_at <= now(session))
