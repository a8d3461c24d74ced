"""What must a network bring along to be trained? One protocol for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.detection.stage import Image
from workers.training.recipe import Recipe

Example = Mapping[str, NDArray[Any] | np.generic | int | float]
"""One example; torch's default collation makes a batch of several."""
Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A network as it is served: preprocessing inside, uint8 pictures in."""

    module: nn.Module
    example: dict[str, Tensor]  # input name -> a batch of two or more
    outputs: tuple[str, ...]  # names, in the order in which `module` returns them
    dynamic: dict[str, dict[int, Any]]  # input name -> axis -> torch.export.Dim


class Examples(Protocol):
    """
    What is trained on, as torch's `Dataset` is: any number at all has an example.

    Example `i` is a pure function of the seed and `i`, for every `i >= 0`: a run that goes on after
    a stop sees what it would have seen.
    """

    def __getitem__(self, number: int, /) -> Example:
        """Make one example; called in a process beside the one that trains."""
        ...


class Task(Protocol):
    """What one network learns, from what, and how that is looked at."""

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        ...

    def network(self) -> nn.Module:
        """Make the network that is trained, with its initial values."""
        ...

    def examples(self) -> Examples:
        """Return what is trained on."""
        ...

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return scalars, each to be logged; "loss" is the one to go down."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the network on examples that it is not trained on. No gradients are kept."""
        ...

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        """Draw what the network is shown and what it says of that, `[H, W, 3]`, for a person."""
        ...

    def served(self, network: nn.Module) -> Served:
        """Wrap the trained network as it will be served."""
        ...
