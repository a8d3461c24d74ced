"""Which versions of networks were promoted, and which of them is current?"""

from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.db.session import now
from app.db.tables import ModelChangeRow, ModelVersionRow

PROMOTER = 0x6465657070  # the advisory lock of whoever writes the history; "deepp" in ASCII


def be_the_only_writer(session: Session) -> None:
    """Keep every other writer of the history waiting until the transaction ends."""
    if session.get_bind().dialect.name != "sqlite":  # there one writes at a time anyway
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PROMOTER})


def find(session: Session, *, name: str, version: str) -> ModelVersionRow | None:
    """Return a version that was promoted once."""
    return session.get(ModelVersionRow, (name, version))


def current(session: Session) -> Sequence[ModelVersionRow]:
    """Return the promoted versions that are current, by name; none for one that came along."""
    newest = select(func.max(ModelChangeRow.id)).group_by(ModelChangeRow.name)
    return session.scalars(
        select(ModelVersionRow)
        .join(
            ModelChangeRow,
            (ModelChangeRow.name == ModelVersionRow.name)
            & (ModelChangeRow.version == ModelVersionRow.version),
        )
        .where(ModelChangeRow.id.in_(newest))
        .order_by(ModelVersionRow.name)
    ).all()


def last_change(session: Session, name: str) -> ModelChangeRow | None:
    """Return the step that made the present version current; None where none was ever promoted."""
    return session.scalar(
        select(ModelChangeRow)
        .where(ModelChangeRow.name == name)
        .order_by(ModelChangeRow.id.desc())
        .limit(1)
    )


def record(
    session: Session,
    *,
    name: str,
    version: str | None,
    before: int | None,
    actor: str,
    note: str,
) -> ModelChangeRow:
    """
    Add a step to the history, which makes `version` current.

    Args:
        version: None for the network that comes with the program.
        before: the step that a rollback will go back to; None: to what comes with the program.
    """
    row = ModelChangeRow(
        name=name, version=version, before=before, at=now(session), actor=actor, note=note
    )
    session.add(row)
    session.flush()
    return row


def listed(session: Session) -> Sequence[ModelVersionRow]:
    """Return every version that was promoted once, by name, the oldest first."""
    return session.scalars(
        select(ModelVersionRow).order_by(
            ModelVersionRow.name, ModelVersionRow.created_at, ModelVersionRow.version
        )
    ).all()


def history(session: Session) -> Sequence[ModelChangeRow]:
    """Return every step, the oldest first."""
    return session.scalars(select(ModelChangeRow).order_by(ModelChangeRow.id)).all()
