"""Does training change when the plan says so, and only then?"""

import pytest
from pydantic import ValidationError

from workers.training.forging.schedule import Moment, ScheduleOptions, at, swap_step


def test_the_default_plan_is_the_published_one_of_40_000_iterations() -> None:
    plan = ScheduleOptions()

    moments = {i: at(plan, i / 40_000) for i in (0, 8_000, 12_000, 16_000, 20_000, 27_000, 36_000)}

    hinges = {i: moment.mask_hinge for i, moment in moments.items()}
    assert hinges == {
        0: 0, 8_000: 0, 12_000: 0.5, 16_000: 0.2, 20_000: 0.4, 27_000: 0, 36_000: 0
    }  # fmt: skip
    assert at(plan, 0.85).mask_hinge == 0.1
    assert [i for i, moment in moments.items() if not moment.is_perceptual] == [0]
    assert [at(plan, done).rate_share for done in (0, 0.66, 0.67, 0.85, 0.95)] == [
        1, 1, 0.3, 0.3, 0.1
    ]  # fmt: skip
    assert swap_step(plan, 40_000) == 32_000
    assert all(moment.is_adversarial for moment in moments.values())


def test_every_part_can_be_switched_off() -> None:
    plan = ScheduleOptions(
        adversarial_from=1, perceptual_from=1, mask_hinges=(), rates=(), swap_decoders_at=1
    )

    never = Moment(rate_share=1, is_adversarial=False, is_perceptual=False, mask_hinge=0)
    assert {at(plan, done / 100) for done in range(100)} == {never}
    assert swap_step(plan, 500) == 500  # steps are 0 to 499


def test_a_plain_autoencoder_can_come_first() -> None:
    plan = ScheduleOptions(adversarial_from=0.5)

    assert not at(plan, 0.49).is_adversarial
    assert at(plan, 0.5).is_adversarial


def test_stages_that_are_not_in_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="each stage after the one before"):
        ScheduleOptions(rates=((0.5, 0.3), (0.2, 0.1)))
    with pytest.raises(ValidationError):
        ScheduleOptions(mask_hinges=((0.5, 1.5),))
