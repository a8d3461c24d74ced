"""
How is a small JSON body read? Up to a limit, and only once the caller is known.

The framework's own way holds the whole body before it looks at who sends it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from app.api.errors import InvalidFields
from app.api.schemas import FieldProblem
from app.errors import UploadInterrupted, UploadTooLarge, UploadTooSlow

MAX_BYTES = 64 * 1024
WHOLE_WITHIN_S = 10.0
MAX_PROBLEMS = 10

T = TypeVar("T", bound=BaseModel)


def json_of(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    """
    Make a dependency that reads the body as `kind`; list it after the caller.

    Raises, as it is called:
        UploadTooLarge: over 64 KiB.
        UploadTooSlow: it was not whole within ten seconds.
        UploadInterrupted: the client went away.
        InvalidFields: it is not JSON, or not as documented.
    """

    async def read(request: Request) -> T:
        try:
            return kind.model_validate_json(await _whole(request))
        except ValidationError as error:
            raise InvalidFields(
                [
                    FieldProblem(where=["body", *map(str, e["loc"])], what=e["msg"])
                    for e in error.errors()[:MAX_PROBLEMS]
                ]
            ) from error

    return read


def documented_body(kind: type[BaseModel], **examples: dict[str, object]) -> dict[str, Any]:
    """Document the body of a route that reads it by `json_of`, for `openapi_extra`."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # what a body refers to is in an answer, too
    named = {name.replace("_", " "): {"value": example} for name, example in examples.items()}
    content = {"application/json": {"schema": schema, "examples": named}}
    return {"requestBody": {"required": True, "content": content}}


async def _whole(request: Request) -> bytes:
    content = bytearray()
    try:
        async with asyncio.timeout(WHOLE_WITHIN_S):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise UploadTooLarge(f"want a JSON body of at most {MAX_BYTES} bytes")
    except TimeoutError:
        raise UploadTooSlow(f"the body was not whole within {WHOLE_WITHIN_S:.0f} s") from None
    except ClientDisconnect:
        raise UploadInterrupted("the connection ended before the body") from None
    return bytes(content)
