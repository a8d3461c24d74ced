"""
How does a training run become a row, and a row the same run again?

Spelled out field by field, for the reason that `app.db.records` gives.
"""

from collections.abc import Mapping
from datetime import datetime

from app.db.records import Json, error_from_json
from app.db.tables import TrainingMetricRow, TrainingPictureRow, TrainingRunRow
from app.domain.job import JobState
from app.domain.training_run import (
    MetricRow,
    Picture,
    PictureFacts,
    TrainingCheckpoint,
    TrainingClaim,
    TrainingKind,
    TrainingPlan,
    TrainingProgress,
    TrainingRun,
    Value,
)


def overrides_to_json(overrides: Mapping[str, Value]) -> Json:
    """Spell out what was set in a recipe."""
    return {place: _listed(value) for place, value in overrides.items()}


def data_to_json(data: Mapping[str, tuple[str, ...]]) -> Json:
    """Spell out the names of a run's data."""
    return {role: list(names) for role, names in data.items()}


def checkpoint_to_json(checkpoint: TrainingCheckpoint) -> Json:
    """Spell out what a run can go on from."""
    return {
        "series": checkpoint.series,
        "step": checkpoint.step,
        "size_bytes": checkpoint.size_bytes,
        "at": checkpoint.at.isoformat(),
    }


def checkpoint_from_json(body: Json) -> TrainingCheckpoint:
    """Read what `checkpoint_to_json` wrote."""
    return TrainingCheckpoint(
        series=body["series"],
        step=body["step"],
        size_bytes=body["size_bytes"],
        at=datetime.fromisoformat(body["at"]),
    )


def run_from_row(row: TrainingRunRow) -> TrainingRun:
    """Read a run as its tenant sees it."""
    return TrainingRun(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        plan=_plan_from_row(row),
        state=JobState(row.state),
        progress=_progress_from_row(row),
        version=row.version,
        attempt=row.attempt,
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        error=None if row.error is None else error_from_json(row.error),
        result=row.result,
    )


def claim_from_row(row: TrainingRunRow) -> TrainingClaim:
    """Read the right that the row's present lease gives."""
    return TrainingClaim(
        run_id=row.id,
        tenant=row.tenant,
        lease_token=row.lease_token,
        attempt=row.attempt,
        plan=_plan_from_row(row),
        progress=_progress_from_row(row),
    )


def progress_to_row(row: TrainingRunRow, progress: TrainingProgress) -> None:
    """Write how far a run is into its row."""
    row.stage = progress.stage
    row.step = progress.step
    row.steps = progress.steps
    row.losses = dict(progress.losses) or None
    row.seconds = progress.seconds
    row.checkpoints = [checkpoint_to_json(c) for c in progress.checkpoints]


def metric_to_row(run_id: str, metric: MetricRow) -> TrainingMetricRow:
    """Make the row of one line of a history."""
    return TrainingMetricRow(
        run_id=run_id, series=metric.series, step=metric.step, metrics=dict(metric.metrics)
    )


def metric_from_row(row: TrainingMetricRow) -> MetricRow:
    """Read what `metric_to_row` made."""
    return MetricRow(series=row.series, step=row.step, metrics=row.metrics)


def picture_to_row(run_id: str, picture: Picture, *, at: datetime) -> TrainingPictureRow:
    """Make the row of a preview."""
    return TrainingPictureRow(
        run_id=run_id,
        series=picture.series,
        step=picture.step,
        stored_at=at,
        sha256=picture.sha256,
        png=picture.png,
    )


def picture_facts_from_row(row: TrainingPictureRow) -> PictureFacts:
    """Read all but the picture itself."""
    return PictureFacts(series=row.series, step=row.step, sha256=row.sha256)


def picture_from_row(row: TrainingPictureRow) -> Picture:
    """Read a preview."""
    return Picture(series=row.series, step=row.step, sha256=row.sha256, png=row.png)


def _plan_from_row(row: TrainingRunRow) -> TrainingPlan:
    return TrainingPlan(
        kind=TrainingKind(row.kind),
        recipe=row.recipe,
        overrides={place: _frozen(value) for place, value in row.overrides.items()},
        data={role: tuple(names) for role, names in row.data.items()},
    )


def _progress_from_row(row: TrainingRunRow) -> TrainingProgress:
    return TrainingProgress(
        stage=row.stage,
        step=row.step,
        steps=row.steps,
        losses=row.losses or {},
        seconds=row.seconds,
        checkpoints=tuple(checkpoint_from_json(c) for c in row.checkpoints),
    )


def _listed(value: Value) -> object:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _frozen(value: object) -> Value:
    if isinstance(value, list):
        return tuple(_frozen(v) for v in value)
    assert isinstance(value, str | int | float | bool)
    return value
