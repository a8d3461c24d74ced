import numpy as np
import pytest

from app.domain.evidence import DetectorName
from tests.workers.training.fusion.made_evidence import classifier, cue, make_clip, make_clips
from workers.training.evaluate import metrics
from workers.training.fusion import fit
from workers.training.fusion.table import make_table

BLUR, PULSE, LIPS = DetectorName.OVER_BLUR, DetectorName.PULSE, DetectorName.LIP_SYNC
REQUIRED = frozenset({DetectorName.FRAME_CLASSIFIER})
BASE = ["frame_classifier"]


def _table(clips):
    return make_table(clips, required=REQUIRED, min_frames=25)


def test_a_cue_that_tells_something_stays_and_one_that_is_noise_goes():
    table = _table(make_clips(cues={BLUR: 0.8, PULSE: 0.0}))

    found = fit.select(table, ["over_blur", "pulse"], BASE, deals=1)

    assert found.kept == ("frame_classifier", "over_blur")
    assert [d.name for d in found.dropped] == ["pulse"]
    assert found.gains["over_blur"].low > 0 >= found.dropped[0].gain.low


def test_of_two_cues_that_say_the_same_one_stays():
    clips = [
        make_clip(c.clip, *e, cue(PULSE, e[1].cue.z), label=c.label, group=c.group, split=c.split)
        for c in make_clips(cues={BLUR: 0.8})
        for e in [c.persons[0].evidence]
    ]

    found = fit.select(_table(clips), ["over_blur", "pulse"], BASE, deals=1)

    assert len(found.kept) == 2
    assert len(found.dropped) == 1


def test_a_cue_that_points_the_wrong_way_gets_no_weight_below_zero():
    table = _table(make_clips(cues={LIPS: -1.5, BLUR: 0.5}))

    model, _ = fit.final_fit(table, [*BASE, "lip_sync", "over_blur"])

    assert (model.weights >= 0).all()
    assert model.weights[1] == 0
    assert model.weights[2] > 0.2


def test_which_clips_a_detector_is_silent_on_gets_it_no_say():
    table = _table(make_clips(cues={PULSE: 0.0}, missing={PULSE: (0.05, 0.9)}))

    found = fit.select(table, ["pulse"], BASE, deals=1)
    model, _ = fit.final_fit(table, [*BASE, "pulse"])

    assert found.kept == ("frame_classifier",)
    silent, ordinary = model.log_odds(np.array([[0.3, np.nan], [0.3, model.means[1]]]))
    assert silent == ordinary
    without = fit.cross_fit(table, BASE, deals=1).videos(table)
    beside = fit.cross_fit(table, [*BASE, "pulse"], deals=1).videos(table)
    gain = metrics.auc_difference(beside, without, table.is_fake, table.groups)
    assert gain.value < 0.02


def test_weights_hold_whatever_the_share_of_fakes():
    clips = make_clips(240, classifier_by=0.7)
    few = [c for i, c in enumerate(clips) if not c.is_fake or i % 6 == 1]

    model, _ = fit.final_fit(_table(clips), BASE)
    of_few, _ = fit.final_fit(_table(few), BASE)

    at = np.array([[0.0]])
    assert of_few.log_odds(at) == pytest.approx(model.log_odds(at), abs=0.5)


def test_labels_that_mean_nothing_are_not_told_by_many_features():
    rng = np.random.default_rng(1)
    clips = make_clips(120, classifier_by=0.0, cues=dict.fromkeys((BLUR, PULSE, LIPS), 0.0))
    is_fake = dict(enumerate(rng.permutation(len(clips)) % 2 == 1))
    shuffled = [
        make_clip(
            c.clip,
            *c.persons[0].evidence,
            label="fake" if is_fake[i] else "real",
            group=c.clip,
        )
        for i, c in enumerate(clips)
    ]
    table = _table(shuffled)

    odds = fit.cross_fit(table, [*BASE, "over_blur", "pulse", "lip_sync"], deals=1).videos(table)

    assert 0.35 < metrics.auc(odds, table.is_fake) < 0.65


def test_a_group_lies_in_one_fold_whole_and_both_labels_in_every_fold():
    clips = make_clips(60, groups=30)
    groups = [c.group for c in clips]

    folds = fit.deal_clips(groups, np.array([c.is_fake for c in clips]), 5, seed=0)

    of_group = {}
    for group, fold in zip(groups, folds, strict=True):
        assert of_group.setdefault(group, fold) == fold
    for fold in range(5):
        assert {c.label for c, f in zip(clips, folds, strict=True) if f == fold} == {"fake", "real"}


def test_a_video_is_as_suspect_as_its_most_suspect_person_who_counts():
    first, second, brief = (
        make_clip("x", classifier(odds), frames=frames).persons[0]
        for odds, frames in ((-1.0, 200), (2.0, 90), (6.0, 5))
    )
    clips = [
        *make_clips(40),
        make_clip("two.mp4", label="fake", persons=(first, second, brief)),
    ]
    table = _table(clips)

    scores = table.of_videos(table.values[:, table.names.index("frame_classifier")])

    assert scores[-1] == pytest.approx(2.0)
    assert table.column("frame_classifier")[-1] == pytest.approx(-1.0)


def test_the_covariance_is_narrow_where_there_are_many_groups():
    spreads = []
    for count in (60, 480):
        table = _table(make_clips(count, groups=count))
        model, strength = fit.final_fit(table, BASE)
        fusion = fit.as_fusion(table, BASE, model, strength, draws=60)
        spreads.append(fusion.covariance[1][1] ** 0.5)
        assert fusion.covariance[2] == (0.0, 0.0, 0.0)  # of a missing feature

    assert spreads[1] < 0.6 * spreads[0]
