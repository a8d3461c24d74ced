"""
How does the segmenter learn? From pairs: a face without a mask, and the same face with one.

Half of what it sees is real and is to be left blank, or it would learn to draw the outline of any
face, which is right on every fake and wrong on everybody else.
"""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from models.nets.unet import SERVED_PX, FakeSegmenter, ServedSegmenter
from workers.detection.stage import Floats, Image
from workers.training import checkpoints
from workers.training.bank import BORDER_PX, FaceBank
from workers.training.pairs import PairExamples, PairOptions
from workers.training.recipe import Recipe, Section
from workers.training.task import Batch, Example, Served
from workers.training.tasks.classifier import generated_faces, training_rows

MARKED_FROM = 0.5
MOST_MARKED_OF_REALS = 0.025
"""Share of the pixels of real faces, of the val and cal splits, that a served mask may mark."""
PICTURES = 8
_VALIDATED = 128
"""Pictures of each kind, evenly spread; more would take longer than they tell."""
_CALIBRATED_ON = 1024
_BATCH = 16
_POOLED = 8
"""Cells of the mask over which the surest place is sought; a single pixel proves nothing."""
_HALF = 127
_CERTAIN = 1 - 1e-6


class NetworkOptions(Section):
    """What is trained."""

    dropout: float = 0.2
    initial: Literal["imagenet", "segmenter", "random"] = "imagenet"
    weights: Path | None = None
    """File with the ImageNet weights of MobileNetV1 x0.25, see docs/models/fake_segmenter.md; or
    the `network.pt` of a run before, to train on from there."""


class LossOptions(Section):
    """What counts as wrong, and how much."""

    distance: Literal["l1", "l2"] = "l2"
    pixels: float = Field(4.0, ge=0)
    """Weight of the distance to the soft mask, over all pixels of reals and of fakes alike."""
    dice: float = Field(0.5, ge=0)
    face: float = Field(1.0, ge=0)
    """Weight of the log odds of the whole face."""
    surest: float = Field(0.25, ge=0)
    """Weight of the surest place of the mask: present in fakes, absent from reals."""
    label_smoothing: float = Field(0.05, ge=0, lt=0.5)


class SegmenterRecipe(Recipe):
    """How the segmenter is trained."""

    task: Literal["segmenter"]
    network: NetworkOptions = NetworkOptions()
    loss: LossOptions = LossOptions()
    pairs: PairOptions = PairOptions()


class SegmenterTask:
    """Trains `models.nets.unet`. See `workers.training.task.Task`."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self.recipe = SegmenterRecipe.model_validate(raw)

    @cached_property
    def bank(self) -> FaceBank:
        """The faces."""
        return FaceBank.open(self.recipe.data.bank)

    def network(self) -> FakeSegmenter:
        """Make the network; its encoder starts from ImageNet, or all of it from another run."""
        options, pairs = self.recipe.network, self.recipe.pairs
        torch.manual_seed(self.recipe.run.seed)
        network = FakeSegmenter(
            view_px=pairs.view_px, side_px=pairs.side_px, dropout=options.dropout
        )
        if options.initial == "random":
            return network
        if options.weights is None:
            raise ValueError(
                f"network.initial is {options.initial}, and network.weights names no file"
            )
        if options.initial == "imagenet":
            network.backbone.load_imagenet(options.weights)
        else:
            network.load_state_dict(checkpoints.load_network(options.weights.parent))
        return network

    def examples(self) -> Dataset[Example]:
        """Return pairs of the faces that training may see."""
        return PairExamples(
            self.bank,
            training_rows(self.bank, self.recipe.data),
            self.recipe.pairs,
            self.recipe.run.seed,
            generated_faces(self.bank, self.recipe.data),
        )

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """
        Compare masks and log odds with what they should be.

        A labelled fake whose mask is not known counts for nothing: some of them are frames that
        the generator left as they were.
        """
        options = self.recipe.loss
        logits, pixels = network(torch.cat([batch["real"], batch["fake"]]))
        logits, pixels = logits.float(), pixels.float()
        target = functional.avg_pool2d(batch["mask"].float() / 255, 2)
        known = batch["has_mask"].float()
        known_share = known.sum().clamp(min=1)
        masks = torch.sigmoid(pixels)
        real_mask, fake_mask = masks.chunk(2)
        away = torch.abs if options.distance == "l1" else torch.square
        on_reals = away(real_mask).mean()
        on_fakes = (away(fake_mask - target).mean(dim=(1, 2)) * known).sum() / known_share
        common = (fake_mask * target).sum(dim=(1, 2))
        both = fake_mask.sum(dim=(1, 2)) + target.sum(dim=(1, 2))
        dice = ((1 - (2 * common + 1) / (both + 1)) * known).sum() / known_share
        surest = functional.avg_pool2d(pixels, _POOLED).amax(dim=(1, 2))
        face = self._entropy(logits, known)
        losses = {
            "on_reals": on_reals,
            "on_fakes": on_fakes,
            "dice": dice,
            "face": face,
            "surest": self._entropy(surest, known),
        }
        loss = (
            options.pixels * (on_reals + on_fakes) / 2
            + options.dice * dice
            + options.face * face
            + options.surest * losses["surest"]
        )
        return {
            "loss": loss,
            **{name: value.detach() for name, value in losses.items()},
            "marked_of_reals": (real_mask > MARKED_FROM).float().mean().detach(),
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """
        Measure on the val split, where it has what is asked for.

        Returns:
            `iou` and `hull_iou` on labelled fakes whose mask is known, `blend_iou` on blends of
            real faces, `marked_of_reals`, the share of the pixels of real faces that is marked.
        """
        bank = self.bank
        val = [f for f in bank.rows if f.split == "val"]
        reals = _spread([f.row for f in val if f.label == "real"])
        fakes = _spread([f.row for f in val if f.has_mask])
        found: dict[str, float] = {}
        if fakes:
            truth = np.stack([bank.served_mask(row) for row in fakes]) > _HALF
            _, masks = predict(network, [bank.served(row) for row in fakes])
            hulls = [hull(bank.landmarks[row]) for row in fakes]
            found["iou"] = _mean_iou(masks > MARKED_FROM, truth)
            found["hull_iou"] = _mean_iou(np.stack(hulls), truth)
        if reals:
            _, masks = predict(network, [bank.served(row) for row in reals])
            found["marked_of_reals"] = float((masks > MARKED_FROM).mean())
            found["blend_iou"] = self._blend_iou(network, reals)
        return found

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        """Draw, a column an example: real, its mask, fake, the mask wanted, the mask given."""
        real, fake = batch["real"][:PICTURES], batch["fake"][:PICTURES]
        was_training = network.training
        network.eval()
        with torch.no_grad():
            logits, pixels = network(torch.cat([real, fake]))
        network.train(was_training)
        said = torch.sigmoid(logits.float()).cpu().numpy()
        given = functional.interpolate(
            torch.sigmoid(pixels.float())[:, None], scale_factor=2.0, mode="bilinear"
        )
        masks = np.rint(given.squeeze(1).cpu().numpy() * 255).astype(np.uint8)
        wanted = batch["mask"][:PICTURES].cpu().numpy()
        known = batch["has_mask"][:PICTURES].cpu().numpy()
        columns = []
        for i in range(len(real)):
            column = [
                real[i].cpu().numpy(),
                _captioned(masks[i], f"{said[i]:.2f}"),
                fake[i].cpu().numpy(),
                _captioned(wanted[i], "wanted" if known[i] else "not known"),
                _captioned(masks[len(real) + i], f"{said[len(real) + i]:.2f}"),
            ]
            columns.append(np.concatenate(column, axis=0))
        return np.asarray(np.concatenate(columns, axis=1), np.uint8)

    def served(self, network: nn.Module) -> Served:
        """
        Wrap the network so that it takes crops as they are served.

        The log odds of masks are lowered, where needed, until no more than
        `MOST_MARKED_OF_REALS` of real faces is marked.
        """
        lowered = copy.deepcopy(_segmenter(network))
        with torch.no_grad():
            assert lowered.mask_head.bias is not None
            lowered.mask_head.bias -= self._too_high(lowered)
        faces = torch.zeros((2, SERVED_PX, SERVED_PX, 3), dtype=torch.uint8)
        return Served(
            module=ServedSegmenter(lowered).eval(),
            example={"faces": faces},
            outputs=("fake_probability", "mask"),
            dynamic={"faces": {0: torch.export.Dim("faces_count", min=1, max=4096)}},
        )

    def _entropy(self, logits: Tensor, known: Tensor) -> Tensor:
        """Return the cross entropy of a batch of reals and, after them, of fakes."""
        smooth = self.recipe.loss.label_smoothing
        real, fake = logits.chunk(2)
        on_reals = functional.binary_cross_entropy_with_logits(real, torch.full_like(real, smooth))
        on_fakes = functional.binary_cross_entropy_with_logits(
            fake, torch.full_like(fake, 1 - smooth), weight=known, reduction="sum"
        ) / known.sum().clamp(min=1)
        return (on_reals + on_fakes) / 2

    def _too_high(self, network: FakeSegmenter) -> float:
        """Return by how much the log odds of masks of real faces are too high."""
        bank = self.bank
        rows = [f.row for f in bank.rows if f.label == "real" and f.split in ("val", "cal")]
        if not rows:
            return 0.0
        _, masks = predict(network, [bank.served(r) for r in _spread(rows, most=_CALIBRATED_ON)])
        at = np.clip(np.quantile(masks, 1 - MOST_MARKED_OF_REALS), MARKED_FROM, _CERTAIN)
        return float(np.log(at / (1 - at)))

    def _blend_iou(self, network: nn.Module, reals: Sequence[int]) -> float:
        """Mark blends of these faces; those that are fainter than the threshold are left out."""
        options = self.recipe.pairs.model_copy(
            update={
                "self_blend_share": 1.0,
                "cross_blend_share": 0.0,
                "generated_share": 0.0,
                "recomposited_share": 0.0,
                "view_px": SERVED_PX,
                "side_px": SERVED_PX,
            }
        )
        blends = PairExamples(self.bank, reals, options, self.recipe.run.seed + 1)
        shown = [blends[i] for i in range(_VALIDATED // 2)]
        truth = np.stack([np.asarray(example["mask"]) for example in shown]) > _HALF
        _, masks = predict(network, [np.asarray(e["fake"], np.uint8) for e in shown])
        is_clear = truth.any(axis=(1, 2))
        return _mean_iou(masks[is_clear] > MARKED_FROM, truth[is_clear])


def predict(network: nn.Module, crops: Sequence[Image]) -> tuple[Floats, Floats]:
    """
    Ask a segmenter, as it is served, about crops `[256, 256, 3]`.

    Returns:
        `[N]` probability of manipulated and `[N, 256, 256]` masks.
    """
    served = ServedSegmenter(_segmenter(network))
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()
    probabilities, masks = [], []
    with torch.inference_mode():
        for at in range(0, len(crops), _BATCH):
            faces = torch.from_numpy(np.stack(crops[at : at + _BATCH])).to(device)
            probability, mask = served(faces)
            probabilities.append(probability.float().cpu().numpy())
            masks.append(mask.float().cpu().numpy())
    network.train(was_training)
    return np.concatenate(probabilities), np.concatenate(masks)


def hull(landmarks_px: Floats) -> NDArray[np.bool_]:
    """
    Draw the hull of the mesh points in the served crop: the mask that needs no network.

    Args:
        landmarks_px: `[468, 2]` px of the bank's crop.
    """
    points = np.rint(landmarks_px - BORDER_PX).astype(np.int32)
    drawn = np.zeros((SERVED_PX, SERVED_PX), np.uint8)
    cv2.fillConvexPoly(drawn, cv2.convexHull(points), 1)
    return np.asarray(drawn > 0)


def iou(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the intersection over union; 1 where both are empty."""
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0


def _mean_iou(masks: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the mean over `[N, H, W]`; NaN of none."""
    scores = [iou(mask, wanted) for mask, wanted in zip(masks, truth, strict=True)]
    return float(np.mean(scores)) if scores else float("nan")


def _spread(rows: Sequence[int], *, most: int = _VALIDATED) -> list[int]:
    """Choose some of many, evenly."""
    if len(rows) <= most:
        return list(rows)
    return [rows[int((i + 0.5) * len(rows) / most)] for i in range(most)]


def _segmenter(network: nn.Module) -> FakeSegmenter:
    if not isinstance(network, FakeSegmenter):
        raise TypeError(f"want a FakeSegmenter, got {type(network).__name__}")
    return network


def _captioned(mask: NDArray[np.uint8], words: str) -> Image:
    drawn = np.ascontiguousarray(cv2.merge([mask] * 3))
    place = (6, mask.shape[0] - 8)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            drawn, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA
        )
    return np.asarray(drawn, np.uint8)
