import numpy as np
import pytest

from tests.make_models import make_segmenter_onnx
from tests.workers.training.evaluate.banks import make_bank, make_face, make_picture
from workers.training.bank import BANK_SIDE_PX
from workers.training.evaluate.pixels import (
    ALL_ZERO,
    HULL,
    by_network,
    face_hull,
    figures,
    overlap,
)
from workers.training.evaluate.scores import Network


def test_overlap_of_known_squares():
    truth = np.zeros((3, 8, 8), bool)
    truth[0, :4, :4] = truth[1, :4, :4] = True
    marked = np.zeros((3, 8, 8), bool)
    marked[0, :4, 2:6] = True

    iou, f1 = overlap(marked, truth)

    np.testing.assert_allclose(iou, [1 / 3, 0, 1])  # two empty masks agree
    np.testing.assert_allclose(f1, [1 / 2, 0, 1])


def test_the_hull_is_a_disc_where_points_lie_on_a_circle(tmp_path):
    bank = make_bank(tmp_path, [make_face(0)], lambda _: make_picture(9))

    (hull,) = face_hull(bank, [0])

    assert hull.sum() == pytest.approx(np.pi * 90**2, rel=0.02)


def test_masks_are_judged_on_fakes_and_alarms_on_real_faces(tmp_path):
    masks = np.zeros((3, BANK_SIDE_PX, BANK_SIDE_PX), np.uint8)
    masks[1, 100:200, 100:200] = 255

    def drawn(face):  # the test network marks what is red
        picture = np.zeros((BANK_SIDE_PX, BANK_SIDE_PX, 3), np.uint8)
        if face.label == "fake":
            picture[100:200, 100:200, 0] = 255
        else:
            picture[160:192, 32:288, 0] = 255  # an eighth of the served crop
        return picture

    rows = [
        make_face(0),
        make_face(1, clip="f", label="fake", method="swap", has_mask=True),
        make_face(2, clip="g", label="fake", method="swap"),
    ]
    bank = make_bank(tmp_path, rows, drawn, masks=masks)

    found = figures(bank, [0, 1, 2], {"red": by_network(Network("red", make_segmenter_onnx()))})

    assert (found["fake_looks"], found["real_looks"]) == (1, 1)
    red = found["by_marker"]["red"]
    assert red["iou"]["value"] == red["iou_by_method"]["swap"]["value"] == 1.0
    assert red["false_positive_area"]["value"] == pytest.approx(1 / 8)
    assert found["by_marker"][ALL_ZERO]["iou"]["value"] == 0.0
    assert found["by_marker"][HULL]["iou"]["value"] == pytest.approx(
        100**2 / (np.pi * 90**2), abs=0.03
    )
