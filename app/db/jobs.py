"""Which jobs are there, and how does one move on? Rows, their queue, and their history."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, or_, select, text
from sqlalchemy.orm import Session

from app.db.records import error_to_json
from app.db.session import now
from app.db.tables import JobEventRow, JobRow, VerdictRow
from app.domain.job import NEXT, JobError, JobState, Priority, Stage
from app.domain.media import StoredBlob
from app.domain.verdict import Label

RECONCILER = 0x6465657077  # the advisory lock of whoever mends leases; any number of its own
NOTE_CHARS = 255


def insert(
    session: Session,
    *,
    job_id: str,
    tenant: str,
    blob: StoredBlob,
    ref_id: str | None,
    file_name: str | None,
    priority: Priority,
) -> JobRow:
    """Add a queued job; it counts as rung for, since the caller is about to."""
    moment = now(session)
    row = JobRow(
        id=job_id,
        tenant=tenant,
        ref_id=ref_id,
        file_name=file_name,
        priority=priority.value,
        priority_rank=priority.rank,
        state=JobState.QUEUED.value,
        stage=Stage.QUEUED.value,
        fraction=0.0,
        version=1,
        created_at=moment,
        updated_at=moment,
        blob_key=blob.key,
        sha256=blob.sha256,
        size_bytes=blob.size_bytes,
        attempt=0,
        run_after=moment,
        last_published_at=moment,
        lease_token=0,
    )
    session.add(row)
    session.flush()
    _record(session, row, at=moment, actor="tenant", note="submitted")
    return row


def enter(
    session: Session,
    row: JobRow,
    state: JobState,
    *,
    actor: str,
    note: str = "",
    error: JobError | None = None,
) -> None:
    """
    Move a locked job to `state`, and write that into its history.

    Raises:
        ValueError: no job may go from where it is to `state`.
    """
    if state not in NEXT[JobState(row.state)]:
        raise ValueError(f"a job that is {row.state} cannot become {state}")
    moment = now(session)
    row.state = state.value
    row.version += 1
    row.updated_at = moment
    if state is not JobState.RUNNING:
        row.lease_owner = row.lease_expires_at = None
    if state is JobState.QUEUED:
        row.stage, row.fraction = Stage.QUEUED.value, 0.0
        row.run_after = moment
    elif state.is_terminal:
        row.stage = Stage.DONE.value
        row.finished_at = row.finished_at or moment
    if state is JobState.SUCCEEDED:
        row.fraction = 1.0
    if error is not None:
        row.error = error_to_json(error)
    _record(session, row, at=moment, actor=actor, note=note)


def _record(session: Session, row: JobRow, *, at: datetime, actor: str, note: str) -> None:
    session.add(
        JobEventRow(
            job_id=row.id,
            at=at,
            state=row.state,
            attempt=row.attempt,
            lease_token=row.lease_token,
            actor=actor,
            note=_storable(note)[:NOTE_CHARS],
        )
    )


def _storable(words: str) -> str:
    """Replace what PostgreSQL cannot store; a decoder's words may quote a hostile file."""
    return words.replace("\0", "?").encode(errors="replace").decode()


def find(session: Session, *, tenant: str, job_id: str) -> JobRow | None:
    """Return a job of `tenant`; None also for what others own and what was purged."""
    return session.scalar(_owned(tenant, job_id))


def lock_owned(session: Session, *, tenant: str, job_id: str) -> JobRow | None:
    """Do as `find`, and keep everybody else from the row until the transaction ends."""
    return session.scalar(_owned(tenant, job_id).with_for_update())


def _owned(tenant: str, job_id: str) -> Select[JobRow]:
    return select(JobRow).where(
        JobRow.id == job_id, JobRow.tenant == tenant, JobRow.state != JobState.PURGED.value
    )


def lock(session: Session, job_id: str) -> JobRow | None:
    """Return a job whoever owns it, and keep everybody else from the row."""
    return session.scalar(select(JobRow).where(JobRow.id == job_id).with_for_update())


def lock_next(session: Session) -> JobRow | None:
    """Return the job that should run next, passing over those that another worker is taking."""
    return session.scalar(
        select(JobRow)
        .where(JobRow.state == JobState.QUEUED.value, JobRow.run_after <= now(session))
        .order_by(JobRow.priority_rank, JobRow.created_at, JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def lock_expired(session: Session, *, limit: int) -> Sequence[JobRow]:
    """Return running jobs whose worker was not heard of in time."""
    return session.scalars(
        select(JobRow)
        .where(JobRow.state == JobState.RUNNING.value, JobRow.lease_expires_at <= now(session))
        .order_by(JobRow.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()


def lock_unrung(session: Session, *, for_s: float, limit: int) -> Sequence[JobRow]:
    """Return jobs that could run and were never rung for, or not in `for_s`; the longest first."""
    moment = now(session)
    return session.scalars(
        select(JobRow)
        .where(
            JobRow.state == JobState.QUEUED.value,
            JobRow.run_after <= moment,
            or_(
                JobRow.last_published_at.is_(None),
                JobRow.last_published_at <= moment - timedelta(seconds=for_s),
            ),
        )
        .order_by(JobRow.last_published_at.asc().nulls_first())
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()


def become_reconciler(session: Session) -> bool:
    """Be the only one who mends leases until the transaction ends; False if somebody else is."""
    if session.get_bind().dialect.name == "sqlite":
        return True  # the only writer anyway
    taken = session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": RECONCILER})
    return bool(taken)


def page(
    session: Session,
    *,
    tenant: str,
    state: JobState | None,
    label: Label | None,
    before: str | None,
    limit: int,
) -> Sequence[tuple[JobRow, VerdictRow | None]]:
    """Return a tenant's jobs, newest first, that are older than the job `before`."""
    query = (
        select(JobRow, VerdictRow)
        .join(VerdictRow, VerdictRow.job_id == JobRow.id, isouter=label is None)
        .where(JobRow.tenant == tenant, JobRow.state != JobState.PURGED.value)
        .order_by(JobRow.id.desc())
        .limit(limit)
    )
    if state is not None:
        query = query.where(JobRow.state == state.value)
    if label is not None:
        query = query.where(VerdictRow.label == label.value)
    if before is not None:
        query = query.where(JobRow.id < before)
    return [(job, verdict) for job, verdict in session.execute(query)]


def forget(session: Session, row: JobRow) -> None:
    """Clear what a job holds of its tenant and its video; the row stays as a tombstone."""
    session.execute(delete(JobEventRow).where(JobEventRow.job_id == row.id))
    row.ref_id = row.file_name = None
    row.error = row.video = row.provenance = row.timings = row.abstentions = None


def count_by_state(session: Session) -> dict[str, int]:
    """Count jobs; every state has its number."""
    found = dict(session.execute(select(JobRow.state, func.count()).group_by(JobRow.state)).all())
    return {state.value: found.get(state.value, 0) for state in JobState}


def oldest_queued_at(session: Session) -> dict[str, datetime]:
    """Return when the longest waiting job was made, by priority; only where one waits."""
    return dict(
        session.execute(
            select(JobRow.priority, func.min(JobRow.created_at))
            .where(JobRow.state == JobState.QUEUED.value)
            .group_by(JobRow.priority)
        ).all()
    )


def count_expired(session: Session) -> int:
    """Count running jobs whose lease is over: more than a few, for long, and nobody mends."""
    return (
        session.scalar(
            select(func.count())
            .select_from(JobRow)
            .where(JobRow.state == JobState.RUNNING.value, JobRow.lease_expires_at <= now(session))
        )
        or 0
    )
