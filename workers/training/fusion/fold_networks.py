"""
Which network judges each fold of a cross-validation? Its runs, joined as those that ship are.

    python -m workers.training.fusion.fold_networks out/cv-a=0.58 out/cv-b=1.67 --out out/folds

Each CV is a folder of `workers.training.crossval`. Of every fold the runs of each recipe are joined
by the recipe's weight, several runs of one recipe sharing it. Writes an ONNX file a fold, and
`folds.json` for `deepverdict train cues`.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from app.errors import ServiceError
from models.pull import put
from workers.training.checkpoints import NETWORK_FILE
from workers.training.committee import Member, joined, member_of
from workers.training.errors import BadRecipe
from workers.training.export import check_same, export_onnx

FOLDS_FILE = "folds.json"
NETWORK = "frame_classifier"
_RUN = re.compile(r"fold(?P<fold>\d+)-.+")


def join_folds(validations: Sequence[Member], out: Path, *, console: Console) -> Path:
    """
    Make one network of each fold.

    Args:
        validations: folders of cross-validations, each with the weight of its recipe.

    Returns:
        The file that says which network judges which fold.

    Raises:
        BadRecipe: a run is not finished, or the recipes have other folds.
    """
    files = {}
    for fold, members in members_of(validations).items():
        served = joined(members)
        content = export_onnx(served)
        off = check_same(served, content)
        files[str(fold)] = put(content, out / f"{NETWORK}-fold{fold}.onnx").name
        console.print(
            f"fold {fold}: {len(members)} classifiers are one, {len(content) / 1e6:.2f} MB, "
            f"{off:.1e} off as ONNX",
            highlight=False,
        )
    listed = json.dumps({NETWORK: files}, indent=1) + "\n"
    return put(listed.encode(), out / FOLDS_FILE)


def members_of(validations: Sequence[Member]) -> dict[int, list[Member]]:
    """Return whose log odds are added for each fold; raises as `join_folds`."""
    by_recipe = [(_runs_of(v.run), v.weight) for v in validations]
    counts = {frozenset(runs) for runs, _ in by_recipe}
    if len(counts) != 1 or not any(counts):
        raise BadRecipe(f"want runs of the same folds in {[str(v.run) for v in validations]}")
    return {
        fold: [
            Member(run=run, weight=weight / len(runs[fold]))
            for runs, weight in by_recipe
            for run in runs[fold]
        ]
        for fold in sorted(by_recipe[0][0])
    }


def _runs_of(folder: Path) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for run in sorted(folder.iterdir()) if folder.is_dir() else ():
        if run.is_dir() and (match := _RUN.fullmatch(run.name)):
            if not (run / NETWORK_FILE).is_file():
                raise BadRecipe(f"{run} is not finished; run the cross-validation to its end")
            found.setdefault(int(match["fold"]), []).append(run)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.training.fusion.fold_networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("validations", nargs="+", type=member_of, metavar="CV=WEIGHT")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        join_folds(given.validations, given.out, console=Console())
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
