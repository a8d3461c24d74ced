"""Which losses count, and how fast is learnt, at which time of a forger's training?"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import field_validator

from workers.training.recipe import Section, Share


class ScheduleOptions(Section):
    """
    What changes on the way, by share of the run; 1 as a beginning is never.

    The defaults are those of shaoanlu/faceswap-GAN v2.2, whose runs have 40,000 iterations.
    """

    adversarial_from: Share = 0.0
    """The critics count, and learn; a plain autoencoder before."""
    perceptual_from: Share = 0.2
    """Features of the frozen network count."""
    mask_hinges: tuple[tuple[Share, Share], ...] = (
        (0.3, 0.5),
        (0.4, 0.2),
        (0.5, 0.4),
        (2 / 3, 0.0),
        (0.8, 0.1),
        (0.9, 0.0),
    )
    """From which share of the run on the mask is pushed open, and to what value; at 0 it is drawn
    shut instead, as it is before the first."""
    rates: tuple[tuple[Share, Share], ...] = ((2 / 3, 0.3), (0.8, 0.3), (0.9, 0.1))
    """From which share of the run on the rate is which share of the recipe's."""
    swap_decoders_at: Share = 0.8
    """The two decoders change places, once."""

    @field_validator("mask_hinges", "rates")
    @classmethod
    def _in_order(cls, stages: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        begins = [begin for begin, _ in stages]
        if begins != sorted(set(begins)):
            raise ValueError(f"want each stage after the one before it, got {begins}")
        return stages


class Moment(NamedTuple):
    """How a forger learns at one time of its training."""

    rate_share: float  # of the recipe's rate
    is_adversarial: bool
    is_perceptual: bool
    mask_hinge: float  # value that the mask is pushed up to; 0 where it is drawn shut


def at(options: ScheduleOptions, done: float) -> Moment:
    """
    Say how a forger learns.

    Args:
        options: the plan.
        done: share of the run that is over, in [0, 1].
    """
    return Moment(
        rate_share=_last(options.rates, done, before=1.0),
        is_adversarial=done >= options.adversarial_from,
        is_perceptual=done >= options.perceptual_from,
        mask_hinge=_last(options.mask_hinges, done, before=0.0),
    )


def swap_step(options: ScheduleOptions, steps: int) -> int:
    """Return the step, the first being 0, before which decoders change places; `steps`: never."""
    return math.ceil(options.swap_decoders_at * steps)


def _last(stages: Sequence[tuple[float, float]], done: float, *, before: float) -> float:
    """Return the value of the last stage that has begun."""
    return next((value for begin, value in reversed(stages) if done >= begin), before)
