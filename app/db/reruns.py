"""Which stored videos were analysed again, and what did that change?"""

from collections.abc import Collection, Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from app.db.session import now
from app.db.tables import JobRow, RerunRow, VerdictRow
from app.domain.job import JobState
from app.domain.rerun import RerunWish


def insert(
    session: Session, *, rerun_id: str, tenant: str, unavailable: Sequence[str], left_out: int
) -> RerunRow:
    """Add a rerun; its jobs name it."""
    row = RerunRow(
        id=rerun_id,
        tenant=tenant,
        created_at=now(session),
        unavailable=list(unavailable),
        left_out=left_out,
    )
    session.add(row)
    session.flush()
    return row


def find(session: Session, *, tenant: str, rerun_id: str) -> RerunRow | None:
    """Return a rerun of `tenant`; None also for what others own."""
    return session.scalar(
        select(RerunRow).where(RerunRow.id == rerun_id, RerunRow.tenant == tenant)
    )


def candidates(session: Session, *, tenant: str, wish: RerunWish) -> tuple[Sequence[JobRow], int]:
    """Return the newest succeeded jobs that the wish names, and how many more there are."""
    wanted = _named(tenant, wish)
    rows = session.scalars(wanted.order_by(JobRow.id.desc()).limit(wish.limit)).all()
    found = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
    return rows, found - len(rows)


def _named(tenant: str, wish: RerunWish) -> Select[JobRow]:
    query = select(JobRow).where(JobRow.tenant == tenant, JobRow.state == JobState.SUCCEEDED.value)
    if wish.job_ids:
        return query.where(JobRow.id.in_(wish.job_ids))
    # The job that a rerun was made from has the same video; both would be analysed.
    query = query.where(JobRow.rerun_of.is_(None))
    if wish.since is not None:
        query = query.where(JobRow.created_at >= wish.since)
    if wish.until is not None:
        query = query.where(JobRow.created_at < wish.until)
    if wish.labels:
        query = query.join(VerdictRow, VerdictRow.job_id == JobRow.id).where(
            VerdictRow.label.in_([label.value for label in wish.labels])
        )
    return query


def lock_succeeded(session: Session, job_ids: Collection[str]) -> Sequence[JobRow]:
    """Return those that are still succeeded, oldest first, and keep everybody else from them."""
    return session.scalars(
        select(JobRow)
        .where(JobRow.id.in_(job_ids), JobRow.state == JobState.SUCCEEDED.value)
        .order_by(JobRow.id)  # whoever locks several does so in this order
        .with_for_update()
    ).all()


def count_by_state(session: Session, rerun_id: str) -> dict[str, int]:
    """Count the jobs of a rerun; only states that some are in, and none that was removed."""
    return dict(
        session.execute(
            select(JobRow.state, func.count())
            .where(JobRow.rerun_id == rerun_id)
            .group_by(JobRow.state)
        ).all()
    )


def judged_twice(
    session: Session, rerun_id: str
) -> Sequence[tuple[JobRow, VerdictRow, JobRow, VerdictRow]]:
    """Return old job, old verdict, new job, new verdict wherever there are both."""
    old_job, old_verdict = aliased(JobRow), aliased(VerdictRow)
    return [
        (old, before, new, after)
        for old, before, new, after in session.execute(
            select(old_job, old_verdict, JobRow, VerdictRow)
            .join(VerdictRow, VerdictRow.job_id == JobRow.id)
            .join(old_job, old_job.id == JobRow.rerun_of)
            .join(old_verdict, old_verdict.job_id == old_job.id)
            .where(JobRow.rerun_id == rerun_id)
            .order_by(old_job.id)
        )
    ]
