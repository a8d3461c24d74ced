"""How is one person's face drawn in another's pose? One encoder for both, a decoder for each."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Identity = Literal["a", "b"]
"""The two persons of a forger, by the folder that their faces came from."""
IDENTITIES: tuple[Identity, Identity] = ("a", "b")
Norm = Literal["none", "instance"]

LEAK = 0.2
CODE_PX = 4
"""Side of what the dense layers see and give; the encoder's own upscale doubles it."""
SEEN_PX = 2 * CODE_PX
"""Side of what the encoder hands to a decoder."""
_CONVOLUTIONS = 5
_ENCODER_ATTENDS = (2, 3)
"""Convolutions, from 0, that attention follows: at 16 and 8 px."""
_DECODER_ATTENDS = 1
"""Upscale, from 0, that attention follows: at 32 px."""
_PLACES_PX = 8
_WIDTH_STEP = 8  # the decoder of 128 px ends with half of the width
_MASK_AT_FIRST = 2.0
"""Log odds that masks begin with: an open mask lets the face learn from the first step on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgerShape:
    """
    Which layers a forger has; a forger can start from another of the same shape.

    The first system of the kind has about (width=64, latent=1024, attention off, mask off).
    """

    side_px: Literal[64, 128] = 64
    width: int = 32
    """Channels of the encoder's first convolution, a multiple of 8; the four after it double."""
    latent: int = 512
    """Numbers that a face is put into between the two dense layers."""
    kernel: int = 5
    """Side of the encoder's kernels, odd."""
    attention: bool = True
    norm: Norm = "none"
    residual: bool = False
    """A residual block before the decoder's answer, at the full size."""
    has_mask: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError where no such network can be."""
        if self.side_px not in (64, 128):
            raise ValueError(f"a forger sees 64 or 128 px, not {self.side_px}")
        if self.width < 1 or self.width % _WIDTH_STEP:
            raise ValueError(f"the width must be a multiple of {_WIDTH_STEP}, not {self.width}")
        if self.latent < 1 or self.kernel < 1 or not self.kernel % 2:
            raise ValueError(
                f"want a latent of 1 or more and an odd kernel, got {self.latent}, {self.kernel}"
            )


class Forged(NamedTuple):
    """What a decoder draws."""

    face: Tensor  # [N, 3, S, S] in [0, 1]
    mask: Tensor  # [N, 1, S, S] in [0, 1]; ones where the forger has none
    picture: Tensor  # mask * face + (1 - mask) * distorted


class Forger(nn.Module):
    """
    The autoencoder of two persons: one encoder, two decoders, each for a face and its mask.

    The encoder learns what both have in common (pose, expression, light), because it is shared;
    each decoder learns one person. A face of a, decoded by b's decoder, is b doing what a did.
    `picture = mask * face + (1 - mask) * distorted`: where the mask is shut, the input stays.

    Encoder: five convolutions, halving (the first of 64 px does not) down to 4 x 4; two dense
    layers; an upscale to 8 x 8. Decoder: an upscale for each doubling, by 3 x 3 convolution to four
    times the channels and pixel shuffle; then 5 x 5 to three channels of face and one of mask.

    Source: the structure is that of deepfakes/faceswap ("original") and of shaoanlu/faceswap-GAN
    v2.2, which added masks, attention and instance normalisation; pixel shuffle of Shi et al.,
    "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", CVPR 2016. The attention at the full size of v2.2 is left out: it costs the
    most and sees least.
    """

    def __init__(self, shape: ForgerShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = _encoder(shape)
        self.decoders = nn.ModuleDict({name: _Decoder(shape) for name in IDENTITIES})

    def encode(self, distorted: Tensor) -> Tensor:
        """
        Say what is seen, whoever it is.

        Args:
            distorted: `[N, 3, S, S]` RGB in [0, 1].

        Returns:
            `[N, 8 * width, 8, 8]`.

        Raises:
            ValueError: pictures of another size.
        """
        self._check(distorted)
        seen: Tensor = self.encoder(distorted.contiguous(memory_format=torch.channels_last))
        return seen

    def decode(self, seen: Tensor, distorted: Tensor, to: Identity) -> Forged:
        """Draw the person `to` as what was seen, into the pictures that it was seen in."""
        # Colours are told apart in full precision, whatever the layers compute in.
        drawn = torch.sigmoid(self.decoders[to](seen).float())
        if not self.shape.has_mask:
            return Forged(drawn, torch.ones_like(drawn[:, :1]), drawn)
        face, mask = drawn[:, :3], drawn[:, 3:]
        return Forged(face, mask, torch.lerp(distorted, face, mask))

    def forward(self, distorted: Tensor, to: Identity) -> Forged:
        """
        Draw the person `to` in the pose and light of a picture of either.

        Args:
            distorted: `[N, 3, S, S]` RGB in [0, 1]; in training a warped face.
            to: whose decoder draws. With a picture of the same person, this is reconstruction;
                with one of the other, it is the swap.

        Raises:
            ValueError: pictures of another size.
        """
        return self.decode(self.encode(distorted), distorted, to)

    def both(self, a_distorted: Tensor, b_distorted: Tensor) -> tuple[Forged, Forged]:
        """Reconstruct each person by its own decoder; the encoder sees all in one batch."""
        seen = self.encode(torch.cat([a_distorted, b_distorted]))
        of_a, of_b = torch.split(seen, [len(a_distorted), len(b_distorted)])
        return self.decode(of_a, a_distorted, "a"), self.decode(of_b, b_distorted, "b")

    def crossed(self, a_distorted: Tensor, b_distorted: Tensor) -> tuple[Forged, Forged]:
        """Swap each person by the other's decoder: a's pictures to b, b's pictures to a."""
        seen = self.encode(torch.cat([a_distorted, b_distorted]))
        of_a, of_b = torch.split(seen, [len(a_distorted), len(b_distorted)])
        return self.decode(of_a, a_distorted, "b"), self.decode(of_b, b_distorted, "a")

    @torch.no_grad()
    def swap_decoders(self) -> None:
        """
        Exchange the weights of the two decoders, in place.

        Late in training each decoder then goes on from the other's skill, and what only one of them
        had learnt to draw is known to both. Optimisers go on pointing at the same tensors; the
        moments that they keep are those of the other's weights, and fade within some steps.

        Source: the schedule of shaoanlu/faceswap-GAN v2.2, at four fifths of its iterations.
        """
        one, other = (self.decoders[name].state_dict() for name in IDENTITIES)
        for name, values in one.items():
            kept = values.clone()
            values.copy_(other[name])
            other[name].copy_(kept)

    def _check(self, pictures: Tensor) -> None:
        side_px = self.shape.side_px
        if pictures.shape[1:] != (3, side_px, side_px):
            raise ValueError(
                f"this forger sees [N, 3, {side_px}, {side_px}], got {list(pictures.shape)}"
            )


class SelfAttention(nn.Module):
    """
    Lets each place of a picture look at every other, added with a share that begins at nought.

    `y = x + gamma * W_o softmax(f(x)^T g(x)) h(x)`, gamma from 0: at first it is the identity. Keys
    and values are pooled to 8 x 8 places (the authors' own program pools them by two): the price of
    attention then grows with the pixels and not with their square.

    Source: Zhang, Goodfellow, Metaxas & Odena, "Self-Attention Generative Adversarial Networks",
    ICML 2019.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._inner = max(channels // 8, 1)
        self._values = max(channels // 2, 1)
        self.query = nn.Conv2d(channels, self._inner, 1, bias=False)
        self.key_value = nn.Conv2d(channels, self._inner + self._values, 1, bias=False)
        self.out = nn.Conv2d(self._values, channels, 1, bias=False)
        for layer in (self.query, self.key_value, self.out):
            nn.init.xavier_uniform_(layer.weight)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return `[N, C, H, W]` as given, each place with what it found elsewhere."""
        key_value = self.key_value(features)
        pool = min(features.shape[-2:]) // _PLACES_PX
        if pool > 1:
            key_value = functional.max_pool2d(key_value, pool)
        key, value = torch.split(key_value, [self._inner, self._values], dim=1)
        weights = torch.softmax(_places(self.query(features)) @ key.flatten(2), dim=-1)
        found = value.flatten(2) @ weights.transpose(1, 2)  # [N, values, H * W]
        looked: Tensor = self.out(torch.unflatten(found, 2, features.shape[-2:]))
        return torch.addcmul(features, self.gamma, looked)


class _Decoder(nn.Module):
    """`[N, 8 * width, 8, 8]` -> `[N, 3 or 4, S, S]` log odds of colour, and of the mask."""

    def __init__(self, shape: ForgerShape) -> None:
        super().__init__()
        channels = 8 * shape.width
        layers: list[nn.Module] = []
        for i in range((shape.side_px // SEEN_PX).bit_length() - 1):
            layers.append(Upscale(channels, channels // 2, norm=shape.norm))
            channels //= 2
            if shape.attention and i == _DECODER_ATTENDS:
                layers.append(SelfAttention(channels))
        if shape.residual:
            layers.append(_Residual(channels, norm=shape.norm))
        answer = nn.Conv2d(channels, 4 if shape.has_mask else 3, 5, padding=2)
        nn.init.xavier_uniform_(answer.weight)
        assert answer.bias is not None
        nn.init.zeros_(answer.bias)
        if shape.has_mask:
            nn.init.constant_(answer.bias[3:], _MASK_AT_FIRST)
        self.layers = nn.Sequential(*layers, answer)

    def forward(self, seen: Tensor) -> Tensor:
        drawn: Tensor = self.layers(seen)
        return drawn


class Upscale(nn.Module):
    """
    Doubles the side: 3 x 3 convolution to four times the channels, then each four to 2 x 2 px.

    The four kernels of a pixel begin alike, so that no chequerboard is there to be unlearnt.

    Source: Shi et al., CVPR 2016; the start is that of Aitken et al., "Checkerboard artifact free
    sub-pixel convolution", 2017.
    """

    def __init__(self, into: int, out: int, *, norm: Norm) -> None:
        super().__init__()
        convolution = nn.Conv2d(into, 4 * out, 3, padding=1)
        start_rectified(convolution)
        with torch.no_grad():
            convolution.weight.copy_(convolution.weight[::4].repeat_interleave(4, dim=0))
        self.layers = nn.Sequential(
            convolution,
            *normed(4 * out, norm),
            nn.LeakyReLU(LEAK, inplace=True),
            nn.PixelShuffle(2),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn `[N, into, H, W]` into `[N, out, 2 * H, 2 * W]`."""
        larger: Tensor = self.layers(features)
        return larger


class _Residual(nn.Module):
    """Two convolutions whose answer is added to what was there; it begins as little."""

    def __init__(self, channels: int, *, norm: Norm) -> None:
        super().__init__()
        first = nn.Conv2d(channels, channels, 3, padding=1)
        second = nn.Conv2d(channels, channels, 3, padding=1)
        for convolution in (first, second):
            start_rectified(convolution)
        with torch.no_grad():
            second.weight.mul_(0.1)
        self.layers = nn.Sequential(
            first, *normed(channels, norm), nn.LeakyReLU(LEAK, inplace=True), second
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.leaky_relu(features + self.layers(features), LEAK)


def _encoder(shape: ForgerShape) -> nn.Sequential:
    layers: list[nn.Module] = []
    into, channels = 3, shape.width
    halvings = (shape.side_px // CODE_PX).bit_length() - 1
    for i in range(_CONVOLUTIONS):
        stride = 2 if _CONVOLUTIONS - i <= halvings else 1
        convolution = nn.Conv2d(into, channels, shape.kernel, stride, shape.kernel // 2)
        start_rectified(convolution)
        layers += [convolution, *normed(channels, shape.norm), nn.LeakyReLU(LEAK, inplace=True)]
        if shape.attention and i in _ENCODER_ATTENDS:
            layers.append(SelfAttention(channels))
        into, channels = channels, 2 * channels
    numbers = into * CODE_PX**2
    narrow, widen = nn.Linear(numbers, shape.latent), nn.Linear(shape.latent, numbers)
    for dense in (narrow, widen):
        nn.init.kaiming_normal_(dense.weight, nonlinearity="linear")
        nn.init.zeros_(dense.bias)
    code = nn.Sequential(nn.Flatten(), narrow, widen, nn.Unflatten(1, (into, CODE_PX, CODE_PX)))
    return nn.Sequential(*layers, code, Upscale(into, into // 2, norm=shape.norm))


def normed(channels: int, norm: Norm) -> list[nn.Module]:
    """Return the layer that stands between a convolution and its rectifier, if any does."""
    return [nn.InstanceNorm2d(channels, affine=True)] if norm == "instance" else []


def start_rectified(convolution: nn.Conv2d) -> None:
    """Begin so that what is seen neither fades nor grows through rectified layers (He, 2015)."""
    nn.init.kaiming_normal_(convolution.weight, a=LEAK, nonlinearity="leaky_relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def _places(features: Tensor) -> Tensor:
    """Turn `[N, C, H, W]` into `[N, H * W, C]`."""
    return features.flatten(2).transpose(1, 2)
