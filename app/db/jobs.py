"""Which jobs are there, and how does one move on? Rows, their queue, and their history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import Session

from app.db import leased
from app.db.records import error_to_json
from app.db.session import now
from app.db.tables import JobEventRow, JobRow, VerdictRow
from app.domain.job import JobError, JobState, Priority, Stage
from app.domain.media import StoredBlob
from app.domain.policy import PointName
from app.domain.verdict import Label

NEXT_FIRST = (JobRow.priority_rank, JobRow.created_at, JobRow.id)
NOTE_CHARS = 255
WITHOUT_VIDEO = (JobState.CANCELLED.value, JobState.PURGED.value)
"""A job in these states has no more use for its video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """Why a job has the video of another one."""

    id: str  # of the rerun
    of: str  # the job that was made from the same video


def insert(
    session: Session,
    *,
    job_id: str,
    tenant: str,
    blob: StoredBlob,
    ref_id: str | None,
    file_name: str | None,
    priority: Priority,
    operating_point: PointName | None = None,
    rerun: Rerun | None = None,
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
        rerun_id=None if rerun is None else rerun.id,
        rerun_of=None if rerun is None else rerun.of,
        operating_point=None if operating_point is None else operating_point.value,
    )
    session.add(row)
    session.flush()
    note = "submitted" if rerun is None else f"to analyse {rerun.of} again"
    _record(session, row, at=moment, actor="tenant", note=note)
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
    leased.move(session, row, state)
    if state is JobState.QUEUED:
        row.stage, row.fraction = Stage.QUEUED.value, 0.0
    elif state.is_terminal:
        row.stage = Stage.DONE.value
    if state is JobState.SUCCEEDED:
        row.fraction = 1.0
    if error is not None and state.is_terminal:
        row.error = error_to_json(error)
    _record(session, row, at=row.updated_at, actor=actor, note=note)


def note_redecided(session: Session, row: JobRow, *, actor: str, note: str) -> None:
    """Have those who watch a locked job see that its verdict is another; it stays succeeded."""
    row.version += 1
    row.updated_at = now(session)
    _record(session, row, at=row.updated_at, actor=actor, note=note)


def count_succeeded(session: Session, *, tenant: str | None) -> int:
    """Count jobs with a verdict: a tenant's, or everybody's."""
    query = select(func.count()).select_from(JobRow).where(_is_succeeded(tenant))
    return session.scalar(query) or 0


def succeeded(session: Session, *, tenant: str | None, after: str, limit: int) -> Sequence[JobRow]:
    """Return jobs with a verdict, the oldest first, from behind the id `after`."""
    return session.scalars(
        select(JobRow)
        .where(_is_succeeded(tenant), JobRow.id > after)
        .order_by(JobRow.id)
        .limit(limit)
    ).all()


def lock_versions(session: Session, versions: Mapping[str, int]) -> Sequence[JobRow]:
    """Lock those of these succeeded jobs that are still of the version given, by id."""
    rows = session.scalars(
        select(JobRow)
        .where(JobRow.id.in_(versions), JobRow.state == JobState.SUCCEEDED.value)
        .order_by(JobRow.id)  # whoever locks several does so in this order
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    return [row for row in rows if row.version == versions[row.id]]


def _is_succeeded(tenant: str | None) -> ColumnElement[bool]:
    state = JobRow.state == JobState.SUCCEEDED.value
    return state if tenant is None else and_(state, JobRow.tenant == tenant)


def _record(session: Session, row: JobRow, *, at: datetime, actor: str, note: str) -> None:
    session.add(
        JobEventRow(
            job_id=row.id,
            at=at,
            state=row.state,
            attempt=row.attempt,
            lease_token=row.lease_token,
            actor=actor,
            note=leased.storable(note)[:NOTE_CHARS],
        )
    )


def find(session: Session, *, tenant: str, job_id: str) -> JobRow | None:
    """Return a job of `tenant`; None also for what others own and what was purged."""
    return leased.find(session, JobRow, tenant=tenant, row_id=job_id)


def lock_owned(session: Session, *, tenant: str, job_id: str) -> JobRow | None:
    """Do as `find`, and keep everybody else from the row until the transaction ends."""
    return leased.lock_owned(session, JobRow, tenant=tenant, row_id=job_id)


def lock_owned_with_sharers(session: Session, *, tenant: str, job_id: str) -> JobRow | None:
    """Do as `lock_owned`, and lock every other job of the same video, too."""
    row = find(session, tenant=tenant, job_id=job_id)
    if row is None:
        return None
    session.scalars(
        select(JobRow)
        .where(JobRow.blob_key == row.blob_key)
        .order_by(JobRow.id)  # whoever locks several does so in this order
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    return None if row.state == JobState.PURGED.value else row


def is_video_shared(session: Session, row: JobRow) -> bool:
    """Whether another job needs the video of a row that `lock_owned_with_sharers` gave."""
    # A statement of its own: one that waited for locks does not see what was added meanwhile.
    others = select(JobRow.id).where(
        JobRow.blob_key == row.blob_key,
        JobRow.id != row.id,
        JobRow.state.not_in(WITHOUT_VIDEO),
    )
    return session.scalar(others.limit(1)) is not None


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
    row.ref_id = row.file_name = row.rerun_id = row.rerun_of = None
    row.error = row.video = row.origin = row.provenance = row.timings = row.abstentions = None


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
