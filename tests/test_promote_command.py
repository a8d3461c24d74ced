"""Does `deepverdict models promote` put in use what holds, and say why it does not?"""

from pathlib import Path

import pytest

from app.db.session import Database
from app.services import model_versions
from tests.make_packages import SEGMENTER, make_candidate, make_package
from tests.test_command_line import run


@pytest.fixture
def url(sqlite_url: str) -> str:
    return sqlite_url


def current(url: str) -> list[str]:
    db = Database(url)
    try:
        return [m.versioned_name for m in model_versions.current(db)]
    finally:
        db.close()


def files(home: Path) -> list[str]:
    return sorted(p.name for p in (home / "data" / "models").glob("*"))


def test_a_candidate_is_promoted_listed_and_rolled_back_by_name(url: str, tmp_path: Path):
    home = tmp_path
    candidates = make_candidate(), make_candidate(SEGMENTER, "2.0")
    folder = make_package(tmp_path / "candidate", *candidates)

    promoted = run(home, "models", "promote", folder, "--by", "anna", DATABASE_URL=url)
    listed = run(home, "models", "versions", DATABASE_URL=url, LOG_LEVEL="ERROR")

    assert promoted.returncode == 0, promoted.stderr
    assert "frame_classifier@1.1 is current." in promoted.stdout
    assert current(url) == ["fake_segmenter@2.0", "frame_classifier@1.1"]
    sha8 = {e.name: e.sha256[:8] for e, _ in candidates}
    assert files(home) == [
        f"fake_segmenter-2.0-{sha8['fake_segmenter']}.onnx",
        f"frame_classifier-1.1-{sha8['frame_classifier']}.onnx",
    ]
    for shown in ("frame_classifier@1.1", "current", "verified", ">= 0.9", "anna", "+0.05"):
        assert shown in listed.stdout
    back = run(home, "models", "promote", "frame_classifier@1.0", DATABASE_URL=url)
    assert back.returncode == 0, back.stderr
    assert current(url) == ["fake_segmenter@2.0"]  # 1.0 comes with the program
    again = run(home, "models", "rollback", "frame_classifier", DATABASE_URL=url)
    assert "frame_classifier@1.1 is current, rolled back from" in again.stdout


def test_what_was_rejected_leaves_no_trace_unless_somebody_insists(url: str, tmp_path: Path):
    folder = make_package(tmp_path / "candidate", promote=False, reasons=("c40: worse",))

    refused = run(tmp_path, "models", "promote", folder, DATABASE_URL=url)

    assert refused.returncode == 2
    assert "the candidate was rejected: c40: worse." in " ".join(refused.stderr.split())
    assert (current(url), files(tmp_path)) == ([], [])
    insisted = run(tmp_path, "models", "promote", folder, "--despite-rejection", DATABASE_URL=url)
    assert insisted.returncode == 0
    assert current(url) == ["frame_classifier@1.1"]


def test_a_folder_that_does_not_hold_changes_nothing(url: str, tmp_path: Path):
    folder = make_package(tmp_path / "candidate")
    with (folder / "frame_classifier.onnx").open("ab") as file:
        file.write(b"!")

    refused = run(tmp_path, "models", "promote", folder, DATABASE_URL=url)

    assert refused.returncode == 2
    assert "its entry pins sha256:" in " ".join(refused.stderr.split())
    assert (current(url), files(tmp_path)) == ([], [])


def test_a_place_that_cannot_be_written_to_is_named(url: str, tmp_path: Path):
    folder = make_package(tmp_path / "candidate")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models").touch()  # not a folder

    refused = run(tmp_path, "models", "promote", folder, DATABASE_URL=url)

    assert refused.returncode == 1
    assert "cannot be written" in " ".join(refused.stderr.split())
    assert current(url) == []
