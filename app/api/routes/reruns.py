"""How are stored videos analysed again, and changed verdicts found? And by which networks?"""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from app.api import examples
from app.api.deps import PartsOf, Reader, Writer
from app.api.documented import problems, shown
from app.api.json_body import documented_body, json_of
from app.api.schemas import ModelsView, RerunBody, RerunView
from app.services import model_versions, reruns

router = APIRouter(prefix="/v1", tags=["reruns"])


@router.post(
    "/reruns",
    status_code=202,
    response_model=RerunView,
    response_description="A job is queued for every video.",
    responses={
        **shown(202, queued=examples.RERUN_QUEUED),
        **problems(400, 401, 403, 408, 413, 422, 503),
    },
    openapi_extra=documented_body(
        RerunBody, some_jobs=examples.RERUN_OF_JOBS, some_verdicts=examples.RERUN_OF_VERDICTS
    ),
)
def start_rerun(
    response: Response,
    caller: Writer,
    parts: PartsOf,
    body: Annotated[RerunBody, Depends(json_of(RerunBody))],
) -> RerunView:
    """
    Analyse stored videos again, by whatever networks are current; poll `Location`.

    Each video becomes a job of its own, with `rerun_of`; the old jobs and their verdicts stay as
    they are. `batch` jobs, so nobody who sends a live video waits for them.
    """
    report = reruns.start(parts.db, parts.bell, parts.store, tenant=caller.tenant, wish=body.wish())
    response.headers["Location"] = f"{parts.base_url}/v1/reruns/{report.id}"
    response.headers["Retry-After"] = str(parts.settings.api.poll_after_s)
    return RerunView.of(report, parts.base_url)


@router.get(
    "/reruns/{rerun_id}",
    response_model=RerunView,
    responses={**shown(200, done=examples.RERUN_DONE), **problems(401, 403, 404, 503)},
)
def get_rerun(rerun_id: str, response: Response, caller: Reader, parts: PartsOf) -> RerunView:
    """See how far a rerun is, and whose verdict it changed."""
    report = reruns.get(parts.db, tenant=caller.tenant, rerun_id=rerun_id)
    if not report.is_done:
        response.headers["Retry-After"] = str(parts.settings.api.poll_after_s)
    return RerunView.of(report, parts.base_url)


@router.get(
    "/models",
    response_model=ModelsView,
    responses={**shown(200, one_promoted=examples.MODELS), **problems(401, 403, 503)},
)
def list_models(caller: Reader, parts: PartsOf) -> ModelsView:
    """See which versions of which networks the workers judge by just now."""
    del caller  # they are the same for all
    return ModelsView.of(model_versions.in_use(parts.db))
