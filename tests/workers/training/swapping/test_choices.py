"""Are the compositor's choices drawn wide, and the same again for the same seed?"""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from workers.training.swapping.choices import Compositing, draw

DRAWN = [draw(seed) for seed in range(400)]


def test_the_same_seed_draws_the_same() -> None:
    assert draw(41) == draw(41)
    assert len({choices.model_dump_json() for choices in DRAWN}) == len(DRAWN)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("mask_shape", 7),
        ("colour", 4),
        ("blend", 2),
        ("landmark_warp", 3),
        ("resample", 3),
        ("preset", 6),
        ("uses_forged_mask", 2),
    ],
)
def test_every_way_is_taken_and_none_alone(name: str, kinds: int) -> None:
    counts = Counter(getattr(choices, name) for choices in DRAWN)

    assert len(counts) == kinds
    assert max(counts.values()) < 0.9 * len(DRAWN)
    assert min(counts.values()) > 0.02 * len(DRAWN)


@pytest.mark.parametrize(
    ("name", "least_spread"),
    [("blur", 0.015), ("grow", 0.02), ("sharpen", 0.3), ("crf", 4), ("opacity", 0.02)],
)
def test_amounts_are_spread(name: str, least_spread: float) -> None:
    assert np.std([getattr(choices, name) for choices in DRAWN]) > least_spread


def test_a_drawn_choice_can_be_read_back_from_its_record() -> None:
    for choices in DRAWN[:50]:
        assert Compositing.model_validate_json(choices.model_dump_json()) == choices


def test_training_data_bears_no_mark_that_could_be_learned_and_other_swaps_do() -> None:
    assert not any(choices.visible_mark for choices in DRAWN)
    assert Compositing().visible_mark


def test_a_whole_view_is_only_laid_through_the_forgers_own_mask() -> None:
    whole = [choices for choices in DRAWN if choices.mask_shape == "whole"]

    assert whole
    assert all(choices.uses_forged_mask for choices in whole)


@pytest.mark.parametrize("wrong", [{"crf": 60}, {"blur": -1}, {"mask_shape": "star"}, {"hue": 1}])
def test_what_no_compositor_does_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Compositing(**wrong)
