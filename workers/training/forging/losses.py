"""What does a forger want of its pictures? Each loss by name, and the sum that goes down."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from models.nets.forger import IDENTITIES, Forged, Forger, Identity
from workers.training.forging import adversarial
from workers.training.forging.adversarial import Game
from workers.training.forging.features import FrozenFeatures
from workers.training.forging.schedule import Moment
from workers.training.recipe import Section
from workers.training.task import Batch

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 of the authors, L = 1
LOSS = "loss"

Weight = Annotated[float, Field(ge=0)]


class LossOptions(Section):
    """
    How much each loss counts; 0 leaves it out, and what it costs.

    Defaults are those of shaoanlu/faceswap-GAN v2.2 unless another source is named.
    """

    reconstruction: Weight = 1.0
    """Of the mean absolute difference from the true face."""
    reconstruct_face: bool = True
    """The face behind the mask is to be true too, and not the picture alone: a decoder whose mask
    is shut would learn nothing."""
    ssim: Weight = 0.0
    """Of (1 - SSIM) / 2; deepfakes/faceswap has 1."""
    edge: Weight = 0.1
    """Of the mean absolute difference of neighbouring pixels' differences."""
    eyes: Weight = 3.0
    """By which pixels of the eyes count more, in reconstruction and edges; this of
    deepfakes/faceswap, and 30 of faceswap-GAN v2.2."""
    mouth: Weight = 2.0
    """By which pixels of the mouth count more; of deepfakes/faceswap."""
    perceptual: Weight = 0.0
    """Of features of the frozen classifier; v2.2 warns of 1."""
    adversarial: Weight = 0.1
    game: Game = "least_squares"
    mixup: bool = True
    """Critics learn from mixtures of real and fake, and not from each."""
    mixup_concentration: Annotated[float, Field(gt=0)] = 0.2
    """Of the Beta distribution that shares are drawn from: the smaller, the purer."""
    judge_face: bool = True
    """Critics judge the face behind the mask too, and not the picture alone."""
    mask_size: Weight = 0.01
    """Of the mask's mean, where it is drawn shut."""
    mask_hinge: Weight = 0.1
    """Of what the mask lacks of the schedule's value, where it is pushed open."""
    mask_variation: Weight = 0.1
    cycle: Weight = 0.0
    """Of the mean absolute difference after a way to the other person and back; v2.2 has 10."""

    @property
    def has_critics(self) -> bool:
        """Whether there is any use for critics."""
        return self.adversarial > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """One person's faces in a batch, as layers take them; in [0, 1]."""

    distorted: Tensor  # [N, 3, S, S] RGB, warped
    target: Tensor  # [N, 3, S, S] RGB
    eyes: Tensor  # [N, 1, S, S] how much a pixel is of the eyes
    mouth: Tensor  # [N, 1, S, S]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a forger was shown of each person, and what it made of that."""

    faces: dict[Identity, Faces]
    forged: dict[Identity, Forged]


class ForgerLosses:
    """
    What forger and critics are to lower, in two turns of the same step.

        look = losses.look(forger, batch)                     # the forger, once for both turns
        turn = losses.for_critics(critics, look, moment)      # -> step of the critics; or several
        turn = losses.for_forger(forger, critics, look, moment)   # -> step of the forger

    The critics' turn looks at what the forger drew and lets no gradient back into it, so that the
    forger's may go on from the same look as long as its own weights were not moved in between.
    Each turn gives the same names at every step, each loss before its weight, 0 where it is off.

    Args:
        options: how much each counts.
        features: of a frozen network; needed where `options.perceptual` is above 0.
    """

    def __init__(self, options: LossOptions, features: FrozenFeatures | None = None) -> None:
        if options.perceptual and features is None:
            raise ValueError("perceptual losses need the features of a frozen network")
        self.options = options
        self._features = features

    def look(self, forger: Forger, batch: Batch) -> Look:
        """
        Reconstruct both persons of a batch, each by its own decoder.

        Args:
            forger: left as it is.
            batch: of `warps.FaceViews`: for a and for b, `a_distorted` and `a_target` uint8
                `[N, S, S, 3]` RGB, `a_eyes` and `a_mouth` uint8 `[N, S, S]`.

        Raises:
            ValueError: pictures of another size than the forger's.
        """
        a, b = (faces_of(batch, identity) for identity in IDENTITIES)
        forged_a, forged_b = forger.both(a.distorted, b.distorted)
        return Look(faces={"a": a, "b": b}, forged={"a": forged_a, "b": forged_b})

    def for_critics(self, critics: nn.ModuleDict, look: Look, moment: Moment) -> dict[str, Tensor]:
        """
        Return the critics' losses: "a", "b", and "loss", their mean.

        Args:
            critics: one of each person, by name.
            look: what the forger drew.
            moment: where critics do not count yet, they do not learn either.
        """
        if not (self.options.has_critics and moment.is_adversarial):
            nothing = look.faces["a"].target.new_zeros(())
            return dict.fromkeys((LOSS, *IDENTITIES), nothing)
        a, b = (self._critic(critics[name], look, name) for name in IDENTITIES)
        return {LOSS: _mean([a, b]), "a": a, "b": b}

    def for_forger(
        self, forger: Forger, critics: nn.ModuleDict | None, look: Look, moment: Moment
    ) -> dict[str, Tensor]:
        """
        Return the forger's losses by name, and "loss", their weighted sum.

        Args:
            forger: that made the look.
            critics: as they are after their turn; their own gradients are not wanted here. None
                where the adversarial loss is off.
            look: with the forger's graph.
            moment: what counts now.
        """
        options = self.options
        faces = [look.faces[name] for name in IDENTITIES]
        forged = [look.forged[name] for name in IDENTITIES]
        target = torch.cat([f.target for f in faces])
        weight = 1 + options.eyes * torch.cat([f.eyes for f in faces])
        weight = weight + options.mouth * torch.cat([f.mouth for f in faces])
        picture = torch.cat([f.picture for f in forged])
        has_mask = forger.shape.has_mask
        drawn, wanted, counts = picture, target, weight
        if has_mask and options.reconstruct_face:
            drawn = torch.cat([picture, *(f.face for f in forged)])
            wanted, counts = target.repeat(2, 1, 1, 1), weight.repeat(2, 1, 1, 1)
        away = drawn - wanted
        nothing = away.new_zeros(())
        terms = dict.fromkeys(_weights(options, moment), nothing)
        terms["reconstruction"] = weighted_l1(away, counts)
        if options.edge:
            terms["edge"] = edge_loss(away, counts)
        if options.ssim:
            terms["ssim"] = (1 - ssim(drawn, wanted).mean()) / 2
        if options.perceptual and moment.is_perceptual:
            assert self._features is not None
            terms["perceptual"] = self._features.to(picture.device).distance(picture, target)
        if options.has_critics and moment.is_adversarial:
            if critics is None:
                raise ValueError("the adversarial loss needs critics")
            terms["adversarial"] = _mean(
                self._judged(critics[name], look, name) for name in IDENTITIES
            )
        if has_mask:
            mask = torch.cat([f.mask for f in forged])
            terms["mask_size"] = mask_size(mask)
            terms["mask_hinge"] = mask_hinge(mask, moment.mask_hinge)
            terms["mask_variation"] = total_variation(mask)
        if options.cycle:
            terms["cycle"] = cycle_loss(forger, *(f.target for f in faces))
        total = torch.stack([w * terms[k] for k, w in _weights(options, moment).items()]).sum()
        return {LOSS: total, **terms}

    def _critic(self, critic: nn.Module, look: Look, name: Identity) -> Tensor:
        """Return what one critic is to lower."""
        faces, options = look.faces[name], self.options
        fakes = [fake.detach() for fake in self._drawn(look.forged[name])]
        fake, real = torch.cat(fakes), torch.cat([faces.target] * len(fakes))
        beside = torch.cat([faces.distorted] * len(fakes))
        if options.mixup:
            shares = adversarial.draw_shares(fake, concentration=options.mixup_concentration)
            logits = critic(adversarial.mixup(real, fake, shares), beside)
            return adversarial.mixed_critic_loss(options.game, logits, shares)
        together = torch.cat([faces.target, fake]), torch.cat([faces.distorted, beside])
        real_logits, fake_logits = torch.split(critic(*together), [len(faces.target), len(fake)])
        return adversarial.critic_loss(options.game, real_logits, fake_logits)

    def _judged(self, critic: nn.Module, look: Look, name: Identity) -> Tensor:
        """Return what a forger is to lower, of one critic's answer."""
        drawn = self._drawn(look.forged[name])
        beside = torch.cat([look.faces[name].distorted] * len(drawn))
        return adversarial.forger_loss(self.options.game, critic(torch.cat(drawn), beside))

    def _drawn(self, forged: Forged) -> list[Tensor]:
        """List what is judged. Without a mask, the face is the picture."""
        is_masked = forged.face is not forged.picture
        both = is_masked and self.options.judge_face
        return [forged.picture, forged.face] if both else [forged.picture]


def faces_of(batch: Batch, identity: Identity) -> Faces:
    """Take one person's faces out of a batch, see `ForgerLosses.look`."""
    distorted, target, eyes, mouth = (
        batch[f"{identity}_{name}"].float() / 255
        for name in ("distorted", "target", "eyes", "mouth")
    )
    return Faces(
        distorted=distorted.permute(0, 3, 1, 2),
        target=target.permute(0, 3, 1, 2),
        eyes=eyes[:, None],
        mouth=mouth[:, None],
    )


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """
    Return how alike pictures are in structure, the mean of each picture and its channels, `[N]`.

    `(2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2))`, means and (co)variances
    under a Gaussian of 11 px and sigma 1.5, wherever all of it lies in the picture;
    C1 = 0.01^2, C2 = 0.03^2. 1 for equal pictures.

    Args:
        x: `[N, C, H, W]` in [0, 1], 11 px or more each way.
        y: as `x`.

    Raises:
        ValueError: pictures too small, or of two sizes.

    Source: Wang, Bovik, Sheikh & Simoncelli, "Image Quality Assessment: From Error Visibility to
    Structural Similarity", IEEE TIP 2004.
    """
    if x.shape != y.shape or min(x.shape[-2:]) < SSIM_WINDOW_PX:
        raise ValueError(
            f"want two batches alike, {SSIM_WINDOW_PX} px or more, got {list(x.shape)} and "
            f"{list(y.shape)}"
        )
    # Variances are small differences of large numbers: not for half of the precision.
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.float(), y.float()
        blurred = _blurred(torch.stack([x, y, x * x + y * y, x * y]))
        mean_x, mean_y, squares, product = blurred.unbind()
        both, means = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
        alike = (2 * both + _SSIM_C1) * (2 * (product - both) + _SSIM_C2)
        return (alike / ((means + _SSIM_C1) * (squares - means + _SSIM_C2))).mean(dim=(1, 2, 3))


def weighted_l1(away: Tensor, weight: Tensor) -> Tensor:
    """
    Return `mean(weight |away|)`, a scalar.

    Args:
        away: `[N, C, H, W]` differences.
        weight: `[N, 1, H, W]`; not divided by, so that a weighted region adds to the whole.
    """
    return (away.abs() * weight).mean()


def edge_loss(away: Tensor, weight: Tensor) -> Tensor:
    """
    Return how differently two pictures change from pixel to pixel, a scalar.

    `mean(w |dx(x - y)|) + mean(w |dy(x - y)|)`, d being first differences: blurred edges cost, and
    a shift of all colours does not.

    Args:
        away: `[N, C, H, W]` differences of the two pictures.
        weight: `[N, 1, H, W]`.

    Source: shaoanlu/faceswap-GAN v2.2.
    """
    along_x = weighted_l1(away[..., 1:] - away[..., :-1], weight[..., 1:])
    along_y = weighted_l1(away[..., 1:, :] - away[..., :-1, :], weight[..., 1:, :])
    return along_x + along_y


def mask_size(mask: Tensor) -> Tensor:
    """Return `mean|mask|`, a scalar: as much of the input as can be shall stay."""
    return mask.abs().mean()


def mask_hinge(mask: Tensor, value: float) -> Tensor:
    """Return `mean(max(0, value - mask))`, a scalar: masks below the value are pushed open."""
    return functional.relu(value - mask).mean()


def total_variation(mask: Tensor) -> Tensor:
    """
    Return `mean|dx| + mean|dy|` of first differences, a scalar: masks without holes and specks.

    Source: Rudin, Osher & Fatemi, "Nonlinear total variation based noise removal algorithms", 1992,
    in its anisotropic form.
    """
    along_x = (mask[..., 1:] - mask[..., :-1]).abs().mean()
    return along_x + (mask[..., 1:, :] - mask[..., :-1, :]).abs().mean()


def cycle_loss(forger: Forger, a_target: Tensor, b_target: Tensor) -> Tensor:
    """
    Return how far a face is from itself after a way to the other person and back, a scalar.

    `(mean|A(B(x)) - x| + mean|B(A(y)) - y|) / 2`, A and B drawing the face behind the mask: a
    picture with its mask shut would come back as it was, having been nowhere.

    Source: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
    Networks", ICCV 2017.
    """
    as_b, as_a = forger.crossed(a_target, b_target)
    back_b, back_a = forger.crossed(as_a.face, as_b.face)
    return _mean(
        [functional.l1_loss(back_a.face, a_target), functional.l1_loss(back_b.face, b_target)]
    )


def _weights(options: LossOptions, moment: Moment) -> dict[str, float]:
    """Return what each loss counts now."""
    return {
        "reconstruction": options.reconstruction,
        "edge": options.edge,
        "ssim": options.ssim,
        "perceptual": options.perceptual,
        "adversarial": options.adversarial,
        "mask_size": 0.0 if moment.mask_hinge else options.mask_size,
        "mask_hinge": options.mask_hinge,
        "mask_variation": options.mask_variation,
        "cycle": options.cycle,
    }


def _mean(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).mean()


def _blurred(planes: Tensor) -> Tensor:
    """Return weighted means under the window of SSIM, `[..., H - 10, W - 10]`."""
    height, width = planes.shape[-2:]
    # A Gaussian is separable, and so two products of matrices, which every device is best at.
    return _windows(height, planes) @ planes @ _windows(width, planes).T


def _windows(length_px: int, like: Tensor) -> Tensor:
    """Return the weights of every place of the window along a line, `[L - 10, L]`."""
    first = torch.arange(length_px - SSIM_WINDOW_PX + 1, device=like.device)[:, None]
    place = torch.arange(length_px, device=like.device)[None] - first
    is_inside = (place >= 0) & (place < SSIM_WINDOW_PX)
    away = (place - SSIM_WINDOW_PX // 2).to(like.dtype) / SSIM_SIGMA_PX
    weights = torch.exp(-away.square() / 2) * is_inside
    return weights / weights.sum(dim=1, keepdim=True)
