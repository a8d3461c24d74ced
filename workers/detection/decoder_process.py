"""How does the worker hold a decoder by the hand? Start, memory in common, patience, the end."""

import contextlib
import fcntl
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TypeVar, get_args, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from app import log
from app.errors import Misconfigured, RejectCode, RejectedMedia
from workers.detection import wire

ROOT = Path(__file__).resolve().parents[2]
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from {} import {} as main; sys.exit(main())"
"""Isolated mode knows only installed packages; this adds the very code that we run from."""
MAX_ERROR_BYTES = 4096
MAX_WORDS = 400
READ_BYTES = 64 * 1024

_log = log.get(__name__)
_One = TypeVar("_One", bound=wire.Message)
_Other = TypeVar("_Other", bound=wire.Message)
_READERS: dict[str, TypeAdapter[wire.Message]] = {
    kind.__name__: TypeAdapter(kind) for kind in get_args(wire.Message)
}


def start(program: str, *, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    """
    Run a function in a fresh interpreter with an empty environment and no files but pipes.

    Args:
        program: `package.module:function`; what it returns is the exit status.
        pass_fds: what it finds open all the same.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-c", BOOT.format(*program.split(":")), str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=pass_fds,
        env={},
        cwd="/",
        start_new_session=True,
    )


class DecoderProcess:
    """
    One decoder, for one video. A context manager: leaving it kills the process.

    Args:
        program: `package.module:function` that serves an order.
        timeout_s: how long it may keep the worker waiting, all in all. What the worker does in
            between is not counted.
    """

    def __init__(self, program: str, *, timeout_s: float) -> None:
        self._patience_s = timeout_s
        self.memory = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            self._process = start(program, pass_fds=(self.memory,))
        except OSError:
            os.close(self.memory)
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._orders = self._process.stdin
        self._answers = self._process.stdout.fileno()
        self._errors = self._process.stderr.fileno()
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._poll.register(self._errors, select.POLLIN)
        self._unread = bytearray()
        self._said = bytearray()
        self._is_jailed = False

    def __enter__(self) -> "DecoderProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        os.close(self.memory)

    def order(self, order: wire.Order) -> None:
        """Tell it what to do."""
        with contextlib.suppress(BrokenPipeError):  # it died; `receive` says so
            wire.send(self._orders.fileno(), order)

    def share(self, size_bytes: int, *, slots: int) -> NDArray[np.uint8]:
        """Give it memory for so many slots; return the worker's view, `[slots, size_bytes]`."""
        total = slots * size_bytes
        try:
            os.ftruncate(self.memory, total)
            # Memory that shrank under the worker would kill it by SIGBUS.
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.memory, fcntl.F_ADD_SEALS, seals)
        except OSError as meddled:
            raise self.broken("it meddled with the shared memory") from meddled
        if os.fstat(self.memory).st_size != total:
            raise self.broken("it changed the size of the shared memory")
        view = mmap.mmap(self.memory, total, prot=mmap.PROT_READ)
        self.free(slots)
        return np.frombuffer(view, np.uint8).reshape(slots, size_bytes)

    def free(self, slots: int) -> None:
        """Tell it that so many slots, in turn, may be written again."""
        with contextlib.suppress(BrokenPipeError):
            self._orders.write(wire.SLOT_FREE * slots)

    @overload
    def receive(self, kind: type[_One]) -> _One: ...
    @overload
    def receive(self, kind: type[_One], other: type[_Other]) -> _One | _Other: ...
    def receive(self, kind: type[_One], other: type[_Other] | None = None) -> _One | _Other:
        """
        Return its next message, of one of two kinds.

        Raises:
            RejectedMedia: it turned the video away, or died, or took too long, or spoke nonsense.
            Misconfigured: it died before it had seen the video.
        """
        name, _, body = self._receive_line().decode(errors="replace").partition(" ")
        try:
            message = _READERS[name].validate_json(body, strict=True)
        except (KeyError, ValidationError) as garbled:
            raise self.broken(f"no message: {name[:MAX_WORDS]!r}") from garbled
        if isinstance(message, wire.Refused):
            raise RejectedMedia(message.code, printable(message.detail))
        if not isinstance(message, (kind, other or kind)):
            raise self.broken(f"a {name} where it has no place")
        self._is_jailed = True
        return message

    def broken(self, why: str) -> RejectedMedia:
        """Kill it for what it did; return what to raise."""
        self.kill()
        _log.error("decoder.misbehaved", why=why, said=self._last_words())
        return RejectedMedia(RejectCode.DECODER_CRASH, "The decoder broke off on this video.")

    def kill(self) -> None:
        """Kill it with all that it may have started, and wait until it is gone."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _receive_line(self) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > wire.MAX_LINE_BYTES:
                raise self.broken("a message without an end")
            self._read_more()
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    def _read_more(self) -> None:
        started = time.monotonic()
        ready = self._poll.poll(max(self._patience_s, 0) * 1000)
        self._patience_s -= time.monotonic() - started
        if not ready:
            self.kill()
            raise RejectedMedia(RejectCode.DECODE_TIMEOUT, "Decoding takes too long.")
        for descriptor, _ in ready:
            data = os.read(descriptor, READ_BYTES)
            if descriptor == self._errors:
                self._said = (self._said + data)[-MAX_ERROR_BYTES:]
                if not data:
                    self._poll.unregister(descriptor)
            elif data:
                self._unread += data
            else:
                raise self._died()

    def _died(self) -> Exception:
        try:
            status = self._process.wait(timeout=max(self._patience_s, 0))
        except subprocess.TimeoutExpired:
            return self.broken("it closed its end and lives on")
        _log.warning(
            "decoder.died", status=status, said=self._last_words(), is_jailed=self._is_jailed
        )
        if not self._is_jailed:
            return Misconfigured("The decoder does not start; the log has its last words.")
        if status == -signal.SIGXCPU:
            return RejectedMedia(RejectCode.DECODE_TIMEOUT, "Decoding takes too long.")
        return RejectedMedia(RejectCode.DECODER_CRASH, "The decoder broke off on this video.")

    def _last_words(self) -> str:
        """What it wrote to standard error; for the log, never for a client."""
        return printable(self._said.decode("latin-1"), max_chars=MAX_ERROR_BYTES)


def printable(text: str, *, max_chars: int = MAX_WORDS) -> str:
    """Cut a foreign text to a bearable length and take out what is not print."""
    return "".join(c if c.isprintable() else " " for c in text[:max_chars])
