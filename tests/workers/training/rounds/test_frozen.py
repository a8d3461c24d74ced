"""Is a set refused that shares anybody, or any file, with what is trained on?"""

from dataclasses import replace
from pathlib import Path

import pytest

from workers.training.errors import BadRecipe
from workers.training.manifest import Row, make_manifest
from workers.training.rounds.frozen import (
    check_unseen,
    check_unseen_methods,
    judged_rows,
    path_of,
    trained_rows,
)
from workers.training.rounds.recipe import FrozenSet


def make_row(number: int, **changes: object) -> Row:
    values: dict[str, object] = {
        "path": f"{number}.mp4",
        "sha256": f"{number:064x}",
        "kind": "video",
        "clip": f"{number}.mp4",
        "label": "real",
        "method": "phone",
        "family": "real",
        "group": f"g{number}",
        "dataset": "phone",
        "split": "train",
    }
    return Row(**(values | changes))  # type: ignore[arg-type]


def make_set(**changes: object) -> FrozenSet:
    values: dict[str, object] = {"name": "labelled", "manifest": Path("data.csv")}
    return FrozenSet.model_validate(values | changes)


def test_a_set_of_other_people_and_files_is_taken():
    check_unseen(make_set(), [make_row(1)], [make_row(2), make_row(3)])


def test_a_file_that_is_trained_on_is_found_under_any_name():
    same = make_row(2, sha256=make_row(1).sha256)

    with pytest.raises(BadRecipe, match=r"'labelled' \(data.csv\) holds 1 files .*2.mp4 is 1.mp4"):
        check_unseen(make_set(), [same], [make_row(1)])


def test_a_group_that_is_trained_on_is_found():
    with pytest.raises(BadRecipe, match=r"shares 1 groups.*anna \(in 2.mp4\)"):
        check_unseen(make_set(), [make_row(1, group="anna")], [make_row(2, group="anna")])


@pytest.mark.parametrize(
    ("frozen", "trained"), [("anna", "anna+bert"), ("anna+bert", "bert"), ("anna+x", "anna+y")]
)
def test_people_are_found_in_groups_that_forgers_joined(frozen, trained):
    with pytest.raises(BadRecipe, match="whoever is trained on cannot be tested on"):
        check_unseen(make_set(), [make_row(1, group=frozen)], [make_row(2, group=trained)])


def test_only_what_networks_learn_from_counts_as_seen():
    rows = [make_row(1), make_row(2, split="test"), make_row(3, split="val")]

    assert trained_rows(make_manifest(rows, root=Path())) == [rows[0]]


def test_a_set_is_of_its_splits_and_its_methods():
    fake = {"label": "fake", "family": "faceswap", "split": "test"}
    data = make_manifest(
        [
            make_row(1),
            make_row(2, split="test"),
            make_row(3, method="forger-plain-64", **fake),
            make_row(4, method="deepfakes", **fake),
            make_row(5, split="test", label="no_face"),
        ],
        root=Path(),
    )

    found = judged_rows(data, make_set(methods=("forger-plain-64",)))

    assert [row.path for row in found] == ["2.mp4", "3.mp4"]


def test_a_set_without_clips_is_refused():
    data = make_manifest([make_row(1)], root=Path())

    with pytest.raises(BadRecipe, match="has no clip of the splits test"):
        judged_rows(data, make_set())


def test_the_primary_set_may_not_hold_an_architecture_that_is_generated():
    fake = make_row(1, label="fake", method="forger-masked-64")

    check_unseen_methods(make_set(), [fake], ["forger-masked-128"])
    with pytest.raises(BadRecipe, match="holds fakes of forger-masked-64, which the loop makes"):
        check_unseen_methods(make_set(), [fake], ["forger-masked-64"])
    check_unseen_methods(make_set(), [replace(fake, label="real")], ["forger-masked-64"])


def test_a_manifest_that_is_not_there_is_told_with_how_to_make_one(tmp_path):
    with pytest.raises(BadRecipe, match="deepverdict train generate"):
        path_of(tmp_path / "frozen.csv")
