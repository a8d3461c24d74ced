"""Does the forger draw by the decoder that was asked for, and does every weight learn?"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.nets.forger import Forged, Forger, ForgerShape, SelfAttention, Upscale


def make_forger(**changes: Any) -> Forger:
    torch.manual_seed(0)
    forger = Forger(ForgerShape(**{"width": 8, "latent": 32, **changes}))
    for module in forger.modules():
        if isinstance(module, SelfAttention):
            nn.init.constant_(module.gamma, 0.5)  # at nought it lets nothing through to its weights
    return forger


def make_pictures(count: int, side_px: int = 64, seed: int = 1) -> Tensor:
    return torch.rand((count, 3, side_px, side_px), generator=torch.Generator().manual_seed(seed))


def set_mask(forger: Forger, log_odds: float) -> None:
    """Open or shut the mask everywhere, whatever is seen."""
    for decoder in forger.decoders.values():
        answer = decoder.get_submodule("layers")[-1]
        nn.init.zeros_(answer.weight[3:])
        nn.init.constant_(answer.bias[3:], log_odds)


@pytest.mark.parametrize("side_px", [64, 128])
@pytest.mark.parametrize("has_mask", [True, False])
def test_a_picture_is_the_face_where_the_mask_is_and_the_input_elsewhere(
    side_px: int, has_mask: bool
) -> None:
    distorted = make_pictures(2, side_px)

    with torch.inference_mode():
        face, mask, picture = make_forger(side_px=side_px, has_mask=has_mask)(distorted, "a")

    assert face.shape == picture.shape == distorted.shape
    assert mask.shape == (2, 1, side_px, side_px)
    for drawn in (face, mask, picture):
        assert (drawn >= 0).all()
        assert (drawn <= 1).all()
    torch.testing.assert_close(picture, mask * face + (1 - mask) * distorted)
    assert bool((mask == 1).all()) is not has_mask


@torch.no_grad()
def test_an_open_mask_passes_the_face_and_a_shut_one_the_input() -> None:
    forger = make_forger()
    distorted = make_pictures(2)

    set_mask(forger, 100.0)
    is_open: Forged = forger(distorted, "b")
    set_mask(forger, -100.0)
    is_shut: Forged = forger(distorted, "b")

    torch.testing.assert_close(is_open.picture, is_open.face)
    torch.testing.assert_close(is_shut.picture, distorted)


@pytest.mark.parametrize("side_px", [64, 128])
@pytest.mark.parametrize("norm", ["none", "instance"])
def test_every_weight_learns(side_px: int, norm: str) -> None:
    forger = make_forger(side_px=side_px, norm=norm, residual=norm == "instance")

    a, b = forger.both(make_pictures(2, side_px), make_pictures(1, side_px, seed=2))
    (a.picture.square().sum() + b.picture.square().sum()).backward()

    silent = [name for name, p in forger.named_parameters() if p.grad is None or not p.grad.any()]
    if norm == "instance":  # which takes away whatever the bias before it adds
        silent = [name for name in silent if not name.endswith(".bias")]
    assert silent == []


def test_one_person_alone_moves_nothing_of_the_others_decoder() -> None:
    forger = make_forger()

    forger(make_pictures(2), "a").picture.sum().backward()

    assert all(p.grad is None for p in forger.decoders["b"].parameters())
    assert all(p.grad is not None for p in forger.decoders["a"].parameters())


@torch.no_grad()
def test_both_at_once_is_each_by_its_own_decoder_and_crossed_by_the_others() -> None:
    forger = make_forger()
    a, b = make_pictures(2), make_pictures(3, seed=2)

    of_a, of_b = forger.both(a, b)
    a_as_b, b_as_a = forger.crossed(a, b)

    for found, wanted in (
        (of_a, forger(a, "a")),
        (of_b, forger(b, "b")),
        (a_as_b, forger(a, "b")),
        (b_as_a, forger(b, "a")),
    ):
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other)
    assert not torch.allclose(of_a.face, a_as_b.face)


@torch.no_grad()
def test_swapped_decoders_draw_the_other_person_and_stay_the_same_tensors() -> None:
    forger = make_forger(norm="instance")
    distorted = make_pictures(2)
    before = {name: p.data_ptr() for name, p in forger.named_parameters()}
    as_a, as_b = forger(distorted, "a"), forger(distorted, "b")
    seen = forger.encode(distorted)

    forger.swap_decoders()

    torch.testing.assert_close(forger(distorted, "a").face, as_b.face)
    torch.testing.assert_close(forger(distorted, "b").face, as_a.face)
    torch.testing.assert_close(forger.encode(distorted), seen)
    assert {name: p.data_ptr() for name, p in forger.named_parameters()} == before
    forger.swap_decoders()
    torch.testing.assert_close(forger(distorted, "a").face, as_a.face)


@torch.no_grad()
def test_a_forger_goes_on_from_another_of_the_same_shape() -> None:
    one, other = make_forger(), Forger(ForgerShape(width=8, latent=32))

    other.load_state_dict(one.state_dict())

    distorted = make_pictures(1)
    torch.testing.assert_close(other(distorted, "b").picture, one(distorted, "b").picture)


@pytest.mark.parametrize(
    "size", [(2, 3, 64, 48), (2, 3, 128, 128), (2, 1, 64, 64), (3, 64, 64), (2, 64, 64, 3)]
)
def test_a_picture_of_another_size_is_refused_in_words(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"sees \[N, 3, 64, 64\], got"):
        make_forger()(torch.zeros(size), "a")


@pytest.mark.parametrize(
    "wrong", [{"side_px": 96}, {"width": 12}, {"width": 0}, {"latent": 0}, {"kernel": 4}]
)
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong.values()))}"):
        ForgerShape(**wrong)


@torch.no_grad()
@pytest.mark.parametrize("side_px", [64, 128])
def test_what_is_seen_neither_fades_nor_grows_before_training(side_px: int) -> None:
    forger = make_forger(side_px=side_px, width=16, latent=128)

    seen = forger.encode(make_pictures(8, side_px))

    # Of noise, about 0.3 of its mean square is left, since pooling averages it away.
    assert 0.05 < seen.square().mean().sqrt() < 5
    assert (seen[0] - seen[1]).abs().max() > 0.01


def test_one_face_of_each_can_be_learned_by_heart() -> None:
    forger = make_forger(latent=64)
    a, b = (nn.functional.interpolate(make_pictures(1, 8, seed), 64) for seed in (3, 4))
    optimiser = torch.optim.Adam(forger.parameters(), lr=0.004)
    away: list[float] = []

    for _ in range(16):
        of_a, of_b = forger.both(a, b)
        loss = (of_a.face - a).abs().mean() + (of_b.face - b).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        away.append(loss.item())

    assert away[-1] < 0.7 * away[0]
    with torch.no_grad():
        own, other = forger(a, "a").face, forger(a, "b").face
    assert (own - a).abs().mean() < (other - a).abs().mean()


@torch.no_grad()
def test_colours_are_in_full_precision_where_layers_compute_in_half() -> None:
    forger = make_forger(norm="instance")
    distorted = make_pictures(2)

    with torch.autocast("cpu", torch.bfloat16):
        forged = forger(distorted, "a")

    assert {t.dtype for t in forged} == {torch.float32}
    torch.testing.assert_close(forged.face, forger(distorted, "a").face, atol=0.05, rtol=0)


@torch.no_grad()
def test_attention_is_the_identity_until_it_has_learnt() -> None:
    features = torch.randn((2, 16, 16, 16), generator=torch.Generator().manual_seed(5))
    torch.manual_seed(0)
    attention = SelfAttention(16)

    assert torch.equal(attention(features), features)
    nn.init.constant_(attention.gamma, 0.5)
    assert not torch.allclose(attention(features), features)


@torch.no_grad()
def test_attention_is_the_published_formula_place_by_place() -> None:
    features = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(5))
    torch.manual_seed(0)
    attention = SelfAttention(16)
    nn.init.constant_(attention.gamma, 0.5)

    found = attention(features)

    x = features[0].flatten(1)  # [16, 64]
    f, g, h = (
        kernel.flatten(1) @ x
        for kernel in (attention.query.weight, *attention.key_value.weight.split([2, 8]))
    )
    share = torch.exp(f.T @ g) / torch.exp(f.T @ g).sum(dim=1, keepdim=True)
    wanted = x + 0.5 * attention.out.weight.flatten(1) @ (h @ share.T)
    torch.testing.assert_close(found[0].flatten(1), wanted)


@torch.no_grad()
def test_an_upscale_begins_without_a_chequerboard() -> None:
    torch.manual_seed(0)
    larger = Upscale(8, 4, norm="none")(torch.rand((1, 8, 4, 4)))

    assert larger.shape == (1, 4, 8, 8)
    assert torch.equal(
        larger, larger[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
