"""What does one command make of two people? Two sets of faces, a forger, and its story."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import ValidationError
from rich.console import Console
from torch import nn

from app.settings import Settings
from app.version import code_version
from workers.training import checkpoints, loop
from workers.training.errors import BadRecipe
from workers.training.forging.face_sets import (
    FaceSet,
    check_two_people,
    curate,
    open_face_set,
)
from workers.training.forging.identity import load_embedder
from workers.training.forging.runs import ForgerRecord, Source, architecture
from workers.training.processes import Place, joined
from workers.training.recipe import read_recipe, unusable
from workers.training.run import RUN_FILE, forget, machine
from workers.training.tasks.forger import TASK, ForgerRecipe, ForgerTask

FACES = "faces"


def train_forger(
    a: Sequence[Path],
    b: Sequence[Path],
    out: Path,
    *,
    recipe: Path,
    overrides: Sequence[str] = (),
    steps: int | None = None,
    console: Console,
    is_fresh: bool = False,
) -> Path:
    """
    Train a forger on two people, from a checkpoint in `out` where there is one.

    Args:
        a, b: videos, or folders of pictures, of one person each.
        out: the folder of this run. Gets `faces/`, `recipe.json`, `metrics.csv`, `validation.csv`,
            `pictures/`, `checkpoint.pt`, and at the end `network.pt` and `run.json`.
        steps: in the place of the recipe's `run.steps`.
        is_fresh: forget the run that is in `out`; faces of the same files are kept.

    Returns:
        `out`, which `runs.load_forger` takes.

    Raises:
        BadRecipe: the recipe cannot be used, or is for another task.
        BadDataset: too few faces, or both sets show the same person.
        ServiceError: whatever `loop.train` raises.
    """
    wanted = _read(recipe, overrides, steps)
    with joined() as place:
        if is_fresh and place.writes:
            forget(out)
        faces = _faces(a, b, out / FACES, wanted, place=place, console=console)
        embedder = load_embedder(Settings())
        task = ForgerTask(wanted, *faces, embedder=embedder)
        network = loop.train(task, out, console=console)
        if place.writes:
            _finish(task, network, out, place=place, console=console)
    return out


def _read(recipe: Path, overrides: Sequence[str], steps: int | None) -> ForgerRecipe:
    raw = read_recipe(recipe, [*overrides, *([] if steps is None else [f"run.steps={steps}"])])
    if raw.get("task", TASK) != TASK:
        raise BadRecipe(f"{recipe} is a recipe for {raw['task']!r}, not for {TASK!r}")
    try:
        return ForgerRecipe.model_validate({**raw, "task": TASK})
    except ValidationError as wrong:
        raise unusable(TASK, wrong) from wrong


def _faces(
    a: Sequence[Path],
    b: Sequence[Path],
    folder: Path,
    recipe: ForgerRecipe,
    *,
    place: Place,
    console: Console,
) -> tuple[FaceSet, FaceSet]:
    """Cut out the faces of both, once; the other processes wait for them."""
    if place.writes:
        made = [
            curate(sources, folder / who, recipe.faces, console=console)
            for who, sources in (("a", a), ("b", b))
        ]
        check_two_people(*made, console=console)
    place.any(is_so=False)
    one, other = (open_face_set(folder / who) for who in ("a", "b"))
    return one, other


def _finish(
    task: ForgerTask, network: nn.Module, out: Path, *, place: Place, console: Console
) -> None:
    """Measure the forger, and write `run.json`."""
    ended = checkpoints.load(out)
    assert ended is not None, "train() writes a checkpoint of its last step"
    measures = task.validate(network)
    record = ForgerRecord(
        architecture=architecture(task.shape),
        shape=asdict(task.shape),
        network_sha256=hashlib.sha256((out / checkpoints.NETWORK_FILE).read_bytes()).hexdigest(),
        a=_sources(task.a),
        b=_sources(task.b),
        faces={"a": len(task.a.training), "b": len(task.b.training)},
        seed=task.recipe.run.seed,
        steps=ended.step,
        processes=place.processes,
        seconds=round(ended.seconds, 1),
        waiting_share=round(ended.waiting_s / ended.seconds, 4) if ended.seconds else 0.0,
        code=code_version(),
        recipe_sha256=task.recipe.sha256,
        machine=machine(place.device),
        torch=str(torch.__version__),
        measures={name: round(value, 4) for name, value in measures.items()},
    )
    content = record.model_dump_json(indent=2) + "\n"
    checkpoints.replace_file(out / RUN_FILE, content.encode())
    said = "  ".join(f"{name} {value:.3f}" for name, value in measures.items())
    console.print(
        f"forger {record.architecture}: {ended.step} steps in {ended.seconds:.0f} s, "
        f"{record.waiting_share:.1%} of it waiting for data; held out: {said}",
        highlight=False,
        soft_wrap=True,
    )


def _sources(faces: FaceSet) -> tuple[Source, ...]:
    return tuple(
        Source(name=Path(path).name, sha256=sha256) for path, sha256 in faces.sources.items()
    )
