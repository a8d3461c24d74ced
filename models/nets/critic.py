"""Was this picture taken or drawn? A network that answers for each patch of it."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from models.nets.forger import LEAK, SelfAttention, normed, start_rectified

CriticNorm = Literal["none", "instance", "spectral"]
PATCHES = 8
"""Answers along each side of a picture."""
_KERNEL = 4
_ATTENDS = 2
"""Convolution, from 0, that attention follows."""


class Critic(nn.Module):
    """
    Log odds of real for each of 8 x 8 patches, of a picture beside the distorted one it was from.

    Convolutions of 4 x 4 that halve and double their channels until 8 x 8 is left, attention after
    the third, then one more to a single channel. It is told the distorted input, and so judges
    whether the picture is a true one *of this input*.

    Args:
        side_px: 64, 128 or another double of 8.
        width: channels of the first convolution.
        attention: look at the whole picture too.
        norm: "instance" after every convolution but the first; "spectral" divides each weight by
            its largest singular value (Miyato et al., "Spectral Normalization for Generative
            Adversarial Networks", ICLR 2018), found by one power iteration at each training step.

    Source: shaoanlu/faceswap-GAN v2.2; patches of Isola et al., "Image-to-Image Translation with
    Conditional Adversarial Networks", CVPR 2017.
    """

    def __init__(
        self,
        side_px: int,
        width: int = 32,
        attention: bool = True,
        norm: CriticNorm = "none",
    ) -> None:
        super().__init__()
        halvings = (side_px // PATCHES).bit_length() - 1
        if halvings < 1 or PATCHES << halvings != side_px:
            raise ValueError(f"a critic sees 16, 32, 64, 128 ... px, not {side_px}")
        self.side_px = side_px
        layers: list[nn.Module] = []
        into, channels = 6, width
        for i in range(halvings):
            convolution = nn.Conv2d(into, channels, _KERNEL, 2, 1)
            start_rectified(convolution)
            layers.append(convolution)
            layers += normed(channels, "instance" if norm == "instance" and i else "none")
            layers.append(nn.LeakyReLU(LEAK, inplace=True))
            if attention and i == _ATTENDS:
                layers.append(SelfAttention(channels))
            into, channels = channels, 2 * channels
        answer = nn.Conv2d(into, 1, 3, padding=1)
        nn.init.xavier_uniform_(answer.weight)
        assert answer.bias is not None
        nn.init.zeros_(answer.bias)
        self.layers = nn.Sequential(*layers, answer)
        if norm == "spectral":
            for layer in self.layers.modules():
                if isinstance(layer, nn.Conv2d):
                    parametrizations.spectral_norm(layer)

    def forward(self, picture: Tensor, distorted: Tensor) -> Tensor:
        """
        Judge pictures.

        Args:
            picture: `[N, 3, S, S]` RGB in [0, 1], real or forged.
            distorted: `[N, 3, S, S]`, what it was, or would have been, forged from.

        Returns:
            `[N, 1, 8, 8]` log odds of real (for least squares, just a number).

        Raises:
            ValueError: pictures of another size.
        """
        side_px = self.side_px
        for given in (picture, distorted):
            if given.shape[1:] != (3, side_px, side_px):
                raise ValueError(
                    f"this critic sees [N, 3, {side_px}, {side_px}], got {list(given.shape)}"
                )
        seen = torch.cat([picture, distorted], dim=1) * 2 - 1
        logits: Tensor = self.layers(seen.contiguous(memory_format=torch.channels_last))
        return logits.float()
