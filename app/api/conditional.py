"""Has what the caller holds changed meanwhile? Entity tags, as of RFC 9110 section 8.8.3."""

import re

from starlette.requests import Request

TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def etag(version: str) -> str:
    """Write a strong entity tag."""
    return f'"{version}"'


def is_unchanged(request: Request, current: str) -> bool:
    """Whether `If-None-Match` names the current tag; what cannot be read names nothing."""
    given = ",".join(request.headers.getlist("If-None-Match"))
    return given.strip() == "*" or current in TAG.findall(given)
