"""Are the frozen features those of the classifier that is served, weight for weight?"""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from skimage import data
from torch import Tensor
from torch.nn import functional

from app.settings import Settings
from workers.kit import build_registry
from workers.training.errors import BadRecipe
from workers.training.forging.features import NETWORK, FrozenFeatures, load_features

HEAD = "members.0.classifier.head"
BORDER_PX = 16  # around the 224 px that this member looks at


@pytest.fixture(scope="module")
def content() -> bytes:
    return build_registry(Settings()).read(NETWORK)


@pytest.fixture(scope="module")
def features() -> FrozenFeatures:
    return load_features(Settings())


def make_faces() -> np.ndarray:
    """Two crops of a portrait, `[2, 256, 256, 3]`."""
    picture = data.astronaut()
    return np.stack([picture[0:256, 96:352], picture[32:288, 128:384, ::-1]])


def answer(content: bytes, faces: np.ndarray) -> np.ndarray:
    """Run the served network; return the log odds of its MobileNet alone."""
    model = onnx.load_from_string(content)
    (node,) = (n for n in model.graph.node if f"{HEAD}.weight" in n.input)
    model.graph.output.append(helper.make_empty_tensor_value_info(node.output[0]))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run([node.output[0]], {"faces": faces})[0]


def weights(content: bytes) -> Mapping[str, Tensor]:
    graph = onnx.load_from_string(content).graph
    return {i.name: torch.tensor(numpy_helper.to_array(i)) for i in graph.initializer}


@torch.no_grad()
def test_the_classifiers_own_answer_follows_from_the_features(
    content: bytes, features: FrozenFeatures
) -> None:
    faces = make_faces()
    known = weights(content)

    view = faces[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    seen = features(torch.from_numpy(view).permute(0, 3, 1, 2).float() / 255)
    averaged = torch.cat([f.mean(dim=(2, 3)) for f in seen[-3:]], dim=1)
    logits = functional.linear(averaged, known[f"{HEAD}.weight"], known[f"{HEAD}.bias"])

    np.testing.assert_allclose(logits.numpy(), answer(content, faces), atol=1e-3)


def test_nothing_of_it_is_trained(features: FrozenFeatures) -> None:
    pictures = torch.rand((2, 3, 64, 64), requires_grad=True)

    features.train()
    features.distance(pictures, torch.rand(2, 3, 64, 64)).backward()

    assert not features.training
    assert not any(p.requires_grad for p in features.parameters())
    assert pictures.grad is not None
    assert pictures.grad.any()


@torch.no_grad()
def test_the_distance_is_nought_for_the_same_and_grows_as_a_face_blurs(
    features: FrozenFeatures,
) -> None:
    faces = torch.from_numpy(make_faces()).permute(0, 3, 1, 2).float() / 255
    blurred = {
        side_px: functional.interpolate(
            functional.interpolate(faces, side_px, mode="bilinear", antialias=True),
            256,
            mode="bilinear",
        )
        for side_px in (96, 48, 24)
    }

    distances = [features.distance(b, faces).item() for b in blurred.values()]

    assert features.distance(faces, faces) == 0
    assert 0 < distances[0] < distances[1] < distances[2]


def test_another_network_is_refused_in_words() -> None:
    other = build_registry(Settings()).read("face_landmarks")

    with pytest.raises(BadRecipe, match=r"set losses\.perceptual to 0"):
        FrozenFeatures(other)


def test_the_segmenters_encoder_will_do_as_well() -> None:
    seen = FrozenFeatures(build_registry(Settings()).read("fake_segmenter"))(
        torch.rand(1, 3, 64, 64)
    )

    assert [f.shape[1] for f in seen] == [16, 32, 64, 128, 256]
