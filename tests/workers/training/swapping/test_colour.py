"""Does a forged face get the colours of the one that it replaces?"""

import cv2
import numpy as np
import pytest

from tests.workers.training.swapping.make_swap import make_scene
from workers.detection.stage import Image
from workers.training.swapping.colour import matched

SIDE = 64
MASK = np.zeros((SIDE, SIDE), np.float32)
MASK[8:56, 8:56] = 1
INSIDE = MASK > 0


def face(mean: tuple[int, int, int], seed: int) -> Image:
    noise = make_scene(seed, size=(SIDE, SIDE)).astype(float) - 128
    return np.clip(np.array(mean) + 0.25 * noise, 0, 255).astype(np.uint8)


def lab(picture: Image) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[INSIDE].astype(float)


PALE, DARK = face((200, 170, 160), 1), face((120, 90, 60), 2)


@pytest.mark.parametrize("kind", ["mean_std", "covariance", "histogram"])
def test_mean_and_spread_become_those_of_the_face_that_is_replaced(kind: str) -> None:
    out = matched(PALE, DARK, MASK, kind=kind, strength=1.0)

    np.testing.assert_allclose(lab(out).mean(axis=0), lab(DARK).mean(axis=0), atol=3)
    np.testing.assert_allclose(lab(out).std(axis=0), lab(DARK).std(axis=0), rtol=0.25, atol=1)


def test_a_covariance_is_taken_over_with_its_slant() -> None:
    slanted = PALE.copy()
    slanted[..., 2] = 255 - slanted[..., 0]  # blue falls as red rises

    by_channel = matched(DARK, slanted, MASK, kind="mean_std", strength=1.0)
    whole = matched(DARK, slanted, MASK, kind="covariance", strength=1.0)

    wanted = np.cov(lab(slanted).T)
    error = [np.abs(np.cov(lab(p).T) - wanted).max() for p in (by_channel, whole)]
    assert error[1] < 0.5 * error[0]


@pytest.mark.parametrize("kind", ["mean_std", "covariance", "histogram"])
def test_half_of_the_strength_goes_half_of_the_way(kind: str) -> None:
    half = matched(PALE, DARK, MASK, kind=kind, strength=0.5)

    midway = (lab(PALE).mean(axis=0) + lab(DARK).mean(axis=0)) / 2
    np.testing.assert_allclose(lab(half).mean(axis=0), midway, atol=3)


@pytest.mark.parametrize("kind", ["mean_std", "covariance", "histogram"])
def test_a_face_of_one_colour_and_a_mask_of_nothing_are_borne(kind: str) -> None:
    flat = np.full_like(PALE, 128)

    assert matched(flat, DARK, MASK, kind=kind, strength=1.0).dtype == np.uint8
    np.testing.assert_array_equal(
        matched(PALE, DARK, np.zeros_like(MASK), kind=kind, strength=1.0), PALE
    )


def test_none_leaves_the_face_as_it_is() -> None:
    np.testing.assert_array_equal(matched(PALE, DARK, MASK, kind="none", strength=1.0), PALE)
