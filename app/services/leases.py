"""
How does a worker take a job, keep it, and let go of it?

A claim is a lease with a token. Every write is made under the job's row lock and only while the
job still runs under that very token, by the database's clock; whoever was given up for dead and
comes back finds its token void, writes nothing and is told so.

Each function is one transaction. A commit whose answer was lost may be repeated: a claim that
finds its own write done already reports success.
"""

from dataclasses import dataclass
from datetime import timedelta

from app import log
from app.db import jobs as job_rows
from app.db import verdicts as verdict_rows
from app.db.records import claim_from_row
from app.db.session import Database, now
from app.db.tables import JobRow
from app.domain.evidence import Analysis
from app.domain.job import Actor, Claim, JobError, JobState, Progress, Stage
from app.domain.verdict import Verdict
from app.queue import Bell
from app.settings import WorkerSettings

RECONCILE_BATCH = 100
RING_BATCH = 10  # a ring wakes any idle worker, and a busy one looks again by itself

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What one look over the queue mended; all zero where all is well."""

    requeued: int = 0  # workers that were given up for dead
    quarantined: int = 0
    rung: int = 0  # doorbells that were lost, or never rung


def claim(db: Database, *, worker: str, limits: WorkerSettings) -> Claim | None:
    """
    Take the job that should run next; None where there is none.

    The attempt is counted here, before anybody looks at the video: a worker that the video kills
    cannot count it afterwards.
    """
    with db.writing() as session:
        row = job_rows.lock_next(session)
        if row is None:
            return None
        row.attempt += 1
        row.lease_token += 1
        row.lease_owner = worker
        row.lease_expires_at = now(session) + timedelta(seconds=limits.lease_s)
        row.stage, row.fraction = Stage.STARTING.value, 0.0
        job_rows.enter(session, row, JobState.RUNNING, actor=worker, note="claimed")
        return claim_from_row(row)


def heartbeat(db: Database, claim: Claim, *, lease_s: float, progress: Progress) -> bool:
    """
    Keep the job for another `lease_s` and say how far it is.

    False where it is not the claim's any more, or was cancelled: stop, and write nothing.
    """
    with db.writing() as session:
        row = job_rows.lock(session, claim.job_id)
        if row is None or not _holds(claim, row):
            return False
        moment = now(session)
        row.lease_expires_at = moment + timedelta(seconds=lease_s)
        fraction = max(row.fraction, progress.fraction)
        if (row.stage, row.fraction) != (progress.stage.value, fraction):
            row.stage, row.fraction = progress.stage.value, fraction
            row.version += 1
            row.updated_at = moment
        return True


def conclude(db: Database, claim: Claim, analysis: Analysis, verdict: Verdict) -> bool:
    """
    Store the verdict and all that it rests on; False where the claim is void.

    Raises:
        ValueError: the verdict is not of these persons, or a number is not finite.
    """
    with db.writing() as session:
        row = job_rows.lock(session, claim.job_id)
        if row is None:
            return False
        if _is_done(claim, row, JobState.SUCCEEDED):
            return True
        if not _holds(claim, row):
            return False
        verdict_rows.insert(session, row, analysis, verdict)
        job_rows.enter(
            session, row, JobState.SUCCEEDED, actor=_owner(row), note=verdict.label.value
        )
        return True


def reject(db: Database, claim: Claim, error: JobError) -> bool:
    """End the job as the input's fault; False where the claim is void."""
    return _end(db, claim, JobState.REJECTED, error)


def fail(db: Database, claim: Claim, error: JobError) -> bool:
    """End the job as our fault, for an operator to look at; False where the claim is void."""
    return _end(db, claim, JobState.FAILED, error)


def retry(
    db: Database, claim: Claim, error: JobError, *, limits: WorkerSettings, last_state: JobState
) -> JobState | None:
    """
    Give the job another try after a wait, or end it in `last_state` if it had its last.

    Returns where the job went; None where the claim is void.
    """
    with db.writing() as session:
        row = job_rows.lock(session, claim.job_id)
        if row is None:
            return None
        for state in (JobState.QUEUED, last_state):
            if _is_done(claim, row, state):
                return state
        if not _holds(claim, row):
            return None
        owner, note = _owner(row), f"{error.code}: {error.detail}"
        if row.attempt >= limits.max_attempts:
            job_rows.enter(session, row, last_state, actor=owner, note=note, error=error)
            return last_state
        job_rows.enter(session, row, JobState.QUEUED, actor=owner, note=note)
        wait_s = limits.retry_delay_s * 2 ** (row.attempt - 1)
        row.run_after = now(session) + timedelta(seconds=wait_s)
        return JobState.QUEUED


def hand_back(db: Database, claim: Claim) -> bool:
    """Put the job back as if it had never been taken; False where the claim is void."""
    with db.writing() as session:
        row = job_rows.lock(session, claim.job_id)
        if row is None:
            return False
        if _is_done(claim, row, JobState.QUEUED):
            return True
        if not _holds(claim, row):
            return False
        row.attempt -= 1
        job_rows.enter(session, row, JobState.QUEUED, actor=_owner(row), note="handed back")
        return True


def reconcile(db: Database, bell: Bell, *, limits: WorkerSettings) -> Reconciled:
    """
    Mend what a death left behind; any worker may, and on PostgreSQL one at a time does.

    Jobs of workers that were not heard of for a lease go back to the queue, or into quarantine
    once they have taken down `max_attempts` workers. Jobs that wait and were not rung for lately
    are rung for again: that is also how a doorbell lost by the broker is made good.
    """
    requeued = quarantined = 0
    with db.writing() as session:
        if not job_rows.become_reconciler(session):
            return Reconciled()
        for row in job_rows.lock_expired(session, limit=RECONCILE_BATCH):
            note = f"{_owner(row)} was not heard of in time"
            if row.attempt >= limits.max_attempts:
                job_rows.enter(
                    session,
                    row,
                    JobState.QUARANTINED,
                    actor="reconciler",
                    note=note,
                    error=JobError(
                        code="worker-died",
                        detail=f"its worker died in each of {row.attempt} attempts",
                        actor=Actor.OPERATOR,
                    ),
                )
                quarantined += 1
            else:
                job_rows.enter(session, row, JobState.QUEUED, actor="reconciler", note=note)
                # Due for a doorbell at once, in the lines below.
                row.last_published_at = None
                requeued += 1
        session.flush()
        unrung = job_rows.lock_unrung(session, for_s=limits.republish_after_s, limit=RING_BATCH)
        for row in unrung:
            row.last_published_at = now(session)
        waiting = [row.id for row in unrung]
    rung = 0
    for job_id in waiting:  # after the commit: who is rung for must be there to be found
        if not bell.ring(job_id):
            break  # a broker that is down costs a timeout a ring; workers poll meanwhile
        rung += 1
    return Reconciled(requeued=requeued, quarantined=quarantined, rung=rung)


def _end(db: Database, claim: Claim, state: JobState, error: JobError) -> bool:
    with db.writing() as session:
        row = job_rows.lock(session, claim.job_id)
        if row is None:
            return False
        if _is_done(claim, row, state):
            return True
        if not _holds(claim, row):
            return False
        note = f"{error.code}: {error.detail}"
        job_rows.enter(session, row, state, actor=_owner(row), note=note, error=error)
        return True


def _holds(claim: Claim, row: JobRow) -> bool:
    """Whether the job is still the claim's to write to."""
    is_held = row.state == JobState.RUNNING.value and row.lease_token == claim.lease_token
    if not is_held:
        _log.info("job.fenced_off", job_id=claim.job_id, attempt=claim.attempt, state=row.state)
    return is_held


def _is_done(claim: Claim, row: JobRow, state: JobState) -> bool:
    """
    Whether the claim's own write was made already, its commit's answer having been lost.

    The token moves on with each claim, so a job in `state` under this one was put there by this
    claim; or, back in the queue, by the reconciler in its stead, which comes to the same.
    """
    return row.state == state.value and row.lease_token == claim.lease_token


def _owner(row: JobRow) -> str:
    return row.lease_owner or "unknown"
