"""
What surrounds every request? Its id, its line in the log, its end if it breaks, its connection.

Plain ASGI: nothing here holds or copies a body.
"""

import asyncio
import re
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from app import log
from app.api import errors

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
LOGGED_PATH = 200
LINGER_S = 2.0
"""How long the rest of a refused body is read and dropped, so that the refusal is heard."""

_log = log.get(__name__)


class RequestContext:
    """Gives a request its id, binds it to the log, and answers for bugs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("X-Request-Id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(ULID())
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        took_s = 0.0
        began = time.perf_counter()

        async def send_marked(message: Message) -> None:
            nonlocal status, took_s
            if message["type"] == "http.response.start":
                took_s = time.perf_counter() - began
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_marked)
            except Exception:
                _log.exception("request.crashed")
                if status:
                    raise  # too late for an answer: the server cuts the connection
                await errors.internal(scope)(scope, receive, send_marked)
            finally:
                _log.info(
                    "request.answered",
                    method=scope["method"],
                    path=scope["path"][:LOGGED_PATH],
                    status=status,
                    took_s=round(took_s, 4),
                )


class EarlyAnswer:
    """
    Closes the connection after an answer that came before the body's end.

    The rest of the body would be read as the next request, or keep the connection for as long as
    the client likes. Closing at once would reset it, and with it the answer on its way; so what
    comes within `LINGER_S` is read and dropped.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_read = not _has_body(Headers(scope=scope))
        lingers = False

        async def receive_watched() -> Message:
            nonlocal is_read
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                is_read = True
            return message

        async def send_closing(message: Message) -> None:
            nonlocal lingers
            if message["type"] == "http.response.start" and not is_read:
                lingers = True
                MutableHeaders(scope=message)["Connection"] = "close"
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if not (lingers and is_last):
                await send(message)
                return
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(LINGER_S):
                    while not is_read:
                        await receive_watched()
            except TimeoutError:
                pass
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, receive_watched, send_closing)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
