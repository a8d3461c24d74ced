"""
How does the network that tells faces apart learn? From what its teacher says of real faces.

Each face is to point where the teacher says; and any two are to be as alike as they are to the
teacher, which is what they are told apart by. After Tung and Mori, "Similarity-Preserving Knowledge
Distillation", ICCV 2019.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.nets.face_embedding import KEPT, FaceEmbedding
from workers.detection.identity import EMBEDDING, INPUT, SIDE_PX, MobileFaceNet
from workers.detection.stage import Floats, Image
from workers.training.bank import FaceBank
from workers.training.checkpoints import replace_file
from workers.training.embedding_views import (
    EmbeddingViews,
    Mixtures,
    ViewOptions,
    inner,
    wide_face,
)
from workers.training.errors import BadDataset, BadRecipe
from workers.training.evaluate.metrics import auc
from workers.training.manifest import read_manifest
from workers.training.recipe import Recipe, Section
from workers.training.task import Batch, Example, Served

PICTURES = 10
VALIDATED = 200
"""Faces at most."""
_EVAL_BATCH = 32
_Weight = Annotated[float, Field(ge=0)]


class NetworkOptions(Section):
    """What the network starts from, and whom it learns from."""

    initial: Literal["teacher", "random"] = "teacher"
    teacher: Path
    """ONNX file with MobileFaceNet."""
    answers: Path = Path("out/embedding-answers.npz")
    """What the teacher said; made where it is not there, or is of other faces."""
    kept: tuple[tuple[int, ...], ...] = KEPT
    """Of the teacher's blocks, by stage, those that the network has."""
    frozen_blocks: int = Field(0, ge=0)
    """Of the blocks, the stem being the first, how many stay as they are in the teacher."""


class LossOptions(Section):
    """What counts as wrong, and how much."""

    direction: _Weight = 1.0
    """One less the cosine between the two directions of a face."""
    likeness: _Weight = 4.0
    """Mean square by which the cosines between all faces of a batch differ."""


class EmbeddingRecipe(Recipe):
    """How the network is trained."""

    task: Literal["embedding"]
    network: NetworkOptions
    views: ViewOptions = ViewOptions()
    loss: LossOptions = LossOptions()


class EmbeddingTask:
    """Trains `models.nets.face_embedding`. See `workers.training.task.Task`."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self.recipe = EmbeddingRecipe.model_validate(raw)

    @cached_property
    def bank(self) -> FaceBank:
        """
        The faces.

        Raises:
            BadDataset: they were cut by another manifest, whose splits may be others.
        """
        data = self.recipe.data
        bank = FaceBank.open(data.bank)
        if bank.manifest_sha256 != read_manifest(data.manifest).sha256:
            raise BadDataset(f"{data.bank} was not built from {data.manifest}. Build it anew.")
        return bank

    @cached_property
    def teacher(self) -> MobileFaceNet:
        """
        The network that is learnt from.

        Raises:
            BadRecipe: its file cannot be read.
        """
        return MobileFaceNet(_Session(self._teacher_bytes), sha256=self._teacher_sha256)

    def network(self) -> FaceEmbedding:
        """Make the network, with what its teacher has in the same places."""
        options = self.recipe.network
        torch.manual_seed(self.recipe.run.seed)
        network = FaceEmbedding(options.kept)
        if options.initial == "teacher":
            network.load_teacher(teacher_layers(self._teacher_bytes))
        network.stem.requires_grad_(requires_grad=not options.frozen_blocks)
        network.trunk[: max(0, options.frozen_blocks - 1)].requires_grad_(requires_grad=False)
        return network

    def examples(self) -> Dataset[Example]:
        """Return faces that training may see: real and forged ones, as both are faces."""
        rows = [face.row for face in self.bank.rows if face.split == "train"]
        options, seed = self.recipe.views, self.recipe.run.seed
        mixtures = Mixtures(self.bank, rows, options, count=options.count, seed=seed)
        return EmbeddingViews(mixtures, self._answers(mixtures), options, seed)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Compare directions, and how alike faces are, with what the teacher says."""
        options = self.recipe.loss
        said, wanted = network(batch["faces"]), batch["wanted"]
        direction = 1 - (said * wanted).sum(dim=1).mean()
        likeness = (said @ said.T - wanted @ wanted.T).square().mean()
        return {
            "loss": options.direction * direction + options.likeness * likeness,
            "direction": direction.detach(),
            "likeness": likeness.detach(),
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure agreement with the teacher on people of the val split, and how they are told
        apart: the AUC of looks at one clip against looks at clips of other people, by both."""
        rows = [face.row for face in self.bank.rows if face.split == "val"]
        if not rows:
            return {}
        chosen = [
            rows[i] for i in np.linspace(0, len(rows) - 1, min(VALIDATED, len(rows)), dtype=int)
        ]
        faces = np.stack([inner(wide_face(self.bank, row)) for row in chosen])
        said, wanted = directions(network, faces), self._asked(faces)
        found = {"val_agreement": float((said * wanted).sum(axis=1).mean())}
        clips = [self.bank.rows[row].clip for row in chosen]
        groups = [self.bank.rows[row].group for row in chosen]
        for name, vectors in (("val_auc", said), ("val_teacher_auc", wanted)):
            cosines, is_same = pairs(vectors, clips, groups)
            if is_same.any() and not is_same.all():
                found[name] = float(auc(cosines, is_same))
        return found

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        """Draw what the teacher is shown over what the network is, with how far they agree."""
        clean, faces, wanted = (
            batch[name][:PICTURES].cpu().numpy() for name in ("clean", "faces", "wanted")
        )
        agree = (directions(network, faces) * wanted).sum(axis=1)
        drawn = [
            np.concatenate([above, _captioned(below, f"{cosine:.2f}")])
            for above, below, cosine in zip(clean, faces, agree, strict=True)
        ]
        return np.concatenate(drawn, axis=1)

    def served(self, network: nn.Module) -> Served:
        """Give the network, which takes aligned faces as they are served."""
        return Served(
            module=network.eval(),
            example={INPUT: torch.zeros((2, SIDE_PX, SIDE_PX, 3), dtype=torch.uint8)},
            outputs=(EMBEDDING,),
            dynamic={INPUT: {0: torch.export.Dim("faces_count", min=1, max=4096)}},
        )

    def _answers(self, mixtures: Mixtures) -> Floats:
        """Ask the teacher of every mixture, `[N, DIMENSIONS]`, unless it was asked before."""
        recipe = self.recipe
        asked = {
            "bank": self.bank.manifest_sha256,
            "faces": len(self.bank.rows),
            "seed": recipe.run.seed,
            "views": recipe.views.model_dump(include={"count", "mixed", "stretch"}),
            "teacher": self._teacher_sha256,
        }
        key = json.dumps(asked, sort_keys=True)
        path = recipe.network.answers
        if path.exists():
            with np.load(path) as stored:
                if str(stored["key"]) == key:
                    return np.asarray(stored["answers"], np.float32)
        answers = self._asked(inner(mixtures[i]) for i in range(len(mixtures)))
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, answers=answers, key=key)
        replace_file(path, content.getvalue())
        return answers

    def _asked(self, faces: Iterable[Image]) -> Floats:
        return np.stack([self.teacher.embed_aligned(face) for face in faces])

    @cached_property
    def _teacher_bytes(self) -> bytes:
        path = self.recipe.network.teacher
        try:
            return path.read_bytes()
        except OSError as wrong:
            raise BadRecipe(f"network.teacher: {path} cannot be read ({wrong})") from wrong

    @property
    def _teacher_sha256(self) -> str:
        return hashlib.sha256(self._teacher_bytes).hexdigest()


class _Session:
    """The teacher's runtime, on one core."""

    def __init__(self, onnx_bytes: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            onnx_bytes, options, providers=["CPUExecutionProvider"]
        )
        self.output_names = tuple(o.name for o in self._session.get_outputs())

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Run once."""
        outputs: list[NDArray[np.generic]] = self._session.run(None, dict(inputs))
        return outputs


def teacher_layers(onnx_bytes: bytes) -> list[tuple[Tensor, Tensor]]:
    """Return weight and bias of each convolution of a network, in the order of computation."""
    graph = onnx.load_from_string(onnx_bytes).graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    return [
        (_tensor(known[node.input[1]]), _tensor(known[node.input[2]]))
        for node in graph.node
        if node.op_type == "Conv"
    ]


def directions(network: nn.Module, faces: NDArray[np.uint8]) -> Floats:
    """Return the vectors `[N, DIMENSIONS]` of aligned faces `[N, SIDE_PX, SIDE_PX, 3]`."""
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()
    found = []
    with torch.inference_mode():
        for at in range(0, len(faces), _EVAL_BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(faces[at : at + _EVAL_BATCH]))
            found.append(network(batch.to(device)).float().cpu().numpy())
    network.train(was_training)
    return np.concatenate(found)


def pairs(
    vectors: Floats, clips: Sequence[str], groups: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """
    Return the cosines of pairs of looks, and whether each shows one person.

    Looks at one clip do; looks at clips of two groups do not; others are left out.
    """
    cosines = (vectors @ vectors.T).astype(np.float64)
    clip, group = np.array(clips), np.array(groups)
    is_same = clip[:, None] == clip[None]
    counts = np.triu(is_same | (group[:, None] != group[None]), k=1)
    return cosines[counts], is_same[counts]


def _tensor(stored: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(np.array(numpy_helper.to_array(stored), np.float32))


def _captioned(picture: Image, words: str) -> Image:
    drawn = np.ascontiguousarray(picture)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            drawn, words, (4, SIDE_PX - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness
        )
    return drawn
