"""The inference process: what crosses its border, and what is left when it is gone."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from app.domain.evidence import Analysis
from app.domain.job import Actor, JobError, Progress, Stage
from app.settings import Settings
from tests.make import make_analysis, make_condition, make_video
from tests.workers.analyzers import video
from workers.inference import (
    Assignment,
    Died,
    Failed,
    InferenceProcess,
    Message,
    Ready,
    Refused,
    Rejected,
    Tampered,
)

PATIENCE_S = 20.0

Start = Callable[[str], InferenceProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start an inference process around one of the analyzers of `tests.workers.analyzers`."""
    started: list[InferenceProcess] = []

    def start_one(analyzer: str) -> InferenceProcess:
        settings = Settings(
            database_url=SecretStr("postgresql://user:secret@db/x"),
            broker_url=SecretStr("redis://:secret@redis/0"),
        )
        inference = InferenceProcess(
            factory=f"tests.workers.analyzers:{analyzer}", settings=settings
        )
        started.append(inference)
        inference.start()
        return inference

    yield start_one
    for inference in started:
        inference.kill()


def outcome_of(inference: InferenceProcess) -> tuple[list[Progress], Message]:
    """Collect what it says until it says something other than how far it is."""
    progress: list[Progress] = []
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        message = inference.receive(0.5)
        if isinstance(message, Progress):
            progress.append(message)
        elif message is not None:
            return progress, message
    raise AssertionError("no answer")


def stored(folder: Path, content: bytes) -> Assignment:
    path = folder / "blob"
    path.write_bytes(content)
    return Assignment(
        path=str(path), sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
    )


def examine(inference: InferenceProcess, assignment: Assignment) -> Message:
    assert isinstance(outcome_of(inference)[1], Ready)
    inference.assign(assignment)
    return outcome_of(inference)[1]


def test_an_analysis_comes_back_whole_and_says_how_far_it_is(start: Start, tmp_path: Path):
    inference = start("quick")
    assert (outcome := outcome_of(inference)) == ([], Ready(condition=make_condition())), outcome

    inference.assign(stored(tmp_path, b"clip"))
    progress, analysis = outcome_of(inference)

    assert [p.stage for p in progress] == [Stage.FOLLOWING_FACES, Stage.EXAMINING]
    assert make_analysis(video=make_video(content=b"clip")) == analysis


def test_one_process_analyses_one_video_after_another(start: Start, tmp_path: Path):
    inference = start("as_told")
    first = examine(inference, stored(tmp_path, video()))
    pid = inference.pid

    inference.assign(stored(tmp_path, video(is_rejected=True)))
    _, second = outcome_of(inference)
    inference.assign(stored(tmp_path, video()))
    _, third = outcome_of(inference)

    assert isinstance(first, Analysis)
    assert first == third
    assert pid == inference.pid
    assert second == Rejected(
        error=JobError(
            code="no-video-stream", detail="There is no video in it.", actor=Actor.CLIENT
        )
    )


def test_bytes_that_changed_in_the_store_are_never_analysed(start: Start, tmp_path: Path):
    assignment = stored(tmp_path, video(dies=True))
    Path(assignment.path).write_bytes(video(dies=True)[:-1] + b" ")

    outcome = examine(start("as_told"), assignment)

    assert isinstance(outcome, Tampered)
    assert outcome.error.code == "integrity"


def test_a_blob_that_cannot_be_read_is_the_stores_fault(start: Start, tmp_path: Path):
    assignment = stored(tmp_path, b"clip")
    Path(assignment.path).unlink()

    outcome = examine(start("quick"), assignment)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "storage"


def test_an_exception_is_reported_without_its_words_and_ends_the_process(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    inference = start("as_told")

    outcome = examine(inference, stored(tmp_path, video(raises="secret words")))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "internal"
    assert "secret words" not in outcome.error.detail
    assert isinstance(outcome_of(inference)[1], Died)
    assert "secret words" in capfd.readouterr().err


def test_a_process_that_kills_itself_is_heard_of_at_once(start: Start, tmp_path: Path):
    inference = start("as_told")

    assert Died(how="killed by SIGKILL") == examine(inference, stored(tmp_path, video(dies=True)))
    assert not inference.is_running


def test_a_process_that_hangs_in_c_dies_with_all_that_it_started(start: Start, tmp_path: Path):
    note = tmp_path / "pid"
    inference = start("as_told")
    assert isinstance(outcome_of(inference)[1], Ready)
    inference.assign(stored(tmp_path, video(hangs=True, leaves_a_child=str(note))))
    deadline = time.monotonic() + PATIENCE_S
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pids = [inference.pid, int(note.read_text())]
    assert all(psutil.pid_exists(pid) for pid in pids)

    inference.kill()

    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_refusal_to_start_comes_with_its_words(start: Start):
    inference = start("refusing")

    assert Refused(detail="frame_classifier: sha256 differs") == outcome_of(inference)[1]


def test_a_process_that_dies_while_starting_is_heard_of(start: Start):
    assert Died(how="killed by SIGKILL") == outcome_of(start("stillborn"))[1]


def test_an_analyzer_that_does_not_exist_is_heard_of(start: Start):
    assert Died(how="exit status 1") == outcome_of(start("nobody"))[1]


def test_arrays_are_stopped_at_the_border(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR):
        outcome = examine(start("leaking_arrays"), stored(tmp_path, b"clip"))

    assert isinstance(outcome, Died)
    assert "is no value of the domain" in outcome.how


def test_the_process_is_not_told_where_the_database_is(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEEPVERDICT_LOG_LEVEL", "INFO")
    outcome = examine(start("nosy"), stored(tmp_path, b"clip"))

    assert isinstance(outcome, Rejected)
    assert outcome.error.detail == "[] None None"


def is_alive(pid: int | None) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
