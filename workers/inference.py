"""
How is a video analysed without endangering the worker? In a process that may be killed at will.

The worker holds the lease and the database; this process holds the networks and the video. It
gets neither the database's address nor the broker's. What it sends back is read as values of the
domain and nothing else: an array, or any other foreign object, is refused at the border.

Hangs in C, crashes and memory that runs out look alike from outside: the process is gone, or is
killed with all that it started. A new one is started before the next job is claimed.
"""

import contextlib
import hashlib
import io
import os
import pickle
import pkgutil
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Protocol

from app import child, log
from app.domain.evidence import Analysis
from app.domain.job import Actor, JobError, Progress
from app.domain.model_version import ModelVersion
from app.domain.overlay import OverlayOrder, Rendered
from app.domain.worker import WorkerCondition
from app.errors import IntegrityFailed, OperatorMustAct, RejectedMedia, RetryLater
from app.settings import Settings

READ_BYTES = 1024 * 1024
MAX_MESSAGE_BYTES = 1024**3  # an analysis with every mask is some tens of MiB
EXIT_WITHIN_S = 2.0  # of hanging up; an interpreter with networks in it takes a while to end

_log = log.get(__name__)


class Analyses(Protocol):
    """What the process runs: `workers.detection.analyze.Analyzer`, or a double of it in a test."""

    def condition(self) -> WorkerCondition:
        """Say with what the analyses are made."""
        ...

    def analyze(
        self, path: Path, *, sha256: str, size_bytes: int, report: Callable[[Progress], None]
    ) -> Analysis:
        """Find everything there is to find in one video."""
        ...

    def render(
        self, path: Path, out: Path, *, order: OverlayOrder, report: Callable[[Progress], None]
    ) -> None:
        """Write the video with a box around everybody and what is marked to a file."""
        ...


Build = Callable[[Settings, Sequence[ModelVersion]], Analyses]
"""Makes what the process runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A video to analyse."""

    path: str
    sha256: str  # of the bytes that were acknowledged
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """A video to draw over."""

    path: str
    sha256: str  # of the bytes that were acknowledged
    size_bytes: int
    out: str  # the file to write; nothing is there yet
    order: OverlayOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The networks are loaded."""

    condition: WorkerCondition


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The process cannot work until somebody has acted: a model's bytes are wrong, say."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """It is the video's fault."""

    error: JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tampered:
    """The stored bytes are not those that were acknowledged."""

    error: JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It is our fault. The stack is in the log, and the process should not be used again."""

    error: JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """The process is gone, with all that it started."""

    how: str


Outcome = Analysis | Rendered | Rejected | Tampered | Failed | Died
Message = Assignment | Rendering | Ready | Refused | Progress | Outcome


class InferenceProcess:
    """
    The worker's end: one process at a time, started again when asked.

    Args:
        factory: `package.module:function` that makes an `Analyses` in there, from settings and
            the versions of networks that were promoted.
    """

    def __init__(self, *, factory: str, settings: Settings) -> None:
        self._factory = factory
        # What the process is not told, it cannot be made to tell.
        self._settings = settings.model_copy(update={"database_url": None, "broker_url": None})
        self._life: _Life | None = None

    @property
    def pid(self) -> int | None:
        """The running process; None where there is none."""
        return self._life.process.pid if self.is_running else None  # type: ignore[union-attr]

    @property
    def is_running(self) -> bool:
        """Whether a process was started and, as far as is known, lives."""
        return self._life is not None and not self._life.is_over.is_set()

    def start(self, promoted: Sequence[ModelVersion] = ()) -> None:
        """
        Start a fresh process; its first message is `Ready`, `Refused` or `Died`.

        Args:
            promoted: versions that take the place of networks that came along.
        """
        self.kill()
        ours, theirs = Pipe()
        with theirs:
            process = child.start(
                "workers.inference:serve",
                theirs.fileno(),
                self._factory,
                self._settings,
                tuple(promoted),
                pass_fds=[theirs.fileno()],
            )
        self._life = _Life(process, ours)

    def twin(self) -> "InferenceProcess":
        """Make another one like this, which runs nothing yet."""
        return InferenceProcess(factory=self._factory, settings=self._settings)

    def become(self, other: "InferenceProcess") -> None:
        """Take over the running process of `other`, and end one's own."""
        self.kill()
        self._life, other._life = other._life, None

    def assign(self, assignment: Assignment | Rendering) -> None:
        """Give it a video; it answers with any number of `Progress`, then an `Outcome`."""
        assert self._life is not None
        self._life.send(assignment)

    def receive(self, timeout_s: float) -> Message | None:
        """Return its next message, or None after `timeout_s` seconds of silence."""
        assert self._life is not None
        try:
            return self._life.inbox.get(timeout=max(timeout_s, 0))
        except queue.Empty:
            return None

    def kill(self) -> None:
        """Kill the process and all that it started, and wait until it is gone."""
        if self._life is not None:
            self._life.end()
            self._life = None


class _Life:
    """
    One process from its start to its end.

    A thread reads, so that a process that stops in the middle of a message cannot stop the
    worker's heartbeats.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.process = process
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.is_over = threading.Event()
        self._connection = connection
        self._reaping = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="inference-reader", daemon=True)
        self._reader.start()

    def send(self, assignment: Assignment | Rendering) -> None:
        with contextlib.suppress(OSError):  # it died; the reader says so
            self._connection.send_bytes(pickle.dumps(assignment))

    def end(self) -> None:
        with self._reaping:
            if not self.is_over.is_set():
                child.kill(self.process)
        self._reader.join()

    def _read(self) -> None:
        how: str | None = None
        while how is None:
            try:
                self.inbox.put(_read_values(self._connection.recv_bytes(MAX_MESSAGE_BYTES)))
            except (EOFError, OSError):
                how = ""
            except pickle.UnpicklingError as foreign:
                _log.error("message.refused", why=str(foreign))
                how = f"it sent what may not cross: {foreign}"
        if not how:
            self._await_exit()
        with self._reaping:
            # Its own children too, while its number cannot yet have been given to another.
            child.kill(self.process)
            status = self.process.wait()
            self.is_over.set()
        self._connection.close()
        self.inbox.put(Died(how=how or child.words(status)))

    def _await_exit(self) -> None:
        """Let a process that hung up end by itself, without reaping it."""
        until_s = time.monotonic() + EXIT_WITHIN_S
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG
        while time.monotonic() < until_s and not os.waitid(os.P_PID, self.process.pid, how):
            time.sleep(0.005)


class _Values(pickle.Unpickler):
    """Reads messages that hold the domain's values, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - the base's signature
        if module.startswith("app.domain.") or module == __name__:
            found = super().find_class(module, name)
            if isinstance(found, type):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no value of the domain")


def _read_values(data: bytes) -> Message:
    try:
        message = _Values(io.BytesIO(data)).load()
    except (AttributeError, EOFError, ImportError, IndexError, TypeError, ValueError) as garbled:
        raise pickle.UnpicklingError(repr(garbled)) from garbled
    if not isinstance(message, Message):
        raise pickle.UnpicklingError(f"{type(message).__name__} is no message")
    return message


def serve(
    descriptor: int, factory: str, settings: Settings, promoted: Sequence[ModelVersion]
) -> None:
    """Analyse what comes in over `descriptor` until it is closed. Runs in the process itself."""
    os.set_inheritable(descriptor, False)
    log.configure(fmt=settings.log_format, level=settings.log_level)
    # A service manager may signal the whole group; when to stop is the supervisor's to say. A
    # handler, unlike SIG_IGN, is not passed on to the programs that this one starts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with Connection(descriptor) as connection:
        _Server(connection).run(factory, settings, promoted)


class _Server:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, factory: str, settings: Settings, promoted: Sequence[ModelVersion]) -> None:
        try:
            build: Build = pkgutil.resolve_name(factory)
            analyses = build(settings, promoted)
            self._send(Ready(condition=analyses.condition()))
        except OperatorMustAct as why:
            self._send(Refused(detail=str(why)))
            return
        while True:
            try:
                assignment = _read_values(self._connection.recv_bytes())
            except EOFError:
                return
            assert isinstance(assignment, Assignment | Rendering)
            outcome = self._examine(analyses, assignment)
            self._send(outcome)
            if isinstance(outcome, Failed):
                return  # whatever raised may have left a network or a device sick

    def _examine(self, analyses: Analyses, assignment: Assignment | Rendering) -> Outcome:
        try:
            _check_integrity(assignment)
            if isinstance(assignment, Rendering):
                out = Path(assignment.out)
                analyses.render(
                    Path(assignment.path), out, order=assignment.order, report=self._send
                )
                sha256, size_bytes = _digest(out)
                return Rendered(sha256=sha256, size_bytes=size_bytes)
            return analyses.analyze(
                Path(assignment.path),
                sha256=assignment.sha256,
                size_bytes=assignment.size_bytes,
                report=self._send,
            )
        except IntegrityFailed as why:
            return Tampered(error=_ours("integrity", str(why)))
        except RejectedMedia as why:
            error = JobError(code=why.code.value, detail=str(why), actor=Actor.CLIENT)
            return Rejected(error=error)
        except RetryLater as why:
            _log.exception("blob.read_failed")
            return Failed(error=_ours("storage", str(why)))
        except Exception:  # noqa: BLE001 - the boundary: nothing that goes wrong may pass for clean
            _log.exception("analysis.failed")
            return Failed(error=_ours("internal", "The analysis failed. The log says why."))

    def _send(self, message: Message) -> None:
        self._connection.send_bytes(pickle.dumps(message))


def _check_integrity(assignment: Assignment | Rendering) -> None:
    try:
        sha256, size_bytes = _digest(Path(assignment.path))
    except OSError as error:
        raise RetryLater("The stored video could not be read.") from error
    if (sha256, size_bytes) != (assignment.sha256, assignment.size_bytes):
        raise IntegrityFailed(
            f"The stored video has {size_bytes} bytes of SHA-256 {sha256}; "
            f"acknowledged were {assignment.size_bytes} of {assignment.sha256}."
        )


def _digest(path: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size of a file."""
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return digest.hexdigest(), size_bytes


def _ours(code: str, detail: str) -> JobError:
    return JobError(code=code, detail=detail, actor=Actor.OPERATOR)
