"""
How does a caller come by the overlay of a job, and a worker by the work of making it?

Nobody makes one unasked: it takes as long as the analysis, and most are never looked at. The first
request wants it and rings; a worker makes it under the same leases as jobs, and it is kept until
the job is removed or its verdict changes.
"""

from datetime import timedelta

from sqlalchemy.orm import Session

from app import log
from app.db import jobs as job_rows
from app.db import overlays as overlay_rows
from app.db.session import Database, now
from app.db.tables import JobRow, OverlayRow
from app.domain.job import JobError, JobState
from app.domain.media import StoredBlob
from app.domain.overlay import Overlay, OverlayClaim
from app.errors import NotFound
from app.queue import Bell
from app.services import leasing
from app.services.jobs import JOB_ID
from app.services.leasing import Reconciled, Work
from app.settings import LeaseSettings
from app.storage import BlobStore

OVERLAYS = Work(
    noun="overlay", table=OverlayRow, order=overlay_rows.NEXT_FIRST, enter=overlay_rows.enter
)
TRY_AGAIN_AFTER_S = 60.0
"""One that could not be made is tried again on the next request after so long."""

_log = log.get(__name__)


def want(db: Database, bell: Bell, store: BlobStore, *, tenant: str, job_id: str) -> Overlay:
    """
    Return the overlay of a job, or how far it is; the first request has it made.

    One that was made of an earlier verdict is made anew, and so is, after a minute, one that could
    not be made.

    Raises:
        NotFound: no such job for this tenant, it has no verdict, or its video is gone.
    """
    if not JOB_ID.fullmatch(job_id):
        raise NotFound("no such job")
    # Asked again and again, by players that fetch ranges, too: most calls lock nothing.
    with db.reading() as session:
        job = job_rows.find(session, tenant=tenant, job_id=job_id)
        row = overlay_rows.find(session, job_id)
        if job is not None and row is not None and not _is_over(session, row, job):
            return overlay_rows.overlay_from_row(row)
    stale: str | None = None
    with db.writing() as session:
        job = job_rows.lock_owned(session, tenant=tenant, job_id=job_id)
        if job is None:
            raise NotFound("no such job")
        if job.state != JobState.SUCCEEDED.value:
            raise NotFound("the job has no overlay; it has not succeeded")
        row = overlay_rows.lock(session, job_id)
        is_new = row is None or _is_over(session, row, job)
        if is_new:
            if not store.has(job.blob_key):
                raise NotFound("the job's video is not stored any more")
            token = 0
            if row is not None:
                stale, token = row.blob_key, row.lease_token
                session.delete(row)
                session.flush()
            row = overlay_rows.insert(session, job, lease_token=token)
        assert row is not None
        overlay = overlay_rows.overlay_from_row(row)
    if stale is not None:
        store.delete(stale)  # after the commit: nothing names it any more
    if is_new:
        was_rung = bell.ring(job_id)
        _log.info("overlay.wanted", job_id=job_id, was_rung=was_rung)
    return overlay


def _is_over(session: Session, row: OverlayRow, job: JobRow) -> bool:
    """Whether what is there counts no more: of another verdict, or a failure a while ago."""
    state = JobState(row.state)
    if not state.is_terminal:
        return False
    if state is JobState.SUCCEEDED:
        return row.job_version != job.version
    assert row.finished_at is not None
    return now(session) - row.finished_at > timedelta(seconds=TRY_AGAIN_AFTER_S)


def claim(db: Database, *, worker: str, limits: LeaseSettings) -> OverlayClaim | None:
    """Take the overlay that should be made next; None where there is none."""
    with db.writing() as session:
        row = leasing.take(session, OVERLAYS, worker=worker, lease_s=limits.lease_s)
        if row is None:
            return None
        taken = overlay_rows.claim_from_row(session, row)
        if taken is None:
            session.delete(row)  # its job was removed meanwhile
        return taken


def heartbeat(db: Database, claim: OverlayClaim, *, lease_s: float) -> bool:
    """Keep the work for another `lease_s`; False where it is not the claim's any more."""
    with db.writing() as session:
        return leasing.renew(session, OVERLAYS, claim, lease_s=lease_s) is not None


def conclude(db: Database, claim: OverlayClaim, blob: StoredBlob) -> bool:
    """Say where the overlay is stored; False where the claim is void, and nothing names it."""

    def change(session: Session, row: OverlayRow) -> None:
        row.blob_key, row.size_bytes, row.sha256 = blob.key, blob.size_bytes, blob.sha256
        overlay_rows.enter(session, row, JobState.SUCCEEDED, actor=leasing.owner(row))

    return leasing.settle(db, OVERLAYS, claim, JobState.SUCCEEDED, change)


def retry(
    db: Database, claim: OverlayClaim, error: JobError, *, limits: LeaseSettings
) -> JobState | None:
    """Give it another try after a wait, or end it as failed; None where the claim is void."""
    return leasing.retry(db, OVERLAYS, claim, error, limits=limits, last_state=JobState.FAILED)


def fail(db: Database, claim: OverlayClaim, error: JobError) -> bool:
    """End it without another try; False where the claim is void."""
    return leasing.end(db, OVERLAYS, claim, JobState.FAILED, error)


def hand_back(db: Database, claim: OverlayClaim) -> bool:
    """Put it back as if it had never been taken; False where the claim is void."""
    return leasing.hand_back(db, OVERLAYS, claim)


def reconcile(db: Database, bell: Bell, *, limits: LeaseSettings) -> Reconciled:
    """Mend what a death left behind; see `app.services.leasing.reconcile`."""
    return leasing.reconcile(db, bell, OVERLAYS, limits=limits)
