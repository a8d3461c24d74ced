"""Does the loop promote what is better, reject what is not, and refuse what proves nothing?"""

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from app.settings import Settings
from models.package import read_package
from models.registry import Registry
from tests.make_models import (
    install,
    make_classifier_onnx,
    make_entry,
    make_registry,
    make_segmenter_onnx,
    make_training,
)
from tests.media import make_video
from tests.workers.training.evaluate.banks import make_bank, make_face, make_picture
from workers.kit import build_registry
from workers.training.bank import FaceBank
from workers.training.errors import BadDataset, BadRecipe
from workers.training.manifest import DataManifest, Row, make_manifest, write_manifest
from workers.training.rounds.command import run_loop
from workers.training.rounds.work import Tools

BLIND, RIGHT = make_classifier_onnx(slope=0.0), make_classifier_onnx()
CLIPS, LOOKS = 20, 2
RECIPE = """
task = "loop"

[data]
manifest = "{root}/data.csv"
bank = "{root}/bank"

[[pairs]]
name = "anna-bert"
a = ["anna.mp4"]
b = ["bert.mp4"]
steps = 5

[[classifiers]]
recipe = "classifier"

[segmenter]
recipe = "segmenter"

[calibration]
name = "calibration"
manifest = "{root}/data.csv"
splits = ["cal"]

[[frozen]]
name = "forgers"
manifest = "{root}/frozen.csv"
is_primary = true
shown = ["iou"]

[[frozen]]
name = "labelled"
manifest = "{root}/data.csv"
guards = ["auc", "compressed_auc", "false_positives", "false_area"]
"""


def make_row(path: str, **changes: object) -> Row:
    values: dict[str, object] = {
        "path": path,
        "sha256": hashlib.sha256(path.encode()).hexdigest(),
        "kind": "video",
        "clip": path,
        "label": "real",
        "method": "phone",
        "family": "real",
        "group": path.split(".", maxsplit=1)[0],
        "dataset": "drawn",
        "split": "test",
    }
    return Row(**(values | changes))  # type: ignore[arg-type]


def make_clips(prefix: str, *, split: str, method: str, videos: int = 0) -> list[Row]:
    """List clips, every other one a fake, each of somebody else; the first of them videos."""
    rows = []
    for number in range(CLIPS):
        fake = {"label": "fake", "method": method, "family": "faceswap"} if number % 2 else {}
        common = {"split": split, "group": f"{prefix}{number}", **fake}
        if number < videos:
            rows.append(make_row(f"{prefix}{number}.mp4", **common))
        else:
            clip = f"{prefix}{number}"
            rows += [
                make_row(f"{clip}-{look}.png", kind="picture", clip=clip, **common)
                for look in range(LOOKS)
            ]
    return rows


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two people to learn from, clips to draw lines on, clips to judge by, and their banks."""
    root = tmp_path_factory.mktemp("loop")
    labelled = [
        make_row("anna.mp4", split="train"),
        make_row("bert.mp4", split="train"),
        *make_clips("cal", split="cal", method="deepfakes"),
        *make_clips("test", split="test", method="deepfakes", videos=4),
    ]
    of_forgers = make_clips("unseen", split="test", method="forger-plain-64")
    for name, rows in (("data", labelled), ("frozen", of_forgers)):
        for row in rows:
            if row.path.startswith("test") and row.kind == "video":
                make_video(root / row.path, frames=LOOKS, size=(320, 320), codec="libx264")
            else:
                (root / row.path).write_bytes(b"not looked into")
        manifest = make_manifest(rows, root=root)
        write_manifest(root / f"{name}.csv", manifest)
        make_faces(root / f"bank-{manifest.sha256}", manifest)
    (root / "loop.toml").write_text(RECIPE.format(root=root))
    return root


def make_faces(folder: Path, data: DataManifest) -> FaceBank:
    """Cut out faces that are bright in fakes and dark in real clips."""
    faces = [
        make_face(
            at,
            **{
                name: getattr(row, name)
                for name in (
                    *("path", "clip", "kind", "label", "method", "family", "group", "dataset"),
                    "split",
                )
            },
            frame_index=look,
            pts_s=look / 5,
            has_mask=row.label == "fake",
        )
        for at, (row, look) in enumerate(
            (row, look) for row in data.rows for look in range(LOOKS if row.kind == "video" else 1)
        )
    ]
    return make_bank(
        folder,
        faces,
        lambda face: make_picture(190 if face.label == "fake" else 60, seed=face.row),
    )


class FakeTools:
    """Commands that take no time; the classifier that is trained is the one that is given."""

    def __init__(self, root: Path, *, classifier: bytes = RIGHT, method: str = "forger-masked-64"):
        self.calls: list[str] = []
        self._root, self._classifier, self._method = root, classifier, method
        self.fails_at = ""

    def tools(self) -> Tools:
        return Tools(
            curate=self.curate,
            train_forger=self.train_forger,
            read_record=self.read_record,
            generate=self.generate,
            open_bank=self.open_bank,
            train=self.train,
        )

    def curate(self, sources: Sequence[Path], folder: Path, options: object, *, console: Console):
        self._called(f"curate {sources[0].name}")
        folder.mkdir()
        (folder / "set.json").write_text("{}")
        return range(64)

    def train_forger(self, a, b, folder: Path, *, recipe, overrides, steps, console):
        self._called(f"forger of {a[0].name} and {b[0].name}, {steps} steps")
        assert (folder / "faces" / "a" / "set.json").exists()
        assert "network.initial=random" in overrides

    def read_record(self, folder: Path):
        return SimpleNamespace(
            architecture="masked-64", network_sha256="3" * 64, steps=5, measures={"ssim_a": 0.8}
        )

    def generate(self, forgers, manifest, folder: Path, options, *, console, root, told):
        self._called("generate")
        told(1, 1)
        real = make_row("real/anna.mp4", group="anna+bert", split="train")
        fake = make_row(
            "fake/anna.mp4",
            label="fake",
            method=self._method,
            family="faceswap",
            group="anna+bert",
            split="train",
            pair=real.clip,
        )
        made = make_manifest([real, fake], root=folder)
        write_manifest(folder / "manifest.csv", made)
        return made

    def open_bank(self, data: DataManifest, folder: Path, *, console: Console, **_: Any):
        kept = self._root / f"bank-{data.sha256}"
        return FaceBank.open(kept) if kept.exists() else None

    def train(self, task: str, recipe: Path, folder: Path, overrides: Sequence[str], console):
        self._called(f"train {task}")
        content = self._classifier if task == "classifier" else make_segmenter_onnx()
        name = {"classifier": "frame_classifier", "segmenter": "fake_segmenter"}[task]
        (folder / f"{name}.onnx").write_bytes(content)
        record = {
            "task": task,
            "network": name,
            "onnx": f"{name}.onnx",
            "onnx_sha256": hashlib.sha256(content).hexdigest(),
            "code": "0.1.0",
            "recipe_sha256": "1" * 64,
            "data_manifest_sha256": "2" * 64,
            "seed": 0,
            "steps": 7,
            "seconds": 60.0,
            "machine": "a machine",
        }
        (folder / "run.json").write_text(json.dumps(record))

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.fails_at and what.startswith(self.fails_at):
            raise BadDataset("two sets of one person; give another clip")


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    """Networks in use: a classifier that sees nothing, and a segmenter."""
    folder = tmp_path_factory.mktemp("registry")
    networks = {"frame_classifier": BLIND, "fake_segmenter": make_segmenter_onnx()}
    entries = {
        name: make_entry(content, name=name, training=make_training())
        for name, content in networks.items()
    }
    made = make_registry(folder, *entries.values())
    for name, entry in entries.items():
        install(made, entry, networks[name])
    return made


def run(root: Path, out: Path, fake: FakeTools, registry: Registry, *overrides: str):
    console = Console(file=io.StringIO(), width=200)
    story = run_loop(
        root / "loop.toml",
        out,
        overrides,
        console=console,
        registry=registry,
        tools=fake.tools(),
    )
    return story, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def promoted(root, registry, tmp_path_factory):
    """A loop whose candidate is right, which the classifier in use never is."""
    out = tmp_path_factory.mktemp("promoted") / "out"
    fake = FakeTools(root)
    story, said = run(root, out, fake, registry)
    return SimpleNamespace(out=out, story=story, said=said, calls=fake.calls)


def test_a_candidate_that_is_proved_better_is_promoted(promoted):
    assert promoted.story.decision.promoted, promoted.story.decision.reasons
    assert "PROMOTED" in promoted.said
    assert promoted.calls == [
        "curate anna.mp4",
        "curate bert.mp4",
        "forger of anna.mp4 and bert.mp4, 5 steps",
        "generate",
        "train classifier",
        "train segmenter",
    ]


def test_the_package_is_one_that_can_be_promoted(promoted):
    package = read_package(promoted.out / "candidate", build_registry(Settings()))

    by_name = {candidate.entry.name: candidate.entry for candidate in package.candidates}
    assert package.measured.promote
    assert set(by_name) == {"frame_classifier", "fake_segmenter"}
    entry = by_name["frame_classifier"]
    assert entry.version == "1.1"
    assert entry.sha256 == hashlib.sha256(RIGHT).hexdigest()
    assert entry.calibration is not None
    assert entry.calibration.real_clips == CLIPS / 2
    assert entry.training is not None
    assert entry.training.recipe_sha256 == "1" * 64
    assert "forger-masked-64; data manifest sha256:" in entry.trained_on
    assert "1.00 (forgers), 1.00 (labelled)" in (entry.caveat or "")
    assert by_name["fake_segmenter"].calibration is None


def test_the_report_tells_of_every_stage_and_figure(promoted):
    text = (promoted.out / "report.md").read_text()

    for words in (
        "**PROMOTED.**",
        "| AUC (forgers) | 0.500 | 1.000 | +0.500 |",
        "| AUC, strongly compressed (labelled) |",
        "| false positives on real clips (labelled) |",
        "| area marked on real faces (labelled) |",
        "| overlap of masks on fakes (forgers) |",
        "| generate |",
        "- Forger anna-bert (masked-64): 5 steps; on faces it had not seen: SSIM of a 0.80.",
        "- Measured on forgers: 10 manipulated and 10 real clips, groups of people: 20 ",
        "- frame_classifier: 1.0 to 1.1.",
    ):
        assert words in text
    state = json.loads((promoted.out / "state.json").read_text())
    assert state["stage"] == "gate"


def test_a_loop_that_is_done_does_nothing_again(promoted, root, registry):
    fake = FakeTools(root)

    story, said = run(root, promoted.out, fake, registry)

    assert fake.calls == []
    assert story.decision == promoted.story.decision
    assert said.count("done before") == 9


def test_a_candidate_that_is_no_better_is_rejected_with_the_table(root, registry, tmp_path):
    story, said = run(root, tmp_path, FakeTools(root, classifier=BLIND), registry)

    assert not story.decision.promoted
    assert "AUC (forgers): 0.500 to 0.500" in story.decision.reasons[0]
    assert "REJECTED" in said
    assert not read_package(tmp_path / "candidate", build_registry(Settings())).measured.promote


def test_a_stage_that_fails_keeps_what_was_made_before_it(root, registry, tmp_path):
    fake = FakeTools(root)
    fake.fails_at = "forger"
    with pytest.raises(BadDataset, match="two sets of one person"):
        run(root, tmp_path, fake, registry)

    again = FakeTools(root)
    again.fails_at = "generate"
    with pytest.raises(BadDataset):
        run(root, tmp_path, again, registry)

    assert again.calls == ["forger of anna.mp4 and bert.mp4, 5 steps", "generate"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("calibration.splits=['train']", "has 2 real clips; a line wants 10"),
        ("data.manifest=nowhere.csv", "there is no data manifest nowhere.csv"),
        ("data.root=/nowhere", "2 of 2 files of the pair 'anna-bert' are not in /nowhere"),
        ("gate.compressed=cassette", "want one of"),
        ("gate.margins.auc=2", "less than or equal to 1"),
        ("run.tempo=3", "run.tempo: Extra inputs"),
        ("current.tempo=3", "current.tempo: Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(
    root, registry, tmp_path, override, words
):
    fake = FakeTools(root)

    with pytest.raises(BadRecipe, match=words):
        run(root, tmp_path / "out", fake, registry, override)

    assert fake.calls == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('a = ["anna.mp4"]', 'a = ["zoe.mp4"]'), "zoe.mp4 is no real clip of"),
        (('a = ["anna.mp4"]', 'a = ["test0.mp4"]'), "lies in the split test, and networks learn"),
        (('a = ["anna.mp4"]', "a = []"), "at least 1 item"),
        (("steps = 5", 'steps = 5\ninitial = "later"'), "starts from 'later': want one of random"),
        (("is_primary = true", ""), "want one frozen set with is_primary = true"),
        (('"false_positives", ', ""), "no frozen set guards false_positives"),
        (('name = "labelled"', 'name = "forgers"'), "frozen with one name: forgers"),
        (('recipe = "classifier"', 'recipe = "nowhere"'), "cannot read the recipe nowhere"),
        (("[segmenter]\nrecipe", "[other]\nrecipe"), "other: Extra inputs"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(root, registry, tmp_path, change, words):
    assert change[0] in RECIPE
    recipe = tmp_path / "changed.toml"
    recipe.write_text(RECIPE.replace(*change).format(root=root))

    with pytest.raises(BadRecipe, match=words):
        run_loop(
            recipe,
            tmp_path / "out",
            console=Console(quiet=True),
            registry=registry,
            tools=FakeTools(root).tools(),
        )


def test_frozen_people_who_are_trained_on_are_refused_at_once(root, registry, tmp_path):
    changed = tmp_path / "data"
    shutil.copytree(root, changed, ignore=shutil.ignore_patterns("bank-*"))
    rows = make_clips("unseen", split="test", method="forger-plain-64")
    rows.append(make_row("anna2.mp4", group="anna"))
    (changed / "anna2.mp4").write_bytes(b"anna again")
    write_manifest(changed / "frozen.csv", make_manifest(rows, root=changed))
    (changed / "loop.toml").write_text(RECIPE.format(root=changed))
    fake = FakeTools(changed)

    with pytest.raises(BadRecipe, match=r"'forgers' .* shares 1 groups .* anna \(in anna.mp4\)"):
        run(changed, tmp_path / "out", fake, registry)
    assert fake.calls == []


def test_an_architecture_that_the_loop_makes_itself_proves_nothing_new(root, registry, tmp_path):
    fake = FakeTools(root, method="forger-plain-64")

    with pytest.raises(BadRecipe, match="holds fakes of forger-plain-64, which the loop makes"):
        run(root, tmp_path, fake, registry)
    assert "train classifier" not in fake.calls

    fake.fails_at = "train"
    with pytest.raises(BadDataset):
        run(root, tmp_path, fake, registry, "gate.is_unseen_architecture=false")
    assert fake.calls[-1] == "train classifier"
