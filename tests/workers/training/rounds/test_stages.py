"""Does a long piece of work go on where it was, and make anew only what it must?"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import ROOT
from workers.training.errors import BadDataset, BadRecipe, Interrupted
from workers.training.rounds.stages import (
    BEGUN_FILE,
    DONE_FILE,
    STATE_FILE,
    Runner,
    Stage,
    Tell,
    watched,
)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def make_stage(
    calls: list[Path],
    *,
    name: str = "faces",
    inputs: dict[str, object] | None = None,
    work: Callable[[Path, Tell], None] | None = None,
) -> Stage:
    """Make a stage that writes a file, and remembers that it was worked on."""

    def do(folder: Path, tell: Tell) -> dict[str, object]:
        calls.append(folder)
        if work is not None:
            work(folder, tell)
        (folder / "made.txt").write_text("made")
        return {"count": len(calls)}

    return Stage(name=name, inputs=inputs or {"clip": "1" * 64}, work=do)


def test_a_stage_that_is_done_is_left_as_it_is(tmp_path, console):
    calls: list[Path] = []

    first = Runner(tmp_path, console).run(make_stage(calls))
    again = Runner(tmp_path, console).run(make_stage(calls))

    assert len(calls) == 1
    assert again == first
    assert again.results == {"count": 1}
    assert "done before" in console.file.getvalue()


def test_a_stage_whose_inputs_changed_is_made_again_from_nothing(tmp_path, console):
    calls: list[Path] = []
    first = Runner(tmp_path, console).run(make_stage(calls))
    (first.folder / "old.txt").write_text("of before")

    again = Runner(tmp_path, console).run(make_stage(calls, inputs={"clip": "2" * 64}))

    assert len(calls) == 2
    assert not (again.folder / "old.txt").exists()
    assert again.sha256 != first.sha256
    assert "has changed; making it again" in console.file.getvalue()


def test_a_stage_that_was_stopped_goes_on_in_what_it_left(tmp_path, console):
    def stop(folder: Path, tell: Tell) -> None:
        tell(3, 10)
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    calls: list[Path] = []
    with pytest.raises(Interrupted, match=r"stopped in the stage 'faces'.*again to go on"):
        Runner(tmp_path, console).run(make_stage(calls, work=stop))
    assert not (tmp_path / "faces" / DONE_FILE).exists()

    seen = []
    Runner(tmp_path, console).run(
        make_stage(calls, work=lambda folder, _: seen.append((folder / "half.txt").exists()))
    )

    assert seen == [True]
    assert "going on" in console.file.getvalue()


def test_seconds_are_counted_over_all_sittings(tmp_path, console):
    folder = tmp_path / "faces"
    calls: list[Path] = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        Runner(tmp_path, console).run(make_stage(calls, work=stop))
    begun = json.loads((folder / BEGUN_FILE).read_text())
    (folder / BEGUN_FILE).write_text(json.dumps(begun | {"seconds": 100.0}))

    done = Runner(tmp_path, console).run(make_stage(calls))

    assert 100 <= done.seconds < 160


def test_a_failure_says_what_is_kept_and_how_to_go_on(tmp_path, console):
    def fail(*_: object) -> None:
        raise BadDataset("no face was found in anna.mp4; give another clip")

    runner = Runner(tmp_path, console)
    runner.run(make_stage([]))
    with pytest.raises(BadDataset, match="no face was found"):
        runner.run(make_stage([], name="forgers/anna-bert", work=fail))

    said = console.file.getvalue()
    assert "The stage 'forgers/anna-bert' failed after" in said
    assert "kept: faces, and what there is of this one" in said
    assert "it goes on with this stage" in said
    assert not (tmp_path / "forgers" / "anna-bert" / DONE_FILE).exists()


def test_a_folder_that_no_stage_wrote_is_not_touched(tmp_path, console):
    (tmp_path / "faces").mkdir()
    mine = tmp_path / "faces" / "mine.txt"
    mine.write_text("precious")

    with pytest.raises(BadRecipe, match="no loop wrote them"):
        Runner(tmp_path, console).run(make_stage([]))

    assert mine.read_text() == "precious"


def test_a_mark_that_was_cut_off_is_no_mark(tmp_path, console):
    calls: list[Path] = []
    done = Runner(tmp_path, console).run(make_stage(calls))
    mark = done.folder / DONE_FILE
    mark.write_text(mark.read_text()[:20])

    Runner(tmp_path, console).run(make_stage(calls))

    assert len(calls) == 2


def test_whoever_watches_is_told_how_far_a_stage_is(tmp_path, console):
    seen = []

    def work(_: Path, tell: Tell) -> None:
        for step in (0, 1, 10):
            tell(step, 10)
            seen.append(json.loads((tmp_path / STATE_FILE).read_text()))

    Runner(tmp_path, console).run(make_stage([], name="generate", work=work))

    assert seen[0] == {"stage": "generate", "step": 0, "steps": 10}
    assert seen[1] == seen[0]  # too soon after the last
    assert seen[2] == {"stage": "generate", "step": 10, "steps": 10}


def test_a_training_is_watched_by_its_history(tmp_path, monkeypatch):
    monkeypatch.setattr("workers.training.rounds.stages.LOOK_EVERY_S", 0.01)
    history = tmp_path / "metrics.csv"
    told: list[tuple[int, int]] = []

    with watched(history, steps=50, tell=lambda step, steps: told.append((step, steps))):
        history.write_text("step,loss\n10,0.5\n20,0.4\n")
        until = time.monotonic() + 5
        while not told and time.monotonic() < until:
            time.sleep(0.005)

    assert told[-1] == (20, 50)


SLEEPER = """
import sys, time
from pathlib import Path
from rich.console import Console
from workers.training.rounds.stages import Runner, Stage

def work(folder, tell):
    tell(1, 2)
    print("begun", flush=True)
    time.sleep(60)
    return {}

Runner(Path(sys.argv[1]), Console()).run(Stage(name="sleep", inputs={}, work=work))
"""


def test_sigterm_stops_a_stage_with_words(tmp_path):
    running = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert running.stdout is not None
    while "begun" not in (line := running.stdout.readline()):
        assert line
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=30)

    assert "Interrupted: stopped in the stage 'sleep'" in said
    assert not (tmp_path / "sleep" / DONE_FILE).exists()
    assert json.loads((tmp_path / STATE_FILE).read_text())["stage"] == "sleep"
