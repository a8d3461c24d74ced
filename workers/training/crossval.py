"""
How well does a recipe do on people and methods that it never saw? Trained again and again.

    python -m workers.training.crossval classifier --out out/crossval [--plan latin|full|folds]

Groups are dealt out to folds; methods form clusters. Each run leaves out one fold's groups and one
cluster's fakes, and then scores every clip of the fold: the cluster's fakes are of a method that
was not seen, made of people who were not seen; the others of methods that were. `scores.json`, for
`workers.training.calibrate`, has what was said of each clip by networks that never saw its people.
"""

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from app import log
from workers.training.bank import FaceBank
from workers.training.evaluate.metrics import auc_interval
from workers.training.evaluate.scores import (
    ClipScore,
    clip_scores,
    columns,
    score_record,
    with_sharpness,
)
from workers.training.loop import train
from workers.training.manifest import folds, read_manifest
from workers.training.recipe import read_recipe
from workers.training.tasks.classifier import FOLD_SEED, ClassifierTask, score_rows, training_rows

FOLDS = 3
CLUSTERS: dict[str, tuple[str, ...]] = {
    "autoencoder_swaps": ("deepfakes", "celebdf", "celebdfv2swap", "webpair"),
    "other_swaps": ("faceswap", "faceshifter"),
    "reenactment": ("face2face", "neuraltextures"),
}
"""Methods that are left out together. Fakes with no real clip to pair them with are never trained
on, so their methods are unseen in every run."""
SEEDS = (0, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training: what it leaves out, and its seed."""

    fold: int
    cluster: str
    seed: int

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"fold{self.fold}-{self.cluster}-seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookScore:
    """What a run said of one look at a clip of the fold that it left out."""

    row: int
    clip: str
    logit: float
    fold: int
    cluster: str
    seed: int
    is_seen: bool  # whether fakes of this method were trained on


def plan(kind: str) -> Iterator[Run]:
    """
    List the runs.

    Args:
        kind: "full" is every fold with every cluster and seed; "latin" every fold with every
            cluster once, the seeds spread over them; "folds" one run a fold.
    """
    clusters = tuple(CLUSTERS)
    for turn, seed in enumerate(SEEDS):
        for fold in range(FOLDS):
            if kind == "full":
                for cluster in clusters:
                    yield Run(fold=fold, cluster=cluster, seed=seed)
            elif kind == "latin" or turn == 0:
                yield Run(fold=fold, cluster=clusters[(fold + turn) % len(clusters)], seed=seed)


def run_one(recipe: Path, overrides: Sequence[str], run: Run, out: Path, console: Console) -> Path:
    """Train and score one run, or find it done; returns its scores, a JSON line a look."""
    scores = out / f"{run.name}.jsonl"
    if scores.exists():
        return scores
    left_out = ", ".join(f'"{method}"' for method in CLUSTERS[run.cluster])
    raw = read_recipe(
        recipe,
        [
            *overrides,
            f"run.seed={run.seed}",
            f"data.folds={FOLDS}",
            f"data.fold={run.fold}",
            f"data.leave_out=[{left_out}]",
        ],
    )
    task = ClassifierTask(raw)
    task.render(console)
    network = task.finished(train(task, out / run.name, console=console))
    fold_of = folds(read_manifest(task.recipe.data.manifest), FOLDS, FOLD_SEED)
    bank = task.bank
    trained_on = {
        bank.rows[row].method
        for row in training_rows(bank, task.recipe.data)
        if bank.rows[row].pair >= 0
    }
    rows = [
        f.row for f in bank.rows if fold_of[f.group] == run.fold and len(bank.by_clip[f.clip]) > 1
    ]
    lines = [
        json.dumps(
            asdict(
                LookScore(
                    row=row,
                    clip=bank.rows[row].clip,
                    logit=float(logit),
                    fold=run.fold,
                    cluster=run.cluster,
                    seed=run.seed,
                    is_seen=bank.rows[row].method in trained_on,
                )
            )
        )
        for row, logit in zip(rows, score_rows(network, bank, rows), strict=True)
    ]
    partial = scores.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(scores)
    return scores


def collected(out: Path, bank: FaceBank) -> list[ClipScore]:
    """Return what the finished runs said of each clip they had left out, averaged over runs."""
    logits: dict[int, list[float]] = defaultdict(list)
    for path in sorted(out.glob("fold*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            look = LookScore(**json.loads(line))
            logits[look.row].append(look.logit)
    rows = sorted(logits)
    means = np.array([np.mean(logits[row]) for row in rows])
    return with_sharpness(bank, clip_scores(bank, rows, means))


def seen_clips(out: Path) -> frozenset[str]:
    """Return the clips whose method every run that scored them had been trained on."""
    seen: dict[str, bool] = {}
    for path in sorted(out.glob("fold*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            look = LookScore(**json.loads(line))
            seen[look.clip] = seen.get(look.clip, True) and look.is_seen
    return frozenset(clip for clip, is_seen in seen.items() if is_seen)


def table(scores: Sequence[ClipScore], seen: frozenset[str]) -> Table:
    """Lay out the AUC of each family, by whether its methods were trained on."""
    drawn = Table("manipulated clips", "methods", "clips", "AUC", "95 %")
    reals = [score for score in scores if not score.is_fake]
    for family in ("", *sorted({score.family for score in scores if score.is_fake})):
        for words, is_seen in (("seen", True), ("unseen", False)):
            fakes = [
                score
                for score in scores
                if score.is_fake
                and (score.clip in seen) == is_seen
                and family in ("", score.family)
            ]
            if fakes:
                auc = auc_interval(*columns([*fakes, *reals]))
                drawn.add_row(
                    family or "all",
                    words,
                    f"{len(fakes)} / {len(reals)}",
                    f"{auc.value:.3f}",
                    f"{auc.low:.2f} to {auc.high:.2f}",
                )
    return drawn


def main() -> None:
    """Run what is not done yet; several processes may share one plan."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plan", choices=("latin", "full", "folds"), default="latin")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--part", default="0/1", help="i/n: every n-th run, from the i-th")
    arguments = parser.parse_args()
    log.configure(fmt="console", level="WARNING")
    console = Console(stderr=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    part, parts = (int(word) for word in arguments.part.split("/"))
    runs = list(plan(arguments.plan))
    for at, run in enumerate(runs):
        if at % parts == part:
            console.print(f"[bold]{run.name}[/bold] (process {os.getpid()})")
            run_one(arguments.recipe, arguments.overrides, run, arguments.out, console)
    bank = ClassifierTask(read_recipe(arguments.recipe, arguments.overrides)).bank
    scores = collected(arguments.out, bank)
    (arguments.out / "scores.json").write_text(
        json.dumps([score_record(score) for score in scores]), encoding="utf-8"
    )
    console.print(table(scores, seen_clips(arguments.out)))


if __name__ == "__main__":
    main()
