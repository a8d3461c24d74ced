"""Whose face is it? A small network that turns a face into a direction; the network alone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.mobilenet_v1 import Normalise

SIDE_PX = 112
DIMENSIONS = 128
STEM = 64
"""Channels of the first layers, at stride 2."""


class Stage(NamedTuple):
    """Layers at one stride of the teacher: a block that halves, then blocks that add."""

    halving: int  # channels inside of the block that halves
    inside: int  # channels inside of each other block
    out: int
    blocks: int  # after the one that halves


STAGES = (Stage(128, 128, 64, 4), Stage(256, 256, 128, 6), Stage(512, 256, 128, 2))
"""Strides 4, 8 and 16 of MobileFaceNet, whose stem is at stride 2."""
ALL = tuple(tuple(range(stage.blocks)) for stage in STAGES)
"""Every block that adds, by stage: with these the network is MobileFaceNet itself."""
KEPT = ((0, 1, 2, 3), (0, 1), (1,))
"""The blocks that the small network has. Of those that could go, one was taken away after the
other, always the one whose loss moved the teacher's answers least."""
HEAD = 512
_CELLS = 7
_LAYERS_OF_A_BLOCK = 3
_LAYERS_OF_THE_STEM = 3


class FaceEmbedding(nn.Module):
    """
    A direction for each face; two faces of one person point about the same way.

    It is a MobileFaceNet with fewer blocks, so that it can start from where its teacher is. The
    teacher's norms are folded into its convolutions, and so are ours: nothing depends on what else
    is in a batch.

    Args:
        kept: numbers of the blocks of each of `STAGES`, from 0.

    Source: Chen et al., "MobileFaceNets", CCBR 2018.
    """

    def __init__(self, kept: Sequence[Sequence[int]] = KEPT) -> None:
        super().__init__()
        self._kept = tuple(tuple(blocks) for blocks in kept)
        self.normalise = Normalise(mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5))
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM, 3, stride=2, padding=1),
            nn.ReLU6(),
            nn.Conv2d(STEM, STEM, 3, padding=1, groups=STEM),
            nn.ReLU(),
            nn.Conv2d(STEM, STEM, 1),
            nn.ReLU(),
        )
        self.trunk = nn.Sequential(*_blocks(self._kept))
        self.widen = nn.Conv2d(STAGES[-1].out, HEAD, 1)
        self.gather = nn.Conv2d(HEAD, HEAD, _CELLS, groups=HEAD)
        self.head = nn.Linear(HEAD, DIMENSIONS)

    def forward(self, faces: Tensor) -> Tensor:
        """
        Say which way each face points.

        Args:
            faces: uint8 `[N, SIDE_PX, SIDE_PX, 3]` RGB, eyes, nose and mouth where ArcFace's
                template has them.

        Returns:
            `[N, DIMENSIONS]` vectors of length 1.
        """
        cells = functional.relu6(self.widen(self.trunk(self.stem(self.normalise(faces)))))
        told: Tensor = self.head(self.gather(cells).flatten(1))
        return functional.normalize(told.float(), dim=1)

    def load_teacher(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """
        Take over the layers of a MobileFaceNet that this network has too.

        Args:
            layers: weight and bias of all of its convolutions, in the order in which they are
                computed; pictures are BGR to the first.

        Raises:
            ValueError: these are of another network.
        """
        own = [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        places = list(_places(self._kept))
        if len(layers) != _all_layers():
            raise ValueError(f"want {_all_layers()} convolutions, got {len(layers)}")
        for number, (module, place) in enumerate(zip(own, places, strict=True)):
            weight, bias = layers[place]
            weight = weight.flip(1) if number == 0 else weight
            if weight.numel() != module.weight.numel():
                raise ValueError(f"convolution {place} is of shape {list(weight.shape)}")
            with torch.no_grad():
                module.weight.copy_(weight.reshape(module.weight.shape))
                assert module.bias is not None, "every layer has one"
                module.bias.copy_(bias)


class _Block(nn.Module):
    """Widens, looks about in each channel, and narrows; adds to the picture unless it halves it."""

    def __init__(self, into: int, inside: int, out: int, *, stride: int) -> None:
        super().__init__()
        self._adds = stride == 1
        self.widen = nn.Conv2d(into, inside, 1)
        self.look = nn.Conv2d(inside, inside, 3, stride=stride, padding=1, groups=inside)
        self.narrow = nn.Conv2d(inside, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, out, H / stride, W / stride]`."""
        inside = functional.relu6(self.look(functional.relu6(self.widen(x))))
        told: Tensor = self.narrow(inside)
        return x + told if self._adds else told


def _blocks(kept: Sequence[Sequence[int]]) -> Iterator[nn.Module]:
    into = STEM
    for stage, numbers in zip(STAGES, kept, strict=True):
        yield _Block(into, stage.halving, stage.out, stride=2)
        into = stage.out
        for _ in numbers:
            yield _Block(into, stage.inside, stage.out, stride=1)


def _places(kept: Sequence[Sequence[int]]) -> Iterator[int]:
    """Number the teacher's convolutions that are taken over."""
    yield from range(_LAYERS_OF_THE_STEM)
    at = _LAYERS_OF_THE_STEM
    for stage, numbers in zip(STAGES, kept, strict=True):
        for block in (0, *(number + 1 for number in numbers)):
            first = at + block * _LAYERS_OF_A_BLOCK
            yield from range(first, first + _LAYERS_OF_A_BLOCK)
        at += (stage.blocks + 1) * _LAYERS_OF_A_BLOCK
    yield from range(at, _all_layers())


def _all_layers() -> int:
    of_the_head = 3
    blocks = sum(stage.blocks + 1 for stage in STAGES)
    return _LAYERS_OF_THE_STEM + blocks * _LAYERS_OF_A_BLOCK + of_the_head
