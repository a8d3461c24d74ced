"""Are both halves of a pair mistreated alike, and in every way that was asked for?"""

import numpy as np
import pytest

from tests.workers.training.make_bank import make_head
from workers.training.degrade import DegradeOptions, degrade, through_h264
from workers.training.synth import FacePair, through_jpeg

SIDE = 224
NOTHING = {name: 0.0 for name in DegradeOptions.model_fields if name.endswith("_share")}
STILL = np.zeros((1, 2), np.float32)
WAYS = sorted(NOTHING)


def make_pair() -> FacePair:
    real = make_head(0)[48:272, 48:272].copy()
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[60:160, 60:160] = 1
    fake = real.copy()
    fake[60:160, 60:160] = fake[60:160, 60:160][::-1]
    return FacePair(real=real, fake=fake, mask=mask, kind="self_blend")


def only(**shares: float) -> DegradeOptions:
    return DegradeOptions.model_validate(NOTHING | shares)


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    pair = make_pair()

    out = degrade(pair, options=only(), random=np.random.default_rng(0))

    np.testing.assert_array_equal(pair.real, out.real, strict=True)
    np.testing.assert_array_equal(pair.fake, out.fake, strict=True)


@pytest.mark.parametrize("way", WAYS)
def test_equal_halves_stay_equal(way: str) -> None:
    pair = make_pair()
    twins = FacePair(real=pair.real, fake=pair.real.copy(), mask=pair.mask, kind=pair.kind)

    for seed in range(4):
        out = degrade(twins, options=only(**{way: 1.0}), random=np.random.default_rng(seed))

        np.testing.assert_array_equal(out.real, out.fake, strict=True)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_changes_the_picture_and_leaves_it_its_size_and_its_source(way: str) -> None:
    pair = make_pair()
    before = pair.real.copy()

    out = degrade(pair, options=only(**{way: 1.0}), random=np.random.default_rng(1))

    assert out.real.shape == (SIDE, SIDE, 3)
    assert out.real.dtype == np.uint8
    assert np.abs(out.real.astype(int) - pair.real).mean() > 0.3
    np.testing.assert_array_equal(before, pair.real)


def test_erased_patches_are_in_the_same_place_and_out_of_the_mask() -> None:
    pair = make_pair()

    for seed in range(12):
        out = degrade(pair, options=only(erase_share=1.0), random=np.random.default_rng(seed))

        erased = (out.real != pair.real).any(axis=-1) & (out.fake != pair.fake).any(axis=-1)
        assert out.mask[erased].max(initial=0) == 0
        assert out.mask.sum() >= 0.4 * pair.mask.sum()


@pytest.mark.parametrize("crf", [17, 40])
def test_h264_keeps_the_picture_where_it_is(crf: int) -> None:
    picture = make_head(3)[48:272, 48:272].copy()
    moving = np.array([[2.5, -1.5], [1, 0], [0, 0]], np.float32)

    for shifts in (STILL, moving):
        out = through_h264(picture, crf=crf, shifts_px=shifts).astype(int)

        errors = [
            np.abs(np.roll(out, shift, axis=1)[8:-8, 8:-8] - picture[8:-8, 8:-8]).mean()
            for shift in (0, -2, 2)
        ]
        assert int(np.argmin(errors)) == 0


def test_a_higher_factor_of_h264_and_a_lower_quality_of_jpeg_lose_more() -> None:
    picture = make_head(4)[48:272, 48:272].copy()

    def loss(out: np.ndarray) -> float:
        return float(np.abs(out.astype(int) - picture).mean())

    h264 = [loss(through_h264(picture, crf=crf, shifts_px=STILL)) for crf in (17, 28, 40)]
    jpeg = [loss(through_jpeg(picture, quality=quality)) for quality in (95, 70, 40)]
    assert h264 == sorted(h264)
    assert jpeg == sorted(jpeg)


def test_the_same_random_numbers_do_the_same() -> None:
    pair = make_pair()

    for seed in range(5):
        first, second = (
            degrade(pair, options=DegradeOptions(), random=np.random.default_rng(seed))
            for _ in range(2)
        )

        np.testing.assert_array_equal(first.fake, second.fake, strict=True)
