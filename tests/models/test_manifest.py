"""Does the manifest say enough of every network, and can no entry of it reach where it must not?"""

import re

import pytest
from pydantic import ValidationError

from models.convert import CONVERTERS
from models.manifest import parse_manifest, shipped_manifest
from tests.conftest import ROOT

MANIFEST = (ROOT / "models" / "manifest.toml").read_text(encoding="utf-8")


def test_every_network_that_a_detector_or_the_face_work_wants_is_in_it():
    wanted = {"face_detector", "face_landmarks", "frame_classifier", "pixel_segmenter"}

    assert wanted | {"insightface_scrfd"} == set(shipped_manifest())
    assert wanted == {n for n, e in shipped_manifest().items() if e.is_pulled_by_default}


def test_the_one_network_that_may_not_be_sold_says_so():
    barred = {n for n, e in shipped_manifest().items() if not e.licence.commercial_use}

    assert barred == {"insightface_scrfd"}
    assert "NON-COMMERCIAL" in shipped_manifest()["insightface_scrfd"].licence.words


@pytest.mark.parametrize("entry", shipped_manifest().values(), ids=lambda e: e.name)
def test_every_entry_can_be_made_from_its_originals(entry):
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
    with pytest.raises(ValidationError, match="is_calibratd"):
        parse_manifest(MANIFEST.replace("is_calibrated", "is_calibratd", 1))
