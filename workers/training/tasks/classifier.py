"""
How does the frame classifier learn? From pairs: a face, and the same face manipulated.

Both halves of a pair go through one degradation with the same parameters, so that nothing but the
manipulation tells them apart.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from models.nets.face_classifier import FaceClassifier, ServedClassifier
from models.nets.meso4 import SERVED_PX, Meso4
from workers.detection.stage import Floats, Image
from workers.training.bank import FaceBank
from workers.training.errors import BadDataset, BadRecipe
from workers.training.evaluate.metrics import auc
from workers.training.initial import load_meso4
from workers.training.manifest import folds, people_of, read_manifest
from workers.training.pairs import Generated, PairExamples, PairOptions
from workers.training.recipe import DataOptions, Recipe, Section
from workers.training.rendered import PairSource, RenderedPairs, render
from workers.training.task import Batch, Example, Served

Classifier = FaceClassifier | Meso4

FACES, FAKE_LOGIT = "faces", "fake_logit"
FOLD_SEED = 0
RENDER_SEED = 100
PICTURES = 8
_SCORE_BATCH = 32


class NetworkOptions(Section):
    """What is trained."""

    architecture: Literal["meso4", "mobilenet"]
    initial: Literal["published", "random"] = "published"
    weights: Path | None = None
    """File with the published weights: Meso-4 trained on Face2Face, Keras HDF5; or MobileNetV1
    x0.25 trained on ImageNet, a torch checkpoint."""
    initial_share: float = Field(0.0, ge=0, lt=1)
    """Of the finished weights, how much is the initial ones. Half keeps what those knew and the new
    data lack; after Wortsman et al., "Robust Fine-tuning of Zero-shot Models", CVPR 2022."""
    dropout: float = 0.2
    depths: int = 3
    """Of MobileNet's stages, how many are averaged, from the last on."""
    frozen_stages: int = 0
    """Of MobileNet's stages, how many keep their initial weights, from the first on."""


class LossOptions(Section):
    """What counts as wrong."""

    label_smoothing: float = Field(0.05, ge=0, lt=0.5)
    pair_weight: float = Field(0.0, ge=0)
    """Weight of the fake being scored above its own real, whatever the level of both."""


class RenderedOptions(Section):
    """Pairs that several runs share."""

    folder: Path | None = None
    """Where they are, or are to be; without it pairs are made as they are asked for."""
    count: int = Field(16_000, gt=0)


class ClassifierRecipe(Recipe):
    """How the frame classifier is trained."""

    task: Literal["classifier"]
    network: NetworkOptions
    loss: LossOptions = LossOptions()
    pairs: PairOptions = PairOptions()
    rendered: RenderedOptions = RenderedOptions()


class ClassifierTask:
    """Trains `models.nets.face_classifier`. See `workers.training.task.Task`."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self.recipe = ClassifierRecipe.model_validate(raw)

    @cached_property
    def bank(self) -> FaceBank:
        """The faces."""
        return FaceBank.open(self.recipe.data.bank)

    def network(self) -> Classifier:
        """Make the network, with its initial weights."""
        options = self.recipe.network
        pairs = self.recipe.pairs
        torch.manual_seed(self.recipe.run.seed)
        if options.initial == "published" and options.weights is None:
            raise BadRecipe("network.initial is published, and network.weights names no file")
        if options.architecture == "meso4":
            if (pairs.view_px, pairs.side_px) != (SERVED_PX, SERVED_PX):
                raise BadRecipe(f"meso4 sees all {SERVED_PX} px; set pairs.view_px and side_px")
            meso = Meso4(dropout=options.dropout)
            if options.weights is not None and options.initial == "published":
                load_meso4(meso, options.weights)
            return meso
        network = FaceClassifier(
            view_px=pairs.view_px,
            side_px=pairs.side_px,
            dropout=options.dropout,
            depths=options.depths,
            frozen_stages=options.frozen_stages,
        )
        if options.weights is not None and options.initial == "published":
            network.backbone.load_imagenet(options.weights)
        return network

    def finished(self, network: nn.Module) -> Classifier:
        """Return the network that training was for: its weights, drawn towards the initial ones."""
        if not isinstance(network, FaceClassifier | Meso4):
            raise TypeError(f"want a classifier of faces, got {type(network).__name__}")
        share = self.recipe.network.initial_share
        if not share:
            return network
        finished = self.network()
        with torch.no_grad():
            trained = network.state_dict()
            for name, weight in finished.state_dict().items():
                if weight.is_floating_point():
                    weight.lerp_(trained[name], 1 - share)
        return finished.eval()

    def examples(self) -> Dataset[Example]:
        """Return pairs of the faces that training may see."""
        recipe = self.recipe
        rows = training_rows(self.bank, recipe.data)
        made = generated_faces(self.bank, recipe.data)
        if recipe.rendered.folder is not None:
            made_rows = () if made is None else made.rows
            return RenderedPairs(recipe.rendered.folder, rows, recipe.run.seed, made_rows)
        return PairExamples(self.bank, rows, recipe.pairs, recipe.run.seed, made)

    def render(self, console: Console) -> None:
        """Make the pairs that several runs share, of every face, unless that was done."""
        recipe = self.recipe
        if recipe.rendered.folder is None:
            return
        made = generated_faces(self.bank, recipe.data)
        everybody = PairSource(
            bank=recipe.data.bank,
            rows=range(len(self.bank.rows)),
            options=recipe.pairs,
            seed=RENDER_SEED,
            generated=recipe.data.generated,
            generated_rows=() if made is None else range(len(made.bank.rows)),
        )
        render(
            everybody, count=recipe.rendered.count, folder=recipe.rendered.folder, console=console
        )

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Compare the log odds of both halves with what they are."""
        real, fake = network(torch.cat([batch["real"], batch["fake"]])).float().chunk(2)
        options = self.recipe.loss
        return pair_losses(
            real, fake, smooth=options.label_smoothing, pair_weight=options.pair_weight
        )

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the AUC over clips of the val split; NaN where it has one kind only."""
        bank = self.bank
        rows = [f.row for f in bank.rows if f.split == "val" and _is_of_a_clip(bank, f.row)]
        if not rows:
            return {}
        logits = score_rows(network, bank, rows)
        clips: dict[str, list[float]] = {}
        for row, logit in zip(rows, logits, strict=True):
            clips.setdefault(bank.rows[row].clip, []).append(float(logit))
        is_fake = {bank.rows[row].clip: bank.rows[row].label == "fake" for row in rows}
        scores = np.array([np.mean(v) for v in clips.values()])
        labels = np.array([is_fake[clip] for clip in clips])
        if labels.all() or not labels.any():
            return {}
        return {"val_clip_auc": float(auc(scores, labels))}

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        """Draw pairs, the fake beside its real, each with the probability it was given."""
        real, fake = (batch[name][:PICTURES] for name in ("real", "fake"))
        with torch.no_grad():
            said = torch.sigmoid(network(torch.cat([real, fake])).float()).cpu().numpy()
        halves = []
        for pictures, probabilities in ((real, said[: len(real)]), (fake, said[len(real) :])):
            drawn = [
                _captioned(picture, f"{p:.2f}")
                for picture, p in zip(pictures.cpu().numpy(), probabilities, strict=True)
            ]
            halves.append(np.concatenate(drawn, axis=1))
        return np.concatenate(halves, axis=0)

    def served(self, network: nn.Module) -> Served:
        """Wrap the network so that it takes crops as they are served."""
        return Served(
            module=ServedClassifier(self.finished(network)).eval(),
            example={FACES: torch.zeros((2, SERVED_PX, SERVED_PX, 3), dtype=torch.uint8)},
            outputs=(FAKE_LOGIT,),
            dynamic=served_axes(),
        )


def pair_losses(
    real: Tensor, fake: Tensor, *, smooth: float, pair_weight: float
) -> dict[str, Tensor]:
    """
    Compare the log odds `[N]` of both halves of pairs with what they are, and with each other.

    Args:
        smooth: how far the labels lie from 0 and 1.
        pair_weight: of whether the fake half of a pair has more than its real one.
    """
    classified = (
        functional.binary_cross_entropy_with_logits(real, torch.full_like(real, smooth))
        + functional.binary_cross_entropy_with_logits(fake, torch.full_like(fake, 1 - smooth))
    ) / 2
    ordered = functional.softplus(real - fake).mean()
    return {
        "loss": classified + pair_weight * ordered,
        "classified": classified.detach(),
        "ordered": ordered.detach(),
        "right": ((fake > 0).float().mean() + (real <= 0).float().mean()).detach() / 2,
    }


def served_axes() -> dict[str, dict[int, Any]]:
    """Return which axes of the served input are free: how many faces come at once."""
    return {FACES: {0: torch.export.Dim("faces_count", min=1, max=4096)}}


def training_rows(bank: FaceBank, options: DataOptions) -> list[int]:
    """
    Choose the rows that training may see.

    Without folds those of the train split; with folds everything but one fold's groups. Fakes of
    methods that are left out are left out of either.
    """
    if options.folds:
        fold_of = folds(read_manifest(options.manifest), options.folds, FOLD_SEED)
        chosen = [f for f in bank.rows if fold_of[f.group] != options.fold]
    else:
        chosen = [f for f in bank.rows if f.split == "train"]
    left_out = set(options.leave_out)
    return [f.row for f in chosen if f.label == "real" or f.method not in left_out]


def generated_faces(bank: FaceBank, options: DataOptions) -> Generated | None:
    """
    Open the bank of what our own forgers made, and choose the rows that training may see.

    Those are rows of its train split, with folds none of the fold's groups. Fakes of methods that
    are left out are left out.

    Args:
        bank: that it is shown beside.

    Raises:
        BadDataset: it would show people whom training may not see, or that cannot be told.
    """
    if options.generated is None:
        return None
    made = FaceBank.open(options.generated)
    chosen = [f for f in made.rows if f.split == "train"]
    if options.folds:
        fold_of = folds(read_manifest(options.manifest), options.folds, FOLD_SEED)
        kept_out = {group for group, fold in fold_of.items() if fold == options.fold}
        stray = {who for f in chosen for who in people_of(f.group) if who not in fold_of}
        why = f"have no place in {options.manifest}, so that no fold can keep them out"
        chosen = [f for f in chosen if not people_of(f.group) & kept_out]
    else:
        kept_out = {f.group for f in bank.rows if f.split != "train"}
        stray = {who for f in chosen for who in people_of(f.group) if who in kept_out}
        why = f"are kept from training in {options.bank}"
    if stray:
        raise BadDataset(
            f"{options.generated} shows {sorted(stray)[:5]} in its train split, who {why}; "
            "generate it again from the manifest that is trained on"
        )
    left_out = set(options.leave_out)
    rows = [f.row for f in chosen if f.label == "real" or f.method not in left_out]
    return Generated(bank=made, rows=rows)


def score_rows(network: nn.Module, bank: FaceBank, rows: Sequence[int]) -> Floats:
    """Return the log odds `[len(rows)]` of crops as they are served."""
    if not isinstance(network, FaceClassifier | Meso4):
        raise TypeError(f"want a classifier of faces, got {type(network).__name__}")
    served = ServedClassifier(network)
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()
    found = []
    with torch.inference_mode():
        for at in range(0, len(rows), _SCORE_BATCH):
            crops = np.stack([bank.served(row) for row in rows[at : at + _SCORE_BATCH]])
            found.append(served(torch.from_numpy(crops).to(device)).float().cpu().numpy())
    network.train(was_training)
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def _is_of_a_clip(bank: FaceBank, row: int) -> bool:
    return len(bank.by_clip[bank.rows[row].clip]) > 1


def _captioned(picture: Image, words: str) -> Image:
    drawn = np.ascontiguousarray(picture)
    place = (6, picture.shape[0] - 8)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            drawn, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, thickness, cv2.LINE_AA
        )
    return drawn
