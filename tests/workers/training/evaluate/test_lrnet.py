import cv2
import numpy as np
import pytest

from app.errors import ModelUnavailable
from workers.training.evaluate.lrnet import BLOCK, POINTS, LrNet, calibrated


def _points(frames, *, jitter_px=0.0):
    """Place points that tremble, all but those at the corners."""
    rng = np.random.default_rng(0)
    still = rng.uniform(110, 210, (POINTS, 2))
    jitter = rng.normal(0, 1, (frames, POINTS, 2)) * jitter_px
    points = still + jitter
    points[:, :2] = [[100, 100], [220, 220]]
    return points.astype(np.float32)


def _picture():
    coarse = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return cv2.resize(coarse, (320, 320), interpolation=cv2.INTER_CUBIC)


def test_points_fill_most_of_the_cut_out():
    found = calibrated([_picture()] * 4, _points(4))

    assert found.shape == (4, POINTS, 2)
    assert np.abs(found).max() == pytest.approx(1 / 1.2, abs=0.02)


def test_jitter_over_a_still_picture_is_smoothed_away():
    points = _points(20, jitter_px=1.0)

    found = calibrated([_picture()] * 20, points)

    before = np.diff(points, axis=0).std() * 2 / (120 * 1.2)
    assert np.diff(found[5:], axis=0).std() < 0.7 * before


def test_without_its_files_there_is_no_network(tmp_path):
    with pytest.raises(ModelUnavailable, match="no LRNet"):
        LrNet(tmp_path)


@pytest.mark.shared
def test_the_published_networks_judge_blocks_of_frames(shared_weights):
    network = LrNet(shared_weights)
    moving = np.random.default_rng(0).uniform(-1, 1, (2 * BLOCK + 1, POINTS, 2))

    assert network.fake_probability(np.zeros((BLOCK, POINTS, 2), np.float32)) is None
    assert 0 <= network.fake_probability(moving.astype(np.float32)) <= 1
