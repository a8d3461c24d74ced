"""
What is handed to whoever promotes? Files that a worker can load, and the proof that goes with them.

A package is what `models.package` reads: a folder with `NAME.onnx` and `NAME.json` of each network,
the latter its entry as a manifest would have it, and one `decision.json` for all of them: they were
measured together.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.manifest import ManifestEntry
from models.package import DECISION
from workers.training import calibrate
from workers.training.checkpoints import replace_file
from workers.training.evaluate.report import write_json
from workers.training.run import RUN_FILE
from workers.training.ship import MODELS, read_calibration, ship

LEAST_BAND = 0.001
"""Of probability, in which there is no verdict."""
_SHIPPED_MANIFEST = "manifest.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A network that a loop trained."""

    name: str  # as the manifest calls it
    run: Path  # folder with `run.json` and the ONNX that it names
    current: ManifestEntry  # of the network that it would take the place of
    calibration: calibrate.Calibration | None  # of one that gives log odds
    seeds: Sequence[int]
    what: str
    trained_on: str
    caveat: str | None


def next_minor(version: str) -> str:
    """Return the version after this one: 1.0 -> 1.1; raises ValueError where it has no numbers."""
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0] or "0"
    return f"{int(major)}.{int(minor) + 1}"


def fault_of(line: calibrate.Calibration) -> str:
    """Say why nobody could judge by a line; nothing where somebody could."""
    line = _apart(line)
    if 0 < line.clear_below < line.manipulated_from < 1:
        return ""
    return (
        f"no operating point: clips would be called manipulated from {line.manipulated_from:g} on "
        f"and clear below {line.clear_below:g}, at the very end of the scale"
    )


def write_entry(folder: Path, made: Made) -> ManifestEntry:
    """
    Put a network and its entry into the package; canary and digest are those of shipping.

    One with a line that nobody could judge by is entered as not calibrated, and is not promoted.

    Raises:
        Misconfigured: the run is no finished one of that network.
    """
    # Shipped into a folder beside the package, so that the program's own manifest stays as it is.
    desk = folder / "desk"
    shutil.rmtree(desk, ignore_errors=True)
    desk.mkdir(parents=True)
    shutil.copyfile(MODELS / _SHIPPED_MANIFEST, desk / _SHIPPED_MANIFEST)
    calibration = None
    if made.calibration is not None and not fault_of(made.calibration):
        lines = desk / "calibration.json"
        lines.write_text(_apart(made.calibration).model_dump_json(), encoding="utf-8")
        calibration = read_calibration(lines)
    shipped = ship(
        made.run,
        made.name,
        version=next_minor(made.current.version),
        calibration=calibration,
        folder=desk,
    )
    assert shipped.training is not None, "what is shipped was trained here"
    entry = ManifestEntry.model_validate(
        shipped.model_dump()
        | {
            "what": made.what,
            "trained_on": made.trained_on,
            "caveat": made.caveat,
            "training": shipped.training.model_dump() | {"seeds": tuple(made.seeds)},
        }
    )
    replace_file(folder / entry.file, (desk / "weights" / entry.file).read_bytes())
    content = entry.model_dump_json(indent=2) + "\n"
    replace_file(folder / f"{entry.name}.json", content.encode())
    shutil.rmtree(desk)
    return entry


def write_decision(folder: Path, document: Mapping[str, Any]) -> None:
    """Write what was decided; last, since a package without it is none."""
    write_json(folder / DECISION, document)


def _apart(line: calibrate.Calibration) -> calibrate.Calibration:
    """Part two points that fell on one, as they do where all fakes lie above all real clips."""
    if line.clear_below < line.manipulated_from:
        return line
    return line.model_copy(update={"clear_below": round(line.manipulated_from - LEAST_BAND, 3)})


def record_of(run: Path) -> dict[str, Any]:
    """Read the story of a finished run."""
    record: dict[str, Any] = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    return record
