"""
How does the landmark network learn? From what its teachers saw, in views that move and fade.

Every point counts by its distance from where the teachers place it, those of the eyes and the
mouth more; so does how far lids and lips are apart, which is what blinks are told by.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from models.nets.face_landmarks import COMPONENTS, POINTS, SIDE_PX, FaceLandmarks
from workers.detection.stage import Floats, Image
from workers.training.errors import BadDataset, BadRecipe
from workers.training.evaluate.metrics import auc
from workers.training.landmark_measures import error_by_region, still_views
from workers.training.landmark_views import (
    REGIONS,
    LandmarkViews,
    Sight,
    ViewOptions,
    shapes_of,
    targets,
)
from workers.training.manifest import read_manifest
from workers.training.recipe import Recipe, Section
from workers.training.task import Batch, Example, Served
from workers.training.teachers import LandmarkBank, mesh_weights

PICTURES = 16
VALIDATED = 512
"""Faces, and drawn views, at most."""
GAPS = ((160, 144), (158, 153), (159, 145), (385, 380), (387, 373), (386, 374), (13, 14), (82, 87))
"""Upper and lower lid of each eye, and the lips: pairs whose distance counts by itself."""
_SOFT_PX = 0.3
"""Under it a distance counts by its square: no network follows its teachers closer."""
_EVAL_BATCH = 64

Weight = Annotated[float, Field(ge=0)]


class NetworkOptions(Section):
    """What the network starts from."""

    initial: Literal["mesh", "random"] = "mesh"
    weights: Path | None = None
    """File with MediaPipe's mesh of 468 points."""
    frozen_layers: int = Field(0, ge=0)
    """How many of the trunk's first layers keep what they started from."""


class LossOptions(Section):
    """What counts as wrong, and how much."""

    eyes: Weight = 3.0
    """Of the points of the lids and irises; one of the cheeks counts 1."""
    lips: Weight = 2.0
    brows: Weight = 2.0
    jaw: Weight = 2.0
    gaps: Weight = 1.0
    presence: Weight = 1.0


class LandmarksRecipe(Recipe):
    """How the landmark network is trained."""

    task: Literal["landmarks"]
    network: NetworkOptions = NetworkOptions()
    views: ViewOptions = ViewOptions()
    loss: LossOptions = LossOptions()


class LandmarksTask:
    """Trains `models.nets.face_landmarks`. See `workers.training.task.Task`."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self.recipe = LandmarksRecipe.model_validate(raw)
        self._weights = _point_weights(self.recipe.loss)

    @cached_property
    def bank(self) -> LandmarkBank:
        """
        The pictures, and what the teachers said of them.

        Raises:
            BadDataset: they were labelled by another manifest, whose splits may be others.
        """
        data = self.recipe.data
        bank = LandmarkBank.open(data.bank)
        if bank.manifest_sha256 != read_manifest(data.manifest).sha256:
            raise BadDataset(f"{data.bank} was not built from {data.manifest}. Build it anew.")
        return bank

    def network(self) -> FaceLandmarks:
        """Make the network; it knows the shapes of the training faces, and sees as the mesh."""
        options = self.recipe.network
        torch.manual_seed(self.recipe.run.seed)
        network = FaceLandmarks()
        if options.initial == "mesh":
            if options.weights is None:
                raise BadRecipe("network.initial is mesh, and network.weights names no file")
            weights = mesh_weights(options.weights.read_bytes())
            network.load_mesh([torch.from_numpy(np.array(w)) for w in weights])
        network.trunk[: options.frozen_layers].requires_grad_(False)
        network.start_from(shapes_of(self._training_points, COMPONENTS))
        return network

    def examples(self) -> Dataset[Example]:
        """Return views of the pictures that training may see."""
        return self._views("train", self.recipe.views, self.recipe.run.seed)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Compare points, gaps and presence with what they are."""
        options = self.recipe.loss
        said, logit = network(batch["faces"])
        wanted, counts = batch["points"], batch["has_points"]
        apart = _soft_distance_px(said - wanted)
        weights = self._weights.to(apart.device)
        points = (apart @ weights / weights.sum() * counts).sum() / counts.sum().clamp(min=1)
        high, low = (list(side) for side in zip(*GAPS, strict=True))
        gaps_apart = _soft_distance_px(
            (said[:, high] - said[:, low]) - (wanted[:, high] - wanted[:, low])
        )
        gaps = (gaps_apart.mean(dim=1) * counts).sum() / counts.sum().clamp(min=1)
        presence = functional.binary_cross_entropy_with_logits(logit.float(), batch["presence"])
        return {
            "loss": points + options.gaps * gaps + options.presence * presence,
            "points_px": points.detach(),
            "gaps_px": gaps.detach(),
            "presence": presence.detach(),
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure errors by region, as shares of the eyes' distance, and the AUC of presence."""
        rows = [
            row
            for row, pupil in enumerate(self.bank.pupils)
            if pupil.split == "val" and pupil.has_face
        ]
        if not rows:
            return {}
        chosen = [
            rows[i] for i in np.linspace(0, len(rows) - 1, min(VALIDATED, len(rows)), dtype=int)
        ]
        pictures, points = still_views(self.bank, chosen)
        said, _ = answers(network, pictures)
        found = {f"val_{k}": v for k, v in error_by_region(said, points).items()}
        views = self._views("val", self.recipe.views.model_copy(update={"lost": 0.5}), seed=0)
        drawn = [views.draw(i) for i in range(min(VALIDATED, 2 * len(rows)))]
        _, logits = answers(network, np.stack([view.picture for view in drawn]))
        is_face = np.array([view.sight == Sight.FACE for view in drawn])
        if is_face.any() and not is_face.all():
            found["val_presence_auc"] = float(auc(logits.astype(np.float64), is_face))
        return found

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        """Draw views with the points wanted, green, and said, red, and the presence said."""
        faces = batch["faces"][:PICTURES]
        said, logits = answers(network, faces.cpu().numpy())
        drawn = [
            _drawn(picture, wanted if counts else None, points, float(logit))
            for picture, wanted, counts, points, logit in zip(
                faces.cpu().numpy(),
                batch["points"].cpu().numpy(),
                batch["has_points"].cpu().numpy(),
                said,
                logits,
                strict=False,
            )
        ]
        across = max(1, len(drawn) // 4)
        lines = [
            drawn[at : at + across] for at in range(0, across * (len(drawn) // across), across)
        ]
        return np.concatenate([np.concatenate(line, axis=1) for line in lines], axis=0)

    def served(self, network: nn.Module) -> Served:
        """Give the network, which takes crops as they are served."""
        faces = torch.zeros((2, SIDE_PX, SIDE_PX, 3), dtype=torch.uint8)
        return Served(
            module=network.eval(),
            example={"faces": faces},
            outputs=("points", "presence_logit"),
            dynamic={"faces": {0: torch.export.Dim("faces_count", min=1, max=4096)}},
        )

    @cached_property
    def _training_points(self) -> Floats:
        rows = [r for r, p in enumerate(self.bank.pupils) if p.split == "train" and p.has_face]
        return np.stack([targets(self.bank, row) for row in rows])

    def _views(self, split: str, options: ViewOptions, seed: int) -> LandmarkViews:
        rows = [row for row, pupil in enumerate(self.bank.pupils) if pupil.split == split]
        return LandmarkViews(self.bank, rows, options, seed)


def answers(network: nn.Module, pictures: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Return points `[N, POINTS, 2]` and logits `[N]` of views `[N, SIDE_PX, SIDE_PX, 3]`."""
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()
    points, logits = [], []
    with torch.inference_mode():
        for at in range(0, len(pictures), _EVAL_BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(pictures[at : at + _EVAL_BATCH]))
            said, logit = network(batch.to(device))
            points.append(said.float().cpu().numpy())
            logits.append(logit.float().cpu().numpy())
    network.train(was_training)
    return np.concatenate(points), np.concatenate(logits)


def _soft_distance_px(difference: Tensor) -> Tensor:
    """Return the length of `[..., 2]`, rounded at nought so that it has a gradient there."""
    return (difference.float().square().sum(dim=-1) + _SOFT_PX**2).sqrt() - _SOFT_PX


def _point_weights(options: LossOptions) -> Tensor:
    weights = torch.ones(POINTS)
    for weight, names in (
        (options.brows, ("brows",)),
        (options.jaw, ("jaw",)),
        (options.lips, ("lips_outer", "lips_inner")),
        (options.eyes, ("lids", "irises")),
    ):
        for name in names:
            weights[list(REGIONS[name])] = weight
    return weights


def _drawn(picture: Image, wanted: Floats | None, said: Floats, logit: float) -> Image:
    twice = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    sets: Sequence[tuple[Floats, tuple[int, int, int]]] = [(said, (255, 40, 40))]
    if wanted is not None:
        sets = [(wanted, (60, 255, 60)), *sets]
    for points, colour in sets:
        for x, y in points:
            at = (round(2 * float(x) + 0.5), round(2 * float(y) + 0.5))
            if max(map(abs, at)) < 4 * SIDE_PX:
                cv2.circle(twice, at, 1, colour, -1)
    chance = 1 / (1 + np.exp(-np.clip(logit, -50, 50)))
    words = f"{chance:.2f}" + ("" if wanted is not None else " none")
    cv2.putText(twice, words, (4, 250), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1)
    return np.asarray(twice, dtype=np.uint8)
