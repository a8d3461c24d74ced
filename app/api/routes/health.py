"""Is the gateway alive, can the service work, and what are its figures?"""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from app.api import examples
from app.api.deps import PartsOf
from app.api.documented import shown
from app.api.schemas import LivenessView, ReadinessView
from app.services import readiness
from app.services.readiness import Status

router = APIRouter(tags=["operations"])


@router.get("/livez", response_model=LivenessView)
async def livez() -> LivenessView:
    """Answer, whatever else is broken: a process that does not should be started again."""
    return LivenessView()


@router.get(
    "/readyz",
    response_model=ReadinessView,
    response_description="Videos are taken: `ready`, or `degraded` with what is in the way.",
    responses={
        **shown(200, degraded=examples.READINESS),
        503: {"model": ReadinessView, "description": "`unready`: send no requests here."},
    },
)
def readyz(response: Response, parts: PartsOf) -> ReadinessView:
    """Check the database, the disk, and what the workers last said of themselves."""
    found = readiness.check(parts.db, parts.store, limits=parts.settings.upload)
    if found.status is Status.UNREADY:
        response.status_code = 503
    response.headers["Cache-Control"] = "no-store"
    return ReadinessView.of(found)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text format.", "content": {"text/plain": {}}}},
)
def metrics(parts: PartsOf) -> Response:
    """Give the figures of the queue and of this process; names no tenant and no job."""
    return Response(parts.meters.exposition(), media_type=CONTENT_TYPE_LATEST)
