"""Is a forger's face blended in otherwise each time, and is its mask still exact?"""

import cv2
import numpy as np
import pytest

from tests.workers.training.make_bank import make_head, make_landmarks
from workers.training.recomposite import forged_alone, recomposite
from workers.training.synth import FacePair, SynthOptions

SIDE = 320
OPTIONS = SynthOptions()


def forged(height: float = 1.0) -> FacePair:
    """Lay a head upon another through a soft disc of this height."""
    real, other = make_head(0), make_head(1)
    mask = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(mask, (160, 160), 90, (height,), -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 6)
    alpha = mask[..., None]
    fake = np.rint(alpha * other + (1 - alpha) * real).astype(np.uint8)
    return FacePair(real=real, fake=fake, mask=mask, kind="labelled")


def anew(pair: FacePair, seed: int) -> FacePair:
    return recomposite(pair, make_landmarks(0), options=OPTIONS, random=np.random.default_rng(seed))


def test_a_fake_differs_from_its_real_half_only_within_the_new_mask() -> None:
    for seed in range(12):
        pair = anew(forged(), seed)

        away = np.abs(pair.real.astype(int) - pair.fake).max(axis=-1)
        assert pair.kind == "recomposited"
        assert away[pair.mask == 0].max() == 0
        assert away[pair.mask > 0.3].mean() > 5


def test_nothing_is_taken_from_where_the_forger_made_less_than_half() -> None:
    old = forged()
    for seed in range(12):
        assert anew(old, seed).mask[old.mask < 0.5].max() == 0


def test_every_pair_has_a_mask_of_its_own() -> None:
    areas = [float((anew(forged(), seed).mask > 0.3).mean()) for seed in range(20)]

    assert max(areas) > 2 * min(areas)
    assert len(set(areas)) == len(areas)


def test_the_same_numbers_give_the_same_pair() -> None:
    one, same, other = (anew(forged(), seed) for seed in (4, 4, 5))

    np.testing.assert_array_equal(one.fake, same.fake)
    np.testing.assert_array_equal(one.mask, same.mask)
    assert (one.fake != other.fake).any()


@pytest.mark.parametrize("height", [1.0, 0.7])
def test_the_real_faces_share_is_taken_out_of_the_forgers_pixels(height: float) -> None:
    pair = forged(height)

    found = forged_alone(pair).astype(int)

    is_ours = pair.mask > 0.5
    assert np.abs(found - make_head(1))[is_ours].max() <= 2


def test_a_mask_of_nothing_leaves_the_pair_as_it_was() -> None:
    old = forged(0.0)

    pair = anew(old, 0)

    np.testing.assert_array_equal(old.fake, pair.fake)
    assert pair.mask.max() == 0


def test_a_part_too_small_to_be_shrunk_is_taken_as_it_is() -> None:
    old = forged()
    mask = np.zeros_like(old.mask)
    mask[200:204, 150:154] = 1
    small = FacePair(real=old.real, fake=old.fake, mask=mask, kind="labelled")

    for seed in range(6):
        pair = anew(small, seed)
        assert 0 < (pair.mask > 0).sum() <= 16
