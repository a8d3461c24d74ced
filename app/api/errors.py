"""
How does every failure look over HTTP? As `application/problem+json` (RFC 9457), all of them.

The `type` of a problem is stable and documented in docs/api.md. Nothing here tells a caller of
paths, stacks or other tenants: a bug is a 500 with the id of the request, and the log has the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import Scope

from app import errors, log
from app.api.schemas import FieldProblem, Problem

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:deepverdict:problem:"
REQUEST_PREFIX = "urn:deepverdict:request:"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NO_HEADERS: Mapping[str, str] = {}
CHALLENGE = 'Bearer realm="deepverdict"'
RETRY_S = 5
RETRY_FULL_DISK_S = 60
MAX_FIELD_PROBLEMS = 10
MAX_PLACE_CHARACTERS = 64

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What all problems of one `type` have in common."""

    slug: str
    status: HTTPStatus
    title: str


def _kind(slug: str, status: HTTPStatus, title: str) -> Kind:
    return Kind(slug=slug, status=status, title=title)


S = HTTPStatus
INTERNAL = _kind("internal", S.INTERNAL_SERVER_ERROR, "The service failed")
NOT_FOUND = _kind("not-found", S.NOT_FOUND, "No such thing, or not yours")
METHOD_NOT_ALLOWED = _kind("method-not-allowed", S.METHOD_NOT_ALLOWED, "Not a method of this path")
VALIDATION = _kind("validation", S.UNPROCESSABLE_ENTITY, "A parameter is not as documented")
BAD_REQUEST = _kind("bad-request", S.BAD_REQUEST, "The request cannot be read")

KIND_OF: Mapping[type[errors.ServiceError], Kind] = {
    errors.Unauthenticated: _kind("unauthenticated", S.UNAUTHORIZED, "A valid API key is needed"),
    errors.InsufficientScope: _kind("insufficient-scope", S.FORBIDDEN, "The key may not do this"),
    errors.NotFound: NOT_FOUND,
    errors.BadRequest: BAD_REQUEST,
    errors.EmptyBody: _kind("empty-body", S.BAD_REQUEST, "No video came"),
    errors.BadMultipart: _kind("bad-multipart", S.BAD_REQUEST, "The form cannot be read"),
    errors.UploadInterrupted: _kind("upload-interrupted", S.BAD_REQUEST, "The upload broke off"),
    errors.NotAcceptable: _kind("not-acceptable", S.NOT_ACCEPTABLE, "Not a form that we have"),
    errors.NoVerdict: _kind("no-verdict", S.CONFLICT, "The job has no verdict"),
    errors.UploadTooLarge: _kind("too-large", S.REQUEST_ENTITY_TOO_LARGE, "The video is too large"),
    errors.UploadTooSlow: _kind("request-timeout", S.REQUEST_TIMEOUT, "The upload is too slow"),
    errors.UnsupportedEncoding: _kind(
        "unsupported-encoding", S.UNSUPPORTED_MEDIA_TYPE, "Send the video's own bytes"
    ),
    errors.UnsupportedMedia: _kind(
        "unsupported-media", S.UNSUPPORTED_MEDIA_TYPE, "Not a video that we read"
    ),
    errors.RetryLater: _kind("unavailable", S.SERVICE_UNAVAILABLE, "Try again in a moment"),
    errors.InsufficientStorage: _kind(
        "insufficient-storage", S.INSUFFICIENT_STORAGE, "No room for another video"
    ),
    errors.ServiceError: INTERNAL,
}


class InvalidFields(errors.BadRequest):
    """Fields of a form are not as documented; what the framework says of query parameters."""

    def __init__(self, problems: list[FieldProblem]) -> None:
        super().__init__("a field is not as documented")
        self.problems = problems


def kind_of(why: errors.ServiceError) -> Kind:
    """Return how a deliberate failure is shown."""
    if isinstance(why, InvalidFields):
        return VALIDATION
    return next(KIND_OF[c] for c in type(why).__mro__ if c in KIND_OF)


def answer(
    scope: Scope,
    kind: Kind,
    detail: str,
    *,
    headers: Mapping[str, str] = NO_HEADERS,
    problems: list[FieldProblem] | None = None,
) -> Response:
    """Make the answer that shows a problem."""
    problem = Problem(
        type=TYPE_PREFIX + kind.slug,
        title=kind.title,
        status=kind.status.value,
        detail=detail,
        instance=REQUEST_PREFIX + scope["state"]["request_id"],
        errors=problems or [],
    )
    return Response(
        problem.model_dump_json(),
        status_code=kind.status.value,
        headers={"Cache-Control": "no-store", **headers},
        media_type=CONTENT_TYPE,
    )


def internal(scope: Scope) -> Response:
    """Answer for a bug: tell nothing but where to look."""
    return answer(scope, INTERNAL, "An error of ours; quote `instance` when you report it.")


def install(app: FastAPI) -> None:
    """Have every failure of `app` answered here."""
    app.add_exception_handler(errors.ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_service_error(request: Request, why: Exception) -> Response:
    assert isinstance(why, errors.ServiceError)
    kind = kind_of(why)
    if kind is INTERNAL:
        _log.error("request.failed", exc_info=why)
        return internal(request.scope)
    if isinstance(why, errors.RetryLater):
        _log.warning("request.put_off", problem=kind.slug, exc_info=why)
    # The same words for what others own and for what never was, whoever raised it.
    detail = kind.title if kind is NOT_FOUND else str(why)
    problems = why.problems if isinstance(why, InvalidFields) else None
    return answer(request.scope, kind, detail, headers=_headers_of(why), problems=problems)


def _headers_of(why: errors.ServiceError) -> Mapping[str, str]:
    match why:
        case errors.Unauthenticated():
            return {"WWW-Authenticate": CHALLENGE}
        case errors.InsufficientScope():
            return {"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope"'}
        case errors.InsufficientStorage():
            return {"Retry-After": str(RETRY_FULL_DISK_S)}
        case errors.RetryLater():
            return {"Retry-After": str(RETRY_S)}
        case _:
            return NO_HEADERS


async def _on_invalid(request: Request, why: Exception) -> Response:
    assert isinstance(why, RequestValidationError)
    problems = [
        FieldProblem(where=[str(p)[:MAX_PLACE_CHARACTERS] for p in e["loc"]], what=e["msg"])
        for e in why.errors()[:MAX_FIELD_PROBLEMS]
    ]
    return answer(request.scope, VALIDATION, "see `errors` for what and where", problems=problems)


async def _on_http_exception(request: Request, why: Exception) -> Response:
    """Show what the framework refuses before a route is reached."""
    assert isinstance(why, HTTPException)
    if why.status_code == S.NOT_FOUND:
        return answer(request.scope, NOT_FOUND, NOT_FOUND.title)
    if why.status_code == S.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_allowed_methods(request))
        return answer(
            request.scope, METHOD_NOT_ALLOWED, f"want {allowed}", headers={"Allow": allowed}
        )
    if why.status_code < S.INTERNAL_SERVER_ERROR:
        return answer(request.scope, BAD_REQUEST, str(why.detail))
    return internal(request.scope)


def _allowed_methods(request: Request) -> list[str]:
    """Ask every route: the framework names the methods of the first one that fits alone."""
    routes = request.app.router.routes
    return [
        method
        for method in METHODS
        if any(r.matches({**request.scope, "method": method})[0] is Match.FULL for r in routes)
    ]
