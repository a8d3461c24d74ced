"""Does each loss measure what its formula says, and does the sum reach all that it should?"""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from models.nets.critic import Critic
from models.nets.forger import Forged, Forger, ForgerShape
from workers.training.forging import losses, schedule
from workers.training.forging.losses import Faces, ForgerLosses, Look, LossOptions
from workers.training.forging.schedule import Moment, ScheduleOptions
from workers.training.task import Batch

C1, C2 = 0.01**2, 0.03**2
SIDE_PX = 64
NOW = Moment(rate_share=1, is_adversarial=True, is_perceptual=True, mask_hinge=0)
TERMS = {
    "loss", "reconstruction", "edge", "ssim", "perceptual", "adversarial", "mask_size",
    "mask_hinge", "mask_variation", "cycle",
}  # fmt: skip


def make_noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def make_batch(count: int = 2) -> Batch:
    random = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)

    batch = {}
    for person in "ab":
        for name in ("distorted", "target"):
            batch[f"{person}_{name}"] = draw(count, SIDE_PX, SIDE_PX, 3)
        for name in ("eyes", "mouth"):
            batch[f"{person}_{name}"] = draw(count, SIDE_PX, SIDE_PX)
    return batch


def make_forger(*, has_mask: bool = True) -> Forger:
    torch.manual_seed(0)
    return Forger(ForgerShape(width=8, latent=16, attention=False, has_mask=has_mask))


def make_critics() -> nn.ModuleDict:
    torch.manual_seed(1)
    return nn.ModuleDict({name: Critic(SIDE_PX, width=8, attention=False) for name in "ab"})


def make_look(away: float, *, eyes: float = 0.0, mask: float = 1.0) -> Look:
    """Faces drawn too bright by `away` in every pixel, behind an even mask."""
    target = torch.full((2, 3, SIDE_PX, SIDE_PX), 0.25)
    even = torch.zeros(2, 1, SIDE_PX, SIDE_PX)
    faces = Faces(distorted=target, target=target, eyes=even + eyes, mouth=even)
    face = target + away
    forged = Forged(face, even + mask, torch.lerp(target, face, even + mask))
    return Look(faces={"a": faces, "b": faces}, forged={"a": forged, "b": forged})


def terms_of(options: LossOptions, look: Look, moment: Moment = NOW) -> dict[str, float]:
    found = ForgerLosses(options).for_forger(make_forger(), None, look, moment)
    return {name: term.item() for name, term in found.items()}


def plain(**changes: float | bool) -> LossOptions:
    """Everything off, but reconstruction and what is asked for."""
    off = dict.fromkeys(
        ("edge", "eyes", "mouth", "adversarial", "mask_size", "mask_hinge", "mask_variation"), 0.0
    )
    return LossOptions.model_validate(off | changes)


def test_equal_pictures_have_an_ssim_of_1() -> None:
    pictures = make_noise(3, 3, 32, 24)

    torch.testing.assert_close(losses.ssim(pictures, pictures), torch.ones(3))


def test_the_ssim_of_even_pictures_is_what_the_formula_leaves_of_their_means() -> None:
    x, y = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.7)

    wanted = (2 * 0.2 * 0.7 + C1) / (0.2**2 + 0.7**2 + C1)
    assert losses.ssim(x, y).item() == pytest.approx(wanted, rel=1e-4)


def test_the_ssim_is_that_of_scikit_image_where_the_window_fits() -> None:
    x, y = make_noise(1, 1, 40, 48), make_noise(1, 1, 40, 48, seed=1)
    y = (x + y) / 2

    _, everywhere = structural_similarity(
        x[0, 0].double().numpy(),
        y[0, 0].double().numpy(),
        gaussian_weights=True,
        sigma=losses.SSIM_SIGMA_PX,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )

    border = losses.SSIM_WINDOW_PX // 2
    wanted = np.mean(everywhere[border:-border, border:-border])
    assert losses.ssim(x, y).item() == pytest.approx(wanted, abs=1e-4)


def test_ssim_says_what_pictures_it_cannot_compare() -> None:
    with pytest.raises(ValueError, match="11 px or more"):
        losses.ssim(torch.zeros(1, 3, 10, 64), torch.zeros(1, 3, 10, 64))
    with pytest.raises(ValueError, match="two batches alike"):
        losses.ssim(torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 64, 64))


def test_ssim_keeps_its_precision_where_layers_compute_in_half() -> None:
    x = make_noise(1, 3, 32, 32) * 0.02 + 0.9

    with torch.autocast("cpu", torch.bfloat16):
        found = losses.ssim(x, x.flip(-1))

    torch.testing.assert_close(found, losses.ssim(x, x.flip(-1)))


def test_the_total_variation_of_a_step_is_its_height_over_the_places_where_it_could_be() -> None:
    step = torch.zeros(2, 1, 8, 11)
    step[..., 5:] = 0.6

    assert losses.total_variation(step).item() == pytest.approx(0.6 / 10)
    assert losses.total_variation(step.mT).item() == pytest.approx(0.6 / 10)
    assert losses.total_variation(torch.full((1, 1, 8, 8), 0.3)) == 0


def test_the_edge_loss_counts_changes_and_not_brightness() -> None:
    even = torch.ones(1, 1, 8, 8)
    ramp = torch.arange(8.0).expand(1, 3, 8, 8) * 0.1

    assert losses.edge_loss(torch.full((1, 3, 8, 8), 0.5), even) == 0
    assert losses.edge_loss(ramp, even).item() == pytest.approx(0.1)
    assert losses.edge_loss(ramp, 3 * even).item() == pytest.approx(0.3)


def test_the_mask_hinge_wants_what_is_lacking() -> None:
    mask = torch.tensor([0.1, 0.4, 0.9]).view(1, 1, 1, 3)

    assert losses.mask_hinge(mask, 0.5).item() == pytest.approx((0.4 + 0.1 + 0) / 3)
    assert losses.mask_hinge(mask, 0.0) == 0
    assert losses.mask_size(mask).item() == pytest.approx(1.4 / 3)


def test_reconstruction_is_the_mean_absolute_difference() -> None:
    assert terms_of(plain(), make_look(0.2))["loss"] == pytest.approx(0.2)
    # The picture is half as far away behind half a mask; the face is as far as it was.
    half = make_look(0.2, mask=0.5)
    assert terms_of(plain(), half)["loss"] == pytest.approx((0.1 + 0.2) / 2)
    assert terms_of(plain(reconstruct_face=False), half)["loss"] == pytest.approx(0.1)


def test_eyes_count_more_by_their_weight() -> None:
    look = make_look(0.2, eyes=0.5)

    assert terms_of(plain(eyes=30.0), look)["loss"] == pytest.approx(0.2 * (1 + 15))
    assert terms_of(plain(), look)["loss"] == pytest.approx(0.2)


def test_the_ssim_loss_is_half_of_what_is_lacking_to_1() -> None:
    found = terms_of(plain(ssim=2.0, reconstruction=0.0), make_look(0.5))

    ssim = (2 * 0.25 * 0.75 + C1) / (0.25**2 + 0.75**2 + C1)
    assert found["ssim"] == pytest.approx((1 - ssim) / 2, rel=1e-3)
    assert found["loss"] == pytest.approx(1 - ssim, rel=1e-3)


def test_a_mask_is_drawn_shut_or_pushed_open_as_the_schedule_says() -> None:
    options = plain(reconstruction=0.0, mask_size=0.01, mask_hinge=0.1)
    look = make_look(0.0, mask=0.2)

    shut = terms_of(options, look)
    pushed = terms_of(options, look, NOW._replace(mask_hinge=0.5))

    assert shut["loss"] == pytest.approx(0.01 * 0.2)
    assert pushed["loss"] == pytest.approx(0.1 * 0.3)


def test_every_step_gives_the_same_names_whatever_is_on() -> None:
    batch, forger, critics = make_batch(1), make_forger(), make_critics()
    quiet = ForgerLosses(plain())
    loud = ForgerLosses(LossOptions(cycle=1.0, ssim=1.0))

    for each in (quiet, loud):
        look = each.look(forger, batch)
        for done in (0.0, 0.5, 0.99):
            moment = schedule.at(ScheduleOptions(adversarial_from=0.4), done)
            assert set(each.for_critics(critics, look, moment)) == {"loss", "a", "b"}
            assert set(each.for_forger(forger, critics, look, moment)) == TERMS


def test_each_game_reaches_every_weight_of_the_part_whose_turn_it_is_and_no_other() -> None:
    batch, forger, critics = make_batch(), make_forger(), make_critics()
    options = LossOptions(game="hinge", mixup=False, cycle=1.0, ssim=1.0)
    both = ForgerLosses(options)
    look = both.look(forger, batch)

    both.for_critics(critics, look, NOW)["loss"].backward()

    assert all(p.grad is None for p in forger.parameters())
    assert all(p.grad is not None and p.grad.any() for p in critics.parameters())
    # The same look serves the forger's turn, after the critics have moved.
    torch.optim.SGD(critics.parameters(), lr=0.01).step()
    both.for_forger(forger, critics, look, NOW)["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in forger.parameters())


@pytest.mark.parametrize("mixup", [True, False])
@pytest.mark.parametrize("judge_face", [True, False])
def test_critics_learn_to_tell_what_a_forger_draws(mixup: bool, judge_face: bool) -> None:
    batch, forger, critics = make_batch(), make_forger(), make_critics()
    torch.manual_seed(2)
    both = ForgerLosses(LossOptions(mixup=mixup, judge_face=judge_face, game="non_saturating"))
    optimiser = torch.optim.Adam(critics.parameters(), lr=0.005)
    with torch.no_grad():
        look = both.look(forger, batch)

    for _ in range(15):
        optimiser.zero_grad()
        both.for_critics(critics, look, NOW)["loss"].backward()
        optimiser.step()

    for name in ("a", "b"):
        faces = look.faces[name]
        with torch.no_grad():
            of_real = critics[name](faces.target, faces.distorted)
            of_fake = critics[name](look.forged[name].picture, faces.distorted)
        assert of_real.mean() > of_fake.mean()


def test_critics_do_not_learn_before_they_count() -> None:
    both = ForgerLosses(LossOptions())
    look = both.look(make_forger(), make_batch(1))

    early = both.for_critics(make_critics(), look, NOW._replace(is_adversarial=False))

    assert not early["loss"].requires_grad
    assert early["loss"] == 0


def test_without_a_mask_the_face_is_judged_once() -> None:
    judged: list[int] = []

    class Counting(nn.Module):
        def forward(self, picture: Tensor, distorted: Tensor) -> Tensor:
            assert picture.shape == distorted.shape
            judged.append(len(picture))
            return picture.mean(dim=(1, 2, 3), keepdim=True)

    for has_mask in (True, False):
        forger = make_forger(has_mask=has_mask)
        critics = nn.ModuleDict({name: Counting() for name in "ab"})
        both = ForgerLosses(LossOptions())
        terms = both.for_forger(forger, critics, both.look(forger, make_batch(2)), NOW)
        assert math.isfinite(terms["loss"].item())

    assert judged == [4, 4, 2, 2]


def test_a_cycle_cannot_be_closed_by_shutting_the_mask() -> None:
    forger = make_forger()
    for decoder in forger.decoders.values():
        nn.init.constant_(decoder.get_submodule("layers")[-1].bias[3:], -100.0)
    a, b = make_noise(1, 3, 64, 64), make_noise(1, 3, 64, 64, seed=1)

    with torch.no_grad():
        found = losses.cycle_loss(forger, a, b)
        as_b, as_a = forger(a, "b").face, forger(b, "a").face
        wanted = (forger(as_b, "a").face - a).abs().mean() / 2
        wanted = wanted + (forger(as_a, "b").face - b).abs().mean() / 2

    torch.testing.assert_close(found, wanted)
    assert found > 0.1


def test_pictures_of_another_size_than_the_forgers_are_refused() -> None:
    batch = {name: value[:, :32] for name, value in make_batch().items()}

    with pytest.raises(ValueError, match=r"got \[4, 3, 32, 64\]"):
        ForgerLosses(LossOptions()).look(make_forger(), batch)


def test_perceptual_losses_need_a_network() -> None:
    with pytest.raises(ValueError, match="need the features"):
        ForgerLosses(LossOptions(perceptual=0.1))
