"""Does the segmenter answer in the shapes that it promises, and does every weight learn?"""

import pytest
import torch

from models.nets.unet import SERVED_PX, FakeSegmenter, ServedSegmenter


def make_network(*, view_px: int = 64, side_px: int = 64) -> FakeSegmenter:
    torch.manual_seed(0)
    return FakeSegmenter(view_px=view_px, side_px=side_px)


def make_views(count: int, side_px: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, side_px, side_px, 3), dtype=torch.uint8, generator=random)


def test_each_view_gets_log_odds_and_a_mask_of_half_its_side() -> None:
    logits, pixels = make_network().eval()(make_views(2, 64))

    assert logits.shape == (2,)
    assert pixels.shape == (2, 32, 32)


def test_an_untrained_network_marks_nothing() -> None:
    _, pixels = make_network().eval()(make_views(2, 64))

    assert (torch.sigmoid(pixels) < 0.5).all()


def test_every_weight_learns() -> None:
    network = make_network()
    # The head of the mask begins at zero, and lets nothing through to the decoder at the first
    # step alone.
    torch.nn.init.normal_(network.mask_head.weight)

    logits, pixels = network(make_views(2, 64))
    (logits.sum() + torch.sigmoid(pixels).sum()).backward()

    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_one_face_can_be_learned_by_heart() -> None:
    network = make_network()
    views = make_views(2, 64)
    target = torch.zeros(2, 32, 32)
    target[1, 8:24, 8:24] = 1
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)

    for _ in range(20):
        logits, pixels = network(views)
        away = torch.nn.functional.binary_cross_entropy_with_logits(pixels, target)
        away = away + torch.nn.functional.softplus(logits[0] - logits[1])
        optimiser.zero_grad()
        away.backward()
        optimiser.step()

    marked = torch.sigmoid(pixels) > 0.5
    assert logits[1] > logits[0]
    assert (marked == target.bool()).float().mean() > 0.95


@pytest.mark.parametrize(("view_px", "side_px"), [(64, 64), (96, 64)])
def test_the_served_network_lays_its_mask_where_it_looked(view_px: int, side_px: int) -> None:
    network = make_network(view_px=view_px, side_px=side_px)
    faces = make_views(3, SERVED_PX)

    with torch.inference_mode():
        probability, mask = ServedSegmenter(network).eval()(faces)

    border = (SERVED_PX - view_px) // 2
    assert probability.shape == (3,)
    assert mask.shape == (3, SERVED_PX, SERVED_PX)
    assert mask.dtype == probability.dtype == torch.float32
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (mask[:, border:-border, border:-border] > 0).all()
    assert not mask[:, :border].any()
    assert not mask[:, :, -border:].any()


def test_the_served_network_sees_what_it_was_trained_on() -> None:
    network = make_network().eval()
    torch.nn.init.normal_(network.mask_head.weight)
    faces = make_views(2, SERVED_PX)
    border = (SERVED_PX - 64) // 2

    with torch.inference_mode():
        logits, pixels = network(faces[:, border:-border, border:-border])
        probability, mask = ServedSegmenter(network).eval()(faces)

    torch.testing.assert_close(probability, torch.sigmoid(logits))
    seen = mask[:, border:-border, border:-border]
    # Inside, four neighbours at a quarter of a step share a pixel; their mean is its own.
    torch.testing.assert_close(
        torch.nn.functional.avg_pool2d(seen, 2).mean(),
        torch.sigmoid(pixels).mean(),
        atol=0.01,
        rtol=0,
    )
