"""What do requests for training runs look like, and the answers to them?"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

from app.api.schemas import Query
from app.domain.job import JobState
from app.domain.training_run import (
    DEFAULT_RECIPES,
    NAME,
    MetricRow,
    PictureFacts,
    TrainingCheckpoint,
    TrainingKind,
    TrainingPlan,
    TrainingRun,
    TrainingRunPage,
    TrainingRunReport,
    Value,
)
from app.views import ErrorView, IfAny, View

PLACE = r"[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63}){1,3}"
WORDS = r"([A-Za-z0-9][A-Za-z0-9_+:,. -]{0,254})?"
MOST_INT = 2**53  # beyond it, not everybody's JSON agrees on the number
TEXT = r"[^\x00-\x1f\x7f-\x9f]*"  # a lone surrogate is no JSON, and never comes so far

Name = Annotated[StrictStr, Field(pattern=f"^{NAME}$")]
Single = (
    StrictBool
    | Annotated[StrictInt, Field(ge=-MOST_INT, le=MOST_INT)]
    | Annotated[StrictFloat, Field(allow_inf_nan=False)]
    | Annotated[StrictStr, Field(pattern=f"^{WORDS}$")]
)
Override = Single | Annotated[list[Single], Field(max_length=64)]


class TrainingRunBody(BaseModel):
    """What to train, how, and on what. Data and recipes are named; a path is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: TrainingKind
    recipe: Name | None = Field(
        default=None,
        description="One that came with the program, or NAME.toml among the data. By default that "
        "of the kind's name.",
        examples=["forger"],
    )
    overrides: dict[Annotated[str, Field(pattern=f"^{PLACE}$")], Override] = Field(
        default={}, max_length=64, description="Single values of the recipe, by section.key."
    )
    data: dict[
        Annotated[str, Field(pattern="^[a-z_]{1,32}$")],
        Name | Annotated[list[Name], Field(min_length=1, max_length=256)],
    ] = Field(
        default={},
        max_length=8,
        description="Names of files and folders that the operator laid out, by what they are for.",
    )
    name: Annotated[str, Field(pattern=f"^{TEXT}$")] | None = Field(
        default=None, min_length=1, max_length=255, description="Yours for it; need not be unique."
    )

    def plan(self) -> TrainingPlan:
        """Return what is asked for."""
        return TrainingPlan(
            kind=self.kind,
            recipe=self.recipe or DEFAULT_RECIPES[self.kind],
            overrides={place: _frozen(value) for place, value in self.overrides.items()},
            data={
                role: (names,) if isinstance(names, str) else tuple(names)
                for role, names in self.data.items()
            },
        )


class TrainingRunQuery(Query):
    """Which runs to list."""

    state: JobState | None = None
    cursor: str | None = Field(
        default=None, max_length=128, description="`next_cursor` of the page before."
    )
    limit: int | None = Field(default=None, ge=1, le=200, description="Runs on one page.")


class PictureQuery(Query):
    """Of which of a run's trainings to show a preview."""

    series: str = Field(default="", max_length=64, description="Of a loop, as the run lists it.")


class CheckpointView(View):
    """Something that a run can go on from."""

    series: IfAny[str] = Field(default="", description="Which of a loop's trainings.")
    step: int
    size_bytes: int
    at: datetime

    @classmethod
    def of(cls, checkpoint: TrainingCheckpoint) -> Self:
        """Show a checkpoint."""
        return cls(
            series=checkpoint.series,
            step=checkpoint.step,
            size_bytes=checkpoint.size_bytes,
            at=checkpoint.at,
        )


class PreviewView(View):
    """A picture of what a network made after some steps."""

    series: IfAny[str] = Field(default="", description="Which of a loop's trainings.")
    step: int
    url: str

    @classmethod
    def of(cls, picture: PictureFacts, run: str) -> Self:
        """Show where a preview is found; links begin with `run`."""
        series = f"?series={picture.series}" if picture.series else ""
        return cls(
            series=picture.series,
            step=picture.step,
            url=f"{run}/pictures/{picture.step}{series}",
        )


class TrainingRunHead(View):
    """What names a run and says where it stands."""

    id: str = Field(examples=["01KDEEPVERD1CT000000000007"])
    kind: TrainingKind
    name: IfAny[str | None] = None
    state: JobState
    stage: str = Field(description="What it does just now, in the words of the training itself.")
    step: int = Field(description="Steps of this stage that are done.")
    steps: IfAny[int | None] = Field(default=None, description="Of this stage, once known.")
    created_at: datetime
    finished_at: IfAny[datetime | None] = None


class TrainingRunView(TrainingRunHead):
    """A training run: one network, one data set, or one round of the loop."""

    recipe: str
    overrides: dict[str, Any]
    data: dict[str, list[str]]
    updated_at: datetime
    attempt: int = Field(
        description="How often a trainer has begun since the last checkpoint that one wrote."
    )
    losses: IfAny[dict[str, float]] = Field(default={}, description="The newest.")
    seconds: float = Field(description="Spent by trainers, over all attempts.")
    checkpoints: list[CheckpointView] = Field(description="The last one of each training.")
    pictures: list[PreviewView] = Field(description="The last fifty previews.")
    result: IfAny[dict[str, Any] | None] = Field(
        default=None, description="Of a succeeded run: its story, or a loop's decision."
    )
    error: IfAny[ErrorView | None] = Field(
        default=None, description="Of the last attempt that came to nothing."
    )

    @classmethod
    def of(cls, report: TrainingRunReport, base_url: str) -> Self:
        """Show a run; links begin with `base_url`, and are paths where that is empty."""
        run = report.run
        link = run_link(base_url, run.id)
        return cls(
            **_head(run),
            recipe=run.plan.recipe,
            overrides=dict(run.plan.overrides),
            data={role: list(names) for role, names in run.plan.data.items()},
            updated_at=run.updated_at,
            attempt=run.attempt,
            losses=dict(run.progress.losses),
            seconds=run.progress.seconds,
            checkpoints=[CheckpointView.of(c) for c in run.progress.checkpoints],
            pictures=[PreviewView.of(p, link) for p in report.pictures],
            result=dict(run.result) if run.result is not None else None,
            error=ErrorView.of(run.error) if run.error else None,
        )


class TrainingRunSummaryView(TrainingRunHead):
    """A run as a list shows it."""

    link: str

    @classmethod
    def of(cls, run: TrainingRun, base_url: str) -> Self:
        """Show a run in short."""
        return cls(**_head(run), link=run_link(base_url, run.id))


class TrainingRunListView(View):
    """Some of your runs, the newest first."""

    items: list[TrainingRunSummaryView]
    next_cursor: IfAny[str | None] = Field(
        default=None, description="Where the next page begins; absent on the last one."
    )

    @classmethod
    def of(cls, page: TrainingRunPage, base_url: str) -> Self:
        """Show one page."""
        return cls(
            items=[TrainingRunSummaryView.of(run, base_url) for run in page.items],
            next_cursor=page.next_cursor,
        )


class MetricView(View):
    """Means over the last few steps, as the training wrote them."""

    series: IfAny[str] = Field(default="", description="Which of a loop's trainings.")
    step: int
    metrics: dict[str, float]


class MetricsView(View):
    """Losses over time, by training and step; every n-th row of a long run, and the last."""

    points: list[MetricView]

    @classmethod
    def of(cls, rows: tuple[MetricRow, ...]) -> Self:
        """Show a run's history."""
        return cls(
            points=[
                MetricView(series=row.series, step=row.step, metrics=dict(row.metrics))
                for row in rows
            ]
        )


def run_link(base_url: str, run_id: str) -> str:
    """Return where a run is found; a path where `base_url` is empty."""
    return f"{base_url.rstrip('/')}/v1/training-runs/{run_id}"


def _head(run: TrainingRun) -> Mapping[str, Any]:
    return {
        "id": run.id,
        "kind": run.plan.kind,
        "name": run.name,
        "state": run.state,
        "stage": run.progress.stage,
        "step": run.progress.step,
        "steps": run.progress.steps,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
    }


def _frozen(value: Override) -> Value:
    return tuple(value) if isinstance(value, list) else value
