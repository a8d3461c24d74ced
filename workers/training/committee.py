"""
How do classifiers that were trained apart judge together? As one network, their log odds added.

    python -m workers.training.committee RUN=WEIGHT RUN=WEIGHT ... --out DIR

Each RUN is the folder of a finished run of `deepverdict train classifier`. Writes the ONNX and a
`run.json`, as a run does. Weights are chosen by cross-validation, on people and methods that no
member saw; a calibration afterwards makes probabilities of the sum.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from app.errors import ServiceError
from app.version import code_version
from models.nets.face_classifier import Committee, ServedClassifier
from models.nets.meso4 import SERVED_PX
from workers.training import checkpoints
from workers.training.errors import BadRecipe
from workers.training.export import check_same, export_onnx
from workers.training.loop import RECIPE_FILE
from workers.training.run import RUN_FILE
from workers.training.task import Served
from workers.training.tasks import SERVED_AS
from workers.training.tasks.classifier import FACES, FAKE_LOGIT, ClassifierTask, served_axes

TASK = "classifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One classifier of a committee."""

    run: Path
    weight: float


def join(members: Sequence[Member], out: Path, *, console: Console) -> Path:
    """
    Make one network of several.

    Returns:
        The ONNX file.

    Raises:
        BadRecipe: a run is not finished, is of no classifier, or saw other data than the first.
    """
    records = [_record(member.run) for member in members]
    data = {record["data_manifest_sha256"] for record in records}
    if len(data) != 1:
        raise BadRecipe(f"the runs saw different data: {sorted(data)}; train them on the same")
    served = joined(members)
    content = export_onnx(served)
    onnx = out / f"{SERVED_AS[TASK]}.onnx"
    parts = [
        {
            "weight": member.weight,
            **{key: record[key] for key in ("recipe_sha256", "onnx_sha256", "seed", "steps")},
        }
        for member, record in zip(members, records, strict=True)
    ]
    story: dict[str, Any] = {
        "task": TASK,
        "network": SERVED_AS[TASK],
        "onnx": onnx.name,
        "onnx_sha256": hashlib.sha256(content).hexdigest(),
        "onnx_bytes": len(content),
        "onnx_difference": check_same(served, content),
        "code": code_version(),
        # Of what decides the network: whose weights, and how much each of them says.
        "recipe_sha256": hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
        "data_manifest_sha256": data.pop(),
        "seed": records[0]["seed"],
        "seconds": round(sum(record["seconds"] for record in records), 1),
        "machine": records[0]["machine"],
        "members": parts,
    }
    out.mkdir(parents=True, exist_ok=True)
    checkpoints.replace_file(onnx, content)
    checkpoints.replace_file(out / RUN_FILE, (json.dumps(story, indent=2) + "\n").encode())
    console.print(f"{len(members)} classifiers are one, {len(content) / 1e6:.2f} MB: {onnx}")
    return onnx


def joined(members: Sequence[Member]) -> Served:
    """Put networks side by side, whatever their runs were for; only their weights are read."""
    return Served(
        module=Committee(
            [_served(member.run) for member in members], [member.weight for member in members]
        ).eval(),
        example={FACES: torch.zeros((2, SERVED_PX, SERVED_PX, 3), dtype=torch.uint8)},
        outputs=(FAKE_LOGIT,),
        dynamic=served_axes(),
    )


def _record(run: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise BadRecipe(f"{run} is no finished run ({wrong}); train it to its end") from wrong
    if record.get("task") != TASK:
        raise BadRecipe(f"{run} made {record.get('network')}, which judges no faces")
    return record


def _served(run: Path) -> ServedClassifier:
    task = ClassifierTask(json.loads((run / RECIPE_FILE).read_text(encoding="utf-8")))
    network = task.network()
    network.load_state_dict(checkpoints.load_network(run))
    return ServedClassifier(task.finished(network))


def member_of(words: str) -> Member:
    """Read `FOLDER=WEIGHT`, as it stands on a command line."""
    run, equals, weight = words.rpartition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"want FOLDER=WEIGHT, got {words!r}")
    return Member(run=Path(run), weight=float(weight))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.training.committee",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("members", nargs="+", type=member_of, metavar="RUN=WEIGHT")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        join(given.members, given.out, console=Console())
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
