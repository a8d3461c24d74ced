"""What may a caller do with jobs? One function a verb, each sees one tenant's jobs only."""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta

from ulid import ULID

from app import log
from app.db import jobs as job_rows
from app.db import leased
from app.db import overlays as overlay_rows
from app.db import verdicts as verdict_rows
from app.db import workers as worker_rows
from app.db.records import job_from_row
from app.db.session import Database, now
from app.db.tables import JobRow
from app.domain import timeline as timelines
from app.domain.evidence import Artifact, ArtifactKind
from app.domain.job import Job, JobState, Priority
from app.domain.media import StoredBlob
from app.domain.policy import CURRENT, PointName
from app.domain.report import JobPage, JobReport, JobSummary, QueueFigures
from app.domain.timeline import TimelinePoint
from app.domain.verdict import Label
from app.errors import BadRequest, NotFound
from app.queue import Bell
from app.storage import BlobStore

TEXT_CHARS = 255
WORKER_SEEN_S = 60
JOB_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")  # a ULID as we spell it
PART_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")  # of a person or a picture

_log = log.get(__name__)


def submit(
    db: Database,
    bell: Bell,
    *,
    tenant: str,
    blob: StoredBlob,
    ref_id: str | None,
    file_name: str | None,
    priority: Priority,
    operating_point: PointName | None = None,
) -> Job:
    """
    Record a job of `blob` and ring for a worker once the row is committed.

    Raises:
        BadRequest: `ref_id` or `file_name` is longer than 255 characters, or no text.
    """
    _check_text("ref_id", ref_id)
    _check_text("file_name", file_name)
    with db.writing() as session:
        row = job_rows.insert(
            session,
            job_id=str(ULID()),
            tenant=tenant,
            blob=blob,
            ref_id=ref_id,
            file_name=file_name,
            priority=priority,
            operating_point=operating_point,
        )
        job = job_from_row(row)
    was_rung = bell.ring(job.id)
    _log.info("job.submitted", job_id=job.id, size_bytes=job.size_bytes, was_rung=was_rung)
    return job


def get(db: Database, *, tenant: str, job_id: str) -> JobReport:
    """
    Return a job and what it came to.

    Raises:
        NotFound: unknown, malformed, purged or another tenant's; the four look the same.
    """
    _check_job_id(job_id)
    with db.reading() as session:
        row = job_rows.find(session, tenant=tenant, job_id=job_id)
        if row is None:
            raise _no_job()
        is_judged = row.state == JobState.SUCCEEDED.value
        return JobReport(
            job=job_from_row(row),
            judged=verdict_rows.load(session, row) if is_judged else None,
        )


def page(
    db: Database,
    *,
    tenant: str,
    state: JobState | None,
    label: Label | None,
    cursor: str | None,
    limit: int,
) -> JobPage:
    """
    Return up to `limit` of the tenant's jobs, newest first, from where `cursor` left off.

    Raises:
        BadRequest: the cursor is not one that a page gave.
    """
    if cursor is not None and not JOB_ID.fullmatch(cursor):
        raise BadRequest("want the `next_cursor` of an earlier page as the cursor")
    with db.reading() as session:
        found = job_rows.page(
            session, tenant=tenant, state=state, label=label, before=cursor, limit=limit + 1
        )
        items = tuple(
            JobSummary(
                job=job_from_row(row),
                label=None if verdict is None else verdict.label,
                fake_probability=None if verdict is None else verdict.fake_probability,
            )
            for row, verdict in found[:limit]
        )
    return JobPage(items=items, next_cursor=items[-1].job.id if len(found) > limit else None)


def timeline(
    db: Database, *, tenant: str, job_id: str, person_id: str | None
) -> tuple[TimelinePoint, ...]:
    """
    Return what was seen of everybody, or of one person, at which moment.

    Raises:
        NotFound: no such job or person for this tenant, or the job has no verdict.
    """
    judged = get(db, tenant=tenant, job_id=job_id).judged
    if judged is None:
        raise NotFound("the job has no timeline; it has not succeeded")
    persons = [p for p in judged.persons if person_id in (None, p.id)]
    if person_id is not None and not persons:
        raise NotFound("no such person in this job")
    return timelines.merge(persons, judged.artifacts, CURRENT)


def artifact(
    db: Database, *, tenant: str, job_id: str, artifact_id: str, kind: ArtifactKind
) -> Artifact:
    """
    Return a picture with its bytes.

    Raises:
        NotFound: no such job or picture for this tenant.
    """
    _check_job_id(job_id)
    if not PART_ID.fullmatch(artifact_id):
        raise NotFound("no such picture in this job")
    with db.reading() as session:
        if job_rows.find(session, tenant=tenant, job_id=job_id) is None:
            raise _no_job()
        found = verdict_rows.artifact(session, job_id=job_id, artifact_id=artifact_id, kind=kind)
    if found is None:
        raise NotFound("no such picture in this job")
    return found


def pictures(
    db: Database, *, tenant: str, job_id: str, kinds: Collection[ArtifactKind]
) -> Mapping[str, bytes]:
    """
    Return the PNG of every picture of these kinds, by its id.

    Raises:
        NotFound: no such job for this tenant.
    """
    _check_job_id(job_id)
    with db.reading() as session:
        if job_rows.find(session, tenant=tenant, job_id=job_id) is None:
            raise _no_job()
        return verdict_rows.pngs(session, job_id=job_id, kinds=kinds)


def remove(db: Database, store: BlobStore, *, tenant: str, job_id: str) -> Job:
    """
    Cancel a job that waits or runs; of one that has ended, remove everything but a tombstone.

    A cancelled job never gets a verdict. Whoever is told that a job is purged may rely on its
    video being gone, unless a rerun has a job of the same video: then it goes with the last of
    them. A call that broke off may be repeated.

    Raises:
        NotFound: no such job for this tenant.
    """
    _check_job_id(job_id)
    with db.writing() as session:
        row = job_rows.lock_owned_with_sharers(session, tenant=tenant, job_id=job_id)
        if row is None:
            raise _no_job()
        # Nobody can come to share it meanwhile: a rerun locks the job that it takes it from.
        last_of = None if job_rows.is_video_shared(session, row) else row.blob_key
        if JobState(row.state).is_terminal:
            # Before the commit: afterwards nothing would remember that a blob is left to delete.
            if last_of is not None:
                store.delete(last_of)
            if (overlay := overlay_rows.forget(session, row.id)) is not None:
                store.delete(overlay)
            verdict_rows.remove(session, row.id)
            job_rows.forget(session, row)
            job_rows.enter(session, row, JobState.PURGED, actor="tenant", note="purged")
        else:
            job_rows.enter(session, row, JobState.CANCELLED, actor="tenant", note="cancelled")
        job = job_from_row(row)
    if job.state is JobState.CANCELLED and last_of is not None:
        # After the commit: a job that is not cancelled after all still needs its video.
        store.delete(last_of)
    _log.info("job.removed", job_id=job.id, state=job.state)
    return job


def figures(db: Database) -> QueueFigures:
    """Measure the queue for those who watch over it."""
    with db.reading() as session:
        moment = now(session)
        oldest = job_rows.oldest_queued_at(session)
        return QueueFigures(
            jobs_by_state=job_rows.count_by_state(session),
            oldest_queued_age_s={
                p.value: max(0.0, (moment - oldest.get(p.value, moment)).total_seconds())
                for p in Priority
            },
            expired_leases=leased.count_expired(session, JobRow),
            verdicts_by_label=verdict_rows.count_by_label(session),
            workers_seen=worker_rows.count_seen_since(
                session, moment - timedelta(seconds=WORKER_SEEN_S)
            ),
            measured_at=moment,
        )


def _check_job_id(job_id: str) -> None:
    if not JOB_ID.fullmatch(job_id):
        raise _no_job()


def _no_job() -> NotFound:
    return NotFound("no such job")


def _check_text(name: str, value: str | None) -> None:
    """Refuse what PostgreSQL cannot store as text."""
    if value is None:
        return
    if len(value) > TEXT_CHARS:
        raise BadRequest(f"want {name} of at most {TEXT_CHARS} characters, got {len(value)}")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise BadRequest(f"want {name} as text, got characters that are none")
