"""Is every clip examined once, by networks that never saw it, and is what was found kept?"""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from models.registry import Registry
from tests.media import make_video
from workers.training.errors import BadDataset
from workers.training.fusion import examine
from workers.training.fusion.collect import collect
from workers.training.fusion.evidence import EVIDENCE, read_evidence
from workers.training.fusion.networks import read_folds
from workers.training.manifest import Row, folds, make_manifest, read_manifest, write_manifest
from workers.training.tasks.classifier import FOLD_SEED

WEIGHTS = Path(str(files("models"))) / "weights"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVERDICT_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def manifest(tmp_path):
    """Two videos without a face, and a file that is none."""
    media = tmp_path / "media"
    media.mkdir()
    for name, noise in (("a.mp4", 3), ("b.mp4", 9)):
        make_video(media / name, frames=4, noise=noise)
    (media / "text.mp4").write_text("no video")
    rows = [
        Row(
            path=name,
            sha256=hashlib.sha256((media / name).read_bytes()).hexdigest(),
            kind="video",
            clip=name,
            label=label,
            method="made",
            family="real" if label == "real" else "faceswap",
            group=name,
            dataset="made",
            split=split,
        )
        for name, label, split in (
            ("a.mp4", "real", "train"),
            ("b.mp4", "fake", "val"),
            ("text.mp4", "real", "test"),
        )
    ]
    write_manifest(tmp_path / "m.csv", make_manifest(rows, root=media))
    return tmp_path / "m.csv"


@pytest.fixture
def examined(monkeypatch):
    """How often each clip was examined, as the real thing did it."""
    counts = Counter()
    really = examine.examine

    def counted(task):
        counts[task.about.clip] += 1
        return really(task)

    monkeypatch.setattr(examine, "examine", counted)
    return counts


def _collect(manifest, out, **changes):
    options = {"classifiers": None, "splits": (), "processes": 1}
    return collect(manifest, out, **(options | changes), console=Console(file=StringIO()))


def test_every_video_is_examined_once_and_a_rejected_one_is_told(manifest, tmp_path, examined):
    out = tmp_path / "out"

    found = {clip.clip: clip for clip in _collect(manifest, out)}

    assert found["text.mp4"].rejected.startswith("unsupported-container")
    assert found["a.mp4"].rejected == ""
    assert found["a.mp4"].video.frames_decoded == 4
    assert {a.reason.value for a in found["a.mp4"].abstentions} == {"no_face"}
    assert read_evidence(out) == [found[name] for name in sorted(found)]
    _collect(manifest, out)
    assert examined == {"a.mp4": 1, "b.mp4": 1, "text.mp4": 1}


def test_what_was_interrupted_goes_on_and_what_was_judged_otherwise_is_judged_anew(
    manifest, tmp_path, examined
):
    out = tmp_path / "out"
    whole = _collect(manifest, out, splits=["train", "val"])
    lines = (out / EVIDENCE).read_text().splitlines(keepends=True)
    by_another = json.loads(lines[1])
    by_another["judged_by"]["frame_classifier"] = "sha256:00"
    (out / EVIDENCE).write_text(lines[0] + json.dumps(by_another) + "\n" + lines[1][:50])

    again = _collect(manifest, out, splits=["train", "val"])

    assert examined == {"a.mp4": 1, "b.mp4": 2}
    assert [replace(c, timings=None) for c in again] == [replace(c, timings=None) for c in whole]


def test_a_clip_is_judged_by_the_network_of_the_fold_that_never_saw_its_group(
    manifest, tmp_path, monkeypatch
):
    current = (WEIGHTS / "frame_classifier.onnx").read_bytes()
    others = tmp_path / "folds"
    others.mkdir()
    for fold in (0, 1):
        # Another file with the same answers: a field that nobody reads is added.
        (others / f"fold{fold}.onnx").write_bytes(current + _unread_field(fold))
    listed = {"frame_classifier": {str(f): f"fold{f}.onnx" for f in (0, 1)}}
    (others / "folds.json").write_text(json.dumps(listed))
    loaded = []
    really = Registry.load

    def noted(self, name):
        loaded.append(self.entry(name).versioned_name)
        return really(self, name)

    monkeypatch.setattr(Registry, "load", noted)

    found = _collect(manifest, tmp_path / "out", classifiers=others / "folds.json")

    data = read_manifest(manifest)
    for clip in found:
        fold = folds(data, 2, FOLD_SEED)[clip.group]
        digest = hashlib.sha256((others / f"fold{fold}.onnx").read_bytes()).hexdigest()
        assert clip.judged_by["frame_classifier"] == f"sha256:{digest}"
    assert {"frame_classifier@1.0-fold0", "frame_classifier@1.0-fold1"} <= set(loaded)
    assert "frame_classifier@1.0" not in loaded


def _unread_field(number: int) -> bytes:
    """Return `doc_string`, field 6 of a model, spelt as protobuf has it."""
    words = f"fold {number}".encode()
    return bytes([6 << 3 | 2, len(words)]) + words


@pytest.mark.parametrize(
    "listed",
    [
        "no json",
        "[]",
        '{"frame_classifier": {"0": "nowhere.onnx", "1": "nowhere.onnx"}}',
        '{"frame_classifier": {"1": "m.csv"}}',
        '{"frame_classifier": {"0": "m.csv"}, "fake_segmenter": {"0": "m.csv", "1": "m.csv"}}',
    ],
)
def test_a_file_of_folds_that_cannot_be_used_is_refused(listed, manifest, tmp_path):
    (tmp_path / "folds.json").write_text(listed)

    with pytest.raises(BadDataset, match="folds"):
        read_folds(tmp_path / "folds.json")


def test_a_split_without_videos_is_refused(manifest, tmp_path):
    with pytest.raises(BadDataset, match="cal"):
        _collect(manifest, tmp_path / "out", splits=["cal"])
