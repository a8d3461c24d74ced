"""What does the OpenAPI document say beyond what the code's types say already?"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.errors import (
    CONTENT_TYPE,
    INTERNAL,
    KIND_OF,
    METHOD_NOT_ALLOWED,
    TYPE_PREFIX,
    VALIDATION,
    Kind,
)
from app.api.schemas import FieldProblem, Problem

DESCRIPTION = """
Tells a newsroom whether the faces in a video were manipulated, shows where and when, and says so
when it cannot tell.

1. `POST /v1/jobs` with the video; the answer is `202` with a `Location`.
2. Poll it, with `If-None-Match`, as `Retry-After` says.
3. A `succeeded` job has a `verdict`: `manipulated`, `no_manipulation_found` or `inconclusive`.
   No other state has one, and none of them means that the video is genuine.

Every failure is `application/problem+json` (RFC 9457) with a stable `type`.
"""

Documented = dict[int | str, dict[str, Any]]
"""What FastAPI takes as `responses`."""

_HEADERS: Mapping[int, Sequence[str]] = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    503: ("Retry-After",),
    507: ("Retry-After",),
}


def problems(*statuses: int) -> Documented:
    """Document the failures of a route, each with the problem types that it may have."""
    return {status: _problem(status) for status in (*statuses, INTERNAL.status.value)}


def _problem(status: int) -> dict[str, Any]:
    kinds = [k for k in (*KIND_OF.values(), VALIDATION, METHOD_NOT_ALLOWED) if k.status == status]
    documented: dict[str, Any] = {
        "description": "; ".join(f"`{k.slug}`: {k.title}" for k in kinds),
        "content": {
            CONTENT_TYPE: {
                "schema": {"$ref": f"#/components/schemas/{Problem.__name__}"},
                "examples": {k.slug: {"value": _example(k)} for k in kinds},
            }
        },
    }
    if headers := _HEADERS.get(status):
        documented["headers"] = {h: {"schema": {"type": "string"}} for h in headers}
    return documented


def _example(kind: Kind) -> dict[str, Any]:
    return {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status.value,
        "detail": kind.title,
        "instance": "urn:deepverdict:request:01KDEEPVERD1CT000000000001",
    }


def shown(status: int, **examples: Mapping[str, object]) -> Documented:
    """Document what a good answer looks like, by named examples."""
    named = {name.replace("_", " "): {"value": example} for name, example in examples.items()}
    return {status: {"content": {"application/json": {"examples": named}}}}


_VIDEO = {"schema": {"type": "string", "format": "binary"}}

SUBMIT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The video: MP4, MOV, Matroska, WebM, AVI or MPEG-TS.",
        "content": {
            "video/*": _VIDEO,
            "application/octet-stream": _VIDEO,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": _VIDEO["schema"],
                        "ref_id": {"type": "string", "minLength": 1, "maxLength": 255},
                        "priority": {"$ref": "#/components/schemas/Priority"},
                        "operating_point": {"$ref": "#/components/schemas/PointName"},
                    },
                }
            },
        },
    }
}

UNCHANGED: Documented = {304: {"description": "The tag that `If-None-Match` names is current."}}

PICTURE: Documented = {
    200: {
        "description": "The picture.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    },
    **UNCHANGED,
}


def complete(document: dict[str, Any]) -> None:
    """Add the schemas of problems; take out the framework's own, which is never sent."""
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for view in (FieldProblem, Problem):
        own = view.model_json_schema(
            mode="serialization", ref_template="#/components/schemas/{model}"
        )
        own.pop("$defs", None)
        schemas[view.__name__] = own
    for operation in (o for path in document["paths"].values() for o in path.values()):
        invalid = operation["responses"].get("422", {}).get("content", {})
        if "application/json" in invalid:
            del operation["responses"]["422"]
