"""What does a critic want, and what does its forger? The games that the two play, by name."""

import math
from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn import functional

Game = Literal["minimax", "non_saturating", "least_squares", "hinge"]
"""
With D the critic's probability of real, z its log odds, x real and y forged:

minimax: the critic raises V = E[log D(x)] + E[log(1 - D(y))], the forger lowers the same V.
non_saturating: the critic as before; the forger raises E[log D(y)], whose gradient does not vanish
where the critic is sure. Both: Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014.

least_squares: the critic lowers E[(z(x) - 1)^2] / 2 + E[z(y)^2] / 2, the forger
E[(z(y) - 1)^2] / 2. Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017.

hinge: the critic lowers E[max(0, 1 - z(x))] + E[max(0, 1 + z(y))], the forger -E[z(y)]. Lim & Ye,
"Geometric GAN", 2017; Miyato et al., "Spectral Normalization for Generative Adversarial Networks",
ICLR 2018.
"""

EQUILIBRIUM = -math.log(4)
"""The minimax value where the critic cannot tell, D = 1/2 everywhere (Goodfellow et al., 4.1)."""


def minimax_value(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """
    Return V(D, G) = E[log D(x)] + E[log(1 - D(y))], a scalar, at most 0.

    From log odds and by softplus, as log D = -log(1 + e^-z) and log(1 - D) = -log(1 + e^z): a
    critic that is quite sure gives large numbers and never the logarithm of nought.
    """
    return -functional.softplus(-real_logits).mean() - functional.softplus(fake_logits).mean()


def critic_loss(game: Game, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """
    Return what the critic is to lower, a scalar; see `Game`.

    Args:
        game: by which rules.
        real_logits: of any shape, of pictures that were taken.
        fake_logits: of any shape, of pictures that were drawn, from a forger that is left alone.
    """
    return _unlike(game, real_logits, is_real=True).mean() + (
        _unlike(game, fake_logits, is_real=False).mean()
    )


def forger_loss(game: Game, fake_logits: Tensor) -> Tensor:
    """Return what the forger is to lower, a scalar, of the critic's answer to what it drew."""
    match game:
        case "minimax":
            return -functional.softplus(fake_logits).mean()
        case "hinge":
            return -fake_logits.mean()
        case "non_saturating" | "least_squares":
            return _unlike(game, fake_logits, is_real=True).mean()
        case _:
            assert_never(game)


def mixup(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """
    Return share * real + (1 - share) * fake, picture by picture.

    Between real and fake the critic then has to change its mind gradually, which keeps it from
    being sure of everything.

    Args:
        real: `[N, C, H, W]`.
        fake: `[N, C, H, W]`.
        share: `[N, 1, 1, 1]` in [0, 1], see `draw_shares`.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    return torch.lerp(fake, real, share)


def draw_shares(pictures: Tensor, *, concentration: float) -> Tensor:
    """Draw a share of each picture `[N, ...]` from Beta(c, c), by torch's dice: `[N, 1, 1, 1]`."""
    both = pictures.new_full((2,), concentration)
    shares: Tensor = torch.distributions.Beta(both[0], both[1], validate_args=False).sample(
        (len(pictures), 1, 1, 1)
    )
    return shares


def mixed_critic_loss(game: Game, mixed_logits: Tensor, share: Tensor) -> Tensor:
    """
    Return what the critic is to lower, a scalar, of pictures that are real to a share.

    `share * (loss if real) + (1 - share) * (loss if fake)`. For least squares that is, up to what
    no weight bears on, (z - share)^2 / 2, the mixup of shaoanlu/faceswap-GAN v2.2.

    Args:
        game: by which rules.
        mixed_logits: `[N, 1, h, w]`, of `mixup`.
        share: `[N, 1, 1, 1]`, as given to `mixup`.
    """
    if_real = _unlike(game, mixed_logits, is_real=True)
    if_fake = _unlike(game, mixed_logits, is_real=False)
    return torch.lerp(if_fake, if_real, share).mean()


def _unlike(game: Game, logits: Tensor, *, is_real: bool) -> Tensor:
    """Return how far each answer is from what a critic should say of real, or of fake."""
    match game:
        case "minimax" | "non_saturating":
            return functional.softplus(-logits if is_real else logits)
        case "least_squares":
            return (logits - (1 if is_real else 0)).square() / 2
        case "hinge":
            return functional.relu(1 - logits if is_real else 1 + logits)
        case _:
            assert_never(game)
