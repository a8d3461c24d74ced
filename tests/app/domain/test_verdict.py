"""What may be said of a video, and what never."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    DetectorName,
    Evidence,
    Finding,
    Person,
)
from app.domain.media import VideoFacts
from app.domain.policy import CURRENT, Policy
from app.domain.verdict import Inconclusive, Label, Verdict, decide

CLASSIFIER = DetectorName.FRAME_CLASSIFIER
SEGMENTER = DetectorName.PIXEL_SEGMENTER
BLINK = DetectorName.BLINK_RATE
POLICY = replace(
    CURRENT,
    weights={CLASSIFIER: 1.0, SEGMENTER: 0.5, BLINK: 0.0},
    required=frozenset({CLASSIFIER}),
    manipulated_from=0.90,
    clear_below=0.10,
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


def test_detectors_that_contradict_each_other_are_not_averaged_away():
    verdict = judge(person(finding(0.99), finding(0.05, SEGMENTER)))

    assert verdict.label == Label.INCONCLUSIVE
    assert verdict.reasons[0].startswith("detectors_disagree: ")


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
        replace(POLICY, clear_below=0.9, manipulated_from=0.1)
