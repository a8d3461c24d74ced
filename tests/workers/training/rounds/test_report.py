"""Can whoever answers for a promotion read how it came about?"""

import io
import json
from pathlib import Path

from rich.console import Console

from tests.workers.training.rounds.test_gate import make_guard, make_measure
from workers.training.evaluate.metrics import Estimate
from workers.training.rounds.gate import UNKNOWN, Measure, decide
from workers.training.rounds.report import Story, markdown, show, write_report
from workers.training.rounds.stages import Done


def make_done(name: str, seconds: float) -> Done:
    return Done(name=name, folder=Path(name), seconds=seconds, results={}, sha256="0" * 64)


def make_story(*measures: Measure) -> Story:
    return Story(
        decision=decide(measures),
        stages=[
            make_done("faces/anna-bert-a", 30),
            make_done("faces/anna-bert-b", 60),
            make_done("forgers/anna-bert", 900),
            make_done("gate", 2),
        ],
        facts=["Forger anna-bert (masked-64): 600 steps."],
        candidate=Path("out/loop/candidate"),
        versions={"frame_classifier": "1.0 to 1.1"},
    )


def test_a_promotion_is_told_with_its_table_and_the_next_step():
    text = markdown(make_story(make_measure(), make_guard()))

    assert "**PROMOTED.**" in text
    assert (
        "| AUC (forgers) | 0.700 | 0.800 | +0.100 | +0.040 to +0.160 | interval above 0 | yes |"
        in text
    )
    assert "| faces | 90 s |" in text
    assert "| forgers | 15.0 min |" in text
    assert "`deepverdict models promote out/loop/candidate`" in text
    assert "- frame_classifier: 1.0 to 1.1." in text


def test_a_rejection_says_why_and_offers_no_promotion():
    worse = make_guard(candidate=0.30, difference=Estimate(0.25, 0.1, 0.4, 40))

    text = markdown(make_story(make_measure(), worse, make_measure(name="iou", role="shown")))

    assert "**REJECTED.** The candidate is not put in use." in text
    assert "- false positives (labelled): 0.050 to 0.300" in text
    assert "| no |" in text
    assert text.count("| yes |") == 1
    assert "models promote" not in text


def test_a_figure_that_is_not_a_number_is_a_dash_in_words_and_null_in_json(tmp_path):
    story = make_story(make_measure(candidate=float("nan"), difference=UNKNOWN))

    write_report(tmp_path, story)

    assert "| AUC (forgers) | 0.700 | - | - | - |" in (tmp_path / "report.md").read_text()
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["measures"][0]["candidate"] is None
    assert document["promote"] is False
    assert document["seconds"] == 992


def test_the_terminal_shows_the_same_table():
    console = Console(file=io.StringIO(), width=160)

    show(make_story(make_measure(), make_guard()), console)

    said = console.file.getvalue()
    assert "PROMOTED" in said
    assert "+0.040 to +0.160" in said
    assert "faces: 90 s" in said
    assert "better beyond chance" in said
