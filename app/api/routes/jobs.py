"""How are videos submitted, and verdicts, faces, moments and masks fetched?"""

from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app.api import conditional, examples, uploads
from app.api.deps import Parts, PartsOf, Reader, Writer
from app.api.documented import PICTURE, SUBMIT_BODY, UNCHANGED, problems, shown
from app.api.errors import kind_of
from app.api.pictures import png_answer
from app.api.schemas import (
    JobListView,
    ListQuery,
    PersonsView,
    SubmitQuery,
    TimelineQuery,
    TimelineView,
)
from app.domain.access import Principal
from app.domain.evidence import Artifact, ArtifactKind
from app.domain.job import Job, JobState
from app.domain.report import JobReport
from app.errors import ServiceError
from app.services import jobs
from app.views import JobView, job_link, person_views

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    response_description="The video is durable and queued.",
    responses={
        **shown(202, queued=examples.QUEUED),
        **problems(400, 401, 403, 408, 413, 415, 422, 503, 507),
    },
    openapi_extra=SUBMIT_BODY,
)
async def submit(
    request: Request,
    response: Response,
    caller: Writer,
    parts: PartsOf,
    query: Annotated[SubmitQuery, Query()],
) -> JobView:
    """
    Submit a video; poll `Location` for its verdict.

    Send the video's own bytes, or a form with exactly one file. The answer comes once the bytes
    are on the disk and the job is in the database: from then on nothing is lost.
    """
    try:
        job = await _accept(request, caller, parts, query)
    except ServiceError as why:
        parts.meters.count_rejected(problem=kind_of(why).slug)
        raise
    parts.meters.count_accepted(size_bytes=job.size_bytes)
    response.headers["Location"] = job_link(parts.base_url, job.id)
    response.headers["Retry-After"] = str(parts.settings.api.poll_after_s)
    return JobView.of(JobReport(job=job, judged=None), parts.base_url)


@router.get(
    "",
    response_model=JobListView,
    responses={**shown(200, page=examples.JOB_LIST), **problems(400, 401, 403, 422, 503)},
)
def list_jobs(caller: Reader, parts: PartsOf, query: Annotated[ListQuery, Query()]) -> JobListView:
    """List your jobs, the newest first."""
    page = jobs.page(
        parts.db,
        tenant=caller.tenant,
        state=query.state,
        label=query.label,
        cursor=query.cursor,
        limit=query.limit or parts.settings.api.page_size,
    )
    return JobListView.of(page, parts.base_url)


@router.get(
    "/{job_id}",
    response_model=JobView,
    responses={
        **shown(
            200,
            succeeded=examples.SUCCEEDED,
            queued=examples.QUEUED,
            rejected=examples.REJECTED,
        ),
        **UNCHANGED,
        **problems(401, 403, 404, 503),
    },
)
def get_job(
    job_id: str, request: Request, response: Response, caller: Reader, parts: PartsOf
) -> JobView | Response:
    """See where a job stands; its verdict once it has one."""
    report = jobs.get(parts.db, tenant=caller.tenant, job_id=job_id)
    response.headers["ETag"] = conditional.etag(f"v{report.job.version}")
    response.headers["Cache-Control"] = "private, no-cache"
    if not report.job.state.is_terminal:
        response.headers["Retry-After"] = str(parts.settings.api.poll_after_s)
    if conditional.is_unchanged(request, response.headers["ETag"]):
        return Response(status_code=304, headers=response.headers)
    return JobView.of(report, parts.base_url)


@router.get(
    "/{job_id}/persons",
    response_model=PersonsView,
    responses={**shown(200, succeeded=examples.PERSONS), **problems(401, 403, 404, 503)},
)
def list_persons(job_id: str, caller: Reader, parts: PartsOf) -> PersonsView:
    """See everybody whose face was followed, and what each detector said of them."""
    report = jobs.get(parts.db, tenant=caller.tenant, job_id=job_id)
    crops = job_link(parts.base_url, report.job.id) + "/crops/"
    return PersonsView(state=report.job.state, persons=person_views(report.judged, crops=crops))


@router.get(
    "/{job_id}/timeline",
    response_model=TimelineView,
    responses={**shown(200, succeeded=examples.TIMELINE), **problems(401, 403, 404, 422, 503)},
)
def get_timeline(
    job_id: str, caller: Reader, parts: PartsOf, query: Annotated[TimelineQuery, Query()]
) -> TimelineView:
    """See when each person looked manipulated, and fetch the masks from there."""
    report = jobs.get(parts.db, tenant=caller.tenant, job_id=job_id)
    if report.judged is None:
        return TimelineView(state=report.job.state, points=[])
    points = jobs.timeline(parts.db, tenant=caller.tenant, job_id=job_id, person_id=query.person_id)
    job = job_link(parts.base_url, report.job.id)
    return TimelineView.of(points, state=report.job.state, job=job)


@router.get(
    "/{job_id}/masks/{mask_id}",
    response_class=Response,
    responses={**PICTURE, **problems(401, 403, 404, 503)},
)
def get_mask(
    job_id: str, mask_id: str, request: Request, caller: Reader, parts: PartsOf
) -> Response:
    """Fetch a mask: grey, as large as the frame, 255 = certainly manipulated."""
    return _picture(request, _artifact(parts, caller, job_id, mask_id, ArtifactKind.MASK))


@router.get(
    "/{job_id}/attention/{attention_id}",
    response_class=Response,
    responses={**PICTURE, **problems(401, 403, 404, 503)},
)
def get_attention(
    job_id: str, attention_id: str, request: Request, caller: Reader, parts: PartsOf
) -> Response:
    """Fetch a look at a person, and over it where the classifier looked, brightest where most."""
    return _picture(request, _artifact(parts, caller, job_id, attention_id, ArtifactKind.ATTENTION))


@router.get(
    "/{job_id}/crops/{person_id}",
    response_class=Response,
    responses={**PICTURE, **problems(401, 403, 404, 503)},
)
def get_crop(
    job_id: str, person_id: str, request: Request, caller: Reader, parts: PartsOf
) -> Response:
    """Fetch a person's best face."""
    return _picture(request, _artifact(parts, caller, job_id, person_id, ArtifactKind.CROP))


@router.delete(
    "/{job_id}",
    response_model=JobView,
    response_description="It had not ended, and is cancelled.",
    responses={
        **shown(200, cancelled={**examples.QUEUED, "state": "cancelled"}),
        204: {"description": "It had ended; everything of it is removed."},
        **problems(401, 403, 404, 503),
    },
)
def remove_job(job_id: str, caller: Writer, parts: PartsOf) -> JobView | Response:
    """Cancel a job that has not ended; remove everything of one that has."""
    job = jobs.remove(parts.db, parts.store, tenant=caller.tenant, job_id=job_id)
    if job.state is JobState.PURGED:
        return Response(status_code=204)
    return JobView.of(JobReport(job=job, judged=None), parts.base_url)


async def _accept(request: Request, caller: Principal, parts: Parts, query: SubmitQuery) -> Job:
    async with uploads.receive(request, store=parts.store, limits=parts.settings.upload) as upload:
        wish = uploads.options(query, upload.fields)
        # One call, so that a request that is cancelled meanwhile cannot part blob and row.
        return await run_in_threadpool(_record, upload, caller, parts, wish)


def _record(upload: uploads.Upload, caller: Principal, parts: Parts, wish: SubmitQuery) -> Job:
    """
    Make blob and row durable, or neither.

    Where the answer to the row's commit was lost, a job may be left whose video is gone: it ends
    as `failed`, and its sender, who was told 503, sends again.
    """
    blob = upload.writer.commit()
    with ExitStack() as undo:
        undo.callback(parts.store.delete, blob.key)
        job = jobs.submit(
            parts.db,
            parts.bell,
            tenant=caller.tenant,
            blob=blob,
            ref_id=wish.ref_id,
            file_name=upload.file_name,
            priority=wish.priority,
            operating_point=wish.operating_point,
        )
        undo.pop_all()
    return job


def _artifact(
    parts: Parts, caller: Principal, job_id: str, artifact_id: str, kind: ArtifactKind
) -> Artifact:
    return jobs.artifact(
        parts.db, tenant=caller.tenant, job_id=job_id, artifact_id=artifact_id, kind=kind
    )


def _picture(request: Request, artifact: Artifact) -> Response:
    return png_answer(
        request,
        artifact.png,
        sha256=artifact.sha256,
        file_name=f"{artifact.kind}-{artifact.id}.png",
    )
