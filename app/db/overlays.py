"""Which overlays are there, or wanted? One a job, made from its verdict."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import log
from app.db import leased
from app.db.records import error_from_json, error_to_json
from app.db.session import now
from app.db.tables import JobRow, OverlayRow, PersonRow, VerdictRow
from app.domain.job import JobError, JobState
from app.domain.media import StoredBlob
from app.domain.overlay import Overlay, OverlayClaim, OverlayOrder, OverlayPerson

NEXT_FIRST = (OverlayRow.created_at, OverlayRow.id)

_log = log.get(__name__)


def insert(session: Session, job: JobRow, *, lease_token: int) -> OverlayRow:
    """
    Want an overlay of a job; it counts as rung for, since the caller is about to.

    Args:
        lease_token: of the row that was there before, 0 where there was none: whoever still
            believes to hold that one must not be taken for who is given this one.
    """
    moment = now(session)
    row = OverlayRow(
        id=job.id,
        tenant=job.tenant,
        job_version=job.version,
        state=JobState.QUEUED.value,
        version=1,
        created_at=moment,
        updated_at=moment,
        attempt=0,
        run_after=moment,
        last_published_at=moment,
        lease_token=lease_token,
    )
    session.add(row)
    session.flush()
    return row


def enter(
    session: Session,
    row: OverlayRow,
    state: JobState,
    *,
    actor: str,
    note: str = "",
    error: JobError | None = None,
) -> None:
    """
    Move a locked overlay to `state`. Its history is in the log; the row keeps the last error.

    Raises:
        ValueError: no overlay may go from where it is to `state`.
    """
    leased.move(session, row, state)
    row.error = None if error is None else error_to_json(error)
    _log.info("overlay.entered", job_id=row.id, state=row.state, by=actor, note=note)


def find(session: Session, job_id: str) -> OverlayRow | None:
    """Return the overlay of a job; None where nobody wanted one yet."""
    return session.get(OverlayRow, job_id)


def lock(session: Session, job_id: str) -> OverlayRow | None:
    """Return the overlay of a job, and keep everybody else from it."""
    return leased.lock(session, OverlayRow, job_id)


def forget(session: Session, job_id: str) -> str | None:
    """
    Remove the overlay of a job that is removed; return the key of its blob, to be deleted.

    A worker that is making one finds its claim void, and deletes what it stored.
    """
    row = lock(session, job_id)
    if row is None:
        return None
    key = row.blob_key
    session.delete(row)
    return key


def overlay_from_row(row: OverlayRow) -> Overlay:
    """Read how far an overlay is."""
    blob = None
    if row.blob_key is not None:
        assert row.size_bytes is not None
        assert row.sha256 is not None
        blob = StoredBlob(key=row.blob_key, size_bytes=row.size_bytes, sha256=row.sha256)
    return Overlay(
        job_id=row.id,
        state=JobState(row.state),
        blob=blob,
        error=None if row.error is None else error_from_json(row.error),
    )


def claim_from_row(session: Session, row: OverlayRow) -> OverlayClaim | None:
    """Read the right that the row's present lease gives; None where its job has no verdict now."""
    job = session.get_one(JobRow, row.id)
    verdict = session.get(VerdictRow, row.id)
    if verdict is None:
        return None
    persons = session.scalars(
        select(PersonRow).where(PersonRow.job_id == row.id).order_by(PersonRow.position)
    )
    return OverlayClaim(
        job_id=row.id,
        tenant=row.tenant,
        lease_token=row.lease_token,
        attempt=row.attempt,
        blob_key=job.blob_key,
        sha256=job.sha256,
        size_bytes=job.size_bytes,
        order=OverlayOrder(
            persons=tuple(
                OverlayPerson(
                    id=person.id,
                    first_s=person.first_s,
                    last_s=person.last_s,
                    fake_probability=person.fake_probability,
                )
                for person in persons
            ),
            caption=f"{verdict.label.replace('_', ' ')} | policy {verdict.policy}",
        ),
    )
