"""Does a converted ClassNSeg compute what its layers say, and mark the face it should?"""

import csv

import cv2
import numpy as np
import onnxruntime
import pytest

from app.errors import ModelUnavailable
from models.convert import convert
from models.convert.classnseg import ENCODER, SEGMENTER, SHARED
from tests.models.convert import reference
from tests.models.convert.make_checkpoints import make_checkpoint

State = dict[str, np.ndarray]


def make_states(*, seed: int) -> tuple[State, State]:
    """Draw an encoder and a decoder of the published shapes."""
    random = np.random.default_rng(seed)

    def layer(prefix: str, i: int, shape: tuple[int, ...], channels: int, fan: int) -> State:
        def draw(scale: float) -> np.ndarray:
            return random.normal(0, scale, channels).astype(np.float32)

        kernel = random.normal(0, (2 / fan) ** 0.5, shape).astype(np.float32)
        return {
            f"{prefix}.{3 * i}.weight": kernel,
            f"{prefix}.{3 * i}.bias": draw(0.1),
            f"{prefix}.{3 * i + 1}.weight": 1 + draw(0.1),
            f"{prefix}.{3 * i + 1}.bias": draw(0.1),
            f"{prefix}.{3 * i + 1}.running_mean": draw(0.1),
            f"{prefix}.{3 * i + 1}.running_var": np.exp(draw(0.3)),
        }

    encoder: State = {}
    decoder: State = {}
    for i, (inside, outside, _stride) in enumerate(ENCODER):
        encoder |= layer("encoder", i, (outside, inside, 3, 3), outside, 9 * inside)
    for prefix, stack in (("shared", SHARED), ("segmenter", SEGMENTER)):
        for i, (inside, outside, stride) in enumerate(stack):
            fan = 9 * inside // stride**2
            decoder |= layer(prefix, i, (inside, outside, 3, 3), outside, fan)
    return encoder, decoder


def expected(encoder: State, decoder: State, face: np.ndarray) -> tuple[float, np.ndarray]:
    wide = {k: v.astype(np.float64) for k, v in (encoder | decoder).items()}

    def norm_relu(x: np.ndarray, prefix: str) -> np.ndarray:
        parts = ("weight", "bias", "running_mean", "running_var")
        statistics = (wide[f"{prefix}.{p}"] for p in parts)
        return reference.relu(reference.batch_norm(x, *statistics, epsilon=1e-5))

    x = face.astype(np.float64).transpose(2, 0, 1) / 255
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    x = (x - mean) / deviation
    for i, (_inside, _outside, stride) in enumerate(ENCODER):
        kernel, bias = wide[f"encoder.{3 * i}.weight"], wide[f"encoder.{3 * i}.bias"]
        x = norm_relu(reference.conv(x, kernel, bias, stride=stride), f"encoder.{3 * i + 1}")
    altered, original = np.abs(x[:64]).mean(), np.abs(x[64:]).mean()
    x[64:] *= altered <= original
    x[:64] *= altered > original
    for prefix, stack in (("shared", SHARED), ("segmenter", SEGMENTER)):
        for i, (_inside, outside, stride) in enumerate(stack):
            kernel, bias = wide[f"{prefix}.{3 * i}.weight"], wide[f"{prefix}.{3 * i}.bias"]
            x = reference.conv_transpose(x, kernel, bias, stride=stride)
            if outside != 2:
                x = norm_relu(x, f"{prefix}.{3 * i + 1}")
    mask = 1 / (1 + np.exp(x[0] - x[1]))
    return altered / (altered + original), mask


def run(onnx: bytes, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    probability, mask = session.run(["fake_probability", "mask"], {"faces": faces})
    return probability, mask


def test_the_converted_network_computes_what_numpy_does_layer_by_layer():
    faces = np.random.default_rng(3).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    faces[1] //= 4
    judged_altered = set()
    for seed in (0, 1):
        encoder, decoder = make_states(seed=seed)
        probability, mask = run(
            convert("classnseg", [make_checkpoint(encoder), make_checkpoint(decoder)]), faces
        )
        for i, face in enumerate(faces):
            expected_probability, expected_mask = expected(encoder, decoder, face)
            judged_altered.add(expected_probability > 0.5)

            assert abs(probability[i] - expected_probability) < 1e-4
            np.testing.assert_allclose(mask[i], expected_mask, atol=1e-3)

    assert judged_altered == {True, False}, "both halves of the latent code are to be tried"


def test_a_checkpoint_of_another_shape_is_refused():
    encoder, decoder = make_states(seed=0)
    wrong = encoder | {"encoder.3.weight": np.zeros((8, 8, 5, 5), np.float32)}

    with pytest.raises(
        ModelUnavailable, match=r"want encoder\.3\.weight as float32 \[8, 8, 3, 3\]"
    ):
        convert("classnseg", [make_checkpoint(wrong), make_checkpoint(decoder)])
    with pytest.raises(ModelUnavailable, match=r"the checkpoint has no shared\.0\.weight"):
        convert("classnseg", [make_checkpoint(encoder), make_checkpoint(encoder)])
    with pytest.raises(ModelUnavailable, match="want 2 originals, got 1"):
        convert("classnseg", [make_checkpoint(encoder)])


def test_the_published_weights_mark_reenacted_faces_and_hardly_ever_their_sources(
    shared_media, shared_weights
):
    with (shared_media / "crops.csv").open() as table:
        rows = [
            r
            for r in csv.DictReader(table)
            if r["group"] == "ffpp-585-599" and r["method"] in ("face2face", "ffsource")
        ]
    faces = []
    for row in rows:
        crop = cv2.cvtColor(cv2.imread(str(shared_media / row["file"])), cv2.COLOR_BGR2RGB)
        edge = round(len(crop) * (1 - 1.3 / 1.6) / 2)  # the crops have a margin of 1.6
        middle = crop[edge : len(crop) - edge, edge : len(crop) - edge]
        faces.append(cv2.resize(middle, (256, 256), interpolation=cv2.INTER_LINEAR))
    originals = [
        (shared_weights / f"classnseg_{part}.pt").read_bytes() for part in ("encoder", "decoder")
    ]

    probability, mask = run(convert("classnseg", originals), np.stack(faces))
    is_fake = np.array([r["label"] == "fake" for r in rows])
    area = (mask > 0.5).mean(axis=(1, 2))
    middle = (mask[:, 64:192, 64:192] > 0.5).mean(axis=(1, 2))

    assert probability[is_fake].mean() > probability[~is_fake].mean() + 0.2
    assert area[is_fake].mean() > 0.02
    assert area[~is_fake].mean() < area[is_fake].mean() / 4
    assert middle[is_fake].mean() > 2 * area[is_fake].mean(), "the face is in the middle"
