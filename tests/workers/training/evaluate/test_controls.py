import numpy as np
import pytest

from tests.workers.training.evaluate.banks import make_bank, make_face, make_picture, make_score
from workers.training.evaluate.controls import (
    of_scores,
    recompressed_reals,
    shuffled_labels,
    without_face,
)


def _scores(gap, n=60):
    rng = np.random.default_rng(0)
    return [
        make_score(
            f"c{i}", logit=float(rng.normal() + gap * (i % 2)), label="fake" if i % 2 else "real"
        )
        for i in range(n)
    ]


def test_the_face_is_hidden_and_its_surroundings_are_not(tmp_path):
    bank = make_bank(tmp_path, [make_face(0)], lambda _: make_picture(150))

    picture = without_face(bank, 0)

    served = bank.served(0)
    radius = np.hypot(*np.meshgrid(np.arange(256) - 128, np.arange(256) - 128))
    assert (picture[radius < 90] == 0).all()
    np.testing.assert_array_equal(picture[radius > 116], served[radius > 116])


def test_a_control_leaks_where_it_is_plainly_above_one_half():
    assert of_scores(_scores(2.0), "all of it").is_leaking
    assert not of_scores(_scores(0.0), "none of it").is_leaking


def test_shuffled_labels_are_worth_one_half_and_say_how_rare_the_true_figure_is():
    control = shuffled_labels(_scores(2.0))

    assert control.auc.value == pytest.approx(0.5, abs=0.01)
    assert 0.3 < control.auc.low < 0.4
    assert 0.6 < control.auc.high < 0.7
    assert control.words.startswith("0.00%")


def test_a_network_that_alarms_at_compression_tells_reals_from_themselves():
    before = [s for s in _scores(0.0) if not s.is_fake]
    after = [make_score(s.clip, logit=s.logit + 3.0) for s in before]

    assert recompressed_reals(before, after).is_leaking
    assert recompressed_reals(before, before).auc.value == 0.5
