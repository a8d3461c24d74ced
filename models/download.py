"""How are the bytes behind an upstream URL fetched without trusting whoever answers?"""

import ssl
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import IO
from urllib.error import URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from app.errors import ModelUnavailable

READ_BYTES = 64 * 1024

OnBytes = Callable[[int], None]
"""Told how many bytes have come so far."""


class _HttpsOnly(HTTPRedirectHandler):
    """Follows redirects, as long as they stay encrypted."""

    def redirect_request(  # noqa: PLR0917 - the argument list is urllib's
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> Request | None:
        """Refuse to leave https."""
        if not newurl.lower().startswith("https://"):
            raise URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def download(
    url: str,
    *,
    max_bytes: int,
    on_bytes: OnBytes,
    stall_s: float = 30.0,
    deadline_s: float = 600.0,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """
    Fetch over https.

    Args:
        url: https; redirects to anything else are refused.
        max_bytes: more than this is refused, before it is held.
        on_bytes: progress.
        stall_s: longest wait for the next bytes.
        deadline_s: longest time for all of it.
        tls: whom to trust; the system's authorities unless given.

    Raises:
        ModelUnavailable: in words, with the URL.
    """
    # Built by hand: the usual opener also speaks http, ftp and file.
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPSHandler(context=tls or ssl.create_default_context()),
        _HttpsOnly(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    until = time.monotonic() + deadline_s
    try:
        answer = opener.open(url, timeout=stall_s)
        if answer is None:
            raise ModelUnavailable(f"{url}: only https is spoken here")
        with answer:
            content = bytearray()
            while chunk := answer.read(READ_BYTES):
                content += chunk
                if len(content) > max_bytes:
                    raise ModelUnavailable(f"{url}: more than the {max_bytes} bytes expected")
                if time.monotonic() > until:
                    raise ModelUnavailable(f"{url}: not done after {deadline_s:g} s")
                on_bytes(len(content))
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise ModelUnavailable(
            f"{url}: {error}; where this machine may not reach it, fetch the file elsewhere and "
            "name its folder in DEEPVERDICT_MODELS__MIRROR"
        ) from error
    return bytes(content)
