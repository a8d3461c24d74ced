"""
Doubles of the analyzer for a real inference process: each misbehaves in one way, or in none.

Named by `tests.workers.analyzers:name`. What a video holds may say what becomes of it, see
`as_told`; that lets one worker meet good and bad videos in turn.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from app.domain.evidence import Analysis
from app.domain.job import Progress, Stage
from app.domain.model_version import ModelVersion
from app.domain.overlay import OverlayOrder
from app.domain.worker import WorkerCondition
from app.errors import ModelUnavailable, RejectCode, RejectedMedia
from app.settings import Settings
from tests.make import make_analysis, make_condition, make_finding, make_person, make_video
from workers.inference import Analyses

Report = Callable[[Progress], None]
Promoted = Sequence[ModelVersion]


class Double:
    """Answers with a made analysis, after having done what it was built to do."""

    def __init__(self, act: Callable[[Path, Report], None]) -> None:
        self._act = act

    def condition(self) -> WorkerCondition:
        return make_condition()

    def analyze(self, path: Path, *, sha256: str, size_bytes: int, report: Report) -> Analysis:
        report(Progress(stage=Stage.FOLLOWING_FACES, fraction=0.25))
        self._act(path, report)
        report(Progress(stage=Stage.EXAMINING, fraction=0.75))
        return make_analysis(video=make_video(content=path.read_bytes()))

    def render(self, path: Path, out: Path, *, order: OverlayOrder, report: Report) -> None:
        report(Progress(stage=Stage.EXAMINING, fraction=0.5))
        told = json.loads(path.read_bytes().partition(b"ftypisom")[2] or b"{}")
        time.sleep(told.get("overlay_sleeps_s", 0))
        if told.get("overlay_dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        if told.get("overlay_raises"):
            raise ZeroDivisionError
        out.write_text(f"{order.caption}: {', '.join(p.id for p in order.persons)}")


def video(**does: object) -> bytes:
    """Make the bytes of a video that tells `as_told` what is to become of it."""
    return b"\0\0\0\x18ftypisom" + json.dumps(does).encode()


def as_told(_: Settings, __: Promoted = ()) -> Double:
    """
    Do what the video says: any of `dies`, `raises`, `is_rejected`, `hangs`, `leaves_a_child`,
    `sleeps_s`, each with a value that is true.
    """
    return Double(_obey)


class Versioned(Double):
    """Says by which classifier it judges: the one that came along is 1.0, of bytes `00`."""

    def __init__(self, promoted: Promoted) -> None:
        super().__init__(_obey)
        self._version, self._sha256 = "1.0", "00"
        for model in promoted:
            self._version, self._sha256 = model.version, model.sha256

    def condition(self) -> WorkerCondition:
        sha256 = "ff" if self._version == "exchanged" else self._sha256
        return make_condition(sha256=sha256, versions={"frame_classifier": self._version})

    def analyze(self, path: Path, *, sha256: str, size_bytes: int, report: Report) -> Analysis:
        analysis = super().analyze(path, sha256=sha256, size_bytes=size_bytes, report=report)
        finding = make_finding(fake_probability=0.8, model=f"frame_classifier@{self._version}")
        versions = {"frame_classifier": self._version}
        return replace(
            analysis,
            persons=(make_person(finding),),
            provenance=replace(analysis.provenance, versions=versions),
        )


def versioned(_: Settings, promoted: Promoted = ()) -> Versioned:
    """
    Judge by the classifier that was promoted.

    The version `broken` cannot be loaded, `fatal` takes the process down, `slow` needs a minute,
    and `exchanged` turns out to be other bytes.
    """
    for model in promoted:
        if model.version == "broken":
            raise ModelUnavailable("frame_classifier: mismatch: sha256 differs")
        if model.version == "fatal":
            os.kill(os.getpid(), signal.SIGKILL)
        if model.version == "slow":
            time.sleep(60)
    return Versioned(promoted)


def real(settings: Settings, promoted: Promoted = ()) -> Analyses:
    """Build what a worker runs outside of tests."""
    from workers.kit import build_analyzer

    return build_analyzer(settings, promoted)


def quick(_: Settings, __: Promoted = ()) -> Double:
    return Double(lambda path, report: None)


def refusing(_: Settings, __: Promoted = ()) -> Double:
    raise ModelUnavailable("frame_classifier: sha256 differs")


def stillborn(_: Settings, __: Promoted = ()) -> Double:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def leaking_arrays(_: Settings, __: Promoted = ()) -> Double:
    """An analyzer that lets an array out."""
    import numpy as np

    class Leaking(Double):
        def analyze(self, path: Path, *, sha256: str, size_bytes: int, report: Report) -> Analysis:
            report(Progress(stage=Stage.EXAMINING, fraction=np.float64(0.5)))
            return super().analyze(path, sha256=sha256, size_bytes=size_bytes, report=report)

    return Leaking(lambda path, report: None)


def nosy(_: Settings, __: Promoted = ()) -> Double:
    """An analyzer that rejects every video with what it could find out about the database."""

    def tell(path: Path, report: Report) -> None:
        found = [k for k in os.environ if k.startswith("DEEPVERDICT_")]
        raise RejectedMedia(RejectCode.NO_FRAMES, f"{found} {_.database_url} {_.broker_url}")

    return Double(tell)


def _obey(path: Path, report: Report) -> None:
    told = json.loads(path.read_bytes().partition(b"ftypisom")[2] or b"{}")
    if told.get("leaves_a_child"):
        other = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(other)
        Path(told["leaves_a_child"]).write_text(str(child.pid))
    time.sleep(told.get("sleeps_s", 0))
    if told.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    if told.get("raises"):
        raise ZeroDivisionError(told["raises"])
    if told.get("is_rejected"):
        raise RejectedMedia(RejectCode.NO_VIDEO_STREAM, "There is no video in it.")
    if told.get("hangs"):
        # In C with the interpreter's lock held: no Python of this process runs again.
        ctypes.PyDLL(None).sleep(600)
