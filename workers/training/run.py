"""What does one command make of a recipe? A network as it is served, and the story of its run."""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from app.version import code_version
from workers.training import checkpoints, loop
from workers.training.errors import BadRecipe
from workers.training.history import read_history
from workers.training.manifest import read_manifest
from workers.training.processes import Place, joined
from workers.training.recipe import read_recipe
from workers.training.task import ServedTask
from workers.training.tasks import SERVED_AS, make_task

RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The story of a finished run, as `run.json` has it."""

    task: str
    network: str  # as the manifest calls it
    onnx: str  # name of the file beside this one
    onnx_sha256: str
    onnx_bytes: int
    onnx_difference: float  # greatest, between torch and ONNX Runtime, over all outputs
    code: str
    recipe_sha256: str
    data_manifest_sha256: str
    seed: int
    steps: int
    processes: int
    seconds: float  # of the steps, over all sittings
    waiting_share: float  # of those seconds, for examples
    machine: str
    torch: str
    validation: dict[str, float]  # the last one; empty where there was none


def train_command(
    task_name: str,
    recipe: Path,
    out: Path,
    overrides: Sequence[str],
    console: Console,
    *,
    is_fresh: bool = False,
) -> Path:
    """
    Train a network by its recipe, export it, and write down how it came about.

    Args:
        task_name: what the recipe must be for.
        out: the folder of this run; a run that is in it goes on.
        is_fresh: forget the run that is in `out`.

    Returns:
        The ONNX file.

    Raises:
        BadRecipe: the recipe cannot be used, or is for another task.
        BadDataset: what `data.manifest` names cannot be read.
        ServiceError: whatever `loop.train` raises.
    """
    raw = read_recipe(recipe, overrides)
    if raw.get("task", task_name) != task_name:
        raise BadRecipe(f"{recipe} is a recipe for {raw['task']!r}, not for {task_name!r}")
    task = make_task({**raw, "task": task_name})
    # Before hours of training: whether the data are there at all.
    data_sha256 = read_manifest(task.recipe.data.manifest).sha256
    with joined() as place:
        if is_fresh and place.writes:
            forget(out)
        place.any(is_fresh)  # all wait: none may find the checkpoint that the first is to remove
        network = loop.train(task, out, console=console)
        onnx = out / f"{SERVED_AS[task_name]}.onnx"
        if place.writes:
            _finish(task, network, onnx, place=place, data_sha256=data_sha256, console=console)
    return onnx


def forget(folder: Path) -> None:
    """Remove what a run wrote into its folder, and nothing else."""
    for name in (
        checkpoints.FILE,
        checkpoints.STEP_FILE,
        checkpoints.NETWORK_FILE,
        loop.HISTORY_FILE,
        loop.VALIDATION_FILE,
        loop.RECIPE_FILE,
        RUN_FILE,
    ):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / loop.PICTURES, ignore_errors=True)


def _finish(
    task: ServedTask,
    network: nn.Module,
    onnx: Path,
    *,
    place: Place,
    data_sha256: str,
    console: Console,
) -> None:
    """Write the network as it is served, and `run.json` beside it."""
    # The exporter takes seconds to import, which an interrupted run need not wait for.
    from workers.training.export import check_same, export_onnx  # noqa: PLC0415

    folder = onnx.parent
    ended = checkpoints.load(folder)
    assert ended is not None, "train() writes a checkpoint of its last step"
    served = task.served(network)
    content = export_onnx(served)
    checkpoints.replace_file(onnx, content)
    validations = read_history(folder / loop.VALIDATION_FILE)
    record = RunRecord(
        task=task.recipe.task,
        network=onnx.stem,
        onnx=onnx.name,
        onnx_sha256=hashlib.sha256(content).hexdigest(),
        onnx_bytes=len(content),
        onnx_difference=check_same(served, content),
        code=code_version(),
        recipe_sha256=task.recipe.sha256,
        data_manifest_sha256=data_sha256,
        seed=task.recipe.run.seed,
        steps=ended.step,
        processes=place.processes,
        seconds=round(ended.seconds, 1),
        waiting_share=round(ended.waiting_s / ended.seconds, 4) if ended.seconds else 0.0,
        machine=machine(place.device),
        torch=str(torch.__version__),
        validation=validations[-1] if validations else {},
    )
    checkpoints.replace_file(
        folder / RUN_FILE, (json.dumps(asdict(record), indent=2) + "\n").encode()
    )
    console.print(
        f"{task.recipe.task}: {ended.step} steps in {ended.seconds:.0f} s, "
        f"{record.waiting_share:.1%} of it waiting for data; {onnx} is {len(content) / 1e6:.2f} MB "
        f"and differs from torch by {record.onnx_difference:.2g} at most",
        highlight=False,
        soft_wrap=True,
    )


def machine(device: torch.device) -> str:
    """Say in words what a run computed on."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.version.cuda}"
    return f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def _processor() -> str:
    """Name the processor; `platform` knows only its family on Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
