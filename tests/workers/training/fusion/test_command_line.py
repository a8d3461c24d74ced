"""Do `deepverdict train cues`, `reference` and `fusion` pass on what they were told?"""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app import cli
from app.cli.console import EXIT_REJECTED
from workers.training.fusion import collect, command, real_clips


def given(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


class Recorder:
    """Stands where the work is done, and keeps what it was asked."""

    def __call__(self, *arguments: object, **options: object) -> None:
        self.arguments, self.options = arguments, options
        self.options.pop("console")


def test_cues_passes_on_the_clips_the_folds_and_the_splits(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "collect", done := Recorder())
    manifest, folds = tmp_path / "m.csv", tmp_path / "f.json"
    manifest.touch()
    folds.touch()

    shown = given(
        *("train", "cues", "--manifest", manifest, "--classifiers", folds, "--processes", "2"),
        *("--split", "val", "--split", "cal", "--out", "here"),
    )

    assert shown.exit_code == 0, shown.output
    assert done.arguments == (manifest, Path("here"))
    assert done.options == {"classifiers": folds, "splits": ["val", "cal"], "processes": 2}
    given("train", "cues", "--manifest", manifest, "--split", "all")
    assert done.options == {"classifiers": None, "splits": [], "processes": 1}


def test_reference_and_fusion_pass_on_the_evidence_and_where_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(real_clips, "reference_command", measured := Recorder())
    monkeypatch.setattr(command, "fuse_command", fused := Recorder())

    assert given("train", "reference", "--evidence", tmp_path, "--out", "r.json").exit_code == 0
    shown = given(
        *("train", "fusion", "--evidence", tmp_path, "--out", "p.json", "--version", "1"),
        *("--shipped", tmp_path),
    )

    assert measured.arguments == (tmp_path, Path("r.json"))
    assert shown.exit_code == 0, shown.output
    assert fused.arguments == (tmp_path, Path("p.json"))
    assert fused.options == {
        "version": "1",
        "card": Path("p.md"),
        "shipped": tmp_path,
        "bank": None,
        "reference": None,
    }


@pytest.mark.parametrize("verb", [("reference",), ("fusion", "--version", "1")])
def test_a_folder_without_evidence_is_told_what_to_do(verb, tmp_path):
    shown = given("train", *verb, "--evidence", tmp_path, "--out", tmp_path / "x.json")

    assert shown.exit_code == EXIT_REJECTED
    assert "deepverdict train cues" in " ".join(shown.output.split())
