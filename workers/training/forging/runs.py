"""How is a trained forger used again? Its folder is read, checked, and draws faces."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from models.nets.forger import Forger, ForgerShape, Identity
from workers.training import checkpoints
from workers.training.errors import BadCheckpoint
from workers.training.run import RUN_FILE

FORGER, CRITICS = "forger", "critics"
"""What the network of a run consists of, by name; only the first is of use afterwards."""
MARK = "synthetic: everything that this forger draws is made up and must be marked so"
_TOGETHER = 32
"""Pictures drawn at once."""

Pictures = NDArray[np.uint8]
"""`[N, S, S, 3]` RGB."""


class Source(BaseModel):
    """A file that a person's faces came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str


class ForgerRecord(BaseModel):
    """The story of a finished forger, as `run.json` has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["forger"] = "forger"
    mark: str = MARK
    architecture: str  # in words; two forgers with the same differ in what they learnt alone
    shape: dict[str, Any]  # of `ForgerShape`
    network_sha256: str  # of network.pt
    a: tuple[Source, ...]
    b: tuple[Source, ...]
    faces: dict[Identity, int]  # that were learnt from
    seed: int
    steps: int
    processes: int
    seconds: float  # of the steps, over all sittings
    waiting_share: float  # of those seconds, for examples
    code: str
    recipe_sha256: str
    machine: str
    torch: str
    measures: dict[str, float]  # on faces that were held out


class FaceMaker:
    """A forger at rest, which takes pictures and gives pictures."""

    def __init__(self, forger: Forger, record: ForgerRecord) -> None:
        self._forger = forger
        self.record = record
        self.side_px: int = forger.shape.side_px
        self.architecture = record.architecture

    def make(self, views: Pictures, to: Identity) -> tuple[Pictures, NDArray[np.uint8]]:
        """
        Draw faces.

        Args:
            views: `[N, S, S, 3]` RGB, cut as `views.view_region` says, S being `side_px`.
            to: whose face they are to get.

        Returns:
            Faces `[N, S, S, 3]`, each whole, and where they are to be seen `[N, S, S]`: 255 for the
            face alone, 0 for the view alone; 255 throughout where the forger has no masks.
        """
        return draw(self._forger, views, to)


def load_forger(folder: Path) -> FaceMaker:
    """
    Read a finished forger.

    Raises:
        BadCheckpoint: there is none in `folder`, or its files are not those that were written.
    """
    record = read_record(folder)
    path = folder / checkpoints.NETWORK_FILE
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadCheckpoint(f"cannot read {path}: {error}") from error
    if found != record.network_sha256:
        raise BadCheckpoint(
            f"{path} has sha256 {found[:12]}..., and {folder / RUN_FILE} says "
            f"{record.network_sha256[:12]}...; train the forger anew, or bring back the file"
        )
    forger = Forger(ForgerShape(**record.shape))
    forger.load_state_dict(belonging_to(FORGER, checkpoints.load_network(folder)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return FaceMaker(forger.to(device).eval().requires_grad_(requires_grad=False), record)


def read_record(folder: Path) -> ForgerRecord:
    """Read the story of a finished forger; raises BadCheckpoint where there is none."""
    path = folder / RUN_FILE
    try:
        return ForgerRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadCheckpoint(
            f"there is no finished forger in {folder} ({error}); `deepverdict train forger` makes "
            "one, and goes on with one that was interrupted"
        ) from error
    except ValidationError as error:
        raise BadCheckpoint(f"{path} is not the record of a forger: {error}") from error


def belonging_to(part: str, network: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of one part of the network that a run trained."""
    return {
        name.removeprefix(f"{part}."): value
        for name, value in network.items()
        if name.startswith(f"{part}.")
    }


def architecture(shape: ForgerShape) -> str:
    """Say in words which kind of forger this is, such as masked-attention-64 or plain-64."""
    has = {
        "masked": shape.has_mask,
        "attention": shape.attention,
        "residual": shape.residual,
        f"{shape.norm}norm": shape.norm != "none",
    }
    words = [word for word, is_so in has.items() if is_so] or ["plain"]
    return "-".join((*words, str(shape.side_px)))


def draw(forger: Forger, views: Pictures, to: Identity) -> tuple[Pictures, NDArray[np.uint8]]:
    """Do what `FaceMaker.make` does, with any forger."""
    was_training = forger.training
    forger.eval()
    device = next(forger.parameters()).device
    faces = np.empty(views.shape, np.uint8)
    masks = np.empty(views.shape[:3], np.uint8)
    with torch.inference_mode():
        for at in range(0, len(views), _TOGETHER):
            shown = torch.from_numpy(np.ascontiguousarray(views[at : at + _TOGETHER])).to(device)
            forged = forger(shown.permute(0, 3, 1, 2).float() / 255, to)
            faces[at : at + _TOGETHER] = _bytes(forged.face).permute(0, 2, 3, 1).cpu().numpy()
            masks[at : at + _TOGETHER] = _bytes(forged.mask)[:, 0].cpu().numpy()
    forger.train(was_training)
    return faces, masks


def laid_over(views: Pictures, faces: Pictures, masks: NDArray[np.uint8]) -> Pictures:
    """Return the pictures `[N, S, S, 3]` that faces make on their views, `mask * face + rest`."""
    alpha = masks[..., None].astype(np.float32) / 255
    return np.rint(alpha * faces + (1 - alpha) * views).astype(np.uint8)


def _bytes(shares: torch.Tensor) -> torch.Tensor:
    return (shares.float() * 255).round().clamp(0, 255).to(torch.uint8)
