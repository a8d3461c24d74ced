"""How does an editor get the report of a job, to read, to print and to quote?"""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api import conditional, examples
from app.api.deps import PartsOf, Reader
from app.api.documented import PICTURE, UNCHANGED, Documented, problems, shown
from app.api.negotiation import preferred
from app.api.pictures import png_answer
from app.api.schemas import ReportQuery
from app.domain.evidence import ArtifactKind
from app.domain.job import Job, JobState
from app.domain.report import ArtifactFacts
from app.errors import NotAcceptable, NoVerdict
from app.report.content import SHOWN_KINDS, ReportView, Subject, report_on
from app.report.formats import MEDIA_TYPES, ReportFormat, written
from app.services import jobs
from app.version import code_version
from app.views import job_link

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

FORMS = {media_type: form for form, media_type in MEDIA_TYPES.items()}
FOLDERS = {
    ArtifactKind.CROP: "crops",
    ArtifactKind.FRAME: "frames",
    ArtifactKind.ATTENTION: "attention",
}
"""Where a picture is found below its job; crops go by their person."""
PAGE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a page may do: show what is inside it. No script, no form, nothing from elsewhere."""

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS: Documented = {
    200: {
        "description": "The report.",
        "model": ReportView,
        "content": {
            **shown(200, manipulated=examples.REPORT)[200]["content"],
            "text/html": {"schema": {"type": "string"}},
            "application/pdf": _BINARY,
        },
    },
}


@router.get(
    "/{job_id}/report",
    response_class=Response,
    responses={**_ANSWERS, **UNCHANGED, **problems(401, 403, 404, 406, 409, 422, 503)},
)
def get_report(
    job_id: str,
    request: Request,
    caller: Reader,
    parts: PartsOf,
    query: Annotated[ReportQuery, Query()],
) -> Response:
    """
    Fetch the report: the verdict with its caveat, the evidence, and how to check it.

    As JSON, as one HTML page that needs nothing else, or as PDF: by `format`, else by `Accept`.
    """
    form = query.format or _wanted(request)
    report = jobs.get(parts.db, tenant=caller.tenant, job_id=job_id)
    if report.judged is None:
        raise NoVerdict(_why_none(report.job))
    headers = {
        # The same verdict reads otherwise in another language, and after an update of ours.
        "ETag": conditional.etag(f"v{report.job.version}-{form}-{query.language}-{code_version()}"),
        "Cache-Control": "private, no-cache",
        "Vary": "Accept",
        "Content-Language": query.language.value,
    }
    if conditional.is_unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    where = partial(_place, job_link(parts.base_url, report.job.id))
    view = report_on(Subject.of(report.job), report.judged, language=query.language, link=where)
    pictures = (
        jobs.pictures(parts.db, tenant=caller.tenant, job_id=job_id, kinds=SHOWN_KINDS)
        if form.shows_pictures
        else {}
    )
    if form is ReportFormat.PDF:
        headers["Content-Disposition"] = f'attachment; filename="report-{report.job.id}.pdf"'
    if form is ReportFormat.HTML:
        headers["Content-Security-Policy"] = PAGE_POLICY
    return Response(written(view, form, pictures), media_type=form.media_type, headers=headers)


@router.get(
    "/{job_id}/frames/{frame_id}",
    response_class=Response,
    responses={**PICTURE, **problems(401, 403, 404, 503)},
)
def get_frame(
    job_id: str, frame_id: str, request: Request, caller: Reader, parts: PartsOf
) -> Response:
    """Fetch a telling frame: the face framed, enlarged, and with what was marked in blue."""
    frame = jobs.artifact(
        parts.db,
        tenant=caller.tenant,
        job_id=job_id,
        artifact_id=frame_id,
        kind=ArtifactKind.FRAME,
    )
    return png_answer(request, frame.png, sha256=frame.sha256, file_name=f"{frame.id}.png")


def _wanted(request: Request) -> ReportFormat:
    media_type = preferred(request.headers.getlist("Accept"), tuple(FORMS))
    if media_type is None:
        raise NotAcceptable(f"want one of {', '.join(FORMS)} in Accept, or ?format=")
    return FORMS[media_type]


def _place(job: str, picture: ArtifactFacts) -> str:
    return f"{job}/{FOLDERS[picture.kind]}/{picture.id}"


def _why_none(job: Job) -> str:
    if not job.state.is_terminal:
        return f"the job is {job.state}; ask again when it has succeeded"
    if job.error is not None:
        return f"the job is {job.state}: {job.error.code}, {job.error.detail}"
    if job.state is JobState.SUCCEEDED:
        return "no verdict was stored with the job"
    return f"the job is {job.state}; there will be no verdict"
