"""How is a picture served? So that a browser never takes it for a page, and fetches it once."""

from starlette.requests import Request
from starlette.responses import Response

from app.api import conditional


def png_answer(request: Request, png: bytes, *, sha256: str, file_name: str) -> Response:
    """Make the answer that holds a PNG, or says that the caller has it already."""
    headers = {
        "ETag": conditional.etag(sha256),
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{file_name}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if conditional.is_unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(png, media_type="image/png", headers=headers)
