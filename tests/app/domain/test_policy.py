"""By whose lines is a verdict made when a network was promoted?"""

from dataclasses import replace

import pytest

from app.domain.policy import CURRENT, policy_for
from app.domain.verdict import Label, decide
from tests.make import make_finding, make_person, make_video
from tests.make_packages import SEGMENTER, make_version

PROMOTED = make_version(version="1.1")  # manipulated from 0.9 on, clear below 0.2


def label(fake_probability: float, *promoted: object) -> Label:
    finding = make_finding(fake_probability=fake_probability)
    return decide([make_person(finding)], make_video(), (), policy_for(promoted)).label  # type: ignore[arg-type]


def test_what_came_along_is_judged_by_the_policy_as_it_stands():
    assert policy_for(()) is CURRENT
    assert policy_for([make_version(SEGMENTER, "2.0")]) is CURRENT


def test_a_promoted_classifier_is_judged_by_lines_of_its_own_under_a_name_of_its_own():
    policy = policy_for([make_version(SEGMENTER, "2.0"), PROMOTED])

    assert policy.version == f"{CURRENT.version}+frame_classifier@1.1"
    assert (policy.manipulated_from, policy.clear_below) == (0.9, 0.2)
    assert "1 of 30 real clips" in policy.caveat
    assert "4 of 96" not in policy.caveat
    assert "not covered" in policy.caveat


def test_all_other_rules_are_those_of_the_code():
    policy = policy_for([PROMOTED])
    own = {"version", "manipulated_from", "clear_below", "caveat"}

    assert replace(policy, **{n: getattr(CURRENT, n) for n in own}) == CURRENT


@pytest.mark.parametrize("fake_probability", [0.3, 0.8])
def test_the_same_evidence_may_come_to_another_label(fake_probability: float):
    assert label(fake_probability) is not Label.INCONCLUSIVE
    assert label(fake_probability, PROMOTED) is Label.INCONCLUSIVE


def test_the_longest_name_of_a_policy_fits_where_it_is_stored():
    from app.db.tables import VerdictRow

    policy = policy_for([make_version(version="1" * 32)])

    assert len(policy.version) <= VerdictRow.policy.type.length


def test_nobody_draws_lines_for_a_classifier_that_was_not_calibrated():
    with pytest.raises(ValueError, match="no calibration"):
        policy_for([make_version(is_calibrated=False)])
