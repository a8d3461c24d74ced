import json
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

import pytest

from app.domain.evidence import DetectorName
from tests.workers.training.fusion.made_evidence import classifier, cue, make_clip, silent
from workers.detection import detectors
from workers.detection.reference import NOTHING, Reference, Scale, Suspicious, Transform
from workers.training.errors import BadDataset
from workers.training.fusion.evidence import (
    EVIDENCE,
    CueKind,
    cue_kinds,
    from_json,
    read_begun,
    read_evidence,
    set_beside,
    to_json,
    write_evidence,
)

BLUR = DetectorName.OVER_BLUR
CLIP = make_clip(
    "a.mp4", classifier(1.0), cue(BLUR, 2.0), silent(DetectorName.PULSE), timings={"total_s": 1.5}
)


def test_a_clip_that_was_written_reads_the_same():
    assert from_json(to_json(CLIP)) == CLIP


def test_a_rejected_clip_is_kept_with_the_reason():
    rejected = replace(CLIP, video=None, persons=(), rejected="no-video-stream: text")

    assert from_json(to_json(rejected)) == rejected


def test_clips_are_read_by_path(tmp_path):
    other = replace(CLIP, path="0.mp4", clip="0.mp4")
    write_evidence(tmp_path, [CLIP, other])

    assert read_evidence(tmp_path) == [other, CLIP]


def test_a_line_that_was_cut_off_is_left_out_when_going_on_and_refused_otherwise(tmp_path):
    write_evidence(tmp_path, [CLIP])
    with (tmp_path / EVIDENCE).open("a") as file:
        file.write(to_json(CLIP)[:100])

    assert read_begun(tmp_path) == [CLIP]
    with pytest.raises(BadDataset, match="line 2"):
        read_evidence(tmp_path)


@pytest.mark.parametrize("changes", [{"label": "maybe"}, {"split": "holdout"}, {"persons": 3}])
def test_what_is_no_evidence_is_refused(changes):
    with pytest.raises(ValueError, match=r"maybe|holdout|no evidence"):
        from_json(json.dumps(json.loads(to_json(CLIP)) | changes))


def test_evidence_of_two_manifests_is_refused(tmp_path):
    write_evidence(tmp_path, [CLIP, replace(CLIP, path="b.mp4", manifest_sha256="00" * 32)])

    with pytest.raises(BadDataset, match="several manifests"):
        read_evidence(tmp_path)


@pytest.mark.parametrize(("suspicious", "z"), [("high", -2.0), ("low", 2.0), ("either", 2.0)])
def test_cues_are_set_beside_a_new_reference_without_a_video(suspicious, z):
    clip = make_clip("a.mp4", cue(BLUR, None, value=1.0), classifier(0.0))
    scale = Scale(median=2.0, deviation=0.5, transform=Transform.NONE, clips=40, groups=20)
    kinds = {BLUR: CueKind(transform=Transform.NONE, suspicious=Suspicious(suspicious))}

    (found,) = set_beside([clip], Reference(version="r", scales={BLUR: scale}), kinds)

    told, untouched = found.persons[0].evidence
    assert told.cue.z == z
    assert told.cue.value == 1.0
    assert "40 real clips" in told.cue.reference
    assert untouched == clip.persons[0].evidence[1]
    (bare,) = set_beside([found], NOTHING, kinds)
    assert bare.persons[0].evidence[0].cue.z is None


def test_every_module_of_a_cue_says_how_its_value_is_read():
    names = [info.name for info in iter_modules(detectors.__path__)]
    modules = {name: import_module(f"{detectors.__name__}.{name}") for name in names}
    giving_cues = {name for name, module in modules.items() if hasattr(module, "TRANSFORM")}

    kinds = cue_kinds()

    assert {kind.value for kind in kinds} == giving_cues
    assert kinds[DetectorName.BLINK_RATE].suspicious is Suspicious.LOW
