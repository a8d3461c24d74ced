"""How the frame classifier learns."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from rich.console import Console

from models.convert.mesonet import convert_meso4
from models.nets.face_classifier import FaceClassifier, ServedClassifier
from models.nets.meso4 import Meso4
from tests.workers.training.split_bank import make_split_bank
from workers.training import crossval
from workers.training.bank import FaceBank
from workers.training.checkpoints import load_network
from workers.training.committee import Member, join
from workers.training.crossval import CLUSTERS, FOLDS, SEEDS, plan
from workers.training.errors import BadRecipe
from workers.training.initial import load_meso4
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


def test_meso4_judges_all_that_is_served() -> None:
    torch.manual_seed(0)
    served = ServedClassifier(Meso4()).eval()
    faces = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8)
    said = served(faces)
    assert said.shape == (2,)
    faces[0, :8] = 255
    assert (served(faces) != said).tolist() == [True, False]


def test_a_start_that_is_another_network_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "meso.h5").write_bytes(b"not one")
    raw = recipe(folder)
    raw["pairs"] = {"view_px": 256, "side_px": 256}
    raw["network"] = {"architecture": "meso4", "weights": tmp_path / "meso.h5"}
    with pytest.raises(BadRecipe, match="published Meso-4"):
        ClassifierTask(raw).network()


@pytest.mark.shared
def test_meso4_starts_where_its_authors_left_it(shared_weights: Path) -> None:
    network = Meso4().eval()
    path = shared_weights / "meso4_f2f.h5"
    load_meso4(network, path)
    faces = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(convert_meso4(path.read_bytes()))
    (converted,) = session.run(None, {"faces": faces})
    assert np.allclose(network(torch.from_numpy(faces)).detach().numpy(), converted, atol=1e-3)


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
    assert {score.clip for score in crossval.collected(tmp_path, bank)} == scored
    assert scores.stat().st_mtime_ns == written


def changed(folder: Path, changes: list[str]) -> dict[str, object]:
    raw = recipe(folder)
    for change in changes:
        place, _, value = change.partition("=")
        section, key = place.split(".")
        raw[section][key] = ["early"] if key == "leave_out" else int(value)
    return raw


def test_a_finished_network_lies_between_where_it_started_and_where_it_went(folder: Path) -> None:
    raw = recipe(folder)
    raw["network"] = {"architecture": "mobilenet", "initial": "random", "initial_share": 0.25}
    task = ClassifierTask(raw)
    start, trained = task.network(), task.network()
    with torch.no_grad():
        for weight in trained.parameters():
            weight.add_(1.0)
    for a, b, c in zip(
        start.parameters(), task.finished(trained).parameters(), trained.parameters(), strict=True
    ):
        assert torch.allclose(b, 0.25 * a + 0.75 * c, atol=1e-6)


def test_a_committee_adds_the_log_odds_of_finished_runs(folder: Path, tmp_path: Path) -> None:
    raws = []
    for seed in (1, 2):
        raw = recipe(folder)
        raw["run"] = {**raw["run"], "seed": seed, "validate_every": 0, "pictures_every": 0}
        task = ClassifierTask(raw)
        run = tmp_path / f"run{seed}"
        train(task, run, console=quiet)
        record = {
            "task": "classifier",
            "network": "frame_classifier",
            "data_manifest_sha256": "a" * 64,
            "recipe_sha256": task.recipe.sha256,
            "onnx_sha256": "b" * 64,
            "seed": seed,
            "steps": 2,
            "seconds": 1.5,
            "machine": "one core",
        }
        (run / "run.json").write_text(json.dumps(record))
        raws.append((task, run))
    members = [Member(run=raws[0][1], weight=0.5), Member(run=raws[1][1], weight=2.0)]
    onnx = join(members, tmp_path / "both", console=quiet)
    faces = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    (together,) = onnxruntime.InferenceSession(onnx).run(None, {"faces": faces})
    alone = []
    for task, run in raws:
        network = task.network()
        network.load_state_dict(load_network(run))
        alone.append(ServedClassifier(network).eval()(torch.from_numpy(faces)).detach().numpy())
    assert np.allclose(together, 0.5 * alone[0] + 2.0 * alone[1], atol=1e-4)
    story = json.loads((tmp_path / "both" / "run.json").read_text())
    assert [part["weight"] for part in story["members"]] == [0.5, 2.0]
    assert story["seconds"] == 3.0


def test_a_committee_of_networks_that_saw_different_data_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        record = {"task": "classifier", "data_manifest_sha256": name * 64}
        (tmp_path / name / "run.json").write_text(json.dumps(record))
    members = [Member(run=tmp_path / name, weight=1.0) for name in ("a", "b")]
    with pytest.raises(BadRecipe, match="different data"):
        join(members, tmp_path / "both", console=quiet)
    with pytest.raises(BadRecipe, match="no finished run"):
        join([Member(run=tmp_path / "c", weight=1.0)], tmp_path / "both", console=quiet)


def test_scores_are_in_the_order_of_the_rows(folder: Path) -> None:
    task = ClassifierTask(recipe(folder))
    network = task.network().eval()
    rows = [5, 0, 3]
    together = score_rows(network, task.bank, rows)
    alone = [score_rows(network, task.bank, [row])[0] for row in rows]
    assert np.allclose(together, alone, atol=1e-4)
