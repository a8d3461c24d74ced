"""
How does a trainer take a training run, keep it, and let go of it?

The protocol is that of `app.services.leasing`; here is what a run adds to it: news of how far it
is, and strikes that are counted from the last checkpoint. Whoever gets on is no poison, however
often the machine below it was switched off.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.orm import Session

from app.db import training_runs as run_rows
from app.db.session import Database
from app.db.tables import TrainingRunRow
from app.db.training_records import checkpoint_from_json, claim_from_row, progress_to_row
from app.domain.job import JobError, JobState
from app.domain.training_run import TrainingCheckpoint, TrainingClaim, TrainingNews
from app.queue import Bell
from app.services import leasing
from app.services.leasing import Reconciled, Work
from app.settings import LeaseSettings

KEPT_PICTURES = 50  # a megabyte each, at most; the run's folder keeps them all
STARTING = "starting"

RUNS = Work(noun="run", table=TrainingRunRow, order=run_rows.NEXT_FIRST, enter=run_rows.enter)


def claim(db: Database, *, trainer: str, limits: LeaseSettings) -> TrainingClaim | None:
    """Take the run that should go on next; None where there is none."""
    with db.writing() as session:
        row = leasing.take(session, RUNS, worker=trainer, lease_s=limits.lease_s)
        if row is None:
            return None
        row.stage = STARTING
        return claim_from_row(row)


def heartbeat(
    db: Database, claim: TrainingClaim, *, lease_s: float, news: TrainingNews | None
) -> bool:
    """
    Keep the run for another `lease_s` and store what is new of it.

    False where it is not the claim's any more, or was cancelled: stop, and write nothing.
    """
    with db.writing() as session:
        row = leasing.renew(session, RUNS, claim, lease_s=lease_s)
        if row is None:
            return False
        if news is not None:
            _store(session, row, news)
            leasing.touch(session, row)
        return True


def conclude(db: Database, claim: TrainingClaim, result: Mapping[str, object]) -> bool:
    """Store what came of the run; False where the claim is void."""

    def change(session: Session, row: TrainingRunRow) -> None:
        row.result = dict(result)
        run_rows.enter(session, row, JobState.SUCCEEDED, actor=leasing.owner(row))

    return leasing.settle(db, RUNS, claim, JobState.SUCCEEDED, change)


def reject(db: Database, claim: TrainingClaim, error: JobError) -> bool:
    """End the run as the fault of its plan or its data; False where the claim is void."""
    return leasing.end(db, RUNS, claim, JobState.REJECTED, error)


def fail(db: Database, claim: TrainingClaim, error: JobError) -> bool:
    """End the run as our fault, for an operator to look at; False where the claim is void."""
    return leasing.end(db, RUNS, claim, JobState.FAILED, error)


def retry(
    db: Database,
    claim: TrainingClaim,
    error: JobError,
    *,
    limits: LeaseSettings,
    last_state: JobState,
) -> JobState | None:
    """
    Give the run another try after a wait, or end it in `last_state` if it had its last.

    Returns where the run went; None where the claim is void.
    """
    return leasing.retry(db, RUNS, claim, error, limits=limits, last_state=last_state)


def hand_back(db: Database, claim: TrainingClaim) -> bool:
    """Put the run back for another trainer to go on with; False where the claim is void."""
    return leasing.hand_back(db, RUNS, claim)


def reconcile(db: Database, bell: Bell, *, limits: LeaseSettings) -> Reconciled:
    """Mend what a death left behind; see `app.services.leasing.reconcile`."""
    return leasing.reconcile(db, bell, RUNS, limits=limits)


def purged_of(db: Database, run_ids: Collection[str]) -> frozenset[str]:
    """Return those of the runs whose owner had everything removed: their folders may go."""
    with db.reading() as session:
        return run_rows.purged_of(session, run_ids)


def _store(session: Session, row: TrainingRunRow, news: TrainingNews) -> None:
    before = [checkpoint_from_json(c) for c in row.checkpoints]
    if _is_further(news.progress.checkpoints, before):
        row.attempt = 1
    progress_to_row(row, news.progress)
    run_rows.put_metrics(session, row.id, news.metrics)
    run_rows.put_pictures(session, row.id, news.pictures, keep=KEPT_PICTURES)


def _is_further(now: Sequence[TrainingCheckpoint], before: Sequence[TrainingCheckpoint]) -> bool:
    """Whether a checkpoint was written that is further than the last one of its series."""
    steps = {checkpoint.series: checkpoint.step for checkpoint in before}
    return any(c.step > steps.get(c.series, 0) for c in now)
