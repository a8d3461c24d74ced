"""What may be said of a video, and what never."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    Cue,
    DetectorName,
    Evidence,
    Finding,
    Person,
)
from app.domain.fusion import Fusion, Term
from app.domain.media import VideoFacts
from app.domain.policy import CURRENT, Point, PointName, Policy
from app.domain.verdict import (
    Inconclusive,
    Label,
    Verdict,
    caveat_in,
    decide,
    reasons_in,
    statement_in,
)
from app.domain.words import Language

CLASSIFIER = DetectorName.FRAME_CLASSIFIER
SEGMENTER = DetectorName.PIXEL_SEGMENTER
BLINK = DetectorName.BLINK_RATE
FLICKER = DetectorName.OCCLUSION_FLICKER


def term(feature: str, weight: float, missing: float = 0.0) -> Term:
    return Term(feature=feature, weight=weight, mean=0.0, deviation=1.0, missing=missing)


def point(name: PointName, manipulated_from: float, clear_below: float) -> Point:
    return Point(
        name=name,
        manipulated_from=manipulated_from,
        clear_below=clear_below,
        real_clips=100,
        false_positives=4,
        false_positives_at_most=0.1,
        fake_clips=150,
        found=60,
        cleared_fakes=15,
    )


POLICY = replace(
    CURRENT,
    fusion=Fusion(
        intercept=0.0,
        terms=(
            term("frame_classifier", 1.0),
            term("pixel_segmenter", 0.5),
            term("occlusion_flicker", 1.0),
        ),
    ),
    points=(point(PointName.FPR_5, 0.90, 0.10), point(PointName.FPR_1, 0.97, 0.10)),
    default_point=PointName.FPR_5,
)
WITH_SPREAD = replace(
    POLICY,
    fusion=replace(
        POLICY.fusion,
        covariance=tuple(tuple(0.04 if i == j else 0.0 for j in range(7)) for i in range(7)),
    ),
)
WHOLE = VideoFacts(
    sha256="0" * 64,
    size_bytes=1,
    container="mov",
    codec="h264",
    width=640,
    height=360,
    rotation_deg=0,
    duration_s=10.0,
    fps=30.0,
    frames_expected=300,
    frames_decoded=300,
    frames_kept=300,
)
TRUNCATED = replace(WHOLE, frames_decoded=120, warnings=("truncated",))


def finding(probability: float, detector: DetectorName = CLASSIFIER) -> Finding:
    return Finding(detector=detector, fake_probability=probability, frames=16, is_calibrated=True)


def cue(z: float, detector: DetectorName = FLICKER) -> Finding:
    return Finding(detector=detector, cue=Cue(value=1.0, unit="times", z=z), frames=16)


def silence(reason: AbstainReason, detector: DetectorName = CLASSIFIER) -> Abstention:
    return Abstention(detector=detector, reason=reason)


def person(*evidence: Evidence, id: str = "p1", frames: int = 240) -> Person:  # noqa: A002
    return Person(
        id=id, first_s=3.0, last_s=11.2, frames=frames, median_face_px=120.0, evidence=evidence
    )


def judge(*persons: Person, video: VideoFacts = WHOLE, policy: Policy = POLICY) -> Verdict:
    return decide(persons, video, (), policy)


def test_one_strongly_marked_face_is_called_manipulated_with_its_time_in_words():
    verdict = judge(person(finding(0.97)))

    assert verdict.label == Label.MANIPULATED
    assert verdict.reasons == ("person p1: 0.97",)
    assert "from 0:03 to 0:11" in verdict.statement


def test_one_fake_person_among_real_ones_is_enough():
    verdict = judge(person(finding(0.02)), person(finding(0.96), id="p2"))

    assert verdict.label == Label.MANIPULATED
    assert verdict.reasons == ("person p2: 0.96",)
    assert verdict.fake_probability == pytest.approx(0.96)
    assert verdict.by_person["p1"] == pytest.approx(0.02)


def test_everyone_clear_is_no_manipulation_found_and_says_that_it_proves_nothing():
    verdict = judge(person(finding(0.03)), person(finding(0.05), id="p2"))

    assert verdict.label == Label.NO_MANIPULATION_FOUND
    assert "does not prove" in verdict.statement


def test_a_clip_nobody_could_judge_is_inconclusive_not_half_fake():
    verdict = judge(person(silence(AbstainReason.TOO_BLURRED)))

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.fake_probability is None
    assert verdict.reasons[0].startswith("too_blurred: ")


def test_a_probability_is_given_even_where_the_label_is_withheld():
    verdict = judge(person(silence(AbstainReason.MODEL_MISSING), finding(0.71, BLINK)))

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("model_missing: ")
    assert verdict.fake_probability == pytest.approx(0.71)


def test_abstaining_never_moves_the_probability():
    alone = judge(person(finding(0.93)))
    in_silence = judge(person(finding(0.93), silence(AbstainReason.CRASHED, SEGMENTER)))

    assert alone == in_silence


def test_a_detector_without_a_say_never_moves_the_label_nor_the_probability():
    alone = judge(person(finding(0.03)))
    accused = judge(person(finding(0.03), finding(0.99, BLINK)))

    assert alone == accused


def test_a_passer_by_seen_by_weak_cues_alone_does_not_set_the_probability_of_the_video():
    judged = person(finding(0.16))
    passer_by = person(silence(AbstainReason.FACE_TOO_SMALL), finding(0.72, BLINK), id="p2")

    verdict = judge(judged, passer_by)

    assert verdict.fake_probability == pytest.approx(0.16)
    assert verdict.by_person["p2"] == pytest.approx(0.72)


def test_nobody_is_cleared_whom_one_detector_by_itself_accuses():
    verdict = judge(person(finding(0.001), cue(2.5)))

    assert verdict.fake_probability is not None
    assert verdict.fake_probability < 0.1
    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("detectors_disagree: person p1: occlusion_flicker alone")


def test_a_cue_with_a_say_moves_the_probability_by_its_weight():
    alone = judge(person(finding(0.5)))
    with_cue = judge(person(finding(0.5), cue(3.0)))

    assert alone.fake_probability == pytest.approx(0.5)
    assert with_cue.fake_probability == pytest.approx(1 / (1 + 2.718281828**-3))
    assert with_cue.label == Label.MANIPULATED


def test_the_video_has_the_probability_and_the_interval_of_its_most_suspect_person():
    verdict = judge(person(finding(0.2)), person(finding(0.6), id="p2"), policy=WITH_SPREAD)

    assert verdict.fake_probability == pytest.approx(0.6)
    assert verdict.interval == verdict.intervals_by_person["p2"]
    assert verdict.interval is not None
    assert verdict.interval.low < 0.6 < verdict.interval.high
    assert set(verdict.intervals_by_person) == {"p1", "p2"}


def test_an_interval_that_nobody_knows_is_not_made_up():
    verdict = judge(person(finding(0.6)))

    assert verdict.interval is None
    assert verdict.intervals_by_person == {}


def test_a_stricter_operating_point_calls_fewer_manipulated_and_is_named():
    suspect = (person(finding(0.95)),)

    loose = decide(suspect, WHOLE, (), POLICY, PointName.FPR_5)
    strict = decide(suspect, WHOLE, (), POLICY, PointName.FPR_1)

    assert (loose.label, loose.operating_point) == (Label.MANIPULATED, PointName.FPR_5)
    assert (strict.label, strict.operating_point) == (Label.INCONCLUSIVE, PointName.FPR_1)
    assert judge(*suspect) == loose


def test_a_point_that_was_never_measured_is_replaced_aloud():
    policy = replace(POLICY, points=POLICY.points[:1])

    verdict = decide((person(finding(0.95)),), WHOLE, (), policy, PointName.FPR_1)

    assert verdict.operating_point == PointName.FPR_5
    assert "fpr_1 was asked for" in verdict.caveat


def test_a_verdict_can_be_said_in_german_and_its_codes_stay():
    verdict = judge(person(finding(0.5)))

    assert statement_in(verdict, Language.GERMAN).startswith("Kein Urteil: Die Anzeichen")
    (reason,) = reasons_in(verdict, Language.GERMAN)
    assert reason == "between_thresholds: Person p1: 0,50 liegt zwischen 0,10 und 0,90"
    assert "100 unveränderten Clips" in caveat_in(verdict, Language.GERMAN)


def test_an_old_verdict_is_said_as_it_was_stored():
    new = judge(person(finding(0.97)))
    old = replace(new, said=())

    for language in Language:
        assert statement_in(old, language) == new.statement == statement_in(new, Language.ENGLISH)
        assert caveat_in(old, language) == new.caveat == caveat_in(new, Language.ENGLISH)
        assert reasons_in(old, language) == new.reasons == reasons_in(new, Language.ENGLISH)


def test_too_compressed_is_a_reason_of_its_own():
    verdict = judge(person(silence(AbstainReason.TOO_COMPRESSED)))

    assert verdict.reasons[0].startswith("too_compressed: ")


def test_between_the_thresholds_there_is_no_label():
    verdict = judge(person(finding(0.5)))

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("between_thresholds: ")


def test_a_video_without_a_face_is_inconclusive_no_face():
    nobody = (silence(AbstainReason.NO_FACE), silence(AbstainReason.NO_FACE, BLINK))

    verdict = decide((), WHOLE, nobody, POLICY)

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("no_face: ")


def test_without_the_face_models_it_says_so_and_does_not_claim_that_nobody_is_there():
    nobody = (silence(AbstainReason.MODEL_MISSING),)

    verdict = decide((), WHOLE, nobody, POLICY)

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("model_missing: ")


def test_the_part_of_a_truncated_file_can_convict_but_never_acquit():
    clear = judge(person(finding(0.01)), video=TRUNCATED)
    marked = judge(person(finding(0.99)), video=TRUNCATED)

    assert clear.label == Label.INCONCLUSIVE
    assert clear.reasons == ("truncated: 120 of 300 frames could be decoded",)
    assert marked.label == Label.MANIPULATED
    assert "could be decoded" in marked.caveat


def test_somebody_seen_too_briefly_does_not_set_the_probability_of_the_video():
    brief = person(finding(0.9), id="p2", frames=POLICY.min_frames - 1)

    assert judge(person(finding(0.5)), brief).fake_probability == pytest.approx(0.5)
    assert judge(brief).fake_probability == pytest.approx(0.9)


@pytest.mark.parametrize(
    "why", [AbstainReason.FACE_TOO_SMALL, AbstainReason.TOO_BLURRED, AbstainReason.TOO_FEW_FRAMES]
)
def test_a_passer_by_who_cannot_be_judged_is_named_and_does_not_hold_up_the_rest(
    why: AbstainReason,
):
    verdict = judge(person(finding(0.02)), person(silence(why), id="p2"))

    assert verdict.label == Label.NO_MANIPULATION_FOUND
    assert "p2" in verdict.caveat


def test_only_passers_by_are_not_enough():
    verdict = judge(person(silence(AbstainReason.FACE_TOO_SMALL)))

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("faces_too_small: ")


def test_a_crash_of_the_required_detector_is_never_a_clean_bill():
    verdict = judge(person(finding(0.01)), person(silence(AbstainReason.CRASHED), id="p2"))

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("too_little_evidence: ")


def test_uncalibrated_networks_are_said_to_be_so():
    verdict = judge(person(replace(finding(0.97), is_calibrated=False)))

    assert "not calibrated" in verdict.caveat


def test_the_silence_of_an_uncalibrated_network_acquits_nobody():
    verdict = judge(person(replace(finding(0.02), is_calibrated=False)))

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("not_calibrated: ")
    assert verdict.fake_probability == pytest.approx(0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(0, 1), st.integers(0, 3))
def test_more_suspicion_never_lowers_the_probability(values: list[float], more: float, at: int):
    at %= len(values)
    before = judge(*(person(finding(v), id=f"p{i}") for i, v in enumerate(values)))
    raised = [max(v, more) if i == at else v for i, v in enumerate(values)]
    after = judge(*(person(finding(v), id=f"p{i}") for i, v in enumerate(raised)))

    assert before.fake_probability is not None
    assert after.fake_probability is not None
    assert after.fake_probability >= before.fake_probability - 1e-9


RANK = {Label.NO_MANIPULATION_FOUND: 0, Label.INCONCLUSIVE: 1, Label.MANIPULATED: 2}
SEEN = st.tuples(
    st.floats(0, 1), st.none() | st.floats(0, 1), st.none() | st.floats(-8, 8), st.integers(20, 30)
)


def somebody(seen: tuple[float, float | None, float | None, int], number: int) -> Person:
    classified, segmented, flicker, frames = seen
    evidence: list[Evidence] = [finding(classified)]
    evidence += [] if segmented is None else [finding(segmented, SEGMENTER)]
    evidence += [] if flicker is None else [cue(flicker)]
    return person(*evidence, id=f"p{number}", frames=frames)


@given(
    st.lists(SEEN, min_size=1, max_size=3),
    st.integers(0, 2),
    st.sampled_from([0, 1, 2]),
    st.floats(0, 1),
    st.sampled_from(list(PointName)),
)
def test_more_signs_of_a_fake_never_lower_the_verdict(
    seen: list[tuple[float, float | None, float | None, int]],
    who: int,
    what: int,
    more: float,
    name: PointName,
):
    """Whoever of several persons, whichever detector, whichever operating point."""
    who %= len(seen)
    values = list(seen[who])
    old = values[what]
    if old is None:
        return  # to be measured at all may well clear somebody
    top = 8.0 if what == 2 else 1.0
    values[what] = old + more * (top - old)
    raised = [tuple(values) if i == who else s for i, s in enumerate(seen)]

    before = decide([somebody(s, i) for i, s in enumerate(seen)], WHOLE, (), POLICY, name)
    after = decide([somebody(s, i) for i, s in enumerate(raised)], WHOLE, (), POLICY, name)  # type: ignore[arg-type]

    assert RANK[after.label] >= RANK[before.label]


@given(
    st.lists(SEEN, min_size=1, max_size=3),
    st.sampled_from([SEGMENTER, FLICKER]),
    st.sampled_from(list(AbstainReason)),
    st.floats(0, 3),
)
def test_silence_never_moves_a_verdict_towards_clean(
    seen: list[tuple[float, float | None, float | None, int]],
    who: DetectorName,
    why: AbstainReason,
    missing: float,
):
    """It is worth as much as what an average clip shows, or more, and never acquits."""
    terms = tuple(replace(t, missing=missing) for t in POLICY.fusion.terms)
    policy = replace(POLICY, fusion=replace(POLICY.fusion, terms=terms))
    whole = [somebody(s, i) for i, s in enumerate(seen)]
    rest = [e for e in whole[0].evidence if e.detector is not who]
    ordinary = cue(0.0) if who is FLICKER else finding(0.5, who)
    average = replace(whole[0], evidence=(*rest, ordinary))
    silent = replace(whole[0], evidence=(*rest, silence(why, who)))

    before = decide([average, *whole[1:]], WHOLE, (), policy)
    after = decide([silent, *whole[1:]], WHOLE, (), policy)

    assert RANK[after.label] >= RANK[before.label]


@given(st.lists(SEEN, min_size=1, max_size=3), st.sampled_from(list(PointName)))
def test_nothing_is_ever_said_to_be_proven_genuine(
    seen: list[tuple[float, float | None, float | None, int]], name: PointName
):
    verdict = decide([somebody(s, i) for i, s in enumerate(seen)], WHOLE, (), POLICY, name)

    for language, proof in (
        (Language.ENGLISH, "does not prove"),
        (Language.GERMAN, "beweist nicht"),
    ):
        statement = statement_in(verdict, language)
        assert (proof in statement) == (verdict.label is Label.NO_MANIPULATION_FOUND)


@given(st.lists(st.sampled_from(list(AbstainReason)), min_size=0, max_size=4))
def test_silence_alone_never_yields_a_label(reasons: list[AbstainReason]):
    persons = [person(silence(r), id=f"p{i}") for i, r in enumerate(reasons)]
    verdict = decide(persons, WHOLE, (), POLICY)

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.fake_probability is None
    assert verdict.reasons[0].split(":")[0] in {code.value for code in Inconclusive}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_probability_that_is_none_cannot_be_written(bad: float):
    with pytest.raises(ValueError, match="fake_probability"):
        finding(bad)


def test_thresholds_out_of_order_are_refused():
    with pytest.raises(ValueError, match="clear_below"):
        point(PointName.FPR_5, manipulated_from=0.1, clear_below=0.9)
