import numpy as np
import pytest

from app.errors import ModelUnavailable
from tests.make_models import make_classifier_onnx, make_registry, make_segmenter_onnx
from tests.workers.training.evaluate.banks import (
    LOOKS,
    make_bank,
    make_face,
    make_picture,
    make_score,
)
from workers.detection.detectors.aggregation import trimmed_mean
from workers.training.errors import BadDataset
from workers.training.evaluate.scores import (
    Network,
    by_field,
    by_sharpness,
    clip_rows,
    compare,
    load_network,
    score_bank,
    summary,
    with_sharpness,
)


def _brightness(faces):
    return faces.astype(np.float64).mean(axis=(1, 2, 3)) / 32 - 4


def test_a_clip_is_the_trimmed_mean_of_its_looks(tmp_path):
    bank = make_bank(
        tmp_path,
        [make_face(row) for row in range(10)],
        lambda face: make_picture(20 * face.row, seed=face.row),
    )

    (score,) = score_bank(bank, _brightness, clip_rows(bank))

    alone = [float(_brightness(bank.served(row)[None])[0]) for row in range(10)]
    assert score.logit == pytest.approx(trimmed_mean(np.array(alone)))
    assert (score.clip, score.frames, score.is_fit) == ("a.mp4", 10, True)


def test_no_more_than_sixteen_looks_count(tmp_path):
    bank = make_bank(tmp_path, [make_face(row) for row in range(40)], lambda _: make_picture(9))
    asked = []

    (score,) = score_bank(
        bank, lambda faces: asked.append(len(faces)) or np.zeros(len(faces)), range(40)
    )

    assert (sum(asked), score.frames) == (16, 16)


def test_blurred_looks_do_not_count_where_enough_are_sharp(tmp_path):
    rows = [make_face(row, sharpness=1.0 if row < 3 else 50.0) for row in range(LOOKS + 3)]
    bank = make_bank(tmp_path, rows, lambda face: make_picture(250 if face.row < 3 else 10))

    (score,) = score_bank(bank, _brightness, clip_rows(bank))

    assert score.frames == LOOKS
    assert score.logit < 0


@pytest.mark.parametrize("changes", [{"face_px": 40.0}, {"sharpness": 2.0}])
def test_what_the_product_would_not_judge_is_scored_and_marked(tmp_path, changes):
    bank = make_bank(
        tmp_path, [make_face(row, **changes) for row in range(LOOKS)], lambda _: make_picture(200)
    )

    (score,) = score_bank(bank, _brightness, clip_rows(bank))

    assert not score.is_fit
    assert score.frames == LOOKS


def test_lone_stills_and_other_splits_are_no_clips_of_the_split(tmp_path):
    rows = [
        make_face(0),
        make_face(1, kind="picture", clip="s.jpg", path="s.jpg"),
        make_face(2, kind="picture", clip="c", path="c-1.jpg"),
        make_face(3, split="train"),
    ]
    bank = make_bank(tmp_path, rows, lambda _: make_picture(9))

    assert clip_rows(bank, "test") == (0, 2)
    assert clip_rows(bank) == (0, 2, 3)
    with pytest.raises(BadDataset, match="'cal'"):
        clip_rows(bank, "cal")


def test_fakes_are_sharper_or_softer_than_their_source(tmp_path):
    def drawn(face):
        return make_picture(
            120, seed=face.row, blur_px={"real": 1.5, "soft": 3, "sharp": 0.6}[face.method]
        )

    rows = [make_face(row, method="real") for row in range(2)]
    rows += [
        make_face(2 + row, clip=f"{kind}.mp4", label="fake", method=kind, pair=row % 2)
        for row, kind in enumerate(["soft", "soft", "sharp", "sharp"])
    ]
    bank = make_bank(tmp_path, rows, drawn)

    found = {
        s.clip: s for s in with_sharpness(bank, score_bank(bank, _brightness, clip_rows(bank)))
    }

    assert found["sharp.mp4"].sharper_by > 0.5
    assert found["soft.mp4"].sharper_by < -0.5
    assert found["a.mp4"].sharper_by is None
    assert found["soft.mp4"].pair == "a.mp4"


def test_pairs_are_counted_apart_by_which_half_is_sharper():
    reals = [make_score(f"r{i}", logit=float(i)) for i in range(4)]
    fakes = [
        make_score(f"f{i}", logit=i + gap, label="fake", method="swap", pair=f"r{i}", sharper_by=by)
        for i, (gap, by) in enumerate([(1.5, -0.4), (1.5, -0.2), (-0.5, 0.3), (0.5, 0.1)])
    ]

    found = by_sharpness([*reals, *fakes])

    assert found["softer"]["pairs_ordered"]["value"] == 1.0
    assert found["sharper"]["pairs_ordered"]["value"] == 0.5
    assert (found["softer"]["fakes"], found["sharper"]["pairs"]) == (2, 2)
    assert found["softer"]["auc_of_pairs"]["value"] == 1.0  # against r0 and r1 alone


def test_a_method_near_chance_is_not_covered():
    reals = [make_score(f"r{i}", logit=float(i)) for i in range(20)]
    seen = [
        make_score(f"s{i}", logit=30.0 + i, label="fake", method="swap", family="swap")
        for i in range(5)
    ]
    unseen = [
        make_score(f"u{i}", logit=4.0 * i, label="fake", method="talking", family="talking")
        for i in range(5)
    ]

    found = by_field([*reals, *seen, *unseen], "method")

    assert found["swap"]["coverage"] == "covered"
    assert found["talking"]["coverage"] == "not covered"
    assert found["talking"]["auc"]["n_fake"] == 5


def test_two_clips_or_one_group_say_nothing_of_a_method():
    reals = [make_score(f"r{i}", logit=float(i)) for i in range(20)]
    two = [make_score(f"t{i}", logit=30.0, label="fake", method="two") for i in range(2)]
    one = [
        make_score(f"o{i}", logit=30.0, label="fake", method="one", group="only") for i in range(9)
    ]

    found = by_field([*reals, *two, *one], "method")

    assert [found[name]["coverage"] for name in ("one", "two")] == ["too few"] * 2


def test_scores_are_compared_on_the_clips_that_both_have():
    reals = [make_score(f"r{i}", logit=0.0) for i in range(9)]
    fakes = [make_score(f"f{i}", logit=1.0, label="fake") for i in range(9)]
    other = [make_score(s.clip, logit=0.0, label=s.label) for s in (*reals, *fakes)][1:-1]

    found = compare([*reals, *fakes], other)

    assert found["value"] == 0.5
    assert found["n"] == 16


def test_a_summary_says_how_many_were_judged_and_which_method_is_worst():
    scores = [make_score(f"r{i}", logit=-1.0 + 0.1 * i, is_fit=i > 0) for i in range(10)]
    for method, logit in (("good", 4.0), ("bad", -3.0)):
        scores += [
            make_score(f"{method}{i}", logit=logit, label="fake", method=method) for i in range(3)
        ]

    found = summary(scores)

    assert found["coverage"] == pytest.approx(15 / 16)
    assert found["worst_method"] == "bad"
    assert found["auc"]["value"] == pytest.approx(0.5)
    assert found["detection_rates"][0] is None


def test_networks_are_loaded_by_path_and_by_name(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(make_segmenter_onnx())
    faces = np.full((2, 256, 256, 3), 255, np.uint8)

    network = load_network(str(path), make_registry(tmp_path))

    assert network.has_masks
    np.testing.assert_allclose(network.logits(faces), [8.0, 8.0])
    assert network.masks(faces).shape == (2, 256, 256)
    assert not Network("classifier", make_classifier_onnx()).has_masks
    with pytest.raises(ModelUnavailable, match="no file"):
        load_network(str(tmp_path / "other.onnx"), make_registry(tmp_path))
