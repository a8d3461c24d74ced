"""
What does the folder of a training run tell of it? Read by whoever watches, without torch.

Training replaces its files whole or appends whole lines; this reads while it writes. A loop has a
folder for each of its trainings, two levels down at most: each is a series of its own, named by
its path. A single training is the series "".
"""

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.domain.training_run import (
    MetricRow,
    Picture,
    TrainingCheckpoint,
    TrainingNews,
    TrainingProgress,
)

METRICS, PICTURES, STATE, RECIPE = "metrics.csv", "pictures", "state.json", "recipe.json"
CHECKPOINT, CHECKPOINT_STEP = "checkpoint.pt", "checkpoint.json"
LEVELS = ("", "*/", "*/*/")
SERIES_CHARS = 64
STAGE_CHARS = 64
MAX_PICTURE_BYTES = 16 * 1024 * 1024
NO_LOSSES = frozenset({"step", "rate", "images_per_s", "waiting_share", "seconds"})
PREPARING, TRAINING = "preparing", "training"


@dataclass(slots=True)
class _Tail:
    """How far a history was read: it is read on, or anew where another file took its place."""

    path: Path
    series: str
    inode: int = 0
    offset: int = 0
    columns: list[str] = field(default_factory=list)
    last: MetricRow | None = None

    def news(self) -> list[MetricRow]:
        """Return the whole lines that are new; all of them, of a file that is another."""
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_ino != self.inode or found.st_size < self.offset:
                self.inode, self.offset, self.columns = found.st_ino, 0, []
            file.seek(self.offset)
            lines = [line for line in file if line.endswith(b"\n")]  # the last may be half there
        self.offset += sum(map(len, lines))
        rows = []
        for cells in csv.reader(line.decode() for line in lines):
            if not self.columns:
                self.columns = cells
                continue
            rows.append(self._row(cells))
        if rows:
            self.last = rows[-1]
        return rows

    def _row(self, cells: list[str]) -> MetricRow:
        values = {name: float(cell) for name, cell in zip(self.columns, cells, strict=True)}
        step = int(values.pop("step"))
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        return MetricRow(series=self.series, step=step, metrics=finite)


class RunFolder:
    """
    Follows one run.

    Args:
        folder: need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[str, _Tail] = {}
        self._shown: dict[str, str] = {}  # the newest picture of each series that was told of
        self._told: TrainingProgress | None = None

    def news(self, *, seconds: float, is_last: bool = False) -> TrainingNews | None:
        """
        Return what is new since the last call; None where nothing is but the time.

        Args:
            seconds: spent on the run so far.
            is_last: the time counts as well.
        """
        metrics = tuple(self._metrics())
        pictures = tuple(self._pictures())
        progress = self._progress(seconds)
        is_new = (
            is_last or metrics or pictures or self._told is None or _differ(progress, self._told)
        )
        if not is_new:
            return None
        self._told = progress
        return TrainingNews(progress=progress, metrics=metrics, pictures=pictures)

    def forget(self) -> None:
        """Tell everything anew at the next call: what was told last did not arrive."""
        self._tails, self._shown, self._told = {}, {}, None

    def _metrics(self) -> Iterator[MetricRow]:
        for path, series in self._found(METRICS):
            tail = self._tails.setdefault(series, _Tail(path, series))
            with suppress(FileNotFoundError):  # a stage that is made anew begins with nothing
                yield from tail.news()

    def _pictures(self) -> Iterator[Picture]:
        for folder, series in self._found(PICTURES):
            steps = [found.stem.removeprefix("step-") for found in folder.glob("step-*.png")]
            newest = max((step for step in steps if step.isdecimal()), key=int, default=None)
            if newest is None or self._shown.get(series) == newest:
                continue
            self._shown[series] = newest
            png = (folder / f"step-{newest}.png").read_bytes()
            if len(png) <= MAX_PICTURE_BYTES:
                digest = hashlib.sha256(png).hexdigest()
                yield Picture(series=series, step=int(newest), sha256=digest, png=png)

    def _progress(self, seconds: float) -> TrainingProgress:
        newest = max(
            (tail for tail in self._tails.values() if tail.last is not None),
            key=lambda tail: tail.path.stat().st_mtime,
            default=None,
        )
        last = None if newest is None else newest.last
        state = _json(self._folder / STATE)
        if state:
            stage = str(state.get("stage", TRAINING))[:STAGE_CHARS]
            step, steps = _count(state.get("step")) or 0, _count(state.get("steps"))
        else:
            run = _json(self._folder / RECIPE).get("run", {})
            steps = _count(run.get("steps")) if isinstance(run, dict) else None
            stage = TRAINING if steps else PREPARING
            step = last.step if last else 0
        losses = last.metrics if last else {}
        return TrainingProgress(
            stage=stage,
            step=step,
            steps=steps or None,
            losses={name: value for name, value in losses.items() if name not in NO_LOSSES},
            seconds=seconds,
            checkpoints=tuple(self._checkpoints()),
        )

    def _checkpoints(self) -> Iterator[TrainingCheckpoint]:
        for path, series in self._found(CHECKPOINT):
            step = _count(_json(path.with_name(CHECKPOINT_STEP)).get("step"))
            if step is None:
                continue
            found = path.stat()
            yield TrainingCheckpoint(
                series=series,
                step=step,
                size_bytes=found.st_size,
                at=datetime.fromtimestamp(found.st_mtime, UTC),
            )

    def _found(self, name: str) -> Iterator[tuple[Path, str]]:
        for level in LEVELS:
            for path in sorted(self._folder.glob(f"{level}{name}")):
                series = path.parent.relative_to(self._folder).as_posix()
                series = "" if series == "." else series
                if len(series) <= SERIES_CHARS:
                    yield path, series


def _differ(one: TrainingProgress, other: TrainingProgress) -> bool:
    """Whether two say something else, the time that has passed aside."""
    return (one.stage, one.step, one.steps, one.checkpoints) != (
        other.stage,
        other.step,
        other.steps,
        other.checkpoints,
    )


def _json(path: Path) -> dict[str, Any]:
    """Read an object; empty where there is none, or something else."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None  # type: ignore[return-value]
