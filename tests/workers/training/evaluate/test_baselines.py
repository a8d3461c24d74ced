import numpy as np
import pytest

from tests.workers.training.evaluate.banks import (
    LOOKS,
    make_bank,
    make_face,
    make_picture,
    make_score,
)
from workers.training.evaluate import metrics
from workers.training.evaluate.baselines import (
    chance,
    fit_logistic,
    metadata_only,
    published_networks,
    softness,
)
from workers.training.evaluate.scores import clip_rows, columns
from workers.training.evaluate.videos import VideoFile


def _file(**changes):
    values = {
        "width": 640,
        "height": 360,
        "rate_hz": 25.0,
        "duration_s": 8.0,
        "bits_per_s": 1e6,
        "codec": "h264",
    }
    return VideoFile(**(values | changes))


def _clips(n=40):
    return [
        make_score(f"c{i}", logit=0.0, label="fake" if i % 2 else "real", group=f"g{i // 2}")
        for i in range(n)
    ]


def test_chance_is_the_same_every_time_and_knows_nothing():
    clips = _clips(2000)

    scores = chance(clips, seed=1)

    assert scores == chance(clips, seed=1) != chance(clips, seed=2)
    assert metrics.auc(*columns(scores)[:2]) == pytest.approx(0.5, abs=0.03)


def test_a_line_is_found_through_log_odds_that_are_linear():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    is_fake = rng.random(4000) < 1 / (1 + np.exp(-(2 * x[:, 0] - x[:, 1])))

    found = fit_logistic(x, is_fake, ridge=1e-6)

    np.testing.assert_allclose(found, [0, 2, -1], atol=0.2)


def test_labels_that_stand_in_the_files_are_found_out():
    clips = _clips()
    files = {s.clip: _file(bits_per_s=3e6 if s.is_fake else 1e6) for s in clips}

    scores = metadata_only(clips, files)

    assert metrics.auc(*columns(scores)[:2]) == 1.0


def test_a_group_is_never_judged_by_itself():
    # What a file says is that of its group alone, and each group has one label.
    clips = [
        make_score(f"c{i}", logit=0.0, label="fake" if i % 2 else "real", group=f"g{i}")
        for i in range(30)
    ]
    files = {s.clip: _file(codec=f"codec {i}") for i, s in enumerate(clips)}

    scores = metadata_only(clips, files)

    assert metrics.auc(*columns(scores)[:2]) <= 0.5


def test_clips_without_a_file_have_no_metadata():
    clips = _clips()

    scores = metadata_only(clips, {s.clip: _file() for s in clips[:10]})

    assert [s.clip for s in scores] == [s.clip for s in clips[:10]]
    assert metadata_only(clips, {}) == []


def test_a_blurred_face_is_soft_by_itself_and_beside_its_surroundings(tmp_path):
    def drawn(face):
        picture = make_picture(120, seed=face.row)
        if face.label == "fake":
            inner = slice(70, 250)
            picture[inner, inner] = make_picture(120, seed=face.row, blur_px=2)[inner, inner]
        return picture

    rows = [make_face(row) for row in range(LOOKS)]
    rows += [make_face(LOOKS + row, clip="f", label="fake") for row in range(LOOKS)]
    bank = make_bank(tmp_path, rows, drawn)

    scores = softness(bank, clip_rows(bank))

    assert set(scores) == {"face blur", "face blur / surroundings"}
    for real, fake in scores.values():
        assert fake.logit > real.logit + 1


def test_published_networks_are_those_whose_files_are_there(tmp_path):
    assert published_networks(tmp_path) == []


@pytest.mark.shared
def test_published_networks_answer_served_crops(shared_weights):
    networks = published_networks(shared_weights)
    faces = np.stack([make_picture(120)[32:288, 32:288]] * 2)

    assert len(networks) == 5
    for network in networks:
        logits = network.logits(faces)
        assert logits.shape == (2,)
        assert np.isfinite(logits).all()
    assert [n.name for n in networks if n.has_masks] == ["classnseg"]
