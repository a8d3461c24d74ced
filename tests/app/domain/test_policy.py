"""By whose lines is a verdict made, and is a policy file read as it was written?"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.evidence import DetectorName
from app.domain.fusion import Fusion, Term
from app.domain.policy import (
    ALONE,
    CURRENT,
    CueFigures,
    Estimate,
    FamilyFigures,
    Made,
    PointName,
    policy_for,
    policy_from_json,
    policy_to_json,
    read_policy,
    shipped,
    upper_bound,
    versions,
)
from app.domain.verdict import Label, decide
from tests.make import make_finding, make_person, make_video
from tests.make_packages import SEGMENTER, make_version

PROMOTED = make_version(version="1.1")  # manipulated from 0.9 on, clear below 0.2


def label(fake_probability: float, *promoted: object) -> Label:
    finding = make_finding(fake_probability=fake_probability)
    return decide([make_person(finding)], make_video(), (), policy_for(promoted)).label  # type: ignore[arg-type]


def test_what_came_along_is_judged_by_the_policy_as_it_stands():
    assert policy_for(()) is CURRENT


def test_a_promoted_classifier_is_judged_by_its_own_lines_and_by_nothing_else():
    policy = policy_for([make_version(SEGMENTER, "2.0"), PROMOTED])
    point = policy.point()

    assert policy.version == f"{CURRENT.version}+frame_classifier@1.1"
    assert (point.manipulated_from, point.clear_below) == (0.9, 0.2)
    assert (point.false_positives, point.real_clips) == (1, 30)
    assert policy.fusion == ALONE.fusion


def test_what_was_measured_of_the_old_classifier_is_not_said_of_the_new_one():
    said = decide([make_person()], make_video(), (), policy_for([PROMOTED])).caveat

    assert "1 of 30 real clips" in said
    assert "4 of 96" not in said
    assert "not covered" in said


def test_all_other_rules_are_those_of_the_file():
    policy = policy_for([PROMOTED])
    own = {"version", "points", "cues"}

    assert replace(policy, **{n: getattr(ALONE, n) for n in own}) == ALONE


def test_a_fit_is_void_for_another_network_that_has_a_say_in_it():
    has_a_say = CURRENT.say(DetectorName.PIXEL_SEGMENTER) > 0
    policy = policy_for([make_version(SEGMENTER, "2.0")])

    assert policy is (ALONE if has_a_say else CURRENT)


@pytest.mark.parametrize("fake_probability", [0.3, 0.8])
def test_the_same_evidence_may_come_to_another_label(fake_probability: float):
    finding = make_finding(fake_probability=fake_probability)
    alone = decide([make_person(finding)], make_video(), (), ALONE).label

    assert alone is not Label.INCONCLUSIVE
    assert label(fake_probability, PROMOTED) is Label.INCONCLUSIVE


def test_the_longest_name_of_a_policy_fits_where_it_is_stored():
    from app.db.tables import VerdictRow

    policy = policy_for([make_version(version="1" * 32)])

    assert len(policy.version) <= VerdictRow.policy.type.length


def test_nobody_draws_lines_for_a_classifier_that_was_not_calibrated():
    with pytest.raises(ValueError, match="no calibration"):
        policy_for([make_version(is_calibrated=False)])


@pytest.mark.parametrize("version", versions())
def test_a_policy_that_comes_along_can_be_read_and_its_figures_are_those_of_its_counts(version):
    policy = shipped(version)

    assert policy.version == version
    for point in policy.points:
        exact = upper_bound(point.false_positives, point.real_clips)
        assert point.false_positives_at_most == pytest.approx(exact, abs=1e-3)


def test_the_policy_in_force_is_one_that_comes_along():
    assert CURRENT.version in versions()
    with pytest.raises(ValueError, match="no policy '1999'; want one of"):
        shipped("1999")


@pytest.mark.parametrize(
    ("count", "of", "bound"),
    [(0, 96, 0.0377), (4, 96, 0.1033), (1, 30, 0.1722), (10, 10, 1.0), (20, 4000, 0.00771)],
)
def test_the_upper_bound_is_that_of_the_tables(count: int, of: int, bound: float):
    assert upper_bound(count, of) == pytest.approx(bound, rel=2e-3)


FITTED = replace(
    ALONE,
    version="2026-12-01.1",
    fusion=Fusion(
        intercept=-0.25,
        terms=(
            Term(feature="frame_classifier", weight=0.8, mean=0.1, deviation=1.3, missing=0.0),
            Term(feature="blink_rate", weight=0.1, mean=0.2, deviation=1.1, missing=0.05),
        ),
        covariance=tuple(tuple(0.1 if i == j else 0.01 for j in range(5)) for i in range(5)),
    ),
    points=(replace(ALONE.point(), by_family={"swap": FamilyFigures(clips=70, found=20)}),),
    cues=(
        CueFigures(
            feature="blink_rate",
            decides=True,
            auc=Estimate(value=0.61, low=0.52, high=0.7),
            gain=Estimate(value=0.02, low=0.001, high=0.04),
            real_clips=90,
            fake_clips=150,
            abstained_real=40,
            abstained_fake=60,
        ),
        CueFigures(feature="pulse", decides=False),
    ),
    made=Made(
        evidence_sha256="a" * 64,
        manifest_sha256="b" * 64,
        code="0.1.0",
        clips=250,
        groups=88,
        networks={"frame_classifier": "1.0"},
    ),
)


def test_a_policy_is_read_as_it_was_written(tmp_path: Path):
    file = tmp_path / "new.json"
    file.write_text(policy_to_json(FITTED), encoding="utf-8")

    assert read_policy(file) == FITTED
    assert policy_to_json(read_policy(file)) == policy_to_json(FITTED)


@pytest.mark.parametrize(
    ("decided_by", "versions", "holds"),
    [
        ("2026-11-21.2", {"frame_classifier": "1.0", "face_detector": "7.0"}, True),
        ("2026-11-21.2", {}, True),  # old rows do not say
        ("2026-11-21.2", {"frame_classifier": "1.1"}, False),
        ("2026-11-21.2+frame_classifier@1.0", {"frame_classifier": "1.0"}, True),
    ],
)
def test_a_fit_holds_for_evidence_of_its_own_networks_alone(decided_by, versions, holds: bool):
    assert FITTED.holds_for(decided_by, versions) is holds


def test_lines_of_what_came_along_do_not_hold_for_what_was_promoted():
    assert ALONE.holds_for("2026-11-21.2", {"frame_classifier": "1.0"})
    assert not ALONE.holds_for("2026-11-21.2+frame_classifier@1.1", {"frame_classifier": "1.1"})


def spoilt(change: Callable[[Any], None]) -> str:
    body = json.loads(policy_to_json(FITTED))
    change(body)
    return json.dumps(body)


WRONG: list[tuple[Callable[[Any], None], str]] = [
    (lambda b: b.pop("version"), "version: missing"),
    (lambda b: b.update(version=7), "version: want a text, found 7"),
    (lambda b: b.update(threshold=0.5), "unknown: threshold"),
    (lambda b: b["fusion"].update(slope=1), "unknown: fusion.slope"),
    (lambda b: b["fusion"].update(terms={}), "fusion.terms: want a list"),
    (lambda b: b["fusion"].update(terms=[]), "no feature has a say"),
    (lambda b: b["fusion"]["terms"][1].pop("mean"), r"fusion.terms\[1\].mean: missing"),
    (
        lambda b: b["fusion"]["terms"][0].update(weight="much"),
        r"fusion.terms\[0\].weight: want a number, found 'much'",
    ),
    (lambda b: b["fusion"]["terms"][0].update(weight=-1), "want weight and missing of 0 or more"),
    (lambda b: b["fusion"]["terms"][0].update(missing=-1), "want weight and missing of 0 or more"),
    (lambda b: b["fusion"]["terms"][0].update(feature="aura"), "unknown feature 'aura'"),
    (lambda b: b["fusion"]["terms"][1].update(feature="frame_classifier"), "two terms"),
    (lambda b: b["fusion"]["covariance"].pop(), "want a covariance of 5 rows"),
    (lambda b: b["fusion"].update(covariance=[1]), "want a list of lists"),
    (lambda b: b["fusion"]["covariance"][0].__setitem__(1, 9.0), "not symmetric"),
    (lambda b: b.update(required=["aura"]), "required: want some of"),
    (lambda b: b.update(required=["pulse"]), "required, and without a say: pulse"),
    (lambda b: b.update(min_frames=-1), "min_frames: want a whole number"),
    (lambda b: b.update(min_frames=True), "min_frames: want a whole number"),
    (lambda b: b.update(default_point="fpr_1"), "no operating point is called fpr_1"),
    (lambda b: b.update(default_point="fpr_7"), "want one of fpr_5, fpr_1, found 'fpr_7'"),
    (lambda b: b["operating_points"].append(b["operating_points"][0]), "stands twice: fpr_5"),
    (lambda b: b["operating_points"][0].update(clear_below=0.9), "want clear_below < "),
    (lambda b: b["operating_points"][0].update(false_positives=97), "more false positives"),
    (lambda b: b["operating_points"][0].update(found=150), "more manipulated clips"),
    (lambda b: b["operating_points"][0].update(false_positives_at_most=10), "as a share"),
    (lambda b: b["cues"][0].update(feature="aura"), r"cues\[0\].feature: want one of"),
    (lambda b: b["cues"][0].update(decides="yes"), "want true or false"),
    (lambda b: b.update(made=[]), "made: want an object"),
    (lambda b: b["made"]["networks"].update(x=1), "made.networks.x: want a text"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[w for _, w in WRONG])
def test_a_policy_that_cannot_be_is_refused_with_the_place(change, words: str):
    with pytest.raises(ValueError, match=words):
        policy_from_json(spoilt(change))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[]", "the file: want an object"),
        ('{"version": NaN}', "NaN is no number"),
        ("\x00\xff", "not JSON"),
    ],
)
def test_what_is_no_policy_at_all_is_refused_with_the_file_s_name(
    tmp_path: Path, text: str, words: str
):
    file = tmp_path / "new.json"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=f"new.json: {words}"):
        read_policy(file)


def test_a_file_that_is_not_text_is_refused_like_any_other(tmp_path: Path):
    file = tmp_path / "new.json"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ValueError, match=r"new\.json"):
        read_policy(file)


def test_only_point_names_that_are_documented_exist():
    assert [p.value for p in PointName] == ["fpr_5", "fpr_1"]
