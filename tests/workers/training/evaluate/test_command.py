import hashlib
import io
import json

import numpy as np
import pytest
from rich.console import Console

from app.errors import ModelUnavailable
from tests.make_models import make_classifier_onnx, make_segmenter_onnx
from tests.media import make_video
from tests.workers.training.evaluate.banks import LOOKS, make_face, make_landmarks, make_picture
from workers.training.bank import BANK_SIDE_PX, write_bank
from workers.training.errors import BadDataset
from workers.training.evaluate.command import evaluate
from workers.training.manifest import Row, make_manifest, write_manifest

CLIPS = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Dark real clips and bright fakes, one of each a video; and their bank."""
    root = tmp_path_factory.mktemp("evaluate")
    files, faces = [], []
    for at in range(CLIPS):
        label = "fake" if at % 2 else "real"
        common = {
            "label": label,
            "method": "swap" if at % 2 else "phone",
            "family": "faceswap" if at % 2 else "real",
            "group": f"g{at}",
            "dataset": "drawn",
            "split": "test",
        }
        is_video = at < 2
        clip = f"{at}.mp4" if is_video else f"clip{at}"
        for look in range(LOOKS):
            path = clip if is_video else f"{at}-{look}.jpg"
            kind = "video" if is_video else "picture"
            if not is_video or look == 0:
                files.append(
                    Row(
                        path=path,
                        sha256=hashlib.sha256(path.encode()).hexdigest(),
                        kind=kind,
                        clip=clip,
                        **common,
                    )
                )
            faces.append(
                make_face(len(faces), path=path, kind=kind, clip=clip, pts_s=look / 5,
                          frame_index=look, **common)
            )  # fmt: skip
        if is_video:
            make_video(root / clip, frames=LOOKS, size=(320, 320), codec="libx264")
    manifest = make_manifest(files, root=root)
    write_manifest(root / "data.csv", manifest)
    side = BANK_SIDE_PX
    write_bank(
        root / "bank",
        faces=np.stack([make_picture(190 if f.label == "fake" else 60) for f in faces]),
        landmarks=np.stack([make_landmarks()] * len(faces)),
        masks=np.zeros((len(faces), side, side), np.uint8),
        rows=faces,
        manifest_sha256=manifest.sha256,
    )
    (root / "bright.onnx").write_bytes(make_classifier_onnx())
    (root / "red.onnx").write_bytes(make_segmenter_onnx())
    return root


def _evaluate(data, out, **changes):
    values = {
        "bank": data / "bank",
        "models": [str(data / "bright.onnx"), str(data / "red.onnx")],
        "out": out,
        "split": "test",
        "weights": None,
        "grid": True,
        "console": Console(quiet=True),
    }
    return evaluate(data / "data.csv", **(values | changes))


def test_everything_is_measured_written_and_drawn(data, tmp_path):
    found = _evaluate(data, tmp_path)

    written = json.loads((tmp_path / "report.json").read_text())
    assert written["manifest_sha256"] == found["manifest_sha256"]
    assert (found["clips"], found["fakes"]) == (CLIPS, CLIPS // 2)
    assert found["scored"]["bright"]["auc"]["value"] == 1.0
    assert {"bright", "red", "chance", "face blur"} < set(found["scored"])
    assert found["ahead"]["chance"]["n"] == CLIPS
    assert set(found["controls"]["bright"]) >= {"face blacked out", "reals recompressed"}
    assert "H.264 CRF 40" in found["robustness"]["bright"]["conditions"]
    assert found["robustness"]["bright"]["clips"] == 2  # the videos
    assert "face hull" in found["pixels"]["by_marker"]
    for name in ("roc", "reliability", "methods-bright", "scores-red"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    scores = json.loads((tmp_path / "scores" / "bright.json").read_text())["scores"]
    assert len(scores) == CLIPS


def test_the_tables_name_every_score_and_every_control(data, tmp_path):
    console = Console(record=True, width=200, file=io.StringIO())

    _evaluate(
        data, tmp_path / "found", grid=False, models=[str(data / "red.onnx")], console=console
    )

    text = console.export_text()
    for words in ("red", "chance", "face blacked out", "swap", "face hull"):
        assert words in text


def test_a_split_without_clips_and_a_network_that_is_not_there_are_refused(data, tmp_path):
    with pytest.raises(BadDataset, match="'cal'"):
        _evaluate(data, tmp_path, split="cal")
    with pytest.raises(ModelUnavailable, match="no file"):
        _evaluate(data, tmp_path, models=["nowhere.onnx"])
