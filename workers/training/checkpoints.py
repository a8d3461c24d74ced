"""How does a run survive being stopped at any moment? One file, replaced whole or not at all."""

import io
import json
import os
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.errors import InsufficientStorage
from workers.training.errors import BadCheckpoint
from workers.training.recipe import differences

FILE = "checkpoint.pt"
STEP_FILE = "checkpoint.json"  # tells those who watch, without torch, how far it is
NETWORK_FILE = "network.pt"
SUFFIX = ".tmp"

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """
    All that a run goes on from.

    There is no state of a random generator in it: the loop seeds torch anew before every step, from
    the run's seed and the step's number, and examples are made from their own. The schedule of the
    learning rate is a function of the step as well.
    """

    step: int  # steps done
    recipe: str  # as `Recipe.canonical` gives it
    processes: int  # that trained together
    network: Tensors
    average: Tensors  # the running mean of the weights
    optimisers: dict[str, Any]  # states by the name of the part
    window: dict[str, float]  # sums since the last row of the history
    seconds: float  # spent on the steps done, over all sittings
    waiting_s: float  # of which waiting for examples


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """
    Put a checkpoint in the place of the last one.

    Raises:
        InsufficientStorage: it cannot be written. The last one is whole.
    """
    whole = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    replace_file(folder / FILE, to_bytes(whole))
    replace_file(folder / STEP_FILE, json.dumps({"step": checkpoint.step}).encode())


def save_network(folder: Path, state: Tensors) -> None:
    """Write the weights of a finished run; raises InsufficientStorage as `save` does."""
    replace_file(folder / NETWORK_FILE, to_bytes(state))


def load_network(folder: Path) -> Tensors:
    """Read the weights of a finished run; raises BadCheckpoint where there are none to read."""
    return _loaded(folder / NETWORK_FILE)


def load(folder: Path) -> Checkpoint | None:
    """
    Return the last checkpoint of a run; None where there is none.

    Raises:
        BadCheckpoint: the file is damaged, or was written by other code.
    """
    path = folder / FILE
    if not path.exists():
        return None
    whole = _loaded(path)
    wanted = {f.name for f in fields(Checkpoint)}
    if whole.keys() != wanted:
        raise BadCheckpoint(
            f"{path} has {sorted(whole)}, wanted {sorted(wanted)}: it is of another version; start "
            "afresh with --fresh, or in another folder with --out"
        )
    return Checkpoint(**whole)


def check_same_run(checkpoint: Checkpoint, recipe: str, *, processes: int, folder: Path) -> None:
    """Raise BadCheckpoint, saying what differs, unless a run may go on from a checkpoint."""
    found = differences(checkpoint.recipe, recipe)
    if checkpoint.processes != processes:
        found.append(f"processes: were {checkpoint.processes}, are now {processes}")
    if found:
        raise BadCheckpoint(
            f"the run in {folder} was at step {checkpoint.step} with another recipe ("
            f"{'; '.join(found)}); put that back to go on, or start afresh with --fresh, or in "
            "another folder with --out"
        )


def to_bytes(state: object) -> bytes:
    """Serialise tensors and plain values."""
    # To memory first: writing to a full disk, torch raises a RuntimeError that says nothing.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def replace_file(path: Path, content: bytes) -> None:
    """
    Put a file in place whole, or leave the one that is there.

    Raises:
        InsufficientStorage: it cannot be written; nothing is left of the attempt.
    """
    beside = path.with_name(path.name + SUFFIX)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        there = "; the one that was there before is whole" if path.exists() else ""
        raise InsufficientStorage(
            f"cannot write {path} ({len(content)} bytes): {error}{there}; make room and run the "
            "same command again"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _loaded(path: Path) -> dict[str, Any]:
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(f"cannot read {path}: {error}") from error
    if not isinstance(whole, dict):
        raise BadCheckpoint(f"{path} holds a {type(whole).__name__}, wanted names and values")
    return whole
