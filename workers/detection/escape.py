"""Does the jail hold? A program that jails itself as the decoder does, then tries to get out."""

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from workers.detection import jail, wire

CPU_S = 10
CONNECT_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to go for."""

    parent_pid: int
    port: int  # somebody listens there, on the loopback interface
    secret: str  # a file that could be read, but for the jail
    folder: str  # one that could be written to, but for the jail


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What could be done from inside."""

    words: str  # what the jail says of itself
    environment: tuple[str, ...]  # names of variables
    connected: bool
    read_secret: bool
    wrote_file: bool
    started_process: bool
    signalled_parent: bool


def main() -> int:
    """Try everything and print what worked as JSON; return the exit status."""
    target = Target(**json.loads(wire.read_line(0)))
    environment = tuple(os.environ)
    walls = jail.enter(
        parent_pid=target.parent_pid, readable=jail.interpreter_folders(), cpu_s=CPU_S
    )
    attempts = Attempts(
        words=walls.words,
        environment=environment,
        connected=_works(lambda: _connect(target.port)),
        read_secret=_works(lambda: Path(target.secret).read_bytes()),
        wrote_file=_works(lambda: Path(target.folder, "loot").touch()),
        started_process=_works(_start_process),
        signalled_parent=_works(lambda: os.kill(target.parent_pid, 0)),
    )
    sys.stdout.write(json.dumps(asdict(attempts)))
    return 0


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT_S).close()


def _start_process() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
