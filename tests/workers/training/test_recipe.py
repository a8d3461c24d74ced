"""Is a recipe read as it was meant, and refused in words where it means nothing?"""

from pathlib import Path

import pytest

from tests.workers.training.tiny import make_recipe
from workers.training.errors import BadRecipe
from workers.training.recipe import differences, read_recipe
from workers.training.tasks import make_task

TOML = """
task = "classifier"
[run]
seed = 1
steps = 100
[data]
manifest = "a.csv"
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    return path


def test_values_on_the_command_line_take_the_place_of_the_recipes(toml: Path):
    raw = read_recipe(
        toml,
        [
            "run.steps=7",
            "data.bank=/some/where",
            "optimiser.rate=1e-3",
            'data.leave_out=["a", "b"]',
        ],
    )

    assert raw == {
        "task": "classifier",
        "run": {"seed": 1, "steps": 7},
        "data": {"manifest": "a.csv", "bank": "/some/where", "leave_out": ["a", "b"]},
        "optimiser": {"rate": 1e-3},
    }


@pytest.mark.parametrize("override", ["steps=7", "run.steps", "run.=7", ".steps=7", "task.x=1"])
def test_an_override_that_names_no_place_is_refused(toml: Path, override: str):
    with pytest.raises(BadRecipe, match="--set"):
        read_recipe(toml, [override])


def test_a_file_that_is_not_there_or_no_toml_is_refused_by_name(tmp_path: Path):
    torn = tmp_path / "torn.toml"
    torn.write_text("[run\n")

    with pytest.raises(BadRecipe, match=r"gone\.toml"):
        read_recipe(tmp_path / "gone.toml")
    with pytest.raises(BadRecipe, match=r"torn\.toml is not TOML"):
        read_recipe(torn)


def test_a_recipe_for_no_task_is_told_which_tasks_there_are():
    with pytest.raises(BadRecipe, match=r"'forger'.*classifier.*segmenter"):
        make_task({"task": "forger"})


def test_what_a_recipe_lacks_and_what_it_misspells_is_said_in_one_go():
    with pytest.raises(BadRecipe) as refused:
        make_task({"task": "classifier", "run": {"sead": 1, "steps": 0}})

    said = str(refused.value)
    assert all(key in said for key in ("run.sead", "run.seed", "run.steps", "optimiser", "data"))


def test_the_same_recipe_has_the_same_digest_and_another_has_not():
    assert make_recipe().sha256 == make_recipe().sha256
    assert make_recipe().sha256 != make_recipe(run={"seed": 4}).sha256


def test_a_difference_is_said_with_both_values_unless_it_moves_no_weight():
    before = make_recipe().canonical()
    after = make_recipe(
        run={"steps": 20, "loader_workers": 3, "checkpoint_every_s": 5.0},
        optimiser={"rate": 0.1},
    ).canonical()

    assert differences(before, after) == [
        "optimiser.rate: was 0.05, is now 0.1",
        "run.steps: was 12, is now 20",
    ]
