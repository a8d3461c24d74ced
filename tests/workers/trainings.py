"""
Trainings that do as they are told, and one that is real and tiny; in the process that trains.

    python -m tests.workers.trainings FUNCTION [FILE]

runs a trainer whose runs are done by that function of this module; see `tests.workers.process`.
What is to be done stands in a plan's overrides.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from app.domain.training_run import TrainingKind, TrainingPlan
from app.settings import Settings

STEPS = 40
HOLD_FILE = "hold"
"""In a run's folder: after how many steps to wait there until somebody asks for a stop."""


def as_told(
    descriptor: int, plan: TrainingPlan, folder: Path, _settings: Settings, _promoted: object
) -> int:
    """Train nothing; write what a training writes, and end as the plan wants."""
    does = plan.overrides
    if does.get("told.ignores_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / "attempts").open("a").write(f"{os.getpid()}\n")
    if does.get("told.writes", True):
        (folder / "metrics.csv").write_text("step,loss\n1,0.5\n2,nan\n")
        (folder / "pictures").mkdir(exist_ok=True)
        (folder / "pictures" / "step-000002.png").write_bytes(b"two faces")
        (folder / "checkpoint.pt").write_bytes(b"weights")
        (folder / "checkpoint.json").write_text('{"step": 2}')
        (folder / "state.json").write_text('{"stage": "told", "step": 2, "steps": 3}')
    if does.get("told.kills_itself"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(does.get("told.sleeps_s", 0)))  # type: ignore[arg-type]
    said: dict[str, Any] = {"ending": str(does.get("told.ending", "done"))}
    if said["ending"] == "done":
        said["result"] = {"steps": 2}
    else:
        said |= {"code": "bad-dataset", "detail": "12 faces"}
    os.write(descriptor, json.dumps(said).encode())
    return 0


def tiny(
    descriptor: int, plan: TrainingPlan, folder: Path, settings: Settings, _promoted: object
) -> None:
    """Really train something tiny, by the very way that every training goes."""
    from workers.training import runs

    def train(order: runs.Order) -> dict[str, Any]:
        train_tiny(order.out, order.console)
        return {"steps": STEPS, "niceness": os.nice(0)}

    runs.COMMANDS = {TrainingKind.CLASSIFIER: train}
    runs.execute(descriptor, plan, folder, settings)


def train_tiny(folder: Path, console: Console) -> None:
    """Train with a checkpoint at every step, held up where the folder says so."""
    from torch import Tensor, nn

    from tests.workers.training.tiny import TinyTask, make_recipe
    from workers.training import loop
    from workers.training.task import Batch

    class HeldTask(TinyTask):
        def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
            while is_held(folder):
                time.sleep(0.02)
            return super().losses(network, batch)

    changes = {"steps": STEPS, "checkpoint_every_s": 0.0, "pictures_every": 10}
    task = HeldTask(make_recipe(run=changes))
    loop.train(task, folder, console=console)


def is_held(folder: Path) -> bool:
    """Whether training is to wait: so many steps are done, and nobody has asked for a stop."""
    hold, checkpoint = folder / HOLD_FILE, folder / "checkpoint.json"
    # What asks for a stop lets a second signal of the kind interrupt at once, see `loop`.
    is_asked = signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    if is_asked or not (hold.exists() and checkpoint.exists()):
        return False
    return int(json.loads(checkpoint.read_text())["step"]) >= int(hold.read_text())


def main() -> int:
    from workers.trainer import run

    function, *files = sys.argv[1:]
    status = run(Settings(), f"tests.workers.trainings:{function}")
    for file in files:
        Path(file).write_text("\n".join(sys.modules))
    return status


if __name__ == "__main__":
    sys.exit(main())
