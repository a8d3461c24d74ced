"""What the face detector's layers promise, trained or not."""

import math

import pytest
import torch

from models.nets.face_detector import (
    STRIDES,
    FaceDetector,
    FaceDetectorConfig,
    ServedFaceDetector,
)

SMALL = FaceDetectorConfig(stem=4, early=6, width=8)


def make_network(config: FaceDetectorConfig = SMALL) -> FaceDetector:
    torch.manual_seed(0)
    return FaceDetector(config)


def make_images(n: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, height, width, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 57), (64, 96), (90, 161)])
def test_a_picture_of_any_size_gets_one_answer_an_anchor(height, width):
    logit, box, points = make_network().eval()(make_images(2, height, width))

    anchors = sum(math.ceil(height / s) * math.ceil(width / s) for s in STRIDES)
    assert (2, anchors) == logit.shape
    assert (2, anchors, 4) == box.shape
    assert (2, anchors, 5, 2) == points.shape


def test_an_answer_of_zero_is_a_box_of_one_stride_around_its_anchor():
    network = make_network().eval()
    for weight in network.answer.parameters():
        torch.nn.init.zeros_(weight)

    _, box, points = network(make_images(1, 32, 64))

    fine, last = 1 * 8 + 3, -1  # row 1, column 3 of the finest level; column 1 of the coarsest
    assert box[0, fine].tolist() == [20, 4, 8, 8]
    assert points[0, fine].tolist() == [[24, 8]] * 5
    assert box[0, last].tolist() == [16, -16, 32, 32]


def test_an_untrained_network_hardly_sees_a_face():
    score, _, _ = ServedFaceDetector(make_network().eval())(make_images(1, 64, 64))

    assert float(score.detach().max()) < 0.1


def test_every_weight_is_learnt():
    network = make_network(FaceDetectorConfig())
    for part in network(make_images(2, 64, 64)):
        part.square().mean().backward(retain_graph=True)

    untouched = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []


def test_it_stays_under_a_megabyte():
    weights = sum(p.numel() for p in FaceDetector().parameters())

    assert 4 * weights < 0.7e6
