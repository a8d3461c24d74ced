"""Which workers were heard of?"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.tables import WorkerRow


def seen_since(session: Session, moment: datetime) -> Sequence[WorkerRow]:
    """Return the workers that were heard of after `moment`."""
    return session.scalars(
        select(WorkerRow).where(WorkerRow.last_seen_at > moment).order_by(WorkerRow.id)
    ).all()


def count_seen_since(session: Session, moment: datetime) -> int:
    """Count the workers that were heard of after `moment`."""
    return (
        session.scalar(
            select(func.count()).select_from(WorkerRow).where(WorkerRow.last_seen_at > moment)
        )
        or 0
    )


def remove(session: Session, worker: str) -> None:
    """Forget a worker."""
    session.execute(delete(WorkerRow).where(WorkerRow.id == worker))


def remove_unseen_since(session: Session, moment: datetime) -> None:
    """Forget workers that died without a word."""
    session.execute(delete(WorkerRow).where(WorkerRow.last_seen_at <= moment))
