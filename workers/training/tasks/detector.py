"""
How does the face detector learn? By giving its teacher's answer at every anchor of a drawn scene.

Teacher and pupil share anchors, so no box has to be assigned to any: where the teacher says 0.4,
the pupil shall too. Boxes and points count as much as the teacher is sure of a face there.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from pydantic import Field
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from models.nets.face_detector import FaceDetector, ServedFaceDetector
from workers.detection import align
from workers.detection.stage import Floats, Image
from workers.training import face_scenes
from workers.training.errors import BadDataset
from workers.training.face_scenes import LEAST_PRESENCE, DenseYuNet, SceneBank, SceneExamples
from workers.training.face_scenes import SIDE_PX as LOOKED_AT_PX
from workers.training.manifest import read_manifest
from workers.training.recipe import Recipe, Section
from workers.training.task import Batch, Example, Served

THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
"""Scores from which a face counts as found, in validation."""
SAME_FACE = 0.5
"""Intersection over union from which two boxes are of one face."""
SUPPRESSED = 0.3
"""Intersection over union from which the lesser of two boxes goes; as OpenCV does it for YuNet."""
VALIDATED = 80
PICTURES = 8
HEADS = ("score", "box", "there", "points")
"""Of YuNet, in the order of its file."""
GREEN, RED = (0, 255, 0), (255, 0, 0)


class NetworkOptions(Section):
    """Where the network starts from."""

    initial: Literal["yunet", "random"] = "yunet"


class LossOptions(Section):
    """What counts as wrong."""

    box: Annotated[float, Field(ge=0)] = 2.0
    points: Annotated[float, Field(ge=0)] = 2.0
    focus: Annotated[float, Field(ge=0)] = 1.0
    """Power of the distance between the scores by which anchors count: most are easy."""
    least_score: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Of the teacher, for its box and points to be learnt from."""


class DetectorRecipe(Recipe):
    """How the face detector is trained. `data.bank` is the folder of its scenes."""

    task: Literal["detector"]
    teachers: Path
    """Folder with YuNet and MediaPipe's mesh."""
    network: NetworkOptions = NetworkOptions()
    loss: LossOptions = LossOptions()
    scenes: face_scenes.SceneOptions = face_scenes.SceneOptions()


class DetectorTask:
    """Trains `models.nets.face_detector`. See `workers.training.task.Task`."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self.recipe = DetectorRecipe.model_validate(raw)

    @cached_property
    def bank(self) -> SceneBank:
        """The pictures that scenes are drawn from; looked for in the data where there are none."""
        data = self.recipe.data
        return face_scenes.open_or_build(
            read_manifest(data.manifest),
            data.bank,
            teachers=self.recipe.teachers,
            console=Console(stderr=True),
        )

    def network(self) -> FaceDetector:
        """Make the network; it starts from its teacher's weights, or from random ones."""
        torch.manual_seed(self.recipe.run.seed)
        network = FaceDetector()
        if self.recipe.network.initial == "yunet":
            load_yunet(network, (self.recipe.teachers / face_scenes.DETECTOR).read_bytes())
        return network

    def examples(self) -> Dataset[Example]:
        """Return scenes drawn from the train split, with the teacher's answers."""
        teacher = (self.recipe.teachers / face_scenes.DETECTOR).read_bytes()
        chosen = [i for i, p in enumerate(self.bank.pictures) if p.split == "train"]
        return SceneExamples(
            self.bank,
            chosen,
            self.recipe.scenes,
            alike=self.recipe.run.batch,
            teacher=DenseYuNet(teacher),
            seed=self.recipe.run.seed,
        )

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Compare scores, boxes and points with the teacher's, anchor by anchor."""
        options = self.recipe.loss
        logit, box, points = (part.float() for part in network(batch["image"]))
        score, weight = batch["score"], batch["weight"]
        distance = (torch.sigmoid(logit.detach()) - score).abs() ** options.focus
        wrong = functional.binary_cross_entropy_with_logits(logit, score, reduction="none")
        # What no pupil can avoid, a teacher's being unsure, is taken off: 0 is the best there is.
        unsure = functional.binary_cross_entropy(score, score, reduction="none")
        scored = (weight * distance * (wrong - unsure)).sum() / (weight * score).sum().clamp(min=1)

        is_face = (weight > 0) & (score >= options.least_score)
        share = score[is_face] / score[is_face].sum().clamp(min=1)
        boxed = (share * (1 - _generalised_overlap(box[is_face], batch["box"][is_face]))).sum()
        side = batch["box"][is_face][:, 2:].prod(dim=1).sqrt().clamp(min=1)
        off = (points[is_face] - batch["points"][is_face]) / side[:, None, None]
        pointed = (
            share
            * functional.smooth_l1_loss(
                off, torch.zeros_like(off), beta=0.02, reduction="none"
            ).mean(dim=(1, 2))
        ).sum()
        return {
            "loss": scored + options.box * boxed + options.points * pointed,
            "scored": scored.detach(),
            "boxed": boxed.detach(),
            "pointed": pointed.detach(),
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Compare with the teacher's boxes on frames of the val and cal splits, as served."""
        bank = self.bank
        frames = [
            i
            for i, p in enumerate(bank.pictures)
            if p.split in ("val", "cal") and p.kind == "video"
        ]
        frames = frames[:: max(1, len(frames) // VALIDATED)]
        if not frames:
            return {}
        wanted = 0
        found, strange = dict.fromkeys(THRESHOLDS, 0), dict.fromkeys(THRESHOLDS, 0)
        for index in frames:
            picture = bank.pictures[index]
            box_px, score = find(network, bank.rgb(index), least_score=THRESHOLDS[0])
            known = [np.array(box, np.float32) for box in picture.box_px]
            sure = [b for b, p in zip(known, picture.presence, strict=True) if p >= LEAST_PRESENCE]
            wanted += len(sure)
            for least in THRESHOLDS:
                kept = list(box_px[score >= least])
                found[least] += sum(_is_among(b, kept) for b in sure)
                strange[least] += sum(not _is_among(b, known) for b in kept)
        result: dict[str, float] = {}
        for least in THRESHOLDS:
            result[f"recall_{least:.1f}"] = found[least] / max(wanted, 1)
            result[f"strange_a_frame_{least:.1f}"] = strange[least] / len(frames)
        return result

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        """Draw scenes with the teacher's faces, green, over the pupil's, red."""
        images = batch["image"][:PICTURES]
        with torch.no_grad():
            logit, box, _ = (part.float().cpu() for part in network(images))
        said = (torch.sigmoid(logit), box)
        taught = (batch["score"][:PICTURES].cpu(), batch["box"][:PICTURES].cpu())
        drawn = []
        for i, image in enumerate(images.cpu().numpy()):
            canvas = np.ascontiguousarray(image)
            for (score, boxes), colour, thick in ((taught, GREEN, 3), (said, RED, 1)):
                for x, y, width, height in _picked(score[i].numpy(), boxes[i].numpy(), 0.5)[0]:
                    low, high = (int(x), int(y)), (int(x + width), int(y + height))
                    cv2.rectangle(canvas, low, high, colour, thick)
            drawn.append(canvas)
        rows = [np.concatenate(drawn[i : i + 4], axis=1) for i in range(0, len(drawn) - 3, 4)]
        return np.concatenate(rows or [np.concatenate(drawn, axis=1)], axis=0)

    def served(self, network: nn.Module) -> Served:
        """Wrap the network so that it takes one picture of any size."""
        if not isinstance(network, FaceDetector):
            raise TypeError(f"want a FaceDetector, got {type(network).__name__}")
        any_size = torch.export.Dim.DYNAMIC
        return Served(
            module=ServedFaceDetector(network).eval(),
            example={"image": torch.zeros((1, 360, 640, 3), dtype=torch.uint8)},
            outputs=("score", "box", "points"),
            dynamic={"image": {1: any_size, 2: any_size}},
        )


def load_yunet(network: FaceDetector, onnx_bytes: bytes) -> None:
    """
    Give a network of the default widths YuNet's weights, layer by layer.

    Args:
        network: changed in place.
        onnx_bytes: YuNet as published; it takes BGR from 0 to 255, ours RGB from 0 to 1.

    Raises:
        BadDataset: these bytes are another network.
    """
    graph = onnx.load_from_string(onnx_bytes).graph
    known = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    given = [(known[n.input[1]], known[n.input[2]]) for n in graph.node if n.op_type == "Conv"]
    trunk = [network.stem, network.early, *network.levels, *reversed(network.merge)]
    wanted = [layer for part in trunk for layer in part.modules() if isinstance(layer, nn.Conv2d)]
    if len(given) != len(wanted) + len(HEADS) * len(network.answer) * 2:
        raise BadDataset(f"want the layers of YuNet, got {len(given)} convolutions; see the recipe")
    first = given[0]
    given[0] = (first[0].flip(1) * 255, first[1])
    heads = iter(given[len(wanted) :])
    with torch.no_grad():
        for layer, (weight, bias) in zip(wanted, given, strict=False):
            _fill(layer, weight, bias)
        found = {name: [(next(heads), next(heads)) for _ in network.answer] for name in HEADS}
        for i, head in enumerate(network.answer):
            layers = [layer for layer in head.modules() if isinstance(layer, nn.Conv2d)]
            for place, layer in enumerate(layers):
                parts = [found[name][i][place] for name in ("score", "there", "box", "points")]
                _fill(layer, *(torch.cat(part) for part in zip(*parts, strict=True)))


def _fill(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    if layer.bias is None or weight.shape != layer.weight.shape:
        raise BadDataset(f"want weights {list(layer.weight.shape)}, got {list(weight.shape)}")
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def find(network: nn.Module, rgb: Image, *, least_score: float) -> tuple[Floats, Floats]:
    """
    Find faces as they are when served: where none is, look again at half the size.

    Args:
        network: as `FaceDetector`.
        rgb: `[H, W, 3]`.
        least_score: from which a face counts.

    Returns:
        Boxes `[N, 4]` x, y, width, height in pixels of the picture, and scores `[N]`.
    """
    height, width = rgb.shape[:2]
    device = next(network.parameters()).device
    boxes, scores = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    for longer_side_px in (LOOKED_AT_PX, LOOKED_AT_PX // 2):
        scale = longer_side_px / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(rgb, size, interpolation=way), np.uint8)
        with torch.no_grad():
            logit, box, _ = network(torch.from_numpy(small)[None].to(device))
        boxes, scores = _picked(
            torch.sigmoid(logit[0].float()).cpu().numpy(), box[0].float().cpu().numpy(), least_score
        )
        if len(boxes):
            return np.asarray(boxes / scale, np.float32), scores
    return boxes, scores


def _is_among(box_px: Floats, others_px: Sequence[Floats]) -> bool:
    return bool((align.overlap(box_px, others_px) >= SAME_FACE).any())


def _picked(score: Floats, box_px: Floats, least_score: float) -> tuple[Floats, Floats]:
    """Keep of all anchors the faces: boxes `[N, 4]` and scores `[N]`, the surest first."""
    sure = np.flatnonzero(score >= least_score)
    kept = cv2.dnn.NMSBoxes(box_px[sure].tolist(), score[sure].tolist(), least_score, SUPPRESSED)
    chosen = sure[np.asarray(kept, int).reshape(-1)]
    return box_px[chosen], score[chosen]


def _generalised_overlap(box: Tensor, other: Tensor) -> Tensor:
    """
    Return the overlap of `[N, 4]` boxes with as many others, in (-1, 1], `[N]`.

    Source: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
    """
    low, high = box[:, :2], box[:, :2] + box[:, 2:]
    other_low, other_high = other[:, :2], other[:, :2] + other[:, 2:]
    common = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp(min=0).prod(1)
    union = box[:, 2:].prod(1) + other[:, 2:].prod(1) - common
    hull = (torch.maximum(high, other_high) - torch.minimum(low, other_low)).prod(1)
    return common / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)
