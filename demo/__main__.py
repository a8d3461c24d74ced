"""
What does a newsroom see? Start the real service, POST clips to it, and print the verdicts.

    python -m demo                 two clips made on the spot
    python -m demo clip.mp4 ...    files of yours

Everything lives in a temporary folder and every process is gone at the end. Nothing is fetched: the
networks came with the program.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.render import verdict_tables
from app.views import JobView
from demo.clips import Clip, make

JOB_TIMEOUT_S = 1800
OUT = Path("demo-out")
HALF, FULL = 127, 255
OWN_CLIPS = (
    "Both clips are one portrait under a moving camera, and the change in the second is painted, "
    "not made by a forger's network: they show how a verdict reads. What the networks were found "
    "to be good for, on real clips, stands in docs/models/."
)
console = Console()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The running service, and a key to it."""

    url: str
    key: str

    def ask(self, path: str, *, body: Path | None = None) -> bytes:
        """GET a path, or POST a file to it, as any HTTP client would."""
        request = urllib.request.Request(self.url + path)  # noqa: S310  our own http address
        request.add_header("Authorization", f"Bearer {self.key}")
        if body is None:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return bytes(answer.read())
        request.add_header("Content-Type", "application/octet-stream")
        request.add_header("Content-Length", str(body.stat().st_size))
        with (
            body.open("rb") as stream,
            urllib.request.urlopen(request, data=stream, timeout=600) as answer,  # noqa: S310
        ):
            return bytes(answer.read())


def main(arguments: list[str]) -> int:
    """Judge the named files, or two clips of our own; return an exit code."""
    files = [Path(a) for a in arguments]
    if missing := [f for f in files if not f.is_file()]:
        console.print(f"[red]No such file:[/red] {', '.join(map(str, missing))}")
        return 2
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="deepverdict-demo-") as temporary:
        home = Path(temporary)
        clips = [Clip(path=f) for f in files] or _own_clips(home / "clips")
        with _service(home) as service:
            views = [_judge(service, clip.path) for clip in clips]
            for clip, view in zip(clips, views, strict=True):
                title = clip.path.name + (f" ({clip.what})" if clip.what else "")
                console.print(verdict_tables(view, title=title))
                folder = OUT / clip.path.stem
                if masks := _fetch_masks(service, view, folder):
                    console.print(f"{len(masks)} masks as PNG under {folder}/")
                if masks and clip.masks:
                    console.print(_against_truth(masks, clip))
                console.print()
    if not files:
        console.print(OWN_CLIPS, highlight=False)
    return 0


def _own_clips(folder: Path) -> list[Clip]:
    with console.status("making two clips from a public-domain portrait ..."):
        return list(make(folder))


@contextlib.contextmanager
def _service(home: Path) -> Iterator[Service]:
    """Run `deepverdict up` on a free port, with a database and a folder of its own."""
    environment = os.environ | {
        "DEEPVERDICT_DATA_DIR": str(home / "data"),
        "DEEPVERDICT_LOG_LEVEL": "WARNING",
    }
    for elsewhere in ("DEEPVERDICT_DATABASE_URL", "DEEPVERDICT_BROKER_URL"):
        environment.pop(elsewhere, None)
    command = [sys.executable, "-m", "app.cli"]
    process = subprocess.Popen(
        [*command, "up", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        with console.status("starting the service ..."):
            url = _address(process.stdout)
        key = subprocess.run(
            [*command, "keys", "create", "--tenant", "demo", "--quiet"],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()
        console.print(f"The service answers at {url} (SQLite, one worker).\n", highlight=False)
        yield Service(url=url, key=key)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _address(lines: IO[str]) -> str:
    for line in lines:
        if (at := line.find("http://")) >= 0:
            return line[at:].split()[0].rstrip("/.")
    raise SystemExit("the service ended before it was ready; its words are above")


def _judge(service: Service, clip: Path) -> JobView:
    """POST one clip and poll it to its end, showing how far it is."""
    job = json.loads(service.ask("/v1/jobs", body=clip))
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(clip.name, total=1.0, stage="queued")
        for _ in _until(time.monotonic() + JOB_TIMEOUT_S):
            view = JobView.model_validate_json(service.ask(f"/v1/jobs/{job['id']}"))
            stage = view.progress.stage.replace("_", " ")
            bar.update(task, completed=view.progress.fraction, stage=stage)
            if view.state.is_terminal:
                return view
    raise SystemExit(f"{clip.name} was not judged within {JOB_TIMEOUT_S} s")


def _until(deadline: float) -> Iterator[None]:
    while time.monotonic() < deadline:
        yield
        time.sleep(0.3)


def _fetch_masks(service: Service, view: JobView, folder: Path) -> dict[int, Path]:
    """Keep every mask that the timeline names; return them by frame."""
    if view.verdict is None:
        return {}
    points = json.loads(service.ask(f"/v1/jobs/{view.id}/timeline"))["points"]
    kept = {}
    for point in points:
        if not (link := point.get("mask")):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        kept[point["frame_index"]] = folder / f"{link.rsplit('/', 1)[-1]}.png"
        kept[point["frame_index"]].write_bytes(service.ask(link.removeprefix(service.url)))
    return kept


def _against_truth(masks: Mapping[int, Path], clip: Clip) -> str:
    """Say how much of what was really changed was marked, and how much of the rest."""
    marked = np.stack([cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in masks.values()]) > HALF
    changed = np.stack([clip.masks[frame] for frame in masks]) > HALF / FULL
    return (
        f"Of the pixels that were changed {marked[changed].mean():.0%} are marked, "
        f"of all others {marked[~changed].mean():.1%}."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
