"""Which network finds faces, and five points on each, in a picture of any size?"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
"""Pixels between two anchors of a level. A cell of a level answers for the anchor at its corner."""
POINTS = 5
RARE = -4.6  # log odds of 0.01: few anchors see a face, and an untrained network shall say so


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceDetectorConfig:
    """How wide the network is."""

    stem: int = 16  # channels at half size: the dearest layers of all
    early: int = 32  # at a quarter
    width: int = 64  # from an eighth on


class FaceDetector(nn.Module):
    """
    An anchor-free detector of depthwise-separable convolutions with three levels of answers.

    Pictures need no padding: halving rounds sizes up, and a coarse level is drawn to the exact size
    of the next finer one. There is no normalisation between layers.

    Source: Wu, Peng & Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023, whose layers these
    are at the default widths, up to two changes. The wide block before the second halving stands
    behind it, at a quarter of the price; and the four heads of a level are one.
    """

    def __init__(self, config: FaceDetectorConfig | None = None) -> None:
        super().__init__()
        config = config or FaceDetectorConfig()
        stem, early, width = config.stem, config.early, config.width
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2, 1), nn.ReLU(inplace=True), _separable(stem, stem)
        )
        self.early = nn.Sequential(
            _halving(), _separable(stem, stem), _separable(stem, early), _separable(early, early)
        )
        fine = nn.Sequential(
            _halving(),
            _separable(early, width),
            _separable(width, width),
            _separable(width, width),
        )
        coarser = (
            nn.Sequential(_halving(), _separable(width, width), _separable(width, width))
            for _ in STRIDES[1:]
        )
        self.levels = nn.ModuleList([fine, *coarser])
        self.merge = nn.ModuleList(_separable(width, width) for _ in STRIDES)
        self.answer = nn.ModuleList(_head(width) for _ in STRIDES)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # Without normalisation, the default would let what is seen fade layer by layer.
                is_rectified = layer.kernel_size != (1, 1)
                nn.init.kaiming_normal_(
                    layer.weight, nonlinearity="relu" if is_rectified else "linear"
                )
        for head in self.answer:
            assert isinstance(head, nn.Sequential)
            _hush(head[1])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Answer for every anchor, the levels one after the other, each row by row.

        Args:
            images: `[N, H, W, 3]` uint8 RGB.

        Returns:
            logit `[N, K]` that a face's box belongs to the anchor; box `[N, K, 4]` x, y, width,
            height, px; points `[N, K, 5, 2]` px: left and right eye, nose, left and right corner
            of the mouth, left and right being the viewer's.
        """
        pixels = images.permute(0, 3, 1, 2).float() * (1 / 255)
        seen: list[Tensor] = []
        level = self.early(self.stem(pixels))
        for look in self.levels:
            level = look(level)
            seen.append(level)
        below: Tensor | None = None
        answers: list[tuple[Tensor, Tensor, Tensor]] = []
        for i in reversed(range(len(STRIDES))):
            level = seen[i]
            if below is not None:
                # To a size of 2n or 2n - 1, the nearest of n cells is the half, rounded down.
                level = level + functional.interpolate(below, size=level.shape[-2:])
            below = self.merge[i](level)
            answers.insert(0, _decoded(self.answer[i](below), STRIDES[i]))
        logit, box, points = (torch.cat(part, dim=1) for part in zip(*answers, strict=True))
        return logit, box, points


class ServedFaceDetector(nn.Module):
    """The detector as it is served: one picture in, scores in [0, 1] out, no suppression."""

    def __init__(self, network: FaceDetector) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Answer for every anchor of one picture.

        Args:
            image: `[1, H, W, 3]` uint8 RGB.

        Returns:
            score `[K]` in [0, 1], box `[K, 4]` and points `[K, 5, 2]`, see `FaceDetector`.
        """
        logit, box, points = self.network(image)
        return torch.sigmoid(logit[0]), box[0], points[0]


def _decoded(answer: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Turn one level `[N, 16, h, w]` into logits, boxes and points, in pixels."""
    height, width = answer.shape[-2:]
    cells = answer.permute(0, 2, 3, 1)  # [N, h, w, 16]
    along_y, along_x = torch.meshgrid(
        torch.arange(height, device=answer.device, dtype=answer.dtype),
        torch.arange(width, device=answer.device, dtype=answer.dtype),
        indexing="ij",
    )
    anchor = torch.stack([along_x, along_y], dim=-1)[None]  # [1, h, w, 2]
    centre = (anchor + cells[..., 2:4]) * stride
    size = torch.exp(cells[..., 4:6].clamp(max=5.0)) * stride
    box = torch.cat([centre - size / 2, size], dim=-1).flatten(1, 2)
    points = (anchor[..., None, :] + torch.unflatten(cells[..., 6:], -1, (POINTS, 2))) * stride
    logit = _both(cells[..., 0], cells[..., 1]).flatten(1, 2)
    return logit, box, points.flatten(1, 2)


def _both(one: Tensor, other: Tensor) -> Tensor:
    """Return the log odds of the geometric mean of two probabilities, of their log odds."""
    mean = (functional.logsigmoid(one) + functional.logsigmoid(other)) / 2
    return mean - torch.log((1 - torch.exp(mean)).clamp(min=1e-6))


def _halving() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, ceil_mode=True)


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    """Mix channels, then look around in each, then rectify."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1),
        nn.Conv2d(outputs, outputs, 3, 1, 1, groups=outputs),
        nn.ReLU(inplace=True),
    )


def _head(width: int) -> nn.Sequential:
    """Is it the face's, is a face there: two log odds; then a box, then points."""
    outputs = 2 + 4 + 2 * POINTS
    return nn.Sequential(
        nn.Conv2d(width, outputs, 1), nn.Conv2d(outputs, outputs, 3, 1, 1, groups=outputs)
    )


def _hush(last: nn.Module) -> None:
    """Let a head begin with hardly a face, of boxes of one stride."""
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    nn.init.constant_(last.bias[:2], RARE)
