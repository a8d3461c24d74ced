"""How is a training started, watched and cancelled? By administrators, and nobody else."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api import conditional, examples
from app.api.deps import Admin, PartsOf
from app.api.documented import PICTURE, UNCHANGED, problems, shown
from app.api.json_body import documented_body, json_of
from app.api.pictures import png_answer
from app.api.training_schemas import (
    MetricsView,
    PictureQuery,
    TrainingRunBody,
    TrainingRunListView,
    TrainingRunQuery,
    TrainingRunView,
    run_link,
)
from app.domain.job import JobState
from app.domain.training_run import TrainingRunReport
from app.services import training_runs

router = APIRouter(prefix="/v1/training-runs", tags=["training"])

MOST_STEPS = 2**31 - 1  # of an integer in the database


@router.post(
    "",
    status_code=202,
    response_model=TrainingRunView,
    response_description="The run is queued.",
    responses={
        **shown(202, queued=examples.TRAINING_QUEUED),
        **problems(400, 401, 403, 408, 413, 422, 503),
    },
    openapi_extra=documented_body(
        TrainingRunBody,
        a_forger=examples.TRAIN_FORGER,
        a_classifier=examples.TRAIN_CLASSIFIER,
    ),
)
def start_training(
    response: Response,
    caller: Admin,
    parts: PartsOf,
    body: Annotated[TrainingRunBody, Depends(json_of(TrainingRunBody))],
) -> TrainingRunView:
    """
    Start a training; watch `Location`.

    Data are named, as the operator laid them out for the trainers; so are recipes. Whether they
    are there is found by the trainer that takes the run.
    """
    run = training_runs.submit(
        parts.db, parts.training_bell, tenant=caller.tenant, name=body.name, plan=body.plan()
    )
    response.headers["Location"] = run_link(parts.base_url, run.id)
    response.headers["Retry-After"] = str(parts.settings.api.poll_after_s)
    return TrainingRunView.of(TrainingRunReport(run=run, pictures=()), parts.base_url)


@router.get(
    "",
    response_model=TrainingRunListView,
    responses={**shown(200, page=examples.TRAINING_LIST), **problems(400, 401, 403, 422, 503)},
)
def list_trainings(
    caller: Admin, parts: PartsOf, query: Annotated[TrainingRunQuery, Query()]
) -> TrainingRunListView:
    """List your training runs, the newest first."""
    page = training_runs.page(
        parts.db,
        tenant=caller.tenant,
        state=query.state,
        cursor=query.cursor,
        limit=query.limit or parts.settings.api.page_size,
    )
    return TrainingRunListView.of(page, parts.base_url)


@router.get(
    "/{run_id}",
    response_model=TrainingRunView,
    responses={
        **shown(
            200,
            running=examples.TRAINING_RUNNING,
            rejected=examples.TRAINING_REJECTED,
        ),
        **UNCHANGED,
        **problems(401, 403, 404, 503),
    },
)
def get_training(
    run_id: str, request: Request, response: Response, caller: Admin, parts: PartsOf
) -> TrainingRunView | Response:
    """See where a training stands: its step, its losses, its checkpoints, its previews."""
    report = training_runs.get(parts.db, tenant=caller.tenant, run_id=run_id)
    response.headers["ETag"] = conditional.etag(f"v{report.run.version}")
    response.headers["Cache-Control"] = "private, no-cache"
    if not report.run.state.is_terminal:
        response.headers["Retry-After"] = str(parts.settings.api.poll_after_s)
    if conditional.is_unchanged(request, response.headers["ETag"]):
        return Response(status_code=304, headers=response.headers)
    return TrainingRunView.of(report, parts.base_url)


@router.get(
    "/{run_id}/metrics",
    response_model=MetricsView,
    responses={**shown(200, some=examples.TRAINING_METRICS), **problems(401, 403, 404, 503)},
)
def get_metrics(run_id: str, caller: Admin, parts: PartsOf) -> MetricsView:
    """See the losses over time."""
    return MetricsView.of(training_runs.metrics(parts.db, tenant=caller.tenant, run_id=run_id))


@router.get(
    "/{run_id}/pictures/{step}",
    response_class=Response,
    responses={**PICTURE, **problems(401, 403, 404, 422, 503)},
)
def get_preview(
    *,
    run_id: str,
    step: Annotated[int, Path(ge=0, le=MOST_STEPS)],
    request: Request,
    caller: Admin,
    parts: PartsOf,
    query: Annotated[PictureQuery, Query()],
) -> Response:
    """Fetch a preview: of a forger, faces, what it makes of them, and where."""
    picture = training_runs.picture(
        parts.db, tenant=caller.tenant, run_id=run_id, series=query.series, step=step
    )
    return png_answer(
        request, picture.png, sha256=picture.sha256, file_name=f"preview-{picture.step}.png"
    )


@router.delete(
    "/{run_id}",
    response_model=TrainingRunView,
    response_description="It had not ended, and is cancelled.",
    responses={
        **shown(200, cancelled={**examples.TRAINING_QUEUED, "state": "cancelled"}),
        204: {"description": "It had ended; everything of it is removed."},
        **problems(401, 403, 404, 503),
    },
)
def remove_training(run_id: str, caller: Admin, parts: PartsOf) -> TrainingRunView | Response:
    """Cancel a run that has not ended; remove everything of one that has."""
    run = training_runs.remove(parts.db, tenant=caller.tenant, run_id=run_id)
    if run.state is JobState.PURGED:
        return Response(status_code=204)
    return TrainingRunView.of(TrainingRunReport(run=run, pictures=()), parts.base_url)
