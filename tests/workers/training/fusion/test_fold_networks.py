"""Is the network of a fold made of the runs that left that fold out, by the weights asked for?"""

from pathlib import Path

import pytest

from workers.training.checkpoints import NETWORK_FILE
from workers.training.committee import Member
from workers.training.errors import BadRecipe
from workers.training.fusion.fold_networks import main, members_of


def _finished(run: Path) -> Path:
    """Leave behind what a run of a cross-validation leaves, beside its scores."""
    run.mkdir(parents=True)
    (run / NETWORK_FILE).touch()
    run.with_suffix(".jsonl").touch()
    return run


def test_a_fold_gets_the_runs_of_each_recipe_by_its_weight(tmp_path):
    a0, a0_too, a1, b0, b1 = (
        _finished(tmp_path / name)
        for name in (
            "a/fold0-swaps-seed0",
            "a/fold0-swaps-seed1",
            "a/fold1-swaps-seed0",
            "b/fold0-swaps-seed0",
            "b/fold1-swaps-seed0",
        )
    )

    found = members_of(
        [Member(run=tmp_path / "a", weight=0.6), Member(run=tmp_path / "b", weight=2.0)]
    )

    assert found == {
        0: [
            Member(run=a0, weight=0.3),
            Member(run=a0_too, weight=0.3),
            Member(run=b0, weight=2.0),
        ],
        1: [Member(run=a1, weight=0.6), Member(run=b1, weight=2.0)],
    }


def test_recipes_that_have_other_folds_are_refused(tmp_path):
    _finished(tmp_path / "a/fold0-swaps-seed0")
    _finished(tmp_path / "b/fold1-swaps-seed0")
    both = [Member(run=tmp_path / name, weight=1.0) for name in ("a", "b")]

    with pytest.raises(BadRecipe, match="same folds"):
        members_of(both)


def test_a_fold_that_is_not_trained_to_its_end_is_refused(tmp_path, capsys):
    (tmp_path / "a" / "fold0-swaps-seed0").mkdir(parents=True)

    with pytest.raises(BadRecipe, match="not finished"):
        members_of([Member(run=tmp_path / "a", weight=1.0)])
    assert main([f"{tmp_path / 'nowhere'}=1", "--out", str(tmp_path)]) == 1
    assert "same folds" in capsys.readouterr().err
