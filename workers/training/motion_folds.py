"""
How well does the network of moving faces judge people whom it never saw?

    python -m workers.training.motion_folds landmark_flow --out out/motion-folds

Trains one network for each fold of groups, the folds of the frame classifier's cross-validation,
and has each judge the clips that it was kept from. `scores.json` is what `calibrate` takes;
`foldN/landmark_flow.onnx` judge in the place of the shipped network wherever evidence is collected
of clips that that one learned from.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from app import log
from app.errors import ServiceError
from workers.training import loop
from workers.training.evaluate.metrics import Estimate, auc_interval
from workers.training.evaluate.scores import ClipScore, columns, score_record
from workers.training.manifest import folds, read_manifest
from workers.training.recipe import read_recipe
from workers.training.run import train_command
from workers.training.tasks.classifier import FOLD_SEED
from workers.training.tasks.landmark_flow import LandmarkFlowTask, score_clips

FOLDS = 3
TASK = "landmark_flow"
SCORES = "scores.json"


def cross_validate(
    recipe: Path, out: Path, overrides: Sequence[str], *, console: Console
) -> list[ClipScore]:
    """Train a network a fold, or find it trained; return what each said of the clips left out."""
    scores: list[ClipScore] = []
    for fold in range(FOLDS):
        chosen = [*overrides, f"data.folds={FOLDS}", f"data.fold={fold}"]
        folder = out / f"fold{fold}"
        train_command(TASK, recipe, folder, chosen, console)
        task = LandmarkFlowTask(read_recipe(recipe, chosen))
        network = loop.train(task, folder, console=Console(quiet=True))  # it is trained: read only
        fold_of = folds(read_manifest(task.recipe.data.manifest), FOLDS, FOLD_SEED)
        kept_out = [c for c, of in task.bank.by_clip.items() if fold_of[of[0].group] == fold]
        scores += score_clips(network, task.bank, kept_out)
    return scores


def figures(scores: Sequence[ClipScore]) -> Iterator[tuple[str, int, int, Estimate]]:
    """Give the AUC of each family against all real clips: name, fakes, real clips, estimate."""
    reals = [score for score in scores if not score.is_fake]
    for family in ("", *sorted({score.family for score in scores if score.is_fake})):
        fakes = [s for s in scores if s.is_fake and family in ("", s.family)]
        yield family or "all", len(fakes), len(reals), auc_interval(*columns([*fakes, *reals]))


def pairs_won(scores: Sequence[ClipScore]) -> tuple[int, int]:
    """Count the fakes that score above the clip they were made from, and the pairs there are."""
    reals = {score.clip: score.logit for score in scores if not score.is_fake}
    won = [s.logit > reals[s.pair] for s in scores if s.is_fake and s.pair in reals]
    return int(np.sum(won)), len(won)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.training.motion_folds",
        description=(__doc__ or "").strip().splitlines()[0],
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    given = parser.parse_args(arguments)
    log.configure(fmt="console", level="WARNING")
    console = Console(stderr=True)
    try:
        scores = cross_validate(given.recipe, given.out, given.overrides, console=console)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    records = json.dumps([score_record(score) for score in scores])
    (given.out / SCORES).write_text(records, encoding="utf-8")
    drawn = Table("manipulated clips", "clips", "AUC", "95 %")
    for name, fakes, reals, auc in figures(scores):
        interval = f"{auc.low:.2f} to {auc.high:.2f}"
        drawn.add_row(name, f"{fakes} / {reals}", f"{auc.value:.3f}", interval)
    won, pairs = pairs_won(scores)
    console.print(drawn)
    console.print(f"{won} of {pairs} fakes score above the clip they were made from")
    return 0


if __name__ == "__main__":
    sys.exit(main())
