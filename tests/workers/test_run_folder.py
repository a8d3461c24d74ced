"""Is what a run's folder tells read whole, once, and anew where it was written anew?"""

import json
import os
from pathlib import Path

import pytest

from app.domain.training_run import TrainingNews
from workers.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def news(followed: RunFolder, **how: bool) -> TrainingNews:
    found = followed.news(seconds=1.5, **how)
    assert found is not None
    return found


def steps(found: TrainingNews) -> list[tuple[str, int]]:
    return [(row.series, row.step) for row in found.metrics]


def test_a_run_that_has_not_begun_says_so_once(tmp_path: Path) -> None:
    followed = RunFolder(tmp_path / "not there")

    first = news(followed).progress

    assert (first.stage, first.step, first.steps, first.seconds) == ("preparing", 0, None, 1.5)
    assert followed.news(seconds=9.0) is None
    assert news(followed, is_last=True).progress.seconds == 1.5


def test_only_whole_lines_are_read_and_each_once(folder: Path) -> None:
    followed = RunFolder(folder)
    history = folder / "metrics.csv"
    with history.open("a") as file:
        file.write("step,loss,rate\n10,0.5,0.1\n20,0.2")
        file.flush()
        assert steps(news(followed)) == [("", 10)]
        file.write("5,0.1\n30,nan,0.1\n")
        file.flush()

    found = news(followed)

    assert [(row.step, row.metrics) for row in found.metrics] == [
        (20, {"loss": 0.25, "rate": 0.1}),
        (30, {"rate": 0.1}),  # no number is no figure
    ]
    assert followed.news(seconds=2.0) is None


def test_a_history_that_was_replaced_is_told_whole(folder: Path) -> None:
    followed = RunFolder(folder)
    history = folder / "metrics.csv"
    history.write_text("step,loss\n10,0.5\n20,0.4\n30,0.3\n")
    news(followed)
    beside = folder / "metrics.tmp"
    beside.write_text("step,loss\n10,0.5\n")
    beside.replace(history)

    assert steps(news(followed)) == [("", 10)]


def test_what_did_not_arrive_is_told_again(folder: Path) -> None:
    (folder / "metrics.csv").write_text("step,loss\n10,0.5\n")
    followed = RunFolder(folder)
    first = news(followed)

    followed.forget()

    assert news(followed) == first


def test_a_plain_training_is_told_of_by_its_recipe_and_its_last_row(folder: Path) -> None:
    (folder / "recipe.json").write_text('{"run": {"steps": 40}}')
    (folder / "metrics.csv").write_text("step,loss,rate,seconds,images_per_s\n10,0.5,0.1,3,9\n")

    found = news(RunFolder(folder)).progress

    assert (found.stage, found.step, found.steps) == ("training", 10, 40)
    assert found.losses == {"loss": 0.5}


def test_a_loop_says_itself_where_it_is_and_its_trainings_are_series(folder: Path) -> None:
    for series, step in (("classifier", 20), ("forgers/anna-ben", 10)):
        inner = folder / series
        inner.mkdir(parents=True)
        (inner / "metrics.csv").write_text(f"step,loss\n{step},0.5\n")
        (inner / "checkpoint.pt").write_bytes(b"weights")
        (inner / "checkpoint.json").write_text(json.dumps({"step": step}))
    os.utime(folder / "forgers/anna-ben/metrics.csv", (1, 1))
    (folder / "state.json").write_text('{"stage": "classifier", "step": 20, "steps": 50}')

    found = news(RunFolder(folder))

    assert sorted(steps(found)) == [("classifier", 20), ("forgers/anna-ben", 10)]
    assert (found.progress.stage, found.progress.step, found.progress.steps) == (
        "classifier",
        20,
        50,
    )
    assert {c.series: c.step for c in found.progress.checkpoints} == {
        "classifier": 20,
        "forgers/anna-ben": 10,
    }


def test_the_newest_preview_is_told_of_once(folder: Path) -> None:
    pictures = folder / "pictures"
    pictures.mkdir()
    for step in (999_999, 1_000_000):
        (pictures / f"step-{step:06}.png").write_bytes(str(step).encode())
    (pictures / "step-x.png").touch()
    followed = RunFolder(folder)

    (picture,) = news(followed).pictures

    assert (picture.step, picture.png) == (1_000_000, b"1000000")
    assert followed.news(seconds=2.0) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"step": -1, "stage": 7}', '{"step": "x"}'])
def test_a_state_that_says_nothing_is_no_failure(folder: Path, content: str) -> None:
    (folder / "state.json").write_text(content)
    (folder / "checkpoint.json").write_text(content)
    (folder / "checkpoint.pt").touch()

    found = news(RunFolder(folder)).progress

    assert found.step == 0
    assert found.checkpoints == ()
