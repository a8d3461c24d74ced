"""Is a cut told from a movement, a flash and a fade?"""

import numpy as np
import pytest

from tests.workers.detection.make_scenes import make_wall
from workers.detection.shots import ShotCuts
from workers.detection.stage import Image


def cuts(frames: list[Image]) -> list[int]:
    watch = ShotCuts()
    return [n for n, rgb in enumerate(frames) if watch.is_cut(rgb)]


def noisy(rgb: Image, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, 4, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def test_a_cut_is_found_where_it_is() -> None:
    frames = [noisy(make_wall(n // 12), n) for n in range(36)]

    assert cuts(frames) == [12, 24]


@pytest.mark.parametrize("px_per_frame", [2, 12, 25])
def test_a_pan_is_no_cut(px_per_frame: int) -> None:
    wide = make_wall(3, size=(1600, 240))

    assert cuts([wide[:, n * px_per_frame :][:, :320] for n in range(40)]) == []


def test_a_face_that_comes_close_is_no_cut() -> None:
    frames = [make_wall(1).copy() for _ in range(20)]
    for n, rgb in enumerate(frames):
        rgb[120 - 6 * n : 120 + 6 * n, 160 - 6 * n : 160 + 6 * n] = (200, 160, 140)

    assert cuts(frames) == []


def test_a_flash_is_no_cut() -> None:
    wall = make_wall(2)
    bright = np.clip(wall.astype(int) + 50, 0, 255).astype(np.uint8)

    assert cuts([wall] * 5 + [bright] + [wall] * 5) == []


def test_a_fade_is_no_cut() -> None:
    wall = make_wall(4).astype(float)

    assert cuts([np.uint8(wall * n / 20) for n in range(21)]) == []


def test_a_still_and_a_black_film_have_no_cuts() -> None:
    assert cuts([make_wall(5)] * 10) == []
    assert cuts([np.zeros((90, 160, 3), np.uint8)] * 10) == []


def test_from_black_to_a_picture_is_a_cut() -> None:
    black = np.zeros((240, 320, 3), np.uint8)

    assert cuts([black] * 5 + [make_wall(6)] * 5) == [5]


@pytest.mark.parametrize("size", [(16, 16), (30, 400), (1920, 1080)])
def test_frames_of_any_shape_can_be_watched(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)

    assert cuts([picture, picture]) == []


def test_the_first_frame_begins_no_other_shot() -> None:
    assert cuts([make_wall(7)]) == []
