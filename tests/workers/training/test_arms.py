"""Do arms differ in their pairs alone, and are they compared on people whom none of them saw?"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from app import cli
from tests.workers.training.in_this_process import InThisProcess
from tests.workers.training.split_bank import make_split_bank
from workers.training import arms, rendered
from workers.training.arms import read_arms_recipe, run_arms
from workers.training.arms_figures import compared, tables
from workers.training.bank import FaceBank
from workers.training.errors import BadDataset, BadRecipe
from workers.training.evaluate.metrics import auc, auc_difference, auc_interval, auc_of_runs
from workers.training.evaluate.scores import ClipScore
from workers.training.manifest import Row, make_manifest, write_manifest

quiet = Console(quiet=True)
SMALL = """
task = "arms"

[arms]
recipe = "{folder}/classifier.toml"
names = ["sbi", "recomposited"]
seeds = [0, 1]
rendered = 0

[data]
manifest = "{folder}/manifest.csv"
bank = "{folder}/bank"
generated = "{folder}/forged"
leave_out = ["forger-two"]

[base.run]
steps = 2

[tests.unseen_people]
words = "People that are not known"
bank = "{folder}/forged"
methods = ["forger-*"]
expected = {{ recomposited = "about a coin's", recomposited-sbi = "nothing" }}

[tests.labelled]
words = "Labelled clips"
bank = "{folder}/bank"
split = "val"
reals = "all"
by_family = true
"""
CLASSIFIER = """
task = "classifier"

[run]
seed = 7
steps = 5
batch = 2
loader_workers = 0
threads = 1
pictures_every = 0
validate_every = 0

[optimiser]
rate = 1e-3
warmup_steps = 1

[data]
manifest = "none"
bank = "none"

[network]
architecture = "mobilenet"
initial = "random"

[pairs]
view_px = 64
side_px = 64
self_blend_share = 0.6
cross_blend_share = 0.2

[pairs.degrade]
h264_share = 0.0
"""


def rows_of(bank: FaceBank) -> Iterable[Row]:
    for face in {face.path: face for face in bank.rows}.values():
        yield Row(
            path=face.path,
            sha256=f"{face.row:064x}",
            kind="picture" if face.kind == "picture" else "video",
            clip=face.clip,
            label="fake" if face.label == "fake" else "real",
            method=face.method,
            family=face.family,
            group=face.group,
            dataset=face.dataset,
            split=face.split,  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with its manifest, a bank of what forgers made of the same people, and recipes."""
    folder = tmp_path_factory.mktemp("arms")
    bank = make_split_bank(folder / "bank")
    make_split_bank(folder / "forged", methods=("forger-two", "forger-one"), stills=0)
    write_manifest(folder / "manifest.csv", make_manifest(rows_of(bank), root=folder))
    (folder / "classifier.toml").write_text(CLASSIFIER)
    (folder / "arms.toml").write_text(SMALL.format(folder=folder))
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> dict[str, Any]:
    return run_arms(folder / "arms.toml", folder / "out", console=quiet)


def test_every_arm_and_seed_is_a_run_of_as_many_steps(done: dict[str, Any], folder: Path) -> None:
    names = {"sbi-seed0", "sbi-seed1", "recomposited-seed0", "recomposited-seed1"}
    assert set(done["runs"]) == names
    assert {run["steps"] for run in done["runs"].values()} == {2}
    assert all((folder / "out" / name / "network.pt").is_file() for name in names)
    assert len({run["network_sha256"] for run in done["runs"].values()}) == 4


def test_arms_differ_in_their_pairs_alone(done: dict[str, Any], folder: Path) -> None:
    recipes = [
        json.loads((folder / "out" / f"{arm}-seed0" / "recipe.json").read_text())
        for arm in ("sbi", "recomposited")
    ]

    assert {name for name in recipes[0] if recipes[0][name] != recipes[1][name]} == {
        "data",
        "pairs",
    }
    assert [recipe["data"].pop("generated") is None for recipe in recipes] == [True, False]
    assert recipes[0]["data"] == recipes[1]["data"]
    assert done["arms"]["sbi"]["pairs"] == {
        "self_blend": 0.75, "cross_blend": 0.25, "generated": 0, "recomposited": 0, "labelled": 0
    }  # fmt: skip
    assert done["arms"]["recomposited"]["pairs"] == {
        "self_blend": 0.525,
        "cross_blend": 0.175,
        "generated": 0.15,
        "recomposited": 0.15,
        "labelled": 0,
    }
    assert done["arms"]["recomposited"]["trained_on"]["fake_looks"] == {"forger-one": 6}
    assert done["arms"]["sbi"]["trained_on"]["fake_looks"] == {}


def test_figures_are_the_means_of_the_runs_with_their_difference(done: dict[str, Any]) -> None:
    figures = done["tests"]["unseen_people"]["of"]["all"]

    assert (figures["fakes"], figures["reals"]) == (1, 1)
    for row in (*figures["auc"].values(), *figures["differences"].values()):
        assert row["value"] == pytest.approx(np.mean(row["by_run"]))
        assert np.isnan(row["low"])  # one group
    first, second = (figures["auc"][arm]["value"] for arm in ("recomposited", "sbi"))
    assert figures["differences"]["recomposited-sbi"]["value"] == pytest.approx(first - second)
    assert "face blur" in figures["baselines"]


def test_tables_line_up_and_have_what_was_expected(done: dict[str, Any], folder: Path) -> None:
    text = (folder / "out" / "arms.md").read_text()

    assert text == tables(done)
    assert "about a coin's" in text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3
    for block in blocks:
        assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in block}) == 1
    assert json.loads((folder / "out" / "arms.json").read_text())["tests"].keys() == {
        "unseen_people",
        "labelled",
    }


def test_what_is_done_is_neither_trained_nor_asked_again(
    done: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(arms, "score_rows", never)
    monkeypatch.setattr(arms, "_train_one", never)
    monkeypatch.setattr(arms, "render", never)

    again = run_arms(folder / "arms.toml", folder / "out", console=quiet)

    assert tables(again) == tables(done)
    assert again["runs"] == done["runs"]


def test_rendered_pairs_are_shared_by_the_seeds_and_removed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendered, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(InThisProcess, "started", 0)
    changes = ["arms.rendered=4", 'arms.names=["sbi", "generated"]', "base.run.steps=1"]

    run_arms(folder / "arms.toml", tmp_path, changes, console=quiet)

    assert InThisProcess.started == 2  # one an arm, not one a run
    assert not list((tmp_path / "pairs").iterdir())


def test_a_test_of_people_who_are_trained_on_is_refused(folder: Path, tmp_path: Path) -> None:
    seen = ["tests.unseen_people.split=train"]
    with pytest.raises(BadDataset, match="'unseen_people' shows 4 groups that arms are trained on"):
        run_arms(folder / "arms.toml", tmp_path, seen, console=quiet)


def test_a_test_of_a_known_forger_is_refused_where_it_was_to_be_unknown(
    folder: Path, tmp_path: Path
) -> None:
    known = ["tests.unseen_people.architectures=unseen"]
    with pytest.raises(BadDataset, match=r"fakes of forger-one.*data\.leave_out"):
        # Groups of the test split have fakes of the forger that is trained on.
        run_arms(folder / "arms.toml", tmp_path, known, console=quiet)


def test_a_test_without_fakes_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    none = ['tests.labelled.methods=["nobody*"]']
    with pytest.raises(BadDataset, match=r"'labelled'.* 0 looks at fakes of nobody"):
        run_arms(folder / "arms.toml", tmp_path, none, console=quiet)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("arms.seeds=[0]", "arms.seeds"),
        ("arms.seeds=[1, 1]", "one twice"),
        ('arms.names=["sbi", "gan"]', "arms.names"),
        ("tests.labelled.expected.gan=more", "gan"),
        ("base=1", "section.key=value"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(folder: Path, change: str, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        read_arms_recipe(folder / "arms.toml", [change])


def test_arms_that_learn_from_forgers_need_what_they_made(folder: Path, tmp_path: Path) -> None:
    text = (folder / "arms.toml").read_text().replace("generated = ", "# ")
    (tmp_path / "arms.toml").write_text(text)

    with pytest.raises(BadRecipe, match="deepverdict train generate"):
        read_arms_recipe(tmp_path / "arms.toml")


def test_the_shipped_recipe_can_be_read() -> None:
    options = read_arms_recipe(Path("arms"))

    assert options.arms.names == arms.ARMS
    assert {test.people for test in options.tests.values()} == {"unseen"}


def test_the_auc_of_one_run_is_that_of_its_scores() -> None:
    random = np.random.default_rng(0)
    is_fake = np.arange(40) % 2 == 0
    groups = [f"g{i // 4}" for i in range(40)]
    one, two = random.normal(0, 1, (2, 40)) + is_fake

    assert auc_of_runs(one[None], is_fake, groups) == auc_interval(one, is_fake, groups)
    between = auc_of_runs(one[None], is_fake, groups, against=two[None])
    assert between == auc_difference(one, two, is_fake, groups)
    both = auc_of_runs(np.stack([one, two]), is_fake, groups)
    assert both.value == pytest.approx((auc(one, is_fake) + auc(two, is_fake)) / 2)


def test_a_family_is_compared_with_all_real_clips() -> None:
    kinds = [("real", "real")] * 4 + [("fake", "swap")] * 3 + [("fake", "rare")]
    clips = [
        ClipScore(
            clip=f"c{i}", label=label, method=family, family=family, group=f"g{i}",
            dataset="", quality="", logit=0.0, frames=1,
        )
        for i, (label, family) in enumerate(kinds)
    ]  # fmt: skip
    right = np.array([0, 0, 0, 0, 1, 1, 1, -1.0])

    found = compared(clips, {"sbi": [right], "generated": [right]}, {}, by_family=True)

    assert set(found) == {"all", "swap"}
    assert (found["swap"]["fakes"], found["swap"]["reals"]) == (3, 4)
    assert found["swap"]["auc"]["sbi"]["value"] == 1
    assert found["all"]["auc"]["sbi"]["value"] == 0.75


def test_intervals_are_over_groups_or_over_source_clips_and_of_one_there_is_none() -> None:
    def clip(name: str, label: str, pair: str) -> ClipScore:
        return ClipScore(
            clip=name, label=label, method="m", family="f", group="anna+ben", dataset="",
            quality="", logit=0.0, frames=1, pair=pair,
        )  # fmt: skip

    clips = [clip(f"r{i}", "real", "") for i in range(6)]
    clips += [clip(f"f{i}", "fake", f"r{i}") for i in range(6)]
    scores = np.array([0.0, 1, 2, 3, 4, 5, 1.5, 0.5, 6, 2.5, 7, 8])
    arms_of = {"sbi": [scores], "generated": [scores]}

    by_group = compared(clips, arms_of, {}, by_family=False)["all"]["auc"]["sbi"]
    by_source = compared(clips, arms_of, {}, by_family=False, drawn="source")["all"]

    assert np.isnan([by_group["low"], by_group["high"]]).all()
    assert by_source["units"] == 6
    low, value, high = (by_source["auc"]["sbi"][end] for end in ("low", "value", "high"))
    assert value == by_group["value"]
    assert low < value < high


def test_the_command_passes_on_what_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(arms, "run_arms", lambda *arguments, **_options: asked.extend(arguments))

    shown = CliRunner().invoke(
        cli.app, ["train", "arms", "--recipe", "mine.toml", "--set", "arms.at_once=2"]
    )

    assert shown.exit_code == 0, shown.output
    assert asked == [Path("mine.toml"), Path("out/mine"), ["arms.at_once=2"]]
