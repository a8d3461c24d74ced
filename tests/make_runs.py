"""Training runs and what a trainer sees of them, valid unless told otherwise."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

from app.domain.training_run import (
    MetricRow,
    Picture,
    TrainingCheckpoint,
    TrainingKind,
    TrainingNews,
    TrainingPlan,
    TrainingProgress,
)


def make_plan(kind: TrainingKind = TrainingKind.CLASSIFIER, **changes: object) -> TrainingPlan:
    """Make the plan of a classifier."""
    values: dict[str, object] = {
        "kind": kind,
        "recipe": kind.value,
        "overrides": {"run.steps": 40, "optimiser.betas": (0.5, 0.99)},
        "data": {"manifest": ("media.csv",)},
        **changes,
    }
    return TrainingPlan(**values)  # type: ignore[arg-type]


def make_metric(step: int, *, series: str = "", loss: float | None = None) -> MetricRow:
    """Make a row of a history; its loss is 1 / step unless told."""
    value = 1 / step if loss is None else loss
    return MetricRow(series=series, step=step, metrics={"loss": value, "seconds": step / 10})


def make_picture(step: int, *, series: str = "", png: bytes = b"a picture") -> Picture:
    """Make a preview."""
    return Picture(series=series, step=step, sha256=hashlib.sha256(png).hexdigest(), png=png)


def make_checkpoint(step: int, *, series: str = "") -> TrainingCheckpoint:
    """Make what is known of a checkpoint."""
    at = datetime(2026, 11, 21, 9, 0, step % 60, tzinfo=UTC)
    return TrainingCheckpoint(series=series, step=step, size_bytes=1000 + step, at=at)


def make_progress(step: int = 20, **changes: object) -> TrainingProgress:
    """Make how far a run is: at a checkpoint."""
    values: Mapping[str, object] = {
        "stage": "training",
        "step": step,
        "steps": 40,
        "losses": {"loss": 0.5},
        "seconds": step / 10,
        "checkpoints": (make_checkpoint(step),),
        **changes,
    }
    return TrainingProgress(**values)  # type: ignore[arg-type]


def make_news(step: int = 20, **changes: object) -> TrainingNews:
    """Make what a trainer sees after some steps: a row, a preview and a checkpoint of that step."""
    values: Mapping[str, object] = {
        "progress": make_progress(step),
        "metrics": (make_metric(step),),
        "pictures": (make_picture(step),),
        **changes,
    }
    return TrainingNews(**values)  # type: ignore[arg-type]
