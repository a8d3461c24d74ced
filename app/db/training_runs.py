"""Which training runs are there, and what came of them so far? Rows, metrics and pictures."""

from collections.abc import Collection, Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app import log
from app.db import leased
from app.db.records import error_to_json
from app.db.session import now
from app.db.tables import TrainingMetricRow, TrainingPictureRow, TrainingRunRow
from app.db.training_records import (
    data_to_json,
    metric_to_row,
    overrides_to_json,
    picture_to_row,
)
from app.domain.job import JobError, JobState
from app.domain.training_run import MetricRow, Picture, TrainingPlan

NEXT_FIRST = (TrainingRunRow.created_at, TrainingRunRow.id)
QUEUED_STAGE, DONE_STAGE = "queued", "done"

_log = log.get(__name__)


def insert(
    session: Session, *, run_id: str, tenant: str, name: str | None, plan: TrainingPlan
) -> TrainingRunRow:
    """Add a queued run; it counts as rung for, since the caller is about to."""
    moment = now(session)
    row = TrainingRunRow(
        id=run_id,
        tenant=tenant,
        name=name,
        kind=plan.kind.value,
        recipe=plan.recipe,
        overrides=overrides_to_json(plan.overrides),
        data=data_to_json(plan.data),
        state=JobState.QUEUED.value,
        version=1,
        created_at=moment,
        updated_at=moment,
        attempt=0,
        run_after=moment,
        last_published_at=moment,
        lease_token=0,
        stage=QUEUED_STAGE,
        step=0,
        seconds=0.0,
        checkpoints=[],
    )
    session.add(row)
    session.flush()
    return row


def enter(
    session: Session,
    row: TrainingRunRow,
    state: JobState,
    *,
    actor: str,
    note: str = "",
    error: JobError | None = None,
) -> None:
    """
    Move a locked run to `state`. Its history is in the log; the row keeps the last error.

    Raises:
        ValueError: no run may go from where it is to `state`.
    """
    leased.move(session, row, state)
    if state is JobState.QUEUED:
        row.stage = QUEUED_STAGE
    elif state is JobState.SUCCEEDED:
        row.stage = DONE_STAGE
        row.error = None
    if error is not None:
        row.error = error_to_json(error)
    _log.info(
        "run.entered", run_id=row.id, state=row.state, attempt=row.attempt, by=actor, note=note
    )


def page(
    session: Session, *, tenant: str, state: JobState | None, before: str | None, limit: int
) -> Sequence[TrainingRunRow]:
    """Return a tenant's runs, newest first, that are older than the run `before`."""
    query = (
        select(TrainingRunRow)
        .where(TrainingRunRow.tenant == tenant, TrainingRunRow.state != JobState.PURGED.value)
        .order_by(TrainingRunRow.id.desc())
        .limit(limit)
    )
    if state is not None:
        query = query.where(TrainingRunRow.state == state.value)
    if before is not None:
        query = query.where(TrainingRunRow.id < before)
    return session.scalars(query).all()


def put_metrics(session: Session, run_id: str, metrics: Sequence[MetricRow]) -> None:
    """
    Store rows in place of all that stand at or after the first of them, series by series.

    A run that went on from a checkpoint makes the steps after it anew, and says so by its rows.
    """
    for series, rows in groupby(metrics, key=attrgetter("series")):
        first, *others = rows
        session.execute(
            delete(TrainingMetricRow).where(
                TrainingMetricRow.run_id == run_id,
                TrainingMetricRow.series == series,
                TrainingMetricRow.step >= first.step,
            )
        )
        session.add_all(metric_to_row(run_id, row) for row in (first, *others))


def metrics(session: Session, run_id: str, *, most: int) -> Sequence[TrainingMetricRow]:
    """Return each series, evenly thinned to `most` rows and one; its last one is among them."""
    numbered = (
        select(
            TrainingMetricRow,
            func.row_number()
            .over(partition_by=TrainingMetricRow.series, order_by=TrainingMetricRow.step.desc())
            .label("from_last"),
            func.count().over(partition_by=TrainingMetricRow.series).label("of"),
        )
        .where(TrainingMetricRow.run_id == run_id)
        .subquery()
    )
    every = (numbered.c.of + most - 1) // most
    return session.scalars(
        select(TrainingMetricRow)
        .join(
            numbered,
            (TrainingMetricRow.run_id == numbered.c.run_id)
            & (TrainingMetricRow.series == numbered.c.series)
            & (TrainingMetricRow.step == numbered.c.step),
        )
        .where((numbered.c.from_last - 1) % every == 0)
        .order_by(TrainingMetricRow.series, TrainingMetricRow.step)
    ).all()


def put_pictures(session: Session, run_id: str, pictures: Sequence[Picture], *, keep: int) -> None:
    """Store previews in place of those of the same step, and keep the last ones stored."""
    for picture in pictures:
        session.merge(picture_to_row(run_id, picture, at=now(session)))
    session.flush()
    old = session.execute(
        select(TrainingPictureRow.series, TrainingPictureRow.step)
        .where(TrainingPictureRow.run_id == run_id)
        .order_by(TrainingPictureRow.stored_at.desc(), TrainingPictureRow.step.desc())
        .offset(keep)
    ).all()
    for series, step in old:
        session.execute(
            delete(TrainingPictureRow).where(
                TrainingPictureRow.run_id == run_id,
                TrainingPictureRow.series == series,
                TrainingPictureRow.step == step,
            )
        )


def pictures(session: Session, run_id: str) -> Sequence[TrainingPictureRow]:
    """Return all previews of a run without their bytes."""
    return session.scalars(
        select(TrainingPictureRow)
        .where(TrainingPictureRow.run_id == run_id)
        .order_by(TrainingPictureRow.series, TrainingPictureRow.step)
    ).all()


def picture(session: Session, run_id: str, *, series: str, step: int) -> TrainingPictureRow | None:
    """Return a preview; None where there is none."""
    return session.get(TrainingPictureRow, (run_id, series, step))


def forget(session: Session, row: TrainingRunRow) -> None:
    """Clear what a run holds of its tenant and its data; the row stays as a tombstone."""
    for table in (TrainingMetricRow, TrainingPictureRow):
        session.execute(delete(table).where(table.run_id == row.id))
    row.name = row.losses = row.error = row.result = None
    row.overrides, row.data, row.checkpoints = {}, {}, []


def purged_of(session: Session, run_ids: Collection[str]) -> frozenset[str]:
    """Return those of the runs that were purged."""
    found = session.scalars(
        select(TrainingRunRow.id).where(
            TrainingRunRow.id.in_(run_ids), TrainingRunRow.state == JobState.PURGED.value
        )
    )
    return frozenset(found)
