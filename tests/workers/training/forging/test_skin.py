"""Is a tint told from a shadow, and a thing before a face from a face?"""

import cv2
import numpy as np
import pytest

from tests.workers.training.forging.make_sets import make_points
from workers.detection.stage import Floats, Image
from workers.training.forging.skin import PLACES, oddest, skin, tints
from workers.training.forging.views import STORED_PX, points_in_view

SIDE_PX = 128
FACES = 9


@pytest.fixture
def points() -> Floats:
    spread = make_points(0)
    middle = (STORED_PX - 1) / 2
    inside = np.linspace(-40, 40, len(PLACES))
    spread[list(PLACES)] = np.stack([middle + inside, middle + inside[::-1] / 2], axis=-1)
    return points_in_view(spread, SIDE_PX)


def a_face(seed: int) -> Image:
    """Draw skin with grain, lit as it comes."""
    random = np.random.default_rng(seed)
    light = random.uniform(0.6, 1.1)
    grain = random.normal(0, 4, (SIDE_PX, SIDE_PX, 3))
    return np.clip(np.array([205, 160, 130]) * light + grain, 0, 255).astype(np.uint8)


def test_shadows_are_no_tint_and_nothing_before_the_face(points):
    skins = np.stack([skin(a_face(n), points) for n in range(FACES)])

    assert skins.shape == (FACES, len(PLACES), 2)
    assert tints(skins).max() < 6
    assert oddest(skins).max() < 6


def test_a_tinted_face_stands_out_as_a_whole(points):
    tinted = np.clip(a_face(0) * np.array([0.75, 0.95, 1.25]), 0, 255).astype(np.uint8)
    skins = np.stack([*(skin(a_face(n), points) for n in range(FACES)), skin(tinted, points)])

    assert tints(skins)[-1] > 15
    assert oddest(skins)[-1] < 6


def test_a_thing_before_the_face_stands_out_where_it_is(points):
    covered = a_face(0)
    x, y = np.rint(points[PLACES[3]]).astype(int)
    cv2.circle(covered, (int(x), int(y)), 10, (30, 160, 60), -1)
    skins = np.stack([*(skin(a_face(n), points) for n in range(FACES)), skin(covered, points)])

    assert oddest(skins)[-1] > 30
    assert tints(skins)[-1] < 6


def test_places_at_the_outline_of_the_face_are_left_out(points):
    """In a half profile, the wall is seen where the far cheek was."""
    at_edge = points.copy()
    at_edge[PLACES[0]] = at_edge.min(axis=0)
    beside = a_face(0)

    seen = skin(beside, at_edge)

    assert np.isnan(seen[0]).all()
    assert np.isfinite(seen[2:-2]).all()
    assert np.isfinite(oddest(np.stack([seen, seen]))).all()


def test_a_face_without_any_place_is_not_judged():
    unknown = np.full((3, len(PLACES), 2), np.nan, np.float32)

    assert (tints(unknown) == 0).all()
    assert (oddest(unknown) == 0).all()
