"""
A network is promoted, taken up, compared, found corrupted, and rolled back.

All of it is real: a gateway, a worker process with the networks that come with the program, the
command line, and a face in a clip.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from demo.clips import make_portrait_clip
from tests.app.api.conftest import Kitchen, wait_until
from tests.make_packages import make_candidate, make_package
from tests.test_command_line import run
from tests.workers.process import WorkerProcess

PATIENCE_S = 120.0
BRIGHT_IS_FAKE = 60.0  # slope of a classifier that takes every face that is lit for a fake
SIZE_PX = (320, 240)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A face under a moving camera, for as long as a verdict needs."""
    path = tmp_path_factory.mktemp("clips") / "astronaut.mp4"
    return make_portrait_clip(path, size_px=SIZE_PX, rate_hz=25, seconds=1.2).read_bytes()


class Newsroom:
    """What a caller and an operator see."""

    def __init__(self, kitchen: Kitchen, sqlite_url: str, home: Path) -> None:
        self.home = home
        self.settings = {"DATABASE_URL": sqlite_url}
        service = kitchen.serve()
        self.client = httpx.Client(base_url=service.url, headers=service.key(), timeout=30)

    def worker(self, log: Path) -> WorkerProcess:
        environment = {f"DEEPVERDICT_{k}": v for k, v in self.settings.items()}
        environment["DEEPVERDICT_DATA_DIR"] = str(self.home / "data")
        environment["DEEPVERDICT_ANALYSIS__THREADS"] = "1"
        return WorkerProcess(environment, log=log, analyzer="real")

    def models(self, *arguments: str | Path) -> str:
        """Run `deepverdict models ...`, which must go well; return what it said."""
        done = run(self.home, "models", *arguments, **self.settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get(path).json()
        return answer

    def until(self, path: str, field: str, value: object) -> dict[str, Any]:
        wait_until(lambda: self.get(path)[field] == value, within_s=PATIENCE_S)
        return self.get(path)

    def judge(self, clip: bytes) -> dict[str, Any]:
        """Send a clip and return the job, once it has a verdict."""
        headers = {"Content-Type": "video/mp4"}
        sent = self.client.post("/v1/jobs?priority=live", content=clip, headers=headers)
        assert sent.status_code == 202, sent.text
        return self.until(sent.headers["Location"], "state", "succeeded")


@pytest.fixture
def newsroom(sqlite_url: str, tmp_path: Path) -> Iterator[Newsroom]:
    kitchen = Kitchen(sqlite_url, tmp_path / "data")
    try:
        made = Newsroom(kitchen, sqlite_url, tmp_path)
        with made.client:
            yield made
    finally:
        kitchen.close()


def version_of(job: dict[str, Any]) -> str:
    """Return by which classifier a job was judged, which it says in two places."""
    (person,) = job["persons"]
    (named,) = [e["model"] for e in person["evidence"] if e["detector"] == "frame_classifier"]
    assert named == f"frame_classifier@{job['provenance']['versions']['frame_classifier']}"
    return named


def test_a_version_is_promoted_judged_by_compared_corrupted_and_rolled_back(
    newsroom: Newsroom, clip: bytes, tmp_path: Path
):
    better = make_package(tmp_path / "candidate", make_candidate(slope=BRIGHT_IS_FAKE))
    with newsroom.worker(tmp_path / "worker.log") as worker:
        # 1. By what came along.
        before = newsroom.judge(clip)
        assert version_of(before) == "frame_classifier@1.0"
        assert before["verdict"]["label"] != "manipulated"

        # 2. By the new one: the same worker, which nobody has started again.
        assert "frame_classifier@1.1 is current." in newsroom.models("promote", better)
        after = newsroom.judge(clip)
        assert version_of(after) == "frame_classifier@1.1"
        assert after["verdict"]["policy"].endswith("+frame_classifier@1.1")
        assert after["verdict"]["label"] == "manipulated"
        sha256 = make_candidate(slope=BRIGHT_IS_FAKE)[0].sha256
        assert after["provenance"]["models"]["frame_classifier"] == f"sha256:{sha256}"
        (in_use,) = [
            m for m in newsroom.get("/v1/models")["items"] if m["name"] == "frame_classifier"
        ]
        assert (in_use["version"], in_use["workers"], in_use["is_wanted"]) == ("1.1", 1, True)

        # 3. What does it change?
        started = newsroom.client.post("/v1/reruns", json={"job_ids": [before["id"]]})
        assert started.status_code == 202, started.text
        rerun = newsroom.until(started.headers["Location"], "is_done", True)
        (changed,) = rerun["changed"]
        assert changed["job_id"] == before["id"]
        assert changed["before"]["models"]["frame_classifier"] == "1.0"
        assert changed["after"]["models"]["frame_classifier"] == "1.1"
        assert changed["after"]["label"] == "manipulated"
        assert newsroom.get(f"/v1/jobs/{before['id']}") == before
        assert newsroom.get(changed["link"])["rerun_of"] == before["id"]

        # 4. A file that goes bad before a worker has read it.
        worse = make_package(tmp_path / "worse", make_candidate(version="1.2", slope=90.0))
        worker.process.send_signal(signal.SIGSTOP)
        newsroom.models("promote", worse)
        models_dir = Settings(_env_file=None, data_dir=newsroom.home / "data").models_dir
        (file,) = models_dir.glob("frame_classifier-1.2-*.onnx")
        file.write_bytes(file.read_bytes()[:-1] + b"!")
        worker.process.send_signal(signal.SIGCONT)
        worker.until_logged("models.not_taken_up")
        assert version_of(newsroom.judge(clip)) == "frame_classifier@1.1"
        ready = newsroom.get("/readyz")
        assert ready["status"] == "degraded"
        assert "frame_classifier@1.2" in ready["checks"]["models"]["words"]
        wanted = {
            m["version"]: (m["workers"], m["is_wanted"])
            for m in newsroom.get("/v1/models")["items"]
            if m["name"] == "frame_classifier"
        }
        assert wanted == {"1.1": (1, False), "1.2": (0, True)}

        # 5. Back, step by step.
        newsroom.models("rollback", "frame_classifier")
        wait_until(lambda: newsroom.get("/readyz")["status"] == "ready", within_s=PATIENCE_S)
        newsroom.models("rollback", "frame_classifier")
        assert version_of(newsroom.judge(clip)) == "frame_classifier@1.0"
        assert worker.is_running
        assert worker.words().count("worker.started") == 1

    listed = newsroom.models("versions")
    assert "frame_classifier@1.2" in listed
    assert "rolled back from" in listed
