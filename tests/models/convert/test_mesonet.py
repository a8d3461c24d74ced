"""Does a converted MesoNet compute what its layers say, and does it know a forgery?"""

import csv
import hashlib
import subprocess
import sys

import cv2
import numpy as np
import onnxruntime
import pytest

from app.errors import ModelUnavailable
from models.convert import convert
from tests.conftest import ROOT
from tests.models.convert import reference
from tests.models.convert.make_checkpoints import (
    MESO4,
    MESOINCEPTION4,
    Weights,
    make_h5,
    make_mesonet_weights,
)

NORMS = {"meso4": (8, 8, 16, 16), "mesoinception4": (11, 12, 16, 16)}
CONVOLUTIONS = {"meso4": MESO4, "mesoinception4": MESOINCEPTION4}


def run(onnx: bytes, faces: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(["fake_logit"], {"faces": faces})[0]
    return logits


def expected_logit(name: str, weights: Weights, face: np.ndarray) -> float:
    layers = {k: {n: a.astype(np.float64) for n, a in v.items()} for k, v in weights.items()}
    convs = (layers[f"conv2d_{i}"] for i in range(3, 100))
    norms = (layers[f"batch_normalization_{i}"] for i in range(3, 100))

    def conv(x: np.ndarray, dilation: int = 1) -> np.ndarray:
        layer = next(convs)
        kernel = layer["kernel"].transpose(3, 2, 0, 1)
        return reference.relu(reference.conv(x, kernel, layer["bias"], dilation=dilation))

    def norm_pool(x: np.ndarray, side: int) -> np.ndarray:
        n = next(norms)
        statistics = (n["gamma"], n["beta"], n["moving_mean"], n["moving_variance"])
        return reference.max_pool(reference.batch_norm(x, *statistics, epsilon=1e-3), side)

    def inception(x: np.ndarray) -> np.ndarray:
        return np.concatenate([conv(x), *(conv(conv(x), dilation=d) for d in (1, 2, 3))])

    x = face.astype(np.float64).transpose(2, 0, 1) / 255
    for pool in (2, 2):
        x = norm_pool(conv(x) if name == "meso4" else inception(x), pool)
    for pool in (2, 4):
        x = norm_pool(conv(x), pool)
    flat = x.transpose(1, 2, 0).reshape(-1)
    hidden = flat @ layers["dense_3"]["kernel"] + layers["dense_3"]["bias"]
    hidden = np.where(hidden > 0, hidden, 0.1 * hidden)
    real = hidden @ layers["dense_4"]["kernel"] + layers["dense_4"]["bias"]
    return -float(real[0])


@pytest.mark.parametrize("name", ["meso4", "mesoinception4"])
def test_a_converted_network_computes_what_numpy_does_layer_by_layer(name):
    weights = make_mesonet_weights(CONVOLUTIONS[name], NORMS[name], seed=1)
    faces = np.random.default_rng(2).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    faces[1] //= 4  # a dark one, so that the two differ clearly

    found = run(convert(name, [make_h5(weights)]), faces)

    expected = [expected_logit(name, weights, face) for face in faces]
    assert abs(expected[0] - expected[1]) > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_one_picture_more_in_the_batch_changes_no_answer():
    onnx = convert("meso4", [make_h5(make_mesonet_weights(MESO4, NORMS["meso4"]))])
    faces = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)

    np.testing.assert_allclose(run(onnx, faces)[:2], run(onnx, faces[:2]), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("conv2d_6"), "want one more conv2d"),
        (lambda w: w.update(conv2d_9=w["conv2d_6"]), "layers that this network does not"),
        (lambda w: w["conv2d_3"].update(kernel=np.zeros((7, 7, 3, 8), np.float32)), "want a 3x3"),
        (lambda w: w["conv2d_3"].pop("bias"), "bias"),
    ],
)
def test_weights_of_another_network_are_refused(change, words):
    weights = make_mesonet_weights(MESO4, NORMS["meso4"])
    change(weights)

    with pytest.raises(ModelUnavailable, match=words):
        convert("meso4", [make_h5(weights)])


def test_two_processes_convert_to_the_same_bytes(tmp_path):
    (tmp_path / "in.h5").write_bytes(make_h5(make_mesonet_weights(MESO4, NORMS["meso4"])))
    digests = set()
    for seed in ("0", "1"):
        out = tmp_path / f"{seed}.onnx"
        subprocess.run(
            [sys.executable, "-m", "models.convert", "meso4", str(tmp_path / "in.h5"),
             "--out", str(out)],
            cwd=ROOT, env={"PYTHONHASHSEED": seed}, check=True, capture_output=True,
        )  # fmt: skip
        digests.add(hashlib.sha256(out.read_bytes()).hexdigest())

    assert len(digests) == 1


def test_the_published_weights_put_forged_faces_above_the_faces_they_were_made_from(
    shared_media, shared_weights
):
    with (shared_media / "crops.csv").open() as table:
        rows = [r for r in csv.DictReader(table) if r["group"] == "ffpp-585-599"]
    wanted = {"deepfakes": "fake", "face2face": "fake", "ffsource": "real"}
    rows = [r for r in rows if r["method"] in wanted]
    faces = []
    for row in rows:
        crop = cv2.cvtColor(cv2.imread(str(shared_media / row["file"])), cv2.COLOR_BGR2RGB)
        edge = round(len(crop) * (1 - 1.3 / 1.6) / 2)  # the crops have a margin of 1.6
        middle = crop[edge : len(crop) - edge, edge : len(crop) - edge]
        faces.append(cv2.resize(middle, (256, 256), interpolation=cv2.INTER_LINEAR))
    onnx = convert("meso4", [(shared_weights / "meso4_f2f.h5").read_bytes()])

    logits = run(onnx, np.stack(faces))
    of = {m: logits[[r["method"] == m for r in rows]] for m in wanted}

    def auc(fake: np.ndarray) -> float:
        return float((fake[:, None] > of["ffsource"][None]).mean())

    assert {k: len(v) for k, v in of.items()} == {"deepfakes": 24, "face2face": 24, "ffsource": 24}
    assert auc(of["face2face"]) > 0.7
    assert auc(of["deepfakes"]) > 0.6
