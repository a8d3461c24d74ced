"""Does a critic answer patch by patch, of the picture and of what it was made from?"""

import pytest
import torch
from torch import Tensor, nn

from models.nets.critic import PATCHES, Critic, CriticNorm
from models.nets.forger import SelfAttention


def make_critic(side_px: int = 64, norm: CriticNorm = "none") -> Critic:
    torch.manual_seed(0)
    critic = Critic(side_px, width=8, norm=norm)
    for module in critic.modules():
        if isinstance(module, SelfAttention):
            nn.init.constant_(module.gamma, 0.5)  # at nought it lets nothing through to its weights
    return critic


def make_pictures(side_px: int = 64, seed: int = 1) -> Tensor:
    return torch.rand((2, 3, side_px, side_px), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("side_px", [64, 128])
@pytest.mark.parametrize("norm", ["none", "instance", "spectral"])
def test_every_patch_gets_an_answer_that_every_weight_bears_on(
    side_px: int, norm: CriticNorm
) -> None:
    critic = make_critic(side_px, norm)

    logits = critic(make_pictures(side_px), make_pictures(side_px, seed=2))
    logits.square().sum().backward()

    assert logits.shape == (2, 1, PATCHES, PATCHES)
    silent = [name for name, p in critic.named_parameters() if p.grad is None or not p.grad.any()]
    if norm == "instance":  # which takes away whatever the bias before it adds
        silent = [name for name in silent if not name.endswith(".bias")]
    assert silent == []


@torch.no_grad()
def test_the_answer_depends_on_the_picture_and_on_what_it_was_made_from() -> None:
    critic = make_critic()
    picture, distorted = make_pictures(), make_pictures(seed=2)
    said = critic(picture, distorted)

    assert not torch.allclose(critic(1 - picture, distorted), said)
    assert not torch.allclose(critic(picture, 1 - distorted), said)


def test_spectral_norm_bounds_every_convolution() -> None:
    critic = make_critic(norm="spectral")
    for _ in range(20):  # each a power iteration
        critic(make_pictures(), make_pictures(seed=2))

    largest = [
        torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item()
        for layer in critic.eval().modules()
        if isinstance(layer, nn.Conv2d)
    ]

    assert len(largest) == 4 + 3  # convolutions, and those of the attention
    assert largest == pytest.approx([1.0] * 7, abs=0.1)


@torch.no_grad()
def test_it_answers_in_full_precision_where_layers_compute_in_half() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        logits = make_critic()(make_pictures(), make_pictures(seed=2))

    assert logits.dtype == torch.float32


def test_pictures_of_another_size_are_refused_in_words() -> None:
    critic = make_critic()

    with pytest.raises(ValueError, match=r"sees \[N, 3, 64, 64\], got \[2, 3, 128, 128\]"):
        critic(make_pictures(), make_pictures(128))
    with pytest.raises(ValueError, match="not 96"):
        Critic(96)
