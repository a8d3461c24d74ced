"""
How does the whole service run on one machine, with no server beside it?

A small parent starts two children, the gateway and one worker that polls, over a SQLite file and
a folder. It starts a child that ended again, passes SIGTERM and SIGINT on, and takes both with it
however it dies. There is no second implementation of anything: these are the processes that a
large installation runs, with less in the settings.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from app import child, log
from app.db import migrate
from app.errors import Misconfigured, OperatorMustAct
from app.settings import Settings

BACKOFF_S = (0.5, 30.0)  # before the first restart, and at most
STEADY_S = 60.0  # a child that lived for so long starts again without delay
LOOK_EVERY_S = 0.1
LIVE_WITHIN_S = 60.0
STOP_MARGIN_S = 10.0  # beyond the worker's own grace, before anything is killed

_log = log.get(__name__)


@dataclass(slots=True)
class _Part:
    """A child, and when to start it again."""

    name: str
    target: str
    arguments: tuple[object, ...]
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at_s: float = 0.0
    start_at_s: float = 0.0
    wait_s: float = field(default=BACKOFF_S[0])

    def start(self) -> None:
        self.process = child.start(self.target, *self.arguments, pass_fds=self.pass_fds)
        self.started_at_s = time.monotonic()
        _log.info("part.started", part=self.name, pid=self.process.pid)

    def look(self) -> int | None:
        """Start it again where it is gone and the time has come; return the status of its end."""
        if self.process is None:
            if time.monotonic() >= self.start_at_s:
                self.start()
            return None
        status = self.process.poll()
        if status is None:
            return None
        self.process = None
        if time.monotonic() - self.started_at_s > STEADY_S:
            self.wait_s = BACKOFF_S[0]
        self.start_at_s = time.monotonic() + self.wait_s
        _log.error("part.died", part=self.name, how=child.words(status), restart_in_s=self.wait_s)
        self.wait_s = min(self.wait_s * 2, BACKOFF_S[1])
        return status

    def signal(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end(self, until_s: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(until_s - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            _log.error("part.killed", part=self.name)
            child.kill(self.process)
            self.process.wait()


def run(settings: Settings) -> int:
    """
    Run the service until SIGTERM or SIGINT; return the exit status.

    Applies the migrations first, and prints the address once the gateway answers.

    Raises:
        Misconfigured: a database or broker is set, or the address cannot be listened on.
        DatabaseUnavailable: the SQLite file is locked by another program.
    """
    if settings.database_url is not None or settings.broker_url is not None:
        raise Misconfigured(
            "`up` brings its own SQLite file and needs no broker; unset DEEPVERDICT_DATABASE_URL "
            "and DEEPVERDICT_BROKER_URL, or run `serve` and `worker` instead"
        )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    migrate.upgrade(settings.resolved_database_url)
    with _listen(settings) as listener:
        descriptor = listener.fileno()
        parts = [
            _Part("gateway", "app.embedded:serve", (settings, descriptor), (descriptor,)),
            _Part("worker", "app.embedded:work", (settings,)),
        ]
        try:
            return _watch(parts, _url(listener), stop)
        finally:
            for part in parts:
                part.signal()
            until_s = time.monotonic() + settings.worker.drain_grace_s + STOP_MARGIN_S
            for part in parts:
                part.end(until_s)
            _log.info("service.ended")


def serve(settings: Settings, descriptor: int) -> None:
    """Run the gateway on the socket that the parent listens on. Runs in the child."""
    from app.api import server  # noqa: PLC0415  the parent stays small

    log.configure(fmt=settings.log_format, level=settings.log_level)
    server.run(settings, sockets=[socket.socket(fileno=descriptor)])


def work(settings: Settings) -> int:
    """Run the worker. Runs in the child."""
    from workers.run import run as run_worker  # noqa: PLC0415  `app` itself knows no workers

    try:
        return run_worker(settings)
    except OperatorMustAct as why:
        _log.error("worker.refused", why=str(why))
        return os.EX_CONFIG


def _watch(parts: Sequence[_Part], url: str, stop: threading.Event) -> int:
    """Keep the parts running until told to stop, or until one cannot."""
    give_up_at_s = time.monotonic() + LIVE_WITHIN_S
    is_live = False
    while not stop.wait(LOOK_EVERY_S):
        for part in parts:
            if part.look() == os.EX_CONFIG:
                return os.EX_CONFIG  # it would refuse again; its words are in the log
        if is_live:
            continue
        if is_live := _answers(url):
            sys.stdout.write(f"deepverdict is up at {url}\n")
            sys.stdout.flush()
        elif time.monotonic() > give_up_at_s:
            _log.error("gateway.silent", for_s=LIVE_WITHIN_S)
            return os.EX_UNAVAILABLE
    return os.EX_OK


def _listen(settings: Settings) -> socket.socket:
    """Listen before the gateway runs, so that no port is raced for and no restart refuses."""
    host, port = settings.api.host, settings.api.port
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise Misconfigured(f"cannot listen on {host} port {port}: {error.strerror}") from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/livez", timeout=0.5) as answer:  # noqa: S310 - our own
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
