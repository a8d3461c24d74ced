"""Is a candidate that is to be promoted read only where everything in its folder holds?"""

import json
from pathlib import Path

import pytest

from app.errors import ModelUnavailable, PromotionRefused
from app.settings import Settings
from models.manifest import ManifestEntry
from models.package import read_package
from models.registry import Presence, Registry
from tests.make_models import (
    install,
    make_canary,
    make_classifier_onnx,
    make_entry,
    make_onnx,
    make_registry,
    make_training,
)
from tests.make_packages import CLASSIFIER, SEGMENTER, make_candidate, make_package
from workers.kit import build_registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The networks that come with the program."""
    return build_registry(Settings(_env_file=None, data_dir=tmp_path / "data"))


def changed(
    candidate: tuple[ManifestEntry, bytes], **fields: object
) -> tuple[ManifestEntry, bytes]:
    return candidate[0].model_copy(update=fields), candidate[1]


def test_a_package_is_read_with_its_decision_under_the_names_of_the_files_to_serve(
    registry: Registry, tmp_path: Path
):
    classifier, segmenter = make_candidate(), make_candidate(SEGMENTER, "2.0")
    folder = make_package(tmp_path / "candidate", classifier, segmenter)

    package = read_package(folder, registry)

    found = {c.entry.name: c for c in package.candidates}
    assert found[CLASSIFIER].content == classifier[1]
    assert found[CLASSIFIER].entry.versioned_name == "frame_classifier@1.1"
    sha8 = classifier[0].sha256[:8]
    assert found[CLASSIFIER].entry.file == f"frame_classifier-1.1-{sha8}.onnx"
    assert found[SEGMENTER].entry.file.startswith("fake_segmenter-2.0-")
    assert package.measured.promote
    assert json.loads(package.measured.model_dump_json())["metrics"] == []


def test_a_rejected_package_is_read_all_the_same(registry: Registry, tmp_path: Path):
    folder = make_package(tmp_path / "candidate", promote=False, reasons=("worse",))

    measured = read_package(folder, registry).measured

    assert (measured.promote, measured.reasons) == (False, ("worse",))


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (changed(make_candidate(), sha256="0" * 64), "its entry pins sha256:0000"),
        (changed(make_candidate(), size_bytes=10), "its entry pins"),
        (
            changed(make_candidate(), canary=make_canary("fake_logit", mean=3.0)),
            "does not answer its canary",
        ),
        (changed(make_candidate(), version="1.0"), "is what comes with the program"),
        (changed(make_candidate(), version="../1"), r"want a version such as 1\.1"),
        (changed(make_candidate(), name="yunet"), r"takes no network's place"),
    ],
)
def test_what_does_not_hold_is_refused_in_words(
    registry: Registry, tmp_path: Path, candidate: tuple[ManifestEntry, bytes], words: str
):
    folder = make_package(tmp_path / "candidate", candidate)

    with pytest.raises(PromotionRefused, match=words):
        read_package(folder, registry)


def test_a_network_that_gives_something_else_takes_nobodys_place(
    registry: Registry, tmp_path: Path
):
    content = make_classifier_onnx()  # gives `fake_logit`; a segmenter gives a mask
    entry = make_entry(content, name=SEGMENTER, training=make_training())
    wrong = (entry.model_copy(update={"version": "2.0"}), content)

    with pytest.raises(PromotionRefused, match=r"cannot take the place .* not .*'mask'"):
        read_package(make_package(tmp_path / "candidate", wrong), registry)


def test_a_network_that_wants_a_file_beside_it_is_refused(registry: Registry, tmp_path: Path):
    entry, _ = make_candidate()
    content = make_onnx([], outputs={})[:-4] + b"cut!"
    fields = make_entry(content, name=CLASSIFIER, training=make_training())
    broken = entry.model_copy(update={"sha256": fields.sha256, "size_bytes": len(content)})

    with pytest.raises(PromotionRefused, match=r"frame_classifier\.onnx: "):
        read_package(make_package(tmp_path / "candidate", (broken, content)), registry)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("frame_classifier.onnx", r"want NAME\.onnx and NAME\.json"),
        ("frame_classifier.json", r"want NAME\.onnx and NAME\.json"),
        ("decision.json", r"decision\.json cannot be read: No such file"),
    ],
)
def test_a_folder_that_lacks_something_is_refused(
    registry: Registry, tmp_path: Path, missing: str, words: str
):
    folder = make_package(tmp_path / "candidate")
    (folder / missing).unlink()

    with pytest.raises(PromotionRefused, match=words):
        read_package(folder, registry)


def test_a_folder_that_is_none_is_said_to_be_none(registry: Registry, tmp_path: Path):
    with pytest.raises(PromotionRefused, match=r"nowhere is neither .* nor NAME@VERSION"):
        read_package(tmp_path / "nowhere", registry)


@pytest.mark.parametrize("said", ["", "[]", '{"promote": "perhaps"}', '{"reasons": []}'])
def test_a_decision_that_decides_nothing_is_refused(registry: Registry, tmp_path: Path, said: str):
    folder = make_package(tmp_path / "candidate")
    (folder / "decision.json").write_text(said)

    with pytest.raises(PromotionRefused, match=r"decision\.json is not what it should be"):
        read_package(folder, registry)


def test_a_promoted_version_takes_the_place_of_the_one_of_its_name(tmp_path: Path):
    along, old = make_candidate(version="1.0", slope=17)
    promoted, new = make_candidate(version="1.1")
    promoted = promoted.model_copy(update={"file": "frame_classifier-1.1.onnx"})
    before = make_registry(tmp_path, along)
    install(before, along, old)
    after = Registry(
        shipped_dir=before.shipped_dir,
        pulled_dir=before.pulled_dir,
        manifest={along.name: along},
        promoted=[promoted],
    )

    assert after.status(CLASSIFIER).word is Presence.MISSING
    with pytest.raises(ModelUnavailable, match="deepverdict models rollback frame_classifier"):
        after.load(CLASSIFIER)
    install(after, promoted, new)
    assert after.load(CLASSIFIER).versioned_name == "frame_classifier@1.1"
    assert before.load(CLASSIFIER).versioned_name == "frame_classifier@1.0"
