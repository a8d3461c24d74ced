"""Is a candidate promoted on proof alone, and is every doubt counted against it?"""

import pytest

from workers.training.evaluate.metrics import Estimate
from workers.training.rounds.gate import UNKNOWN, Measure, decide

NAN = float("nan")


def make_measure(**changes: object) -> Measure:
    """Make a primary AUC that is clearly better."""
    values: dict[str, object] = {
        "name": "AUC (forgers)",
        "role": "primary",
        "better": "higher",
        "current": 0.70,
        "candidate": 0.80,
        "difference": Estimate(0.10, 0.04, 0.16, 40),
        "groups": 6,
    }
    return Measure(**(values | changes))  # type: ignore[arg-type]


def make_guard(**changes: object) -> Measure:
    """Make a share of false positives that may rise by 0.02, and did not."""
    values: dict[str, object] = {
        "name": "false positives (labelled)",
        "role": "guard",
        "better": "lower",
        "current": 0.05,
        "candidate": 0.05,
        "difference": Estimate(0.0, -0.03, 0.03, 40),
        "margin": 0.02,
    }
    return make_measure(**(values | changes))


def test_a_candidate_that_is_better_beyond_chance_and_no_worse_is_promoted():
    decision = decide([make_measure(), make_guard()], wanted=["AUC (forgers)"])

    assert decision.promoted
    assert decision.reasons == (
        "AUC (forgers): 0.700 to 0.800, +0.100 (+0.040 to +0.160), better beyond chance",
    )
    assert [(row.bound, row.passed) for row in decision.rows] == [
        ("interval above 0", True),
        ("difference <= 0.02", True),
    ]


@pytest.mark.parametrize(
    "difference",
    [
        Estimate(0.10, -0.01, 0.20, 40),
        Estimate(0.10, 0.0, 0.20, 40),
        Estimate(0.0, 0.0, 0.0, 40),
        Estimate(-0.10, -0.16, -0.04, 40),
    ],
    ids=["zero within", "zero at its end", "a tie", "worse"],
)
def test_a_primary_figure_whose_interval_is_not_above_zero_rejects(difference):
    decision = decide([make_measure(difference=difference)])

    assert not decision.promoted
    assert "not better beyond chance" in decision.reasons[0]


def test_where_lower_is_better_the_interval_must_lie_below_zero():
    fell = make_measure(better="lower", difference=Estimate(-0.1, -0.16, -0.04, 40))
    rose = make_measure(better="lower")

    assert decide([fell]).promoted
    assert decide([fell]).rows[0].bound == "interval below 0"
    assert not decide([rose]).promoted


@pytest.mark.parametrize(
    "spoilt",
    [
        {"difference": UNKNOWN},
        {"difference": Estimate(0.1, NAN, NAN, 40)},
        {"current": NAN},
        {"candidate": NAN},
        {"candidate": float("inf")},
    ],
    ids=["no difference", "no interval", "no current", "no candidate", "infinite"],
)
@pytest.mark.parametrize("make", [make_measure, make_guard])
def test_a_figure_that_is_not_a_number_rejects(make, spoilt):
    measures = [make(**spoilt)]
    if make is make_guard:
        measures.append(make_measure())

    decision = decide(measures)

    assert not decision.promoted
    assert "cannot be told" in decision.reasons[0]


def test_a_measure_that_was_not_made_rejects():
    decision = decide([make_measure()], wanted=["AUC (forgers)", "area marked on real faces"])

    assert not decision.promoted
    assert decision.reasons == ("area marked on real faces: was not measured",)


def test_an_interval_over_too_few_groups_is_no_proof():
    decision = decide([make_measure(groups=1, difference=Estimate(0.5, 0.5, 0.5, 40))])

    assert not decision.promoted
    assert "rests on 1 groups of people, and an interval over fewer than 3" in decision.reasons[0]
    assert decide([make_measure(groups=2)], least_groups=2).promoted


def test_whatever_else_speaks_against_a_candidate_rejects():
    decision = decide([make_measure()], faults=["no operating point"])

    assert not decision.promoted
    assert decision.reasons == ("no operating point",)


@pytest.mark.parametrize(
    ("better", "value", "holds"),
    [
        ("lower", 0.02, True),
        ("lower", 0.0201, False),
        ("lower", -0.3, True),
        ("higher", -0.02, True),
        ("higher", -0.0201, False),
        ("higher", 0.3, True),
    ],
)
def test_a_guarded_figure_may_be_worse_by_its_margin_and_no_more(better, value, holds):
    guard = make_guard(better=better, difference=Estimate(value, value - 0.1, value + 0.1, 40))

    decision = decide([make_measure(), guard])

    assert decision.promoted is holds
    assert holds or "worse than the 0.02 that is allowed" in decision.reasons[0]


def test_a_strict_gate_wants_the_interval_of_a_guard_within_its_margin():
    wide = make_guard(difference=Estimate(0.0, -0.03, 0.03, 40))
    narrow = make_guard(difference=Estimate(0.0, -0.03, 0.02, 40))

    assert not decide([make_measure(), wide], is_strict=True).promoted
    assert decide([make_measure(), narrow], is_strict=True).promoted


def test_what_is_only_shown_decides_nothing():
    shown = make_guard(role="shown", candidate=NAN, difference=UNKNOWN)

    decision = decide([make_measure(), shown])

    assert decision.promoted
    assert decision.rows[1].passed is None


def test_every_reason_against_is_given():
    decision = decide(
        [
            make_measure(difference=Estimate(0.0, 0.0, 0.0, 4)),
            make_guard(difference=Estimate(0.5, 0.4, 0.6, 4)),
        ]
    )

    assert [reason.split(":")[0] for reason in decision.reasons] == [
        "AUC (forgers)",
        "false positives (labelled)",
    ]


@pytest.mark.parametrize(
    "measures",
    [[make_guard()], [make_measure(), make_measure(name="other")], [make_measure()] * 2],
    ids=["none is primary", "two are", "one twice"],
)
def test_measures_that_cannot_be_weighed_are_a_bug(measures):
    with pytest.raises(ValueError, match="want"):
        decide(measures)
