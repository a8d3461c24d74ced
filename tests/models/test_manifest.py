"""Does the manifest say enough of every network, and can no entry of it reach where it must not?"""

import hashlib
import re

import pytest
from pydantic import ValidationError

from app.domain.policy import ALONE
from app.settings import Settings
from models.convert import CONVERTERS
from models.manifest import Calibration, ManifestEntry, parse_manifest, shipped_manifest
from models.registry import Registry
from tests.conftest import ROOT
from tests.make_models import make_calibration, make_entry, make_training
from workers.kit import wanted_models

MANIFEST = (ROOT / "models" / "manifest.toml").read_text(encoding="utf-8")


OURS = (
    "face_detector",
    "face_landmarks",
    "frame_classifier",
    "fake_segmenter",
    "landmark_flow",
    "face_embedding",
)
THEIRS = (
    "yunet",
    "face_mesh_468",
    "mobilefacenet",
    "meso4_f2f",
    "classnseg",
    "insightface_scrfd",
)
WEIGHTS = ROOT / "models" / "weights"
MOST_BYTES = 25_000_000


def ours() -> list[ManifestEntry]:
    return [shipped_manifest()[name] for name in OURS]


def test_everything_that_detection_uses_is_our_own_and_comes_along():
    assert {n for n, e in shipped_manifest().items() if e.is_shipped} == set(OURS)
    assert set(wanted_models(Settings(_env_file=None))) == set(OURS)
    assert set(shipped_manifest()) == {*OURS, *THEIRS}


def test_the_shipped_weights_are_those_that_are_pinned_and_no_others():
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in WEIGHTS.iterdir()}

    assert found == {entry.file: entry.sha256 for entry in ours()}
    assert sum(entry.size_bytes for entry in ours()) < MOST_BYTES


@pytest.mark.parametrize("name", OURS)
def test_a_shipped_network_loads_and_has_a_card(name):
    entry = shipped_manifest()[name]
    registry = Registry(shipped_dir=WEIGHTS, pulled_dir=WEIGHTS / "none", threads=1)

    assert registry.load(name).sha256 == entry.sha256
    assert entry.training is not None
    assert (ROOT / entry.training.card).is_file()


def test_what_learned_from_research_data_is_not_for_sale_and_says_so():
    assert not any(entry.licence.commercial_use for entry in ours())
    assert all("non-commercial" in entry.licence.words for entry in ours())
    assert "NON-COMMERCIAL" in shipped_manifest()["insightface_scrfd"].licence.words


def test_the_network_that_has_a_say_is_calibrated():
    assert shipped_manifest()["frame_classifier"].is_calibrated


def test_the_policy_draws_its_lines_where_the_calibration_was_measured():
    calibration = shipped_manifest()["frame_classifier"].calibration

    point = ALONE.point()

    assert calibration is not None
    assert calibration.manipulated_from == point.manipulated_from
    assert calibration.clear_below == point.clear_below
    assert calibration.false_positives == point.false_positives
    assert calibration.real_clips == point.real_clips
    counted = f"{point.found} fakes at the operating point or above, {point.cleared_fakes} below"
    assert counted in calibration.words


@pytest.mark.parametrize("name", THEIRS)
def test_every_third_party_s_entry_can_be_made_from_its_originals(name):
    entry = shipped_manifest()[name]
    if entry.converter is None:
        assert [o.sha256 for o in entry.originals] == [entry.sha256]
    else:
        assert CONVERTERS[entry.converter].originals == len(entry.originals)


def test_two_networks_never_share_a_file():
    files = [e.file for e in shipped_manifest().values()]

    assert len(set(files)) == len(files)


@pytest.mark.parametrize("name", ["../evil.onnx", "/etc/passwd", "a/b.onnx", ".hidden", ""])
def test_a_file_name_that_leaves_its_folder_is_refused(name):
    changed = re.sub(r'^file = ".*"', f'file = "{name}"', MANIFEST, count=1, flags=re.MULTILINE)

    with pytest.raises(ValidationError, match="file"):
        parse_manifest(changed)


def test_an_upstream_that_is_not_encrypted_is_refused():
    with pytest.raises(ValidationError, match="url"):
        parse_manifest(MANIFEST.replace("https://", "http://", 1))


def test_a_misspelt_key_is_refused():
    with pytest.raises(ValidationError, match="trained_onn"):
        parse_manifest(MANIFEST.replace("trained_on =", "trained_onn =", 1))


def test_a_network_is_either_our_own_or_a_third_party_s():
    entry = make_entry(b"x").model_dump()
    training = make_training().model_dump()

    with pytest.raises(ValidationError, match="either originals or training"):
        ManifestEntry.model_validate(entry | {"training": training})
    with pytest.raises(ValidationError, match="either originals or training"):
        ManifestEntry.model_validate(entry | {"originals": ()})


@pytest.mark.parametrize(
    "change",
    [{"clear_below": 0.9}, {"clear_below": 0.95}, {"false_positives": 31}, {"slope": 0.0}],
    ids=["no band", "lines crossed", "more alarms than clips", "no slope"],
)
def test_a_calibration_that_cannot_be_is_refused(change):
    with pytest.raises(ValidationError):
        Calibration.model_validate(make_calibration().model_dump() | change)


def test_the_operating_point_is_said_with_its_false_alarms():
    assert make_calibration().operating_point == ">= 0.9: 1 of 30 real clips"
