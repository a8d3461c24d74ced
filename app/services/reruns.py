"""What may a caller do with reruns? Start one, and see what it changed."""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session
from ulid import ULID

from app import log
from app.db import jobs as job_rows
from app.db import reruns as rerun_rows
from app.db.records import provenance_from_json
from app.db.session import Database
from app.db.tables import JobRow, RerunRow, VerdictRow
from app.domain.job import JobState, Priority
from app.domain.media import StoredBlob
from app.domain.policy import PointName
from app.domain.rerun import Compared, Judgement, RerunReport, RerunWish
from app.domain.verdict import Label
from app.errors import NotFound
from app.queue import Bell
from app.services.jobs import JOB_ID
from app.services.leasing import RING_BATCH
from app.storage import BlobStore

_log = log.get(__name__)


def start(
    db: Database, bell: Bell, store: BlobStore, *, tenant: str, wish: RerunWish
) -> RerunReport:
    """
    Queue a job for each video that the wish names and that is still stored; old ones stay.

    Whatever was named and cannot be analysed again is listed: another tenant's job, one that
    never was, one without a verdict, one whose video is gone.
    """
    with db.reading() as session:
        found, left_out = rerun_rows.candidates(session, tenant=tenant, wish=wish)
    # Before anything is locked: a store may be slow, and a video goes with its last job only.
    stored = {row.id for row in found if store.has(row.blob_key)}
    rerun_id = str(ULID())
    with db.writing() as session:
        rows = rerun_rows.lock_succeeded(session, stored)
        taken = {row.id for row in rows}
        named = wish.job_ids or {row.id for row in found}
        rerun = rerun_rows.insert(
            session,
            rerun_id=rerun_id,
            tenant=tenant,
            unavailable=sorted(named - taken),
            left_out=left_out,
        )
        made = [_insert(session, row, rerun_id) for row in rows]
        report = _report(rerun, {JobState.QUEUED: len(made)} if made else {}, ())
    for job_id in made[:RING_BATCH]:
        if not bell.ring(job_id):
            break
    _log.info("rerun.started", rerun_id=rerun_id, jobs=len(made), left_out=left_out)
    return report


def get(db: Database, *, tenant: str, rerun_id: str) -> RerunReport:
    """
    Return how far a rerun is, and which verdicts it changed.

    Raises:
        NotFound: no such rerun for this tenant.
    """
    if not JOB_ID.fullmatch(rerun_id):
        raise NotFound("no such rerun")
    with db.reading() as session:
        row = rerun_rows.find(session, tenant=tenant, rerun_id=rerun_id)
        if row is None:
            raise NotFound("no such rerun")
        return _report(
            row,
            {JobState(s): n for s, n in rerun_rows.count_by_state(session, rerun_id).items()},
            rerun_rows.judged_twice(session, rerun_id),
        )


def _insert(session: Session, row: JobRow, rerun_id: str) -> str:
    """Queue the video of `row` again; return the id of the new job."""
    job_id = str(ULID())
    job_rows.insert(
        session,
        job_id=job_id,
        tenant=row.tenant,
        blob=StoredBlob(key=row.blob_key, size_bytes=row.size_bytes, sha256=row.sha256),
        ref_id=row.ref_id,
        file_name=row.file_name,
        priority=Priority.BATCH,
        operating_point=None if row.operating_point is None else PointName(row.operating_point),
        rerun=job_rows.Rerun(id=rerun_id, of=row.id),
    )
    return job_id


def _report(
    row: RerunRow,
    jobs_by_state: Mapping[JobState, int],
    twice: Sequence[tuple[JobRow, VerdictRow, JobRow, VerdictRow]],
) -> RerunReport:
    return RerunReport(
        id=row.id,
        tenant=row.tenant,
        created_at=row.created_at,
        jobs_by_state=jobs_by_state,
        compared=tuple(
            Compared(
                job_id=old.id,
                rerun_job_id=new.id,
                before=_judgement(old, before),
                after=_judgement(new, after),
            )
            for old, before, new, after in twice
        ),
        unavailable=tuple(row.unavailable),
        left_out=row.left_out,
    )


def _judgement(job: JobRow, verdict: VerdictRow) -> Judgement:
    assert job.provenance is not None
    provenance = provenance_from_json(job.provenance)
    return Judgement(
        label=Label(verdict.label),
        fake_probability=verdict.fake_probability,
        models={**provenance.models, **provenance.versions},
        policy=verdict.policy,
    )
