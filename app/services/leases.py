"""
How does a worker take a job, keep it, and let go of it?

The protocol is that of `app.services.leasing`; here is what a job adds to it: how far it is, and
the verdict that ends it.
"""

from sqlalchemy.orm import Session

from app.db import jobs as job_rows
from app.db import verdicts as verdict_rows
from app.db.records import claim_from_row
from app.db.session import Database
from app.db.tables import JobRow
from app.domain.evidence import Analysis
from app.domain.job import Claim, JobError, JobState, Progress, Stage
from app.domain.verdict import Verdict
from app.queue import Bell
from app.services import leasing
from app.services.leasing import Reconciled, Work
from app.settings import LeaseSettings

JOBS = Work(noun="job", table=JobRow, order=job_rows.NEXT_FIRST, enter=job_rows.enter)


def claim(db: Database, *, worker: str, limits: LeaseSettings) -> Claim | None:
    """Take the job that should run next; None where there is none."""
    with db.writing() as session:
        row = leasing.take(session, JOBS, worker=worker, lease_s=limits.lease_s)
        if row is None:
            return None
        row.stage, row.fraction = Stage.STARTING.value, 0.0
        return claim_from_row(row)


def heartbeat(db: Database, claim: Claim, *, lease_s: float, progress: Progress) -> bool:
    """
    Keep the job for another `lease_s` and say how far it is.

    False where it is not the claim's any more, or was cancelled: stop, and write nothing.
    """
    with db.writing() as session:
        row = leasing.renew(session, JOBS, claim, lease_s=lease_s)
        if row is None:
            return False
        fraction = max(row.fraction, progress.fraction)
        if (row.stage, row.fraction) != (progress.stage.value, fraction):
            row.stage, row.fraction = progress.stage.value, fraction
            leasing.touch(session, row)
        return True


def conclude(db: Database, claim: Claim, analysis: Analysis, verdict: Verdict) -> bool:
    """
    Store the verdict and all that it rests on; False where the claim is void.

    Raises:
        ValueError: the verdict is not of these persons, or a number is not finite.
    """

    def change(session: Session, row: JobRow) -> None:
        verdict_rows.insert(session, row, analysis, verdict)
        job_rows.enter(
            session,
            row,
            JobState.SUCCEEDED,
            actor=leasing.owner(row),
            note=verdict.label.value,
        )

    return leasing.settle(db, JOBS, claim, JobState.SUCCEEDED, change)


def reject(db: Database, claim: Claim, error: JobError) -> bool:
    """End the job as the input's fault; False where the claim is void."""
    return leasing.end(db, JOBS, claim, JobState.REJECTED, error)


def fail(db: Database, claim: Claim, error: JobError) -> bool:
    """End the job as our fault, for an operator to look at; False where the claim is void."""
    return leasing.end(db, JOBS, claim, JobState.FAILED, error)


def retry(
    db: Database, claim: Claim, error: JobError, *, limits: LeaseSettings, last_state: JobState
) -> JobState | None:
    """
    Give the job another try after a wait, or end it in `last_state` if it had its last.

    Returns where the job went; None where the claim is void.
    """
    return leasing.retry(db, JOBS, claim, error, limits=limits, last_state=last_state)


def hand_back(db: Database, claim: Claim) -> bool:
    """Put the job back as if it had never been taken; False where the claim is void."""
    return leasing.hand_back(db, JOBS, claim)


def reconcile(db: Database, bell: Bell, *, limits: LeaseSettings) -> Reconciled:
    """Mend what a death left behind; see `app.services.leasing.reconcile`."""
    return leasing.reconcile(db, bell, JOBS, limits=limits)
