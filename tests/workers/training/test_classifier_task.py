"""How the frame classifier learns."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from models.nets.face_classifier import FaceClassifier, ServedClassifier
from tests.workers.training.split_bank import make_split_bank
from workers.training import crossval
from workers.training.bank import FaceBank
from workers.training.crossval import CLUSTERS, FOLDS, SEEDS, plan
from workers.training.loop import train
from workers.training.manifest import Row, make_manifest, write_manifest
from workers.training.recipe import DataOptions
from workers.training.rendered import PairSource, RenderedPairs, render
from workers.training.tasks.classifier import (
    ClassifierTask,
    score_rows,
    training_rows,
)

SIDE_PX = 64
quiet = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn bank, and the manifest that it could have been made from."""
    folder = tmp_path_factory.mktemp("classifier")
    bank = make_split_bank(folder / "bank")
    seen = {}
    for face in bank.rows:
        seen[face.path] = Row(
            path=face.path,
            sha256=f"{face.row:064x}",
            kind="picture" if face.kind == "picture" else "video",
            clip=face.clip,
            label="fake" if face.label == "fake" else "real",
            method=face.method,
            family=face.family,
            group=face.group,
            dataset=face.dataset,
            split="train",
        )
    write_manifest(folder / "manifest.csv", make_manifest(seen.values(), root=folder))
    return folder


def recipe(folder: Path, **data: object) -> dict[str, object]:
    return {
        "task": "classifier",
        "run": {
            "seed": 1,
            "steps": 2,
            "batch": 2,
            "loader_workers": 0,
            "threads": 1,
            "pictures_every": 2,
            "validate_every": 2,
        },
        "optimiser": {"rate": 1e-3, "warmup_steps": 1},
        "data": {"manifest": folder / "manifest.csv", "bank": folder / "bank"} | data,
        "network": {"architecture": "mobilenet", "initial": "random"},
        "pairs": {
            "view_px": SIDE_PX,
            "side_px": SIDE_PX,
            "degrade": {"h264_share": 0.0},
        },
    }


def test_without_folds_only_the_train_split_is_seen(folder: Path) -> None:
    bank = FaceBank.open(folder / "bank")
    options = DataOptions(manifest=folder / "manifest.csv", bank=folder / "bank")
    chosen = [bank.rows[row] for row in training_rows(bank, options)]
    assert {face.split for face in chosen} == {"train"}
    assert {face.method for face in chosen} == {"camera", "early", "late"}


def test_a_fold_is_left_out_whole_and_a_method_by_its_fakes(folder: Path) -> None:
    bank = FaceBank.open(folder / "bank")
    seen_by_fold = []
    for fold in range(3):
        options = DataOptions(
            manifest=folder / "manifest.csv",
            bank=folder / "bank",
            folds=3,
            fold=fold,
            leave_out=("late",),
        )
        chosen = [bank.rows[row] for row in training_rows(bank, options)]
        assert "late" not in {face.method for face in chosen}
        seen_by_fold.append({face.group for face in chosen})
    everybody = {face.group for face in bank.rows}
    left_out = [everybody - seen for seen in seen_by_fold]
    assert set().union(*left_out) == everybody
    assert sum(map(len, left_out)) == len(everybody)


def test_training_takes_steps_and_leaves_pictures_to_look_at(folder: Path, tmp_path: Path) -> None:
    task = ClassifierTask(recipe(folder))
    before = task.network().state_dict()
    network = train(task, tmp_path, console=quiet)
    moved = [
        not torch.equal(before[name], weight)
        for name, weight in network.state_dict().items()
        if name.endswith("head.weight")
    ]
    assert moved == [True]
    assert list((tmp_path / "pictures").glob("*.png"))


def test_the_served_network_sees_the_middle_of_the_crop_alone() -> None:
    torch.manual_seed(0)
    served = ServedClassifier(FaceClassifier(view_px=128, side_px=128)).eval()
    faces = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8)
    said = served(faces)
    faces[:, :64] = 0
    assert torch.equal(served(faces), said)
    faces[:, 100] = 0
    assert not torch.equal(served(faces), said)


def test_a_view_may_be_scaled_before_the_network() -> None:
    served = ServedClassifier(FaceClassifier(view_px=256, side_px=96)).eval()
    assert served(torch.zeros((3, 256, 256, 3), dtype=torch.uint8)).shape == (3,)


def test_frozen_stages_keep_their_weights(folder: Path) -> None:
    raw = recipe(folder)
    raw["network"] = {"architecture": "mobilenet", "initial": "random", "frozen_stages": 2}
    network = ClassifierTask(raw).network()
    frozen = [p.requires_grad for p in network.backbone.stages[:2].parameters()]
    assert not any(frozen)
    assert all(p.requires_grad for p in network.backbone.stages[2:].parameters())


def test_rendered_pairs_show_only_faces_that_may_be_seen(folder: Path, tmp_path: Path) -> None:
    task = ClassifierTask(recipe(folder))
    everything = DataOptions(manifest=folder / "manifest.csv", bank=folder / "bank")
    bank = task.bank
    rows = [face.row for face in bank.rows]
    source = PairSource(bank=folder / "bank", rows=rows, options=task.recipe.pairs, seed=5)
    render(source, count=40, folder=tmp_path, console=quiet, processes=1)
    allowed = training_rows(bank, everything)
    pairs = RenderedPairs(tmp_path, allowed, seed=0)
    assert 0 < pairs.distinct < 40
    shown = [pairs[i] for i in range(pairs.distinct)]
    assert {example["row"] for example in shown} <= set(allowed)
    assert {example["other"] for example in shown} <= {*allowed, -1}
    # The same pixels as made on the spot, and each pair once before any comes again.
    at_once = {
        example["real"].tobytes() for example in map(source.examples().__getitem__, range(40))
    }
    assert {example["real"].tobytes() for example in shown} <= at_once
    assert len({example["fake"].tobytes() for example in shown}) == pairs.distinct


def test_every_fold_and_cluster_is_left_out_once_in_the_latin_plan() -> None:
    runs = list(plan("latin"))
    assert len(runs) == FOLDS * len(CLUSTERS)
    assert len({(run.fold, run.cluster) for run in runs}) == len(runs)
    assert {run.seed for run in runs} == set(SEEDS)
    assert len(list(plan("full"))) == FOLDS * len(CLUSTERS) * len(SEEDS)
    assert {run.fold for run in plan("folds")} == set(range(FOLDS))


def test_a_run_of_cross_validation_scores_the_fold_that_it_left_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossval, "read_recipe", lambda _path, changes: changed(folder, changes))
    run = next(plan("folds"))
    scores = crossval.run_one(Path("classifier"), [], run, tmp_path, quiet)
    bank = FaceBank.open(folder / "bank")
    scored = {json.loads(line)["clip"] for line in scores.read_text().splitlines()}
    options = DataOptions(
        manifest=folder / "manifest.csv", bank=folder / "bank", folds=FOLDS, fold=run.fold
    )
    trained = {bank.rows[row].group for row in training_rows(bank, options)}
    assert scored
    assert not {face.group for face in bank.rows if face.clip in scored} & trained
    written = scores.stat().st_mtime_ns
    assert crossval.run_one(Path("classifier"), [], run, tmp_path, quiet) == scores
    assert scores.stat().st_mtime_ns == written


def changed(folder: Path, changes: list[str]) -> dict[str, object]:
    raw = recipe(folder)
    for change in changes:
        place, _, value = change.partition("=")
        section, key = place.split(".")
        raw[section][key] = ["early"] if key == "leave_out" else int(value)
    return raw


def test_scores_are_in_the_order_of_the_rows(folder: Path) -> None:
    task = ClassifierTask(recipe(folder))
    network = task.network().eval()
    rows = [5, 0, 3]
    together = score_rows(network, task.bank, rows)
    alone = [score_rows(network, task.bank, [row])[0] for row in rows]
    assert np.allclose(together, alone, atol=1e-4)
