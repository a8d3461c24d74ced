"""Does a blend change what its mask says, and only that, with as much detail as was asked for?"""

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from tests.workers.training.make_bank import make_look
from workers.detection.align import fitted
from workers.training.synth import (
    Look,
    SynthOptions,
    cross_blend,
    detail_ratio,
    drawn,
    self_blend,
    soft_mask,
    transformed,
    with_detail,
)

SIDE = 224
CENTRED = np.array([[1, 0, -48], [0, 1, -48]], np.float32)
MIRRORED = np.array([[-1, 0, 271], [0, 1, -48]], np.float32)
PLAIN = SynthOptions(balance_sharpness=0)
BALANCED = SynthOptions(balance_sharpness=1)
EQUAL = SynthOptions(balance_sharpness=1, equal_share=1, sharper_share=0, source_jpeg_share=0)
SHARPER = EQUAL.model_copy(update={"equal_share": 0.0, "sharper_share": 1.0})


def blends(options: SynthOptions, count: int = 12, *, cross: bool = False):
    for seed in range(count):
        random = np.random.default_rng(seed)
        look = make_look(seed % 5)
        if cross:
            other = make_look(seed % 5 + 5)
            yield cross_blend(look, other, CENTRED, SIDE, options=options, random=random)
        else:
            yield self_blend(look, CENTRED, SIDE, options=options, random=random)


@pytest.mark.parametrize("cross", [False, True])
def test_a_blend_differs_from_its_real_half_only_within_the_mask(cross: bool) -> None:
    for pair in blends(BALANCED, cross=cross):
        away = np.abs(pair.real.astype(int) - pair.fake).max(axis=-1)

        assert away[pair.mask == 0].max(initial=0) == 0
        assert away[pair.mask > 0.2].mean() > 0.5


def test_masks_are_soft_of_many_shapes_and_as_high_as_the_ratio() -> None:
    masks = [pair.mask for pair in blends(PLAIN, 40)]

    tops = np.array([m.max() for m in masks])
    shares = np.array([(m > 0.5 * m.max()).mean() for m in masks])
    assert {0.25, 0.5, 0.75, 1.0} == {round(float(t), 3) for t in tops}
    assert shares.min() < 0.1
    assert shares.max() > 0.3
    for mask in masks:
        steps = max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1))
        assert steps < 0.5 * mask.max()


def test_a_face_beyond_the_picture_has_a_mask_without_holes_in_its_numbers() -> None:
    far = make_look(0).landmarks_px + 1000

    mask = soft_mask(far, SIDE, options=PLAIN, random=np.random.default_rng(0))

    np.testing.assert_array_equal(np.zeros((SIDE, SIDE), np.float32), mask)


def test_plain_self_blends_are_mostly_softer_and_balanced_ones_half() -> None:
    softer = {
        name: np.mean([detail_ratio(p.real, p.fake, p.mask) < 1 for p in blends(options, 80)])
        for name, options in (("plain", PLAIN), ("balanced", BALANCED))
    }

    assert softer["plain"] > 0.65
    assert 0.35 < softer["balanced"] < 0.6


def test_detail_is_made_equal_within_a_few_percent() -> None:
    ratios = [detail_ratio(p.real, p.fake, p.mask) for p in blends(EQUAL)]

    np.testing.assert_allclose(ratios, 1, atol=0.05)


def test_detail_is_made_more() -> None:
    ratios = np.array([detail_ratio(p.real, p.fake, p.mask) for p in blends(SHARPER)])

    assert (ratios > 1.03).all()


def test_the_detail_of_a_fake_of_others_can_be_set() -> None:
    for seed, pair in enumerate(blends(PLAIN, 4)):
        mended = with_detail(pair, options=EQUAL, random=np.random.default_rng(seed))

        assert detail_ratio(mended.real, mended.fake, mended.mask) == pytest.approx(1, abs=0.05)
        np.testing.assert_array_equal(pair.real, mended.real)


def test_the_coloured_half_is_at_times_the_real_one() -> None:
    look = make_look(0)
    plain = drawn(look.picture, CENTRED, SIDE)

    recoloured = [
        np.abs(p.real.mean(axis=(0, 1)) - plain.mean(axis=(0, 1))).max() > 1.5
        for p in (
            self_blend(look, CENTRED, SIDE, options=PLAIN, random=np.random.default_rng(s))
            for s in range(24)
        )
    ]

    assert 0.2 < np.mean(recoloured) < 0.7


def test_the_same_random_numbers_give_the_same_pair() -> None:
    first, second = ([*blends(BALANCED, 3)] for _ in range(2))

    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.fake, b.fake, strict=True)
        np.testing.assert_array_equal(a.mask, b.mask, strict=True)


@pytest.mark.parametrize("out_from_look", [CENTRED, MIRRORED])
def test_it_does_not_matter_where_the_other_face_lay(out_from_look: np.ndarray) -> None:
    look, other = make_look(0), make_look(1)
    smaller = np.array([[0.8, 0.1, 40], [-0.1, 0.8, 50]], np.float32)
    elsewhere = Look(
        picture=drawn(other.picture, smaller, 320),
        landmarks_px=transformed(other.landmarks_px, smaller),
    )
    options = PLAIN.model_copy(update={"poisson_share": 0.0, "source_jpeg_share": 0.0})

    for seed in range(3):
        fakes = [
            cross_blend(
                look,
                who,
                out_from_look,
                SIDE,
                options=options,
                random=np.random.default_rng(seed),
            ).fake
            for who in (other, elsewhere)
        ]

        coarse = [cv2.GaussianBlur(f, (0, 0), 4).astype(int) for f in fakes]
        assert np.abs(coarse[0] - coarse[1]).mean() < 2


def test_poisson_cloning_stays_within_the_mask() -> None:
    options = BALANCED.model_copy(update={"poisson_share": 1.0})

    for pair in blends(options, 4, cross=True):
        away = np.abs(pair.real.astype(int) - pair.fake).max(axis=-1)
        assert away[pair.mask == 0].max(initial=0) == 0


def test_what_is_not_scaled_is_cut_out_pixel_for_pixel() -> None:
    picture = make_look(0).picture

    np.testing.assert_array_equal(picture[48:272, 48:272], drawn(picture, CENTRED, SIDE))
    np.testing.assert_array_equal(picture[48:272, 48:272][:, ::-1], drawn(picture, MIRRORED, SIDE))


def test_shrinking_leaves_no_aliases() -> None:
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    half = np.array([[0.45, 0, 0], [0, 0.45, 0]], np.float32)

    small = drawn(stripes, half, 112)

    assert small.std() < 40


@pytest.mark.parametrize("may_shear", [False, True])
def test_a_similarity_is_found_again(may_shear: bool) -> None:
    points = make_look(0).landmarks_px
    affine = np.array([[0.9, -0.2, 12], [0.2, 0.9, -7]], np.float32)

    found = fitted(points, transformed(points, affine), may_shear=may_shear)

    np.testing.assert_allclose(found, affine, atol=1e-3)


def test_shares_of_more_than_one_whole_are_refused() -> None:
    with pytest.raises(ValidationError, match="lower one of them"):
        SynthOptions(equal_share=0.7, sharper_share=0.7)
