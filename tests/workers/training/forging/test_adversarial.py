"""Are the games those of the papers, by hand and at their edges?"""

import math
from typing import get_args

import pytest
import torch

from workers.training.forging import adversarial
from workers.training.forging.adversarial import Game, critic_loss, forger_loss

GAMES: tuple[Game, ...] = get_args(Game)
REAL, FAKE = torch.tensor([2.0, -0.5]), torch.tensor([-1.0, 3.0])


def probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_the_minimax_value_is_minus_log_4_where_the_critic_cannot_tell() -> None:
    even = torch.zeros(2, 1, 8, 8)  # log odds of one half

    assert adversarial.minimax_value(even, even).item() == pytest.approx(-math.log(4))
    assert critic_loss("minimax", even, even).item() == pytest.approx(math.log(4))
    assert pytest.approx(-math.log(4)) == adversarial.EQUILIBRIUM


def test_minimax_is_the_textbook_value_function() -> None:
    value = (
        sum(math.log(probability(z)) for z in REAL.tolist()) / 2
        + sum(math.log(1 - probability(z)) for z in FAKE.tolist()) / 2
    )

    assert adversarial.minimax_value(REAL, FAKE).item() == pytest.approx(value)
    assert critic_loss("minimax", REAL, FAKE).item() == pytest.approx(-value)
    of_fake = sum(math.log(1 - probability(z)) for z in FAKE.tolist()) / 2
    assert forger_loss("minimax", FAKE).item() == pytest.approx(of_fake)


def test_the_other_forgers_loss_does_not_saturate() -> None:
    wanted = -sum(math.log(probability(z)) for z in FAKE.tolist()) / 2
    assert forger_loss("non_saturating", FAKE).item() == pytest.approx(wanted)
    assert torch.equal(
        critic_loss("non_saturating", REAL, FAKE), critic_loss("minimax", REAL, FAKE)
    )
    slopes = {}
    for game in ("minimax", "non_saturating"):
        sure = torch.tensor([-10.0], requires_grad=True)  # the critic is sure that it is forged
        forger_loss(game, sure).backward()
        assert sure.grad is not None
        slopes[game] = sure.grad.item()

    assert slopes["minimax"] == pytest.approx(0, abs=1e-4)
    assert slopes["non_saturating"] == pytest.approx(-1, abs=1e-4)


def test_least_squares_by_hand() -> None:
    wanted = ((2 - 1) ** 2 + (-0.5 - 1) ** 2) / 2 / 2 + ((-1) ** 2 + 3**2) / 2 / 2

    assert critic_loss("least_squares", REAL, FAKE).item() == pytest.approx(wanted)
    assert forger_loss("least_squares", FAKE).item() == pytest.approx(((-2) ** 2 + 2**2) / 2 / 2)


def test_hinge_by_hand() -> None:
    assert critic_loss("hinge", REAL, FAKE).item() == pytest.approx((0 + 1.5) / 2 + (0 + 4) / 2)
    assert forger_loss("hinge", FAKE).item() == pytest.approx(-(-1 + 3) / 2)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_a_critic_that_is_quite_sure_gives_finite_losses_and_slopes(
    game: Game, logit: float
) -> None:
    logits = torch.full((4,), logit, requires_grad=True)

    (critic_loss(game, logits, logits) + forger_loss(game, logits)).backward()

    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("game", GAMES)
def test_the_critic_wants_real_up_and_fake_down_and_the_forger_fake_up(game: Game) -> None:
    real, fake = (torch.full((3,), 0.5, requires_grad=True) for _ in range(2))
    critic_loss(game, real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    drawn = torch.full((3,), 0.5, requires_grad=True)
    forger_loss(game, drawn).backward()
    assert drawn.grad is not None
    assert (drawn.grad < 0).all()


def test_mixup_is_a_share_of_each() -> None:
    real, fake = torch.ones(3, 3, 4, 4), torch.zeros(3, 3, 4, 4)
    share = torch.tensor([0.0, 0.25, 1.0]).view(3, 1, 1, 1)

    mixed = adversarial.mixup(real, fake, share)

    assert torch.equal(mixed, share.expand_as(mixed))


@pytest.mark.parametrize("game", GAMES)
def test_a_mixture_that_is_all_real_or_all_fake_is_judged_as_such(game: Game) -> None:
    logits = torch.tensor([0.3, -0.7]).view(2, 1, 1, 1)
    share = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)

    found = adversarial.mixed_critic_loss(game, logits, share)

    assert found.item() == pytest.approx(critic_loss(game, logits[:1], logits[1:]).item() / 2)


def test_of_least_squares_a_mixture_is_best_called_by_its_share() -> None:
    logits = torch.full((1, 1, 2, 2), 0.3, requires_grad=True)

    adversarial.mixed_critic_loss("least_squares", logits, torch.full((1, 1, 1, 1), 0.3)).backward()

    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


def test_shares_are_drawn_by_torchs_dice_and_mostly_pure() -> None:
    pictures = torch.zeros(500, 3, 2, 2)
    torch.manual_seed(7)
    shares = adversarial.draw_shares(pictures, concentration=0.2)
    torch.manual_seed(7)

    assert shares.shape == (500, 1, 1, 1)
    assert torch.equal(adversarial.draw_shares(pictures, concentration=0.2), shares)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.mean().item() == pytest.approx(0.5, abs=0.06)
    # Of Beta(c, c) the variance is 1 / (8 c + 4).
    assert shares.var().item() == pytest.approx(1 / 5.6, abs=0.02)
