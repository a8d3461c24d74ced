import json
import math
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from app.domain.evidence import DetectorName
from tests.workers.training.fusion.made_evidence import classifier, cue, make_clip
from workers.detection.reference import Suspicious, Transform, read_reference
from workers.training.errors import BadDataset
from workers.training.fusion import real_clips
from workers.training.fusion.evidence import CueKind, cue_kinds, write_evidence
from workers.training.fusion.real_clips import measure, reference_command, reference_json

BLUR = DetectorName.OVER_BLUR
KINDS = {BLUR: CueKind(transform=Transform.LOG, suspicious=Suspicious.HIGH)}


def _clips(values, **changes):
    return [
        make_clip(f"c{i:03d}.mp4", classifier(0.0), cue(BLUR, None, value=float(v)), **changes)
        for i, v in enumerate(values)
    ]


def test_median_and_spread_are_those_of_the_values_drawn():
    values = np.exp(np.random.default_rng(0).normal(1.0, 0.3, 400))

    found = measure(_clips(values), KINDS)[BLUR]

    assert found.scale.median == pytest.approx(1.0, abs=0.05)
    assert found.scale.deviation == pytest.approx(0.3, abs=0.05)
    assert (found.scale.clips, found.scale.groups) == (400, 400)
    assert found.quantiles[2] == pytest.approx(math.e, rel=0.06)


def test_fakes_and_the_test_split_are_not_measured():
    values = np.exp(np.random.default_rng(0).normal(0, 0.3, 40))
    clips = _clips(values)
    strangers = [*_clips(values * 50, label="fake"), *_clips(values * 50, split="test")]

    assert measure([*clips, *strangers], KINDS) == measure(clips, KINDS)


def test_few_outliers_do_not_move_the_spread():
    values = np.exp(np.random.default_rng(0).normal(0, 0.3, 60))
    spoilt = np.concatenate([values, [1e6, 1e6]])

    before, after = (measure(_clips(v), KINDS)[BLUR].scale for v in (values, spoilt))

    assert after.deviation == pytest.approx(before.deviation, rel=0.15)


@pytest.mark.parametrize("values", [[1.0] * 40, [1.0, 2.0, 3.0]])
def test_a_cue_that_is_constant_or_rare_has_no_reference(values):
    assert measure(_clips(values), KINDS) == {}


def test_the_same_evidence_gives_the_same_bytes_which_read(tmp_path):
    clips = _clips(np.linspace(1, 3, 40))
    texts = [
        reference_json(measure(c, KINDS), c, evidence_sha256="ab" * 32) for c in (clips, clips[::1])
    ]
    (tmp_path / "r.json").write_text(texts[0])

    read = read_reference(tmp_path / "r.json")

    assert texts[0] == texts[1]
    assert read.cue(BLUR, 2.0, "times", suspicious=Suspicious.HIGH).z == pytest.approx(0, abs=0.1)
    assert json.loads(texts[0])["made"]["manifest_sha256"] == clips[0].manifest_sha256


def test_the_command_says_what_is_missing_and_writes_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(real_clips, "cue_kinds", lambda: KINDS)
    console = Console(file=StringIO())
    write_evidence(tmp_path / "few", _clips([1.0]))
    write_evidence(tmp_path / "many", _clips(np.linspace(1, 3, 40)))

    with pytest.raises(BadDataset, match="real clips"):
        reference_command(tmp_path / "few", tmp_path / "r.json", console=console)
    reference_command(tmp_path / "many", tmp_path / "r.json", console=console)

    assert set(read_reference(tmp_path / "r.json").scales) == {BLUR}


def test_the_reference_in_use_is_read_as_the_detectors_read_it():
    kinds = cue_kinds()
    shipped = read_reference()

    assert len(shipped.scales) > 5
    for detector, scale in shipped.scales.items():
        assert scale.transform is kinds[detector].transform
        assert scale.clips >= real_clips.LEAST_CLIPS
