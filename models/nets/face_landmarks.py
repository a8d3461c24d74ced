"""Where do the points of one face lie, and is a face there at all? The network alone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.mobilenet_v1 import Normalise

SIDE_PX = 128
POINTS = 478
"""The 468 of the MediaPipe mesh in its order, then five of each iris."""
COMPONENTS = 64
"""Ways in which shapes differ from their mean; what the rest leave out is under 0.3 % of the eyes'
distance."""
_STAGES = (16, 32, 64, 128, 128)
"""Channels at strides 2 to 32; each stage has three blocks, the first of all being the stem."""
_BLOCKS = 3
_USUAL_MOVE = 0.1
"""By which faces are shifted, scaled and turned, so that the head tells all in like numbers."""


class Shapes(NamedTuple):
    """What the head starts from, measured on the faces that it will learn from."""

    mean: Tensor  # [POINTS, 2] shares of the crop, about its middle
    components: Tensor  # [K, POINTS, 2] one standard deviation of each, K <= COMPONENTS


class FaceLandmarks(nn.Module):
    """
    Places the points of a face in an upright crop of 1.5 regions.

    The trunk is that of MediaPipe's face mesh, at two thirds of its scale, so that it can start
    from where its teacher is. It ends in 4 x 4 cells, from which one linear layer reads how the
    face is turned, scaled and shifted, and how its shape differs from the mean in each of
    `COMPONENTS` ways. A face that cannot be seen well thus still gets the shape of a face.

    Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile
    GPUs", 2019; shape models of Cootes et al., "Active Shape Models", 1995.
    """

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(mean=(0, 0, 0), deviation=(1, 1, 1))
        self.trunk = nn.Sequential(*_layers())
        cells = (SIDE_PX >> len(_STAGES)) ** 2
        self.norm = nn.BatchNorm2d(_STAGES[-1])
        self.head = nn.Linear(_STAGES[-1] * cells, COMPONENTS + 5)
        nn.init.normal_(self.head.weight, std=0.002)
        nn.init.zeros_(self.head.bias)
        # Not trained: a step that suits the layers before would tear so small numbers apart.
        self.register_buffer("mean", torch.zeros(POINTS, 2))
        self.register_buffer("components", torch.zeros(COMPONENTS, POINTS * 2))
        self.mean: Tensor
        self.components: Tensor

    def load_mesh(self, weights: Sequence[Tensor]) -> None:
        """
        Take over the trunk of the face mesh.

        Args:
            weights: of its convolutions and slopes, in the order in which they are computed, the
                biases of depthwise ones left out, which are nought; those after the trunk are
                not read.

        Raises:
            ValueError: these are of another network.
        """
        own = list(self.trunk.parameters())
        if [p.numel() for p in own] != [w.numel() for w in weights[: len(own)]]:
            raise ValueError("these weights are not those of the face mesh")
        with torch.no_grad():
            for parameter, weight in zip(own, weights, strict=False):
                parameter.copy_(weight.reshape(parameter.shape))

    def start_from(self, shapes: Shapes) -> None:
        """Take over the shapes of faces; raises ValueError where they are of other points."""
        if shapes.mean.shape != self.mean.shape or shapes.components.shape[1:] != self.mean.shape:
            raise ValueError(
                f"want a mean [{POINTS}, 2] and components [K, {POINTS}, 2], got "
                f"{list(shapes.mean.shape)} and {list(shapes.components.shape)}"
            )
        few = shapes.components[:COMPONENTS]
        self.mean.copy_(shapes.mean)
        self.components.zero_()
        self.components[: len(few)] = few.flatten(1)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """
        Place the points.

        Args:
            faces: uint8 `[N, SIDE_PX, SIDE_PX, 3]`, RGB.

        Returns:
            Points `[N, POINTS, 2]`, x and y in pixels of the crop, the centre of its top left
            pixel at (0, 0), and the logit `[N]` of a face being there. Where none is, the points
            mean nothing.
        """
        cells = self.norm(self.trunk(self.normalise(faces)))
        told = self.head(cells.flatten(1)).float()
        weights, pose, logit = told.split((COMPONENTS, 4, 1), dim=1)
        shape = self.mean + (weights @ self.components).view(-1, POINTS, 2)
        # A scale and turn as a complex number, so that no angle wraps round.
        grows, sin, right, down = (pose[:, i, None] * _USUAL_MOVE for i in range(4))
        x, y = shape.unbind(-1)
        moved = [(1 + grows) * x - sin * y + right, (1 + grows) * y + sin * x + down]
        points = torch.stack(moved, dim=-1) * SIDE_PX + (SIDE_PX - 1) / 2
        return points, logit[:, 0]


class _Block(nn.Module):
    """A separable convolution beside the picture itself, halved where the stride is two."""

    def __init__(self, into: int, out: int, *, stride: int) -> None:
        super().__init__()
        self._stride, self._more = stride, out - into
        self.depthwise = nn.Conv2d(
            into, into, 3, stride=stride, padding=2 - stride, groups=into, bias=False
        )
        self.pointwise = nn.Conv2d(into, out, 1)
        self.slope = nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, out, H / stride, W / stride]`."""
        short = x
        if self._stride != 1:
            short = functional.pad(functional.max_pool2d(x, 2), (0, 0, 0, 0, 0, self._more))
            x = functional.pad(x, _ONE_SIDED)
        out: Tensor = self.slope(short + self.pointwise(self.depthwise(x)))
        return out


_ONE_SIDED = (0, 1, 0, 1)
"""Below and to the right, as TensorFlow pads for a stride of two."""


def _layers() -> Iterator[nn.Module]:
    into = _STAGES[0]
    yield nn.ZeroPad2d(_ONE_SIDED)
    yield nn.Conv2d(3, into, 3, stride=2)
    yield nn.PReLU(into)
    for turn, out in enumerate(_STAGES):
        for number in range(_BLOCKS - (turn == 0)):
            is_first = turn > 0 and number == 0
            yield _Block(into, out, stride=2 if is_first else 1)
            into = out
