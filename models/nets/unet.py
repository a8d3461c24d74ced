"""Which pixels of this face were manipulated? A small UNet over a network that knows pictures."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.mobilenet_v1 import LEAK, MobileNetV1, Normalise

SERVED_PX = 256
_DEEPEST = 64
_UPWARD = (64, 48, 32, 24)
"""Channels of the decoder at strides 16, 8, 4 and 2: the finer, the fewer, for speed."""
_HEAD_STAGES = 3
_RARE = -2.0
"""Log odds that untrained masks begin with: most pixels of most faces were not manipulated."""


class FakeSegmenter(nn.Module):
    """
    A soft mask of manipulated pixels, and log odds of the whole face being manipulated.

    The encoder is a MobileNetV1; the decoder goes back up over its stages by depthwise-separable
    convolutions to stride 2, and the mask is scaled up from there. The log odds come from features
    averaged at strides 8, 16 and 32, and not from the mask: a mask may be wrong about where, and
    the face still be known for what it is.

    Args:
        view_px: side of the middle of the served crop that is looked at; the face fills 197 px.
        side_px: to which the view is scaled before the network, a multiple of 32; equal to
            `view_px` leaves every pixel as it was.
        dropout: share of the averaged features that is left out in training.

    Source: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation",
    MICCAI 2015; Howard et al., "MobileNets", 2017.
    """

    def __init__(self, *, view_px: int = 224, side_px: int = 160, dropout: float = 0.2) -> None:
        super().__init__()
        self.view_px = view_px
        self.side_px = side_px
        self.normalise = Normalise()
        self.backbone = MobileNetV1()
        *skips, deepest = self.backbone.channels
        self.narrow = _pointwise(deepest, _DEEPEST)
        self.upward = nn.ModuleList()
        below = _DEEPEST
        for skip, out in zip(reversed(skips), _UPWARD, strict=True):
            self.upward.append(_separable(below + skip, out))
            below = out
        self.mask_head = nn.Conv2d(below, 1, 1)
        nn.init.zeros_(self.mask_head.weight)
        assert self.mask_head.bias is not None
        nn.init.constant_(self.mask_head.bias, _RARE)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sum(self.backbone.channels[-_HEAD_STAGES:]), 1)
        nn.init.zeros_(self.head.bias)

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """
        Judge views that are cut and scaled already.

        Args:
            views: uint8 `[N, side_px, side_px, 3]` RGB.

        Returns:
            `[N]` log odds of manipulated, and `[N, side_px / 2, side_px / 2]` log odds of every
            second pixel.
        """
        features = self.backbone.features(self.normalise(views))
        averaged = torch.cat([f.mean(dim=(2, 3)) for f in features[-_HEAD_STAGES:]], dim=1)
        logits: Tensor = self.head(self.dropout(averaged))
        *skips, deepest = features
        coarse = self.narrow(deepest)
        for step, skip in zip(self.upward, reversed(skips), strict=True):
            finer = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
            coarse = step(torch.cat([finer, skip], dim=1))
        pixels: Tensor = self.mask_head(coarse)
        return logits.squeeze(1), pixels.squeeze(1)


class ServedSegmenter(nn.Module):
    """
    The segmenter as it is served.

    `faces` uint8 `[N, 256, 256, 3]` RGB -> `fake_probability` `[N]` in [0, 1] and `mask`
    `[N, 256, 256]` in [0, 1], zero in the border that is not looked at.
    """

    def __init__(self, segmenter: FakeSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Cut the view out of served crops, judge it, and lay the mask where it was cut."""
        view_px, side_px = self.segmenter.view_px, self.segmenter.side_px
        border = (SERVED_PX - view_px) // 2
        view = faces[:, border : border + view_px, border : border + view_px, :]
        if side_px != view_px:
            scaled = functional.interpolate(
                view.permute(0, 3, 1, 2).float(),
                size=(side_px, side_px),
                mode="bilinear",
                antialias=True,
            )
            view = scaled.permute(0, 2, 3, 1)
        logits, pixels = self.segmenter(view)
        mask = functional.interpolate(
            torch.sigmoid(pixels)[:, None], size=(view_px, view_px), mode="bilinear"
        )
        padded = functional.pad(mask, (border, border, border, border))
        return torch.sigmoid(logits), padded.squeeze(1)


def _pointwise(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(LEAK, inplace=True)
    )


def _separable(into: int, out: int) -> nn.Sequential:
    """Mix the channels first: what is fewer of them then costs less to look around in."""
    return nn.Sequential(
        _pointwise(into, out),
        nn.Conv2d(out, out, 3, padding=1, groups=out, bias=False),
        nn.BatchNorm2d(out),
        nn.LeakyReLU(LEAK, inplace=True),
        _pointwise(out, out),
    )
