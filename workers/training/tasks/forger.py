"""
How does a forger learn? It rights warped faces of two people, and later fools a critic for each.

What is measured is never learnt from: the end of every source is held out.
"""

from collections.abc import Iterator
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationError, model_validator
from torch import nn

from app.settings import Settings
from models.nets.critic import Critic, CriticNorm
from models.nets.forger import IDENTITIES, Forger, ForgerShape, Norm
from workers.detection.identity import FaceEmbedder
from workers.detection.stage import Image
from workers.training import checkpoints
from workers.training.errors import BadRecipe
from workers.training.forging import schedule
from workers.training.forging.face_sets import CurationOptions, FaceSet
from workers.training.forging.features import load_features
from workers.training.forging.losses import ForgerLosses, LossOptions
from workers.training.forging.measures import measure
from workers.training.forging.previews import preview_sheet
from workers.training.forging.runs import CRITICS, FORGER, belonging_to
from workers.training.forging.schedule import ScheduleOptions
from workers.training.forging.warps import FaceViews, WarpOptions
from workers.training.loop import RECIPE_FILE
from workers.training.recipe import Positive, Section, TrainingRecipe, unusable
from workers.training.task import Batch, Examples, Part, Turn

TASK = "forger"
RANDOM = "random"


class NetworkOptions(Section):
    """What the forger starts from, and its layers: see `models.nets.forger.ForgerShape`."""

    initial: str = RANDOM
    """ "random", or the folder of another run whose forger has the same layers."""
    side_px: Literal[64, 128] = 64
    width: Positive = 32
    latent: Positive = 512
    kernel: Positive = 5
    attention: bool = True
    norm: Norm = "none"
    residual: bool = False
    has_mask: bool = True

    @property
    def shape(self) -> ForgerShape:
        """The layers alone."""
        return ForgerShape(**{f.name: getattr(self, f.name) for f in fields(ForgerShape)})

    @model_validator(mode="after")
    def _is_possible(self) -> "NetworkOptions":
        assert self.shape
        return self


class CriticOptions(Section):
    """What the two critics are, and how fast they learn. `losses.adversarial = 0` does without."""

    width: Positive = 32
    attention: bool = True
    norm: CriticNorm = "none"
    rate_share: Annotated[float, Field(gt=0)] = 2.0
    """Of the forger's rate."""
    turns: Positive = 1
    """Of the critics for each of the forger's, on the same pictures."""


class DataOptions(Section):
    """What the faces came from, "name sha256:digest" each; filled in by the command."""

    a: tuple[str, ...] = ()
    b: tuple[str, ...] = ()


class ForgerRecipe(TrainingRecipe):
    """How a forger is trained."""

    task: Literal["forger"]
    network: NetworkOptions = NetworkOptions()
    critic: CriticOptions = CriticOptions()
    losses: LossOptions = LossOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    warps: WarpOptions = WarpOptions()
    faces: CurationOptions = CurationOptions()
    data: DataOptions = DataOptions()


class Rivals(nn.Module):
    """What a run trains: the forger and what it is to fool, as `FORGER` and `CRITICS` name them."""

    def __init__(self, forger: Forger, critics: nn.ModuleDict | None) -> None:
        super().__init__()
        self.forger = forger
        self.critics = critics


class ForgerTask:
    """
    Trains `models.nets.forger`, with its critics. See `workers.training.task.Game`.

    Args:
        recipe: its `data` is replaced by what the faces came from.
        a, b: whose faces; of two people.
        embedder: tells whose face a swap is; None where it was not pulled.
    """

    def __init__(
        self, recipe: ForgerRecipe, a: FaceSet, b: FaceSet, *, embedder: FaceEmbedder | None
    ) -> None:
        data = DataOptions(a=_described(a), b=_described(b))
        self.recipe = recipe.model_copy(update={"data": data})
        self.shape = recipe.network.shape
        self.a, self.b = a, b
        self._embedder = embedder

    def network(self) -> Rivals:
        """
        Make the forger and, where there is any use for them, its critics.

        Raises:
            BadRecipe: `network.initial` names a run that it cannot start from.
            BadCheckpoint: that run's network cannot be read.
        """
        torch.manual_seed(self.recipe.run.seed)
        forger = Forger(self.shape)
        critics = None
        if self.recipe.losses.has_critics:
            critics = nn.ModuleDict({name: self._critic() for name in IDENTITIES})
        network = Rivals(forger, critics)
        if self.recipe.network.initial != RANDOM:
            _start_from(network, Path(self.recipe.network.initial), self.shape)
        return network

    def parts(self, network: nn.Module) -> list[Part]:
        """Name the critics, both as one part, and the forger."""
        assert isinstance(network, Rivals)
        forger = Part(name=FORGER, module=network.forger)
        if network.critics is None:
            return [forger]
        rate_share = self.recipe.critic.rate_share
        return [Part(name=CRITICS, module=network.critics, rate_share=rate_share), forger]

    def examples(self) -> Examples:
        """Return warped faces of both, beside what they should be."""
        return FaceViews(
            self.a,
            self.b,
            side_px=self.shape.side_px,
            options=self.recipe.warps,
            seed=self.recipe.run.seed,
        )

    def turns(self, network: nn.Module, batch: Batch, *, done: float) -> Iterator[Turn]:
        """Draw once; let the critics learn from that, then the forger from what they say."""
        assert isinstance(network, Rivals)
        forger, critics = network.forger, network.critics
        moment = schedule.at(self.recipe.schedule, done)
        look = self._losses.look(forger, batch)
        if critics is not None:
            for _ in range(self.recipe.critic.turns):
                yield Turn(CRITICS, self._losses.for_critics(critics, look, moment))
        yield Turn(FORGER, self._losses.for_forger(forger, critics, look, moment))

    def rate_share(self, done: float) -> float:
        """Return the schedule's share of the rate."""
        return schedule.at(self.recipe.schedule, done).rate_share

    def before_step(self, network: nn.Module, step: int) -> None:
        """Let the decoders change places, at the step that the schedule names."""
        if step == schedule.swap_step(self.recipe.schedule, self.recipe.run.steps):
            assert isinstance(network, Rivals)
            network.forger.swap_decoders()

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure reconstructions and swaps of held-out faces; see `measures.measure`."""
        assert isinstance(network, Rivals)
        return measure(network.forger, self.a, self.b, self._embedder)

    def pictures(self, network: nn.Module, batch: Batch) -> Image:  # noqa: ARG002
        """Draw held-out faces: source, reconstruction, swap and mask, both ways."""
        assert isinstance(network, Rivals)
        return preview_sheet(network.forger, self.a, self.b)

    @cached_property
    def _losses(self) -> ForgerLosses:
        options = self.recipe.losses
        return ForgerLosses(options, load_features(Settings()) if options.perceptual else None)

    def _critic(self) -> Critic:
        options = self.recipe.critic
        return Critic(
            self.shape.side_px,
            width=options.width,
            attention=options.attention,
            norm=options.norm,
        )


def _start_from(network: Rivals, run: Path, shape: ForgerShape) -> None:
    """Take over the forger of another run, and its critics where both have the same."""
    path = run / RECIPE_FILE
    try:
        other = ForgerRecipe.model_validate_json(path.read_text(encoding="utf-8")).network.shape
    except OSError as error:
        raise BadRecipe(
            f"network.initial names {run}, which is no run of a forger ({error})"
        ) from error
    except ValidationError as wrong:
        raise unusable(f"network.initial, {path}", wrong) from wrong
    unlike = [
        f"{f.name}: {getattr(other, f.name)} there, {getattr(shape, f.name)} here"
        for f in fields(ForgerShape)
        if getattr(other, f.name) != getattr(shape, f.name)
    ]
    if unlike:
        raise BadRecipe(
            f"network.initial names {run}, whose forger has other layers: {'; '.join(unlike)}"
        )
    found = checkpoints.load_network(run)
    network.forger.load_state_dict(belonging_to(FORGER, found))
    critics = belonging_to(CRITICS, found)
    if network.critics is not None and _fit(network.critics, critics):
        network.critics.load_state_dict(critics)


def _fit(module: nn.Module, weights: checkpoints.Tensors) -> bool:
    wanted = {name: value.shape for name, value in module.state_dict().items()}
    return wanted == {name: value.shape for name, value in weights.items()}


def _described(faces: FaceSet) -> tuple[str, ...]:
    return tuple(f"{Path(path).name} sha256:{sha256}" for path, sha256 in faces.sources.items())
