"""What sees the picture? MobileNetV1, the small network that others here are built on."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
LEAK = 0.1
"""Slope below zero of the published weights, which are those of the RetinaFace implementation."""

# (output channels at width 1, stride) of each depthwise-separable block.
_BLOCKS: tuple[tuple[int, int], ...] = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
STAGES = (2, 4, 6, 12, 14)
"""Layers, the stem among them, after which the picture is about to be halved again."""


class MobileNetV1(nn.Module):
    """
    Features at strides 2, 4, 8, 16 and 32.

    Args:
        width: share of the channels of the full network.

    Source: Howard et al., "MobileNets", 2017.
    """

    def __init__(self, width: float = 0.25) -> None:
        super().__init__()
        wide = [int(channels * width) for channels, _ in _BLOCKS]
        stem = int(32 * width)
        layers: list[nn.Module] = [_stem(stem)]
        layers += [
            _separable(into, out, stride)
            for into, out, (_, stride) in zip([stem, *wide[:-1]], wide, _BLOCKS, strict=True)
        ]
        edges = zip((0, *STAGES[:-1]), STAGES, strict=True)
        self.stages = nn.ModuleList(nn.Sequential(*layers[a:b]) for a, b in edges)
        self.channels: tuple[int, ...] = tuple(wide[last - 2] for last in STAGES)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """
        Return the features of each stage.

        Args:
            pictures: `[N, 3, H, W]`, RGB, normalised as for ImageNet.

        Returns:
            `[N, channels[i], H / s, W / s]` for the strides s = 2, 4, 8, 16, 32.
        """
        found = []
        for stage in self.stages:
            pictures = stage(pictures)
            found.append(pictures)
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features of the last stage."""
        return self.features(pictures)[-1]

    def load_imagenet(self, path: Path) -> None:
        """
        Take over weights trained on ImageNet, as published for the RetinaFace implementation.

        Raises:
            ValueError: the file holds another network.
        """
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        published = {
            key: value
            for key, value in checkpoint["state_dict"].items()
            if not key.startswith("module.fc.")
        }
        own = self.state_dict()
        # Both list the same layers in the same order; only their names differ.
        shapes = [tuple(v.shape) for v in published.values()]
        if shapes != [tuple(v.shape) for v in own.values()]:
            raise ValueError(f"{path.name} does not hold a MobileNetV1 of this width")
        self.load_state_dict(dict(zip(own, published.values(), strict=True)))


class Normalise(nn.Module):
    """Turns pictures as served, uint8 `[N, H, W, 3]` RGB, into what networks take."""

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        deviation: Sequence[float] = IMAGENET_DEVIATION,
    ) -> None:
        super().__init__()
        self.register_buffer("scale", 1 / (255 * torch.tensor(deviation)).view(1, 3, 1, 1))
        self.register_buffer(
            "shift", -(torch.tensor(mean) / torch.tensor(deviation)).view(1, 3, 1, 1)
        )
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, pictures: Tensor) -> Tensor:
        """Return float `[N, 3, H, W]`."""
        return pictures.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift


def _stem(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(LEAK, inplace=True),
    )


def _separable(into: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(into, into, 3, stride=stride, padding=1, groups=into, bias=False),
        nn.BatchNorm2d(into),
        nn.LeakyReLU(LEAK, inplace=True),
        nn.Conv2d(into, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.LeakyReLU(LEAK, inplace=True),
    )
