import json

import numpy as np
import pytest

from tests.workers.training.evaluate.banks import make_score
from workers.training.calibrate import Calibration, calibrate, cross_fitted, fit_line, main
from workers.training.errors import BadDataset
from workers.training.evaluate.scores import score_record


def _scores(n=400, *, scale=4.0, shift=2.0, groups=80, seed=0):
    """Clips whose own log odds are normal around +-0.8; networks say them too loud."""
    rng = np.random.default_rng(seed)
    is_fake = np.arange(n) % 2 == 1
    true = rng.normal(size=n) * np.sqrt(1.6) + np.where(is_fake, 0.8, -0.8)
    return [
        make_score(
            f"c{i}",
            logit=float(scale * logit + shift),
            label="fake" if fake else "real",
            group=f"g{i % groups}",
        )
        for i, (logit, fake) in enumerate(zip(true, is_fake, strict=True))
    ]


def test_log_odds_that_are_too_loud_are_turned_down():
    found = calibrate(_scores())

    assert found.slope == pytest.approx(1 / 4, rel=0.2)
    assert found.intercept == pytest.approx(-0.5, abs=0.2)
    assert found.ece_after < found.ece_before / 2
    assert found.ece_after < 2 * found.ece_of_chance
    assert found.probability(2.0) == pytest.approx(0.5, abs=0.06)


def test_the_slope_stays_above_zero_even_where_scores_are_upside_down():
    rng = np.random.default_rng(0)
    is_fake = np.arange(60) % 2 == 1

    slope, _ = fit_line(rng.normal(size=60) - 2 * is_fake, is_fake)

    assert slope > 0


def test_a_handful_of_perfect_clips_does_not_make_the_line_infinitely_steep():
    is_fake = np.arange(20) % 2 == 1

    slope, _ = fit_line(np.where(is_fake, 1.0, -1.0), is_fake)

    assert slope < 5


def test_no_more_real_clips_are_called_manipulated_than_was_asked():
    scores = _scores()

    found = calibrate(scores, false_positive_rate=0.03, missed_share=0.1)

    p = np.array([found.probability(s.logit) for s in scores])
    is_fake = np.array([s.is_fake for s in scores])
    assert (p[~is_fake] >= found.manipulated_from).sum() == found.false_positives == 6
    assert found.false_positive_rate_low < 0.03 < found.false_positive_rate_high
    assert (p[is_fake] < found.clear_below).sum() == found.missed == 20
    assert (p[~is_fake] < found.clear_below).sum() == found.cleared
    outside = (p >= found.manipulated_from) | (p < found.clear_below)
    assert found.coverage == outside.mean() < 1


def test_the_band_never_turns_inside_out():
    is_fake = np.arange(40) % 2 == 1
    perfect = [
        make_score(f"c{i}", logit=9.0 if f else -9.0, label="fake" if f else "real")
        for i, f in enumerate(is_fake)
    ]

    found = calibrate(perfect)

    assert found.clear_below <= found.manipulated_from
    assert (found.false_positives, found.missed, found.coverage) == (0, 0, 1.0)


def test_probabilities_come_from_lines_that_other_groups_drew():
    scores = _scores(n=40, groups=10)
    logits = np.array([s.logit for s in scores])
    is_fake = np.array([s.is_fake for s in scores])
    groups = [s.group for s in scores]
    first = np.array([g == groups[0] for g in groups])

    before = cross_fitted(logits, is_fake, groups)
    after = cross_fitted(logits, is_fake ^ first, groups)

    np.testing.assert_array_equal(before[first], after[first])


def test_too_few_clips_are_refused():
    with pytest.raises(BadDataset, match="5 fakes and 5 real clips are too few"):
        calibrate(_scores(n=10))


def test_the_command_line_reads_scores_and_writes_a_calibration(tmp_path, capsys):
    scores, out = tmp_path / "scores.json", tmp_path / "cal.json"
    records = [score_record(s) for s in _scores(n=100)]
    scores.write_text(json.dumps({"name": "net", "scores": records}))

    assert main([str(scores), "--out", str(out)]) == 0

    found = Calibration.model_validate_json(out.read_text())
    assert found.clips == 100
    assert f"{found.false_positives} of 50 real clips" in capsys.readouterr().out


def test_the_command_line_says_what_is_wrong_with_a_file(tmp_path, capsys):
    scores = tmp_path / "scores.json"
    scores.write_text('[{"clip": "a"}]')

    assert main([str(scores), "--out", str(tmp_path / "cal.json")]) == 1

    assert "not scores of clips" in capsys.readouterr().err
