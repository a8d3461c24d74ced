"""Is a drawn manipulation found again by laying the fake on its source?"""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from workers.detection.stage import Floats, Image
from workers.training.masks import difference_mask

SIDE = 320
MIDDLE = SIDE // 2


def make_scene(seed: int, *, shift_px: tuple[float, float] = (0.0, 0.0)) -> Image:
    """Draw a head before a textured wall; a shift moves all of it."""
    random = np.random.default_rng(seed)
    wall = cv2.resize(random.integers(40, 220, (28, 28, 3), dtype=np.uint8), (SIDE, SIDE))
    skin = np.array([190, 150, 130]) + cv2.resize(random.normal(0, 15, (40, 40, 3)), (SIDE, SIDE))
    y, x = np.mgrid[:SIDE, :SIDE]
    head = ((x - MIDDLE) / 85) ** 2 + ((y - MIDDLE) / 105) ** 2 < 1
    scene = np.where(head[..., None], skin.clip(0, 255), wall).astype(np.uint8)
    affine = np.array([[1.0, 0.0, shift_px[0]], [0.0, 1.0, shift_px[1]]])
    return np.asarray(
        cv2.warpAffine(scene, affine, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT), np.uint8
    )


def make_landmarks() -> Floats:
    """Place 468 points over the drawn head."""
    order = np.arange(468)
    radius, angle = np.sqrt((order + 0.5) / 468), order * np.pi * (3 - np.sqrt(5))
    points = np.stack([80 * radius * np.cos(angle), 100 * radius * np.sin(angle)], axis=-1)
    return np.float32(points + MIDDLE)


def swap(real: Image, *, seed: int = 9) -> tuple[Image, NDArray[np.bool_]]:
    """Put another face into the middle of the head; also where."""
    y, x = np.mgrid[:SIDE, :SIDE]
    where = ((x - MIDDLE) / 60) ** 2 + ((y - MIDDLE - 10) / 75) ** 2 < 1
    alpha = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 3)[..., None]
    other = make_scene(seed)[..., ::-1].astype(np.float32) * 0.8
    return np.asarray(real * (1 - alpha) + other * alpha, np.uint8), where


def compressed(picture: Image, quality: int) -> Image:
    """Send a picture through JPEG."""
    _, written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR), np.uint8)


def iou(mask: NDArray[np.uint8], truth: NDArray[np.bool_]) -> float:
    found = mask > 127
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("landmarks", [make_landmarks(), None], ids=["mesh", "no mesh"])
@pytest.mark.parametrize("quality", [95, 40])
def test_a_drawn_swap_is_found_through_compression(quality: int, landmarks: Floats | None) -> None:
    real = make_scene(1)
    fake, truth = swap(real)

    mask = difference_mask(compressed(real, quality), compressed(fake, quality - 5), landmarks)

    assert mask is not None
    assert mask.shape == (SIDE, SIDE)
    assert mask.dtype == np.uint8
    assert iou(mask, truth) > 0.8
    assert ((mask > 0) & (mask < 255)).any()  # soft at its edge


@pytest.mark.parametrize("shift_px", [(0.6, -0.4), (9.0, 0.0)])
def test_a_small_shift_between_the_two_is_undone(shift_px: tuple[float, float]) -> None:
    fake, truth = swap(make_scene(1))
    real = make_scene(1, shift_px=shift_px)

    mask = difference_mask(compressed(real, 80), compressed(fake, 80), make_landmarks())

    assert mask is not None
    assert iou(mask, truth) > 0.8


def test_a_source_of_another_scene_is_not_trusted() -> None:
    fake, _ = swap(make_scene(1))

    assert difference_mask(make_scene(2), fake, make_landmarks()) is None


def test_a_source_that_lies_too_far_off_is_not_trusted() -> None:
    fake, _ = swap(make_scene(1))

    assert difference_mask(make_scene(1, shift_px=(40, 25)), fake, make_landmarks()) is None


def test_a_frame_that_the_generator_left_alone_has_no_mask() -> None:
    real = make_scene(1)

    assert difference_mask(real, real, make_landmarks()) is None
    assert difference_mask(compressed(real, 70), compressed(real, 40), make_landmarks()) is None


def test_what_differs_beside_the_face_is_not_marked() -> None:
    real = make_scene(1)
    fake, truth = swap(real)
    fake[:25, :25] = 255

    mask = difference_mask(real, fake, make_landmarks())

    assert mask is not None
    assert not mask[:60, :60].any()
    assert iou(mask, truth) > 0.8


def test_a_face_that_fills_the_picture_leaves_nothing_to_judge_by() -> None:
    real = make_scene(1)
    fake, _ = swap(real)
    wide = (make_landmarks() - MIDDLE) * 3 + MIDDLE

    assert difference_mask(real, fake, wide) is None


def test_a_picture_that_is_black_beyond_its_frame_is_judged_by_the_rest() -> None:
    real = make_scene(1)
    fake, truth = swap(real)
    for picture in (real, fake):
        picture[:, :50] = 0
        picture[280:] = 0

    mask = difference_mask(real, fake, make_landmarks())

    assert mask is not None
    assert iou(mask, truth) > 0.8
