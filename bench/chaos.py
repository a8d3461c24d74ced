"""
What is lost when workers are killed? Post jobs over HTTP, SIGKILL workers at random, and count.

    python -m bench.chaos [--jobs 20] [--workers 3] [--kills 10] [--seed 0]

Real processes on a throw-away PostgreSQL and Redis: one gateway, some workers with the networks
that are installed, each started again as soon as it was killed. Every job that was acknowledged
must succeed, once.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from app.clock import utc_now
from app.db import migrate
from app.db.session import Database
from app.db.tables import JobEventRow, JobRow, VerdictRow
from app.domain.access import Scope
from app.domain.job import NEXT, JobState
from app.services import keys
from app.settings import Settings
from tests.servers import Postgres, Redis, die_with_parent, free_port

ROOT = Path(__file__).parents[1]
REAL_WORKER = (sys.executable, "-m", "app.cli", "worker")
HASTE = {
    "DEEPVERDICT_WORKER__LEASE_S": "3",
    "DEEPVERDICT_WORKER__RECONCILE_INTERVAL_S": "1",
    "DEEPVERDICT_WORKER__RETRY_DELAY_S": "0",
    "DEEPVERDICT_WORKER__DRAIN_GRACE_S": "0",
    # A job that meets many kills is unlucky here, not poisonous.
    "DEEPVERDICT_WORKER__MAX_ATTEMPTS": "20",
    "DEEPVERDICT_LOG_FORMAT": "json",
}
START_S = 60.0
FINISH_S = 900.0
KILL_EVERY_S = (2.0, 7.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of it."""

    acknowledged: int
    finished: int  # succeeded
    lost: tuple[str, ...]  # acknowledged and not succeeded
    unexpected: int  # jobs that nobody acknowledged
    duplicated: int  # verdicts, or steps to `succeeded`, beyond one a job
    impossible: tuple[str, ...]  # steps that no job may take
    kills: int
    interrupted: int  # attempts that a kill cut off
    slowest_takeover_s: float  # from a kill to the job's next claim
    seconds: float  # from the first POST to the last verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One worker's end."""

    pid: int
    at: datetime


class Fleet:
    """A gateway and some workers, as processes, set up by their environment."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        broker_url: str,
        workers: int,
        worker_command: Sequence[str] = REAL_WORKER,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.db = Database(database_url)
        self.kills: list[Kill] = []
        self._folder = folder
        self._command = worker_command
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DEEPVERDICT_")},
            **HASTE,
            "DEEPVERDICT_DATA_DIR": str(folder / "data"),
            "DEEPVERDICT_MODELS__DIR": str(Settings().models_dir.resolve()),
            "DEEPVERDICT_DATABASE_URL": database_url,
            "DEEPVERDICT_BROKER_URL": broker_url,
            "DEEPVERDICT_API__PORT": str(port),
            **(extra or {}),
        }
        self.key = keys.create(self.db, tenant="chaos", name="chaos", scopes=Scope).secret
        self._gateway = self._start("gateway", [sys.executable, "-m", "app.cli", "serve"])
        self._workers = [self._start_worker() for _ in range(workers)]

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        processes = [self._gateway, *self._workers]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.db.close()

    def until_live(self) -> None:
        """Wait until the gateway answers."""
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                if httpx.get(f"{self.url}/livez").status_code == HTTPStatus.OK:
                    return
            except httpx.TransportError:
                pass
            self.check_alive()
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"no gateway:\n{self._last_words('gateway')}")
            time.sleep(0.05)

    def kill_one(self, rng: random.Random) -> None:
        """SIGKILL a worker and start another in its place."""
        index = rng.randrange(len(self._workers))
        victim = self._workers[index]
        victim.kill()
        self.kills.append(Kill(pid=victim.pid, at=utc_now()))
        victim.wait()
        self._workers[index] = self._start_worker()

    def check_alive(self) -> None:
        """Raise RuntimeError with its last words where a process ended that nobody killed."""
        for name, processes in (("gateway", [self._gateway]), ("workers", self._workers)):
            if any(process.poll() is not None for process in processes):
                raise RuntimeError(f"one of the {name} ended:\n{self._last_words(name)}")

    def states(self) -> Counter[str]:
        """Count the jobs by state, as the database has them."""
        with self.db.reading() as session:
            return Counter(session.scalars(select(JobRow.state)).all())

    def _last_words(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()[-4000:]

    def _start_worker(self) -> subprocess.Popen[bytes]:
        return self._start("workers", self._command)

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call
            )


def storm(
    fleet: Fleet,
    videos: Sequence[bytes],
    *,
    kills: int,
    seed: int,
    kill_every_s: tuple[float, float] = KILL_EVERY_S,
) -> Tally:
    """Post every video while workers are killed; wait for the end and check the history."""
    rng = random.Random(seed)
    fleet.until_live()
    began_s = time.monotonic()
    acknowledged: list[str] = []
    waiting = list(videos)
    kill_at_s = began_s + rng.uniform(*kill_every_s)
    with httpx.Client(
        base_url=fleet.url, headers={"Authorization": f"Bearer {fleet.key}"}, timeout=30
    ) as client:
        while waiting or not _is_over(fleet.states()):
            fleet.check_alive()
            if waiting:
                answer = client.post(
                    "/v1/jobs", content=waiting.pop(), headers={"Content-Type": "video/mp4"}
                )
                answer.raise_for_status()
                acknowledged.append(answer.json()["id"])
            else:
                time.sleep(0.05)
            if time.monotonic() >= kill_at_s and len(fleet.kills) < kills:
                fleet.kill_one(rng)
                kill_at_s = time.monotonic() + rng.uniform(*kill_every_s)
            if time.monotonic() > began_s + FINISH_S:
                break
    return _check(fleet, acknowledged, seconds=time.monotonic() - began_s)


def _is_over(states: Counter[str]) -> bool:
    return not states[JobState.QUEUED] and not states[JobState.RUNNING]


def _check(fleet: Fleet, acknowledged: Sequence[str], *, seconds: float) -> Tally:
    with fleet.db.reading() as session:
        states = {row.id: row.state for row in session.scalars(select(JobRow))}
        verdicts = session.scalar(select(func.count()).select_from(VerdictRow)) or 0
        events = session.scalars(select(JobEventRow).order_by(JobEventRow.id)).all()
    history: dict[str, list[JobEventRow]] = {}
    for event in events:
        history.setdefault(event.job_id, []).append(event)
    succeeded = Counter(e.job_id for e in events if e.state == JobState.SUCCEEDED)
    takeovers = list(_takeovers(history, fleet.kills))
    return Tally(
        acknowledged=len(acknowledged),
        finished=sum(states.get(i) == JobState.SUCCEEDED for i in acknowledged),
        lost=tuple(i for i in acknowledged if states.get(i) != JobState.SUCCEEDED),
        unexpected=len(set(states) - set(acknowledged)),
        duplicated=max(verdicts - len(states), 0) + sum(n - 1 for n in succeeded.values()),
        impossible=tuple(_impossible(history)),
        kills=len(fleet.kills),
        interrupted=len(takeovers),
        slowest_takeover_s=max(takeovers, default=0.0),
        seconds=seconds,
    )


def _impossible(history: Mapping[str, Sequence[JobEventRow]]) -> Iterator[str]:
    for job_id, events in history.items():
        for before, after in pairwise(events):
            if JobState(after.state) not in NEXT[JobState(before.state)]:
                yield f"{job_id}: {before.state} -> {after.state}"
            if after.lease_token < before.lease_token:
                yield f"{job_id}: token {before.lease_token} -> {after.lease_token}"


def _takeovers(
    history: Mapping[str, Sequence[JobEventRow]], kills: Sequence[Kill]
) -> Iterator[float]:
    """Measure, for each attempt that a kill cut off, the seconds until the next claim."""
    died_at = {kill.pid: kill.at for kill in kills}
    for events in history.values():
        claims = [e for e in events if e.state == JobState.RUNNING]
        for claim, following in pairwise(claims):
            died = died_at.get(_pid(claim.actor))
            if died is not None:
                yield (following.at - died).total_seconds()


def _pid(worker: str) -> int:
    """Read the process's number out of a worker's id, `host-pid-random`."""
    return int(worker.rsplit("-", 2)[1])


@contextmanager
def _servers() -> Iterator[tuple[str, str]]:
    postgres, redis = Postgres(), Redis()
    try:
        postgres.start()
        redis.start()
        url = postgres.create_database("deepverdict")
        migrate.upgrade(url)
        yield url, redis.url
    finally:
        redis.close()
        postgres.close()


def main() -> int:
    """Print the table; 1 if anything was lost or done twice."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path, help="videos to post in turn")
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deepverdict-chaos-") as name, _servers() as urls:
        folder = Path(name)
        clips = arguments.clips or _clips(folder)
        videos = [clips[i % len(clips)].read_bytes() for i in range(arguments.jobs)]
        with Fleet(
            folder, database_url=urls[0], broker_url=urls[1], workers=arguments.workers
        ) as fleet:
            tally = storm(fleet, videos, kills=arguments.kills, seed=arguments.seed)
    table = Table("", "", title=f"{arguments.workers} workers, seed {arguments.seed}")
    table.add_row("jobs acknowledged", str(tally.acknowledged))
    table.add_row("jobs finished", str(tally.finished))
    table.add_row("jobs lost", str(len(tally.lost)))
    table.add_row("verdicts duplicated", str(tally.duplicated))
    table.add_row("workers killed", str(tally.kills))
    table.add_row("attempts cut off", str(tally.interrupted))
    table.add_row("slowest takeover, others being busy", f"{tally.slowest_takeover_s:.1f} s")
    table.add_row("time", f"{tally.seconds:.1f} s")
    Console().print(table)
    if wrong := [*tally.lost, *tally.impossible]:
        Console(stderr=True).print(json.dumps(wrong, indent=2))
    return int(bool(wrong) or tally.duplicated > 0 or tally.unexpected > 0)


def _clips(folder: Path) -> list[Path]:
    from demo.clips import make  # noqa: PLC0415  draws pictures only where no clip was named

    return [clip.path for clip in make(folder / "clips")]


if __name__ == "__main__":
    sys.exit(main())
