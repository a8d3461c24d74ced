"""Are poses and expressions told apart, counted, evened out and shown?"""

import cv2
import numpy as np
import pytest

from tests.workers.training.forging.make_sets import make_points
from workers.detection.stage import Floats
from workers.training.forging.coverage import (
    CELL_PX,
    Expression,
    Face,
    Pose,
    cells,
    counts,
    evened_out,
    expression,
    sheet,
)

PLAIN = {"turn": 0.0, "tilt": 0.55, "mouth_open": 0.02, "eyes_open": 0.3}


def an_expression(**changes: float) -> Expression:
    return Expression(**(PLAIN | changes))


def a_face(**moved: tuple[int, float, float]) -> Floats:
    """Points of a face from the front with a shut mouth; single points moved."""
    points = make_points(3)
    left, right = points[33], points[263]
    points[1] = (left + right) / 2 + np.float32([0, 35])
    points[[61, 291]] = (left + right) / 2 + np.float32([[-20, 70], [20, 70]])
    points[[78, 308]] = points[[61, 291]]
    points[[13, 14]] = (left + right) / 2 + np.float32([0, 70])
    for index, right_px, down_px in moved.values():
        points[index] += np.float32([right_px, down_px])
    return points


def test_a_face_from_the_front_is_neither_turned_nor_open():
    plain = expression(a_face())

    assert plain.turn == pytest.approx(0, abs=0.05)
    assert plain.tilt == pytest.approx(0.5, abs=0.1)
    assert plain.mouth_open == pytest.approx(0)
    assert 0.2 < plain.eyes_open < 0.6


def test_the_nose_says_where_a_face_is_turned_and_the_lips_how_far_they_are_open():
    assert expression(a_face(nose=(1, 20, 0))).turn > 0.2
    assert expression(a_face(nose=(1, -20, 0))).turn < -0.2
    assert expression(a_face(nose=(1, 0, -15))).tilt < expression(a_face()).tilt - 0.1
    assert expression(a_face(lip=(14, 0, 20))).mouth_open == pytest.approx(0.5)


def test_points_that_fell_together_measure_as_nothing():
    flat = expression(np.zeros((468, 2), np.float32))

    assert flat == Expression(turn=-1.0, tilt=0.0, mouth_open=0.0, eyes_open=0.0)


@pytest.mark.parametrize(
    ("changes", "cell"),
    [
        ({}, (Pose.FRONT, Face.MOUTH_SHUT)),
        ({"turn": -0.3}, (Pose.LEFT, Face.MOUTH_SHUT)),
        ({"turn": 0.7, "mouth_open": 0.2}, (Pose.FAR_RIGHT, Face.MOUTH_OPEN)),
        ({"tilt": 0.3, "mouth_open": 0.5}, (Pose.UP, Face.MOUTH_WIDE)),
        ({"tilt": 0.8, "eyes_open": 0.1}, (Pose.DOWN, Face.EYES_SHUT)),
    ],
)
def test_a_face_falls_into_its_cell(changes, cell):
    usual = [an_expression() for _ in range(5)]

    assert cells([*usual, an_expression(**changes)])[-1] == cell


def test_eyes_are_shut_by_the_measure_of_the_person():
    """Eyes that are always narrow are not shut."""
    assert Face.EYES_SHUT not in {face for _, face in cells([an_expression(eyes_open=0.15)] * 4)}


def test_all_cells_are_counted():
    found = counts([an_expression(), an_expression(), an_expression(turn=0.3)])

    assert found[Face.MOUTH_SHUT][Pose.FRONT] == 2
    assert found[Face.MOUTH_SHUT][Pose.RIGHT] == 1
    assert sum(n for row in found.values() for n in row.values()) == 3


def test_of_too_many_faces_the_rare_ones_stay():
    common, rare = (Pose.FRONT, Face.MOUTH_SHUT), (Pose.UP, Face.MOUTH_WIDE)
    given = [common] * 50 + [rare] * 3 + [common] * 47

    chosen = evened_out(given, most=20)

    assert len(chosen) == 20
    assert [i for i in chosen if given[i] == rare] == [50, 51, 52]
    of_common = [i for i in chosen if given[i] == common]
    assert (of_common[0], of_common[-1]) == (0, 99)  # over the whole time
    assert chosen == sorted(set(chosen))


def test_few_faces_all_stay():
    assert evened_out([(Pose.FRONT, Face.MOUTH_SHUT)] * 3, most=10) == [0, 1, 2]
    assert evened_out([], most=10) == []


def test_the_sheet_shows_the_best_face_of_each_cell():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    views = [np.full((CELL_PX, CELL_PX, 3), colour, np.uint8) for colour in colours]
    expressions = [an_expression(), an_expression(), an_expression(turn=0.3)]

    drawn = sheet("who", views, expressions, [1.0, 2.0, 1.0], {"looked at": 3, "no face": 1})

    picture = cv2.cvtColor(
        cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
    )
    shown = {
        tuple(int(v) for v in colour)
        for colour in colours
        if (picture == np.array(colour)).all(axis=-1).sum() == CELL_PX**2
    }
    assert shown == {(0, 200, 0), (0, 0, 200)}
