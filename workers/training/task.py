"""What must a network bring along to be trained? A few protocols, one on top of another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.detection.stage import Image
from workers.training.recipe import Recipe, TrainingRecipe

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
    """From what a network learns, and how that is looked at; how it learns, the next two say."""

    @property
    def recipe(self) -> TrainingRecipe:
        """How it is trained."""
        ...

    def network(self) -> nn.Module:
        """Make the network that is trained, with its initial values."""
        ...

    def examples(self) -> Examples:
        """Return what is trained on."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the network on examples that it is not trained on. No gradients are kept."""
        ...

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        """Draw what the network is shown and what it says of that, `[H, W, 3]`, for a person."""
        ...


class PlainTask(Task, Protocol):
    """A network that learns as a whole: one loss for all of its weights."""

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return scalars, each to be logged; "loss" is the one to go down."""
        ...


class ServedTask(PlainTask, Protocol):
    """A network that is served once it is trained."""

    @property
    def recipe(self) -> Recipe:
        """How it is trained, and on what."""
        ...

    def served(self, network: nn.Module) -> Served:
        """Wrap the trained network as it will be served."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Weights that have losses of their own, and an optimiser."""

    name: str
    module: nn.Module
    rate_share: float = 1.0  # of the recipe's rate


class Turn(NamedTuple):
    """What one part is to learn next."""

    part: str
    losses: dict[str, Tensor]
    """Scalars, each to be logged; "loss" is the one to go down. Where no weight bears on that one,
    the turn is passed over, and logged all the same."""


@runtime_checkable
class Game(Task, Protocol):
    """
    A network whose parts learn in turns, each against what the others have learnt so far.

    What is logged of the last of the parts has the names that the task gave it; of the others, the
    part's name stands before that.
    """

    def parts(self, network: nn.Module) -> Sequence[Part]:
        """Name the parts, the one that all is about last. They share no weights."""
        ...

    def turns(self, network: nn.Module, batch: Batch, *, done: float) -> Iterator[Turn]:
        """
        Take one step, turn by turn: each is learnt from before the next one is asked for.

        A loss moves the weights of its own part only, so that a turn may go on with what an
        earlier one computed, as long as it did so with weights that were not moved since. The same
        parts and names at every step, whatever is switched on.

        Args:
            done: share of the run, 0 up to but not 1.
        """
        ...

    def rate_share(self, done: float) -> float:
        """Return what the rate is to be multiplied by."""
        ...

    def before_step(self, network: nn.Module, step: int) -> None:
        """Change weights as planned for this step; asked of the network and of its running mean."""
        ...
