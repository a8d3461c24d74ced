"""How is the gateway served? Uvicorn, told what this application needs of it."""

import socket
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI

from app.api.main import create_app
from app.settings import Settings

DRAIN_S = 10
"""Requests under way when told to stop have so long; an upload cut off was never answered."""
HEADERS_BYTES = 32 * 1024


def configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Say how Uvicorn is to serve `app`."""
    return uvicorn.Config(
        app,
        host=settings.api.host,
        port=settings.api.port,
        http="h11",  # tells of a broken-off body; the tests of hostile requests run against it
        ws="none",
        log_config=None,
        access_log=False,  # our own line has the request's id
        server_header=False,
        proxy_headers=False,  # nothing is believed of whom a proxy says it speaks for
        h11_max_incomplete_event_size=HEADERS_BYTES,
        timeout_graceful_shutdown=DRAIN_S,
    )


def run(settings: Settings, sockets: Sequence[socket.socket] = ()) -> None:
    """Serve until SIGTERM or SIGINT, on `sockets` if given, else where the settings say."""
    server = uvicorn.Server(configure(create_app(settings), settings))
    server.run(sockets=list(sockets) or None)
