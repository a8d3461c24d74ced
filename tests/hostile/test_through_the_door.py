"""
What does a newsroom see of a video that is hostile, broken, or shows nobody?

Each is posted over HTTP to the whole service, as `deepverdict up` runs it: gateway, SQLite, worker,
jailed decoder. What the gateway itself turns away is in tests/app/api.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import media

JUDGED_WITHIN_S = 60


class Service:
    """A running service, and a key to it."""

    def __init__(self, url: str, key: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"})

    def judge(self, video: Path) -> dict[str, Any]:
        """Post a video and poll its job to the end."""
        answer = self.http.post(
            "/v1/jobs",
            content=video.read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 202, answer.text
        until_s = time.monotonic() + JUDGED_WITHIN_S
        while time.monotonic() < until_s:
            job = self.http.get(answer.headers["Location"]).json()
            if job["state"] not in ("queued", "running"):
                return job
            time.sleep(0.05)
        raise AssertionError(f"not judged within {JUDGED_WITHIN_S} s: {job}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service")
    environment = {
        "PATH": os.environ["PATH"],
        "DEEPVERDICT_DATA_DIR": str(home / "data"),
        "DEEPVERDICT_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "app.cli"]
    with subprocess.Popen(
        [*command, "up", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            key = subprocess.run(
                [*command, "keys", "create", "--tenant", "desk", "--quiet"],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            service = Service(url, key)
            yield service
            service.http.close()
        finally:
            process.terminate()
            process.wait(timeout=60)


def _truncated(folder: Path) -> Path:
    whole = media.make_video(folder / "clip.avi", frames=100, noise=200, size=(320, 240))
    return media.truncate(whole, 0.6)


REJECTED: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "sound alone": ("no-video-stream", lambda d: media.make_sound(d / "sound.mp4")),
    "a picture of 16000 x 16000": (
        "frame-too-large",
        lambda d: media.make_huge_still(d / "bomb.mov", side_px=16_000),
    ),
    "1000 frames a second": (
        "frame-rate-too-high",
        lambda d: media.make_video(d / "fast.mp4", rate_hz=1000, frames=50),
    ),
    "200 streams": (
        "too-many-streams",
        lambda d: media.make_many_streams(d / "many.mkv", streams=200),
    ),
    "its index cut off": (
        "unreadable-container",
        lambda d: media.truncate(media.make_video(d / "clip.mp4"), 0.6),
    ),
    "a codec that is not let in": (
        "unsupported-codec",
        lambda d: media.make_video(d / "rare.mkv", codec="ffv1", frames=2),
    ),
}


@pytest.mark.parametrize("what", REJECTED)
def test_a_hostile_video_is_rejected_by_name_and_has_no_verdict(
    service: Service, tmp_path: Path, what: str
):
    code, make = REJECTED[what]

    job = service.judge(make(tmp_path))

    assert job["state"] == "rejected"
    assert job["error"]["code"] == code
    assert job["error"]["actor"] == "client"
    assert str(tmp_path.parent) not in job["error"]["detail"]
    assert "verdict" not in job
    assert job["attempt"] == 1


def test_a_truncated_video_is_inconclusive_and_says_how_much_of_it_was_there(
    service: Service, tmp_path: Path
):
    job = service.judge(_truncated(tmp_path))

    assert job["state"] == "succeeded"
    assert job["verdict"]["label"] == "inconclusive"
    assert any(r.startswith("truncated: ") for r in job["verdict"]["reasons"])
    assert "truncated" in job["video"]["warnings"]
    assert job["video"]["frames_decoded"] < job["video"]["frames_expected"]


def test_a_video_with_nobody_in_it_is_inconclusive_no_face(service: Service, tmp_path: Path):
    job = service.judge(media.make_video(tmp_path / "nobody.mp4", size=(320, 240)))

    assert job["state"] == "succeeded"
    assert job["verdict"]["label"] == "inconclusive"
    assert job["verdict"]["fake_probability"] is None
    assert job["verdict"]["reasons"][0].startswith("no_face: ")


def test_the_service_still_judges_after_all_of_that(service: Service, tmp_path: Path):
    job = service.judge(media.make_video(tmp_path / "plain.mp4"))

    assert job["state"] == "succeeded"
    assert service.http.get("/readyz").status_code == 200
