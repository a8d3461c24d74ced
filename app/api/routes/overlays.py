"""How does a moderator see in the video itself who is meant, and which pixels?"""

from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from app.api import conditional, examples
from app.api.deps import PartsOf, Reader
from app.api.documented import UNCHANGED, Documented, problems, shown
from app.api.schemas import OverlayView
from app.domain.job import JobState
from app.domain.media import StoredBlob
from app.errors import NotFound, RetryLater
from app.services import overlays
from app.storage import BlobStore

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_MP4: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS: Documented = {
    200: {"description": "The video; ranges may be asked for.", "content": {"video/mp4": _MP4}},
    202: {
        "description": "It is being made; ask again after `Retry-After` seconds.",
        "model": OverlayView,
        "headers": {"Retry-After": {"schema": {"type": "string"}}},
        **shown(202, wanted=examples.OVERLAY_WANTED)[202],
    },
}


@router.get(
    "/{job_id}/overlay.mp4",
    response_class=Response,
    responses={**_ANSWERS, **UNCHANGED, **problems(401, 403, 404, 503)},
)
def get_overlay(job_id: str, request: Request, caller: Reader, parts: PartsOf) -> Response:
    """
    Fetch the video with a box around everybody and what was marked.

    The first request has it made, which takes about as long as the analysis did; then it is kept.
    """
    overlay = overlays.want(parts.db, parts.bell, parts.store, tenant=caller.tenant, job_id=job_id)
    if overlay.blob is not None:
        return _video(request, parts.store, overlay.blob, job_id)
    if overlay.state.is_terminal:
        assert overlay.error is not None
        raise RetryLater(
            f"the overlay could not be made, it is tried again in a minute: {overlay.error.detail}"
        )
    view = OverlayView(state=JobState(overlay.state))
    return Response(
        view.model_dump_json(),
        status_code=202,
        media_type="application/json",
        headers={
            "Retry-After": str(parts.settings.api.poll_after_s),
            "Cache-Control": "no-store",
        },
    )


def _video(request: Request, store: BlobStore, blob: StoredBlob, job_id: str) -> Response:
    headers = {
        "ETag": conditional.etag(blob.sha256),
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if conditional.is_unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    lent = ExitStack()  # until the last byte is sent
    try:
        path = lent.enter_context(store.local_file(blob.key))
    except FileNotFoundError as gone:
        raise NotFound("the overlay is not stored any more") from gone
    return FileResponse(
        path,
        headers=headers,
        media_type="video/mp4",
        filename=f"overlay-{job_id}.mp4",
        content_disposition_type="inline",
        background=BackgroundTask(lent.close),
    )
