"""Does a finished run get into the manifest whole, and leave everything else there as it was?"""

import hashlib
import json
from pathlib import Path

import pytest

from app.errors import Misconfigured
from models.manifest import parse_manifest
from models.registry import Presence, Registry
from tests.conftest import ROOT
from tests.make_models import (
    make_broken_classifier_onnx,
    make_calibration,
    make_classifier_onnx,
    make_segmenter_onnx,
)
from workers.training.ship import main, ship

MANIFEST = (ROOT / "models" / "manifest.toml").read_text(encoding="utf-8")
TINY = make_classifier_onnx()
RECORD = {
    "task": "classifier",
    "network": "frame_classifier",
    "onnx": "frame_classifier.onnx",
    "code": "0.1.0+abc1234",
    "recipe_sha256": "1" * 64,
    "data_manifest_sha256": "2" * 64,
    "seed": 3,
    "seconds": 61.5,
    "machine": 'a "small" machine, 2 cores',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A manifest with third parties' networks alone, and no weights."""
    (tmp_path / "manifest.toml").write_text(without_ours(MANIFEST), encoding="utf-8")
    return tmp_path


def without_ours(text: str) -> str:
    start, end = text.find("[models."), text.index("# --- Third parties'.")
    return text[:start] + text[end:] if start < end else text


def make_run(folder: Path, content: bytes = TINY, **changed: object) -> Path:
    folder.mkdir(exist_ok=True)
    record = RECORD | {"onnx_sha256": hashlib.sha256(content).hexdigest()} | changed
    (folder / str(record["onnx"])).write_bytes(content)
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def manifest_of(folder: Path) -> str:
    return (folder / "manifest.toml").read_text(encoding="utf-8")


def registry(folder: Path) -> Registry:
    return Registry(
        shipped_dir=folder / "weights",
        pulled_dir=folder / "none",
        manifest=parse_manifest(manifest_of(folder)),
    )


def test_a_run_that_was_shipped_loads_and_answers_its_canary(tmp_path, folder):
    entry = ship(make_run(tmp_path / "run"), "frame_classifier", folder=folder)

    model = registry(folder).load("frame_classifier")
    assert model.versioned_name == "frame_classifier@1.0"
    assert model.sha256 == hashlib.sha256(TINY).hexdigest() == entry.sha256
    assert not model.is_calibrated
    assert entry.is_shipped
    assert not entry.licence.commercial_use
    assert abs(entry.canary.expected[0].mean) < 8


def test_the_entry_tells_how_the_network_was_made(tmp_path, folder):
    ship(make_run(tmp_path / "run"), "frame_classifier", folder=folder)

    training = registry(folder).entry("frame_classifier").training
    assert training is not None
    assert training.model_dump() == {
        "recipe": "classifier",
        "recipe_sha256": "1" * 64,
        "code": "0.1.0+abc1234",
        "data_manifest_sha256": "2" * 64,
        "seeds": (3,),
        "seconds": 61.5,
        "machine": 'a "small" machine, 2 cores',
        "card": "docs/models/frame_classifier.md",
    }


def test_a_calibration_is_entered_and_used(tmp_path, folder):
    given = make_calibration(slope=0.5, intercept=-0.1)

    ship(make_run(tmp_path / "run"), "frame_classifier", calibration=given, folder=folder)

    model = registry(folder).load("frame_classifier")
    assert model.is_calibrated
    assert model.calibration == given


def test_all_else_in_the_manifest_stays_as_it_was(tmp_path, folder):
    before = manifest_of(folder)
    run = make_run(tmp_path / "run")

    ship(run, "frame_classifier", folder=folder)
    once = manifest_of(folder)
    ship(run, "frame_classifier", folder=folder)

    assert manifest_of(folder) == once
    assert without_ours(once) == before
    assert next(iter(parse_manifest(once))) == "frame_classifier"


def test_networks_are_entered_one_after_the_other_and_replaced_in_place(tmp_path, folder):
    segmenter = make_run(
        tmp_path / "segmenter",
        make_segmenter_onnx(),
        network="fake_segmenter",
        onnx="fake_segmenter.onnx",
    )
    first = make_run(tmp_path / "first")
    other = make_run(tmp_path / "other", make_classifier_onnx(slope=17))
    ship(first, "frame_classifier", folder=folder)
    ship(segmenter, "fake_segmenter", folder=folder)
    before = manifest_of(folder)

    ship(other, "frame_classifier", version="1.1", folder=folder)

    after = manifest_of(folder)
    assert list(parse_manifest(after))[:2] == ["frame_classifier", "fake_segmenter"]
    assert (
        after[after.index("[models.fake_segmenter]") :]
        == before[before.index("[models.fake_segmenter]") :]
    )
    assert Presence.VERIFIED is registry(folder).status("frame_classifier").word


def test_other_bytes_under_the_same_version_are_refused(tmp_path, folder):
    ship(make_run(tmp_path / "run"), "frame_classifier", folder=folder)
    changed = make_run(tmp_path / "other", make_classifier_onnx(slope=17))

    with pytest.raises(Misconfigured, match="--version"):
        ship(changed, "frame_classifier", folder=folder)

    assert Presence.VERIFIED is registry(folder).status("frame_classifier").word


@pytest.mark.parametrize(
    ("content", "changed", "words"),
    [
        (TINY, {"network": "fake_segmenter"}, "made fake_segmenter"),
        (make_segmenter_onnx(), {}, "must take faces as uint8 and give"),
        (b"no network", {}, "frame_classifier"),
        (TINY, {"onnx_sha256": "0" * 64}, "not the file that the run wrote"),
    ],
    ids=["another network's run", "other outputs", "no ONNX", "another file"],
)
def test_a_run_of_anything_else_is_refused_and_nothing_is_written(
    tmp_path, folder, content, changed, words
):
    before = manifest_of(folder)

    with pytest.raises(Misconfigured, match=words):
        ship(make_run(tmp_path / "run", content, **changed), "frame_classifier", folder=folder)

    assert manifest_of(folder) == before
    assert not (folder / "weights").exists()


def test_a_network_that_gives_no_number_is_refused(tmp_path, folder):
    run = make_run(tmp_path / "run", make_broken_classifier_onnx())

    with pytest.raises(Misconfigured, match="not a number"):
        ship(run, "frame_classifier", folder=folder)


def test_a_network_without_log_odds_cannot_be_calibrated(tmp_path, folder):
    run = make_run(tmp_path / "run", make_segmenter_onnx(), network="fake_segmenter", onnx="s.onnx")

    with pytest.raises(Misconfigured, match="nothing to calibrate"):
        ship(run, "fake_segmenter", calibration=make_calibration(), folder=folder)


def test_the_command_ships_with_what_calibrate_wrote(tmp_path, folder, capsys):
    fitted = {
        "slope": 0.5, "intercept": -0.1, "clips": 60, "groups": 20, "real_clips": 30,
        "fake_clips": 30, "ece_before": 0.2, "ece_after": 0.07, "ece_of_chance": 0.04,
        "brier_before": 0.3, "brier_after": 0.2, "manipulated_from": 0.93, "clear_below": 0.2,
        "false_positives": 1, "false_positive_rate": 0.03, "false_positive_rate_low": 0.0,
        "false_positive_rate_high": 0.2, "found": 12, "missed": 3, "missed_rate": 0.1,
        "missed_rate_low": 0.0, "missed_rate_high": 0.3, "cleared": 15, "coverage": 0.6,
    }  # fmt: skip
    calibration = tmp_path / "cal.json"
    calibration.write_text(json.dumps(fitted))
    run = str(make_run(tmp_path / "run"))
    arguments = [run, "--name", "frame_classifier", "--calibration", str(calibration)]

    assert main([*arguments, "--models", str(folder)]) == 0

    entry = registry(folder).entry("frame_classifier")
    assert entry.calibration is not None
    assert entry.calibration.operating_point == ">= 0.93: 1 of 30 real clips"
    assert entry.calibration.ece == 0.07
    assert "manipulated_from=0.93, clear_below=0.2" in capsys.readouterr().out


def test_what_is_no_run_or_no_calibration_is_said_in_words(tmp_path, capsys):
    calibration = tmp_path / "cal.json"
    calibration.write_text("{}")
    run = str(make_run(tmp_path / "run"))

    assert main([str(tmp_path / "nothing"), "--name", "frame_classifier"]) == 1
    assert "is no finished run" in capsys.readouterr().err
    assert main([run, "--name", "frame_classifier", "--calibration", str(calibration)]) == 1
    assert "is no calibration" in capsys.readouterr().err
