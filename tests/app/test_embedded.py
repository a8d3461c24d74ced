"""The whole service on one machine: `deepverdict up`, as a user starts and stops it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from app.db.session import Database
from app.domain.access import Scope
from app.services import keys
from tests.servers import die_with_parent
from tests.workers.process import ROOT, without_settings

PATIENCE_S = 60.0
UP = (sys.executable, "-m", "app.cli", "up", "--port", "0")


class Service:
    """A running `deepverdict up` and all the processes that it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors = folder / "errors"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                UP,
                cwd=ROOT,
                env=environment(folder),
                stdout=subprocess.PIPE,
                stderr=errors,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert "http://" in line, self.errors.read_text()
        self.url = line.split()[-1]

    def family(self) -> list[psutil.Process]:
        """Return every process below this one."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def part(self, target: str) -> psutil.Process | None:
        """Find the gateway or the worker, by the function that it runs."""
        for process in self.family():
            try:
                if target in process.cmdline():
                    return process
            except psutil.NoSuchProcess:
                continue
        return None

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        **without_settings(os.environ),
        "DEEPVERDICT_DATA_DIR": str(folder / "data"),
        "DEEPVERDICT_WORKER__ALLOW_UNSANDBOXED": "true",
        "DEEPVERDICT_WORKER__POLL_INTERVAL_S": "0.1",
        "DEEPVERDICT_UPLOAD__MIN_FREE_BYTES": "0",
        **more,
    }


@contextmanager
def up(folder: Path) -> Iterator[Service]:
    service = Service(folder)
    family: list[psutil.Process] = []
    try:
        family = service.family()
        yield service
    finally:
        if service.process.poll() is None:
            service.end(signal.SIGKILL)
        assert service.process.stdout is not None
        service.process.stdout.close()
    until_gone(family)


def until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_a_video_is_taken_in_worked_on_and_answered_for(tmp_path: Path):
    with up(tmp_path) as service:
        db = Database(f"sqlite:///{tmp_path / 'data' / 'deepverdict.db'}")
        key = keys.create(db, tenant="desk", name="test", scopes=Scope).secret
        db.close()
        with httpx.Client(
            base_url=service.url, headers={"Authorization": f"Bearer {key}"}, timeout=30
        ) as client:
            not_much = b"\0\0\0\x18ftypisom" + bytes(100)
            job = client.post(
                "/v1/jobs", content=not_much, headers={"Content-Type": "video/mp4"}
            ).json()
            deadline_s = time.monotonic() + PATIENCE_S
            while (state := client.get(f"/v1/jobs/{job['id']}").json())["state"] != "rejected":
                assert time.monotonic() < deadline_s, f"{state}\n{service.errors.read_text()}"
                time.sleep(0.05)

        assert service.end(signal.SIGTERM) == 0
        assert state["error"]["code"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_no_process_is_left(tmp_path: Path, how: signal.Signals):
    with up(tmp_path) as service:
        family = service.family()
        assert len(family) >= 2

        status = service.end(how)

    assert status == (-how if how is signal.SIGKILL else 0)
    until_gone(family)


@pytest.mark.parametrize("target", ["app.embedded:work", "app.embedded:serve"])
def test_a_part_that_crashed_is_started_again(tmp_path: Path, target: str):
    with up(tmp_path) as service:
        first = service.part(target)
        assert first is not None
        first.kill()
        deadline_s = time.monotonic() + PATIENCE_S
        while (second := service.part(target)) is None or second.pid == first.pid:
            assert time.monotonic() < deadline_s, service.errors.read_text()
            time.sleep(0.05)
        while True:
            try:
                assert httpx.get(f"{service.url}/livez", timeout=5).status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline_s
        assert service.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("setting", "value"),
    [("DATABASE_URL", "postgresql+psycopg://x@127.0.0.1:1/x"), ("BROKER_URL", "redis://x:1/0")],
)
def test_it_does_not_pretend_to_use_another_server(tmp_path: Path, setting: str, value: str):
    done = subprocess.run(
        UP,
        cwd=ROOT,
        env=environment(tmp_path, **{f"DEEPVERDICT_{setting}": value}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert done.returncode != 0
    assert "run `serve` and `worker` instead" in " ".join(done.stderr.split())


def test_a_taken_port_is_said_in_words(tmp_path: Path):
    with up(tmp_path) as service:
        port = service.url.rsplit(":", 1)[1]
        done = subprocess.run(
            [*UP[:-1], port],
            cwd=ROOT,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    assert done.returncode != 0
    assert f"cannot listen on 127.0.0.1 port {port}" in " ".join(done.stderr.split())
