"""Do many weak signs add up to one probability, and is its uncertainty told?"""

import math
import random
from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence import AbstainReason, Abstention, Cue, DetectorName, Finding
from app.domain.fusion import FEATURES, Fusion, Reading, Term, logit, measured, probability

TERMS = (
    Term(feature="frame_classifier", weight=0.9, mean=0.2, deviation=1.4, missing=0.0),
    Term(feature="pulse", weight=0.3, mean=0.1, deviation=1.1, missing=0.2),
)
COVARIANCE = (
    (0.04, 0.01, 0.0, 0.0, 0.0),
    (0.01, 0.05, 0.01, 0.0, 0.0),
    (0.0, 0.01, 0.03, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.09),
)
FUSION = Fusion(terms=TERMS, intercept=-0.4, covariance=COVARIANCE)
VALUES = st.dictionaries(st.sampled_from([t.feature for t in TERMS]), st.floats(-14, 14))


def test_features_are_read_from_findings_and_what_was_not_measured_is_absent():
    evidence = (
        Finding(
            detector=DetectorName.FRAME_CLASSIFIER,
            fake_probability=0.8,
            frames=16,
            measurements={"top_quarter_fake_probability": 0.9},
        ),
        Finding(detector=DetectorName.PULSE, cue=Cue(value=2.0, unit="dB", z=-1.5), frames=200),
        Finding(
            detector=DetectorName.BLINK_RATE, cue=Cue(value=9, unit="a minute", z=None), frames=9
        ),
        Finding(detector=DetectorName.ATTRIBUTION, answer="unknown", frames=16),
        Abstention(detector=DetectorName.LIP_SYNC, reason=AbstainReason.NO_SOUND),
    )

    assert measured(evidence) == {
        "frame_classifier": pytest.approx(math.log(4)),
        "frame_classifier_top_quarter": pytest.approx(math.log(9)),
        "pulse": -1.5,
    }
    assert measured(()) == {}


def test_every_feature_is_the_only_one_of_its_detector_and_reading():
    seen = [(f.detector, f.reading) for f in FEATURES.values()]

    assert len(set(seen)) == len(seen)
    assert all(d.value in FEATURES for d, r in seen if r is Reading.Z)


def test_one_term_of_weight_1_is_the_classifier_s_own_probability():
    one = Term(feature="frame_classifier", weight=1.0, mean=0.0, deviation=1.0, missing=0.0)
    fusion = Fusion(terms=(one,), intercept=0.0)

    for p in (1e-6, 0.2, 0.734, 0.999):
        assert fusion.fuse({"frame_classifier": logit(p)}).probability == pytest.approx(p)


def test_log_odds_are_the_sum_of_what_each_feature_is_worth():
    fused = FUSION.fuse({"frame_classifier": 1.6, "pulse": 1.2})

    assert fused.contributions == {
        "frame_classifier": pytest.approx(0.9),
        "pulse": pytest.approx(0.3),
    }
    assert fused.log_odds == pytest.approx(-0.4 + 0.9 + 0.3)
    assert fused.probability == pytest.approx(1 / (1 + math.exp(-0.8)))


def test_what_is_missing_counts_as_its_own_weight_says():
    fused = FUSION.fuse({"frame_classifier": 1.6})

    assert fused.contributions["pulse"] == 0.2
    assert fused.log_odds == pytest.approx(-0.4 + 0.9 + 0.2)


@given(VALUES, st.sampled_from(["frame_classifier", "pulse"]), st.floats(0, 10))
def test_a_more_suspicious_measurement_never_lowers_the_probability(values, name, more):
    before = values | {name: values.get(name, 0.0)}
    after = before | {name: before[name] + more}

    assert FUSION.fuse(after).probability >= FUSION.fuse(before).probability


@given(VALUES)
def test_the_probability_lies_in_its_interval_and_all_are_probabilities(values):
    fused = FUSION.fuse(values)

    assert fused.interval is not None
    assert 0 <= fused.interval.low <= fused.probability <= fused.interval.high <= 1


@pytest.mark.parametrize("values", [{"frame_classifier": 3.0, "pulse": -1.0}, {"pulse": 2.0}, {}])
def test_the_interval_is_where_parameters_drawn_from_the_covariance_put_it(values):
    """A simulation of the fit's uncertainty agrees with the formula."""
    draws = random.Random(1)
    chol = _cholesky(COVARIANCE)
    odds = []
    for _ in range(4000):
        normal = [draws.gauss(0, 1) for _ in COVARIANCE]
        off = [sum(a * b for a, b in zip(row, normal, strict=True)) for row in chol]
        terms = tuple(
            (t.weight + off[1 + i], t.missing + off[3 + i], t) for i, t in enumerate(TERMS)
        )
        odds.append(
            FUSION.intercept
            + off[0]
            + sum(
                m if t.feature not in values else w * (values[t.feature] - t.mean) / t.deviation
                for w, m, t in terms
            )
        )
    seen = NormalDist.from_samples(odds)
    interval = FUSION.interval(values)

    assert interval is not None
    assert logit(interval.low) == pytest.approx(seen.mean - 1.96 * seen.stdev, abs=0.06)
    assert logit(interval.high) == pytest.approx(seen.mean + 1.96 * seen.stdev, abs=0.06)


def _cholesky(rows):
    size = len(rows)
    lower = [[0.0] * size for _ in rows]
    for i in range(size):
        for j in range(i + 1):
            rest = rows[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            if i == j:
                lower[i][j] = math.sqrt(max(rest, 0.0))
            elif lower[j][j] > 0:
                lower[i][j] = rest / lower[j][j]
    return lower


def test_without_a_covariance_there_is_no_interval():
    assert replace(FUSION, covariance=()).fuse({"pulse": 1.0}).interval is None


@pytest.mark.parametrize("odds", [-1e6, -800.0, 0.0, 800.0, 1e6])
def test_no_log_odds_are_too_large_to_be_a_probability(odds: float):
    assert 0 <= probability(odds) <= 1


@pytest.mark.parametrize(
    "change",
    [{"weight": -0.1}, {"missing": -0.1}, {"deviation": 0.0}, {"mean": math.nan}, {"feature": "x"}],
)
def test_a_term_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError, match=r"want weight|not finite|unknown feature"):
        replace(TERMS[0], **change)


def test_the_rows_of_the_covariance_have_names():
    assert FUSION.parameters == (
        "intercept",
        "frame_classifier",
        "pulse",
        "frame_classifier missing",
        "pulse missing",
    )
