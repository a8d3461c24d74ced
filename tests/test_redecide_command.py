"""Does `deepverdict redecide` list what changes, line by line, and say why it cannot?"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from app.db.session import Database
from app.domain.policy import ALONE, policy_to_json
from app.domain.verdict import Label
from app.services import jobs
from tests.app.services.test_redecide import STRICT, Desk
from tests.test_command_line import run


@pytest.fixture
def desk(sqlite_url: str):
    db = Database(sqlite_url)
    yield Desk(db)
    db.close()


def test_changed_verdicts_are_listed_and_written_once_that_is_wanted(
    desk: Desk, sqlite_url: str, tmp_path: Path
):
    file = tmp_path / "strict.json"
    file.write_text(policy_to_json(STRICT))
    accused, clear = desk.judged(0.8), desk.judged(0.25)
    desk.judged(0.5)
    wide = {"DATABASE_URL": sqlite_url, "LOG_LEVEL": "ERROR"}

    listed = run(tmp_path, "redecide", "--policy", file, "--json", **wide)
    shown = run(tmp_path, "redecide", "--policy", file, **wide)
    before = jobs.get(desk.db, tenant="desk", job_id=accused)
    applied = run(tmp_path, "redecide", "--policy", file, "--apply", "--by", "anna", **wide)
    after = jobs.get(desk.db, tenant="desk", job_id=accused)

    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert [c["job_id"] for c in found["changed"]] == [accused, clear]
    assert found["changed"][0]["after"] == {
        "label": "inconclusive",
        "fake_probability": pytest.approx(0.8),
        "policy": STRICT.version,
        "operating_point": "fpr_5",
    }
    lines = shown.stdout.splitlines()
    at = [m.start(1) for x in lines if (m := re.search(r"(0\.\d\d) (manip|no_manip|inconcl)", x))]
    assert len(at) == 4
    assert len(set(at)) == 1  # it lines up
    (first,) = (n for n, line in enumerate(lines) if accused in line)
    assert lines[first].rstrip().endswith("0.80 manipulated")
    assert lines[first + 1].strip() == "-> 0.80 inconclusive"
    assert "between_thresholds: person p1" in lines[first + 2]
    assert "3 verdicts, by policy 2027-01-01.1: 2 labels change" in " ".join(shown.stdout.split())
    assert "Nothing is written" in shown.stdout
    assert before.judged is not None
    assert before.judged.verdict.label is Label.MANIPULATED
    assert applied.returncode == 0, applied.stderr
    assert "3 verdicts are replaced" in applied.stdout
    assert after.judged is not None
    assert after.judged.verdict.label is Label.INCONCLUSIVE


def test_what_cannot_be_decided_by_is_told_in_a_sentence(
    desk: Desk, sqlite_url: str, tmp_path: Path
):
    bad, poor = tmp_path / "bad.json", tmp_path / "poor.json"
    bad.write_text('{"version": 7}')
    poor.write_text(policy_to_json(replace(ALONE, version="2027-01-01.2")))
    tried = (
        (("--policy", bad), "bad.json: fusion: missing"),
        (("--policy", tmp_path / "none.json"), "No such file"),
        (("--policy", poor, "--operating-point", "fpr_1"), "no operating point fpr_1"),
    )
    for arguments, words in tried:
        failed = run(tmp_path, "redecide", *arguments, DATABASE_URL=sqlite_url)

        assert failed.returncode == 1, arguments
        assert words in " ".join(failed.stderr.split()), arguments
        assert "Traceback" not in failed.stderr


def test_without_jobs_it_says_so(desk: Desk, sqlite_url: str, tmp_path: Path):
    empty = run(tmp_path, "redecide", DATABASE_URL=sqlite_url)

    assert empty.returncode == 0, empty.stderr
    assert "0 verdicts" in empty.stdout
