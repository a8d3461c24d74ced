"""Is a maker named only of a suspect face, and only where that can be told?"""

from dataclasses import replace

import pytest

from app.domain.evidence import AbstainReason, Abstention, Cue, DetectorName, Evidence, Finding
from tests.make_faces import make_clip, make_track, without_samples
from workers.detection.attribution import (
    UNKNOWN,
    VALUE,
    Attribution,
    Family,
    Feature,
    read_attribution,
)
from workers.detection.detectors.attribution import Attributor
from workers.detection.reference import Transform
from workers.detection.stage import FaceClip

CLIP = make_clip(make_track(frames=90))
BLUR = DetectorName.OVER_BLUR


def known(*, swap_from: float | None = 0.8, least_measured: int = 1) -> Attribution:
    """Softer than usual is a face swap, sharper a talking head, which is never named."""
    return Attribution(
        version="drawn",
        features=(
            Feature(detector=BLUR, reading=VALUE, transform=Transform.LOG, mean=0.0, deviation=0.5),
        ),
        families=(
            Family(
                name="faceswap",
                intercept=0.0,
                weights=(1.0,),
                named_from=swap_from,
                clips=40,
                groups=20,
                precision=0.75,
                answers=24,
            ),
            Family(
                name="talking_head",
                intercept=0.0,
                weights=(-1.0,),
                named_from=None,
                clips=12,
                groups=6,
            ),
        ),
        least_measured=least_measured,
        words="Fitted on drawings.",
    )


def prior(blur: float | None, suspicion: float = 0.9) -> dict[DetectorName, Evidence]:
    found: dict[DetectorName, Evidence] = {
        DetectorName.FRAME_CLASSIFIER: Finding(
            detector=DetectorName.FRAME_CLASSIFIER, fake_probability=suspicion, frames=16
        )
    }
    if blur is not None:
        found[BLUR] = Finding(detector=BLUR, cue=Cue(value=blur, unit="times", z=None), frames=16)
    return found


def judged(evidence: dict[DetectorName, Evidence], attribution: Attribution) -> Finding:
    found = Attributor(attribution).examine(CLIP, evidence).evidence
    assert isinstance(found, Finding), found
    return found


def test_a_family_that_may_be_named_is_named_with_what_that_is_worth() -> None:
    finding = judged(prior(2.0), known())

    assert finding.answer == "faceswap"
    assert finding.fake_probability is None
    assert finding.measurements["probability_of_faceswap"] == pytest.approx(0.941, abs=0.001)
    assert finding.caveat is not None
    assert "75% of 24 times" in finding.caveat
    assert "only if the face was manipulated" in finding.caveat


@pytest.mark.parametrize(
    ("blur", "swap_from", "least_measured"),
    [(1.0, 0.8, 1), (2.0, 0.99, 1), (2.0, None, 1), (0.2, 0.8, 1), (2.0, 0.8, 2), (None, 0.1, 1)],
    ids=[
        "even odds",
        "not sure enough",
        "never to be named",
        "of a family that is never named",
        "too little measured",
        "nothing measured",
    ],
)
def test_unknown_is_an_answer(
    blur: float | None, swap_from: float | None, least_measured: int
) -> None:
    finding = judged(prior(blur), known(swap_from=swap_from, least_measured=least_measured))

    assert finding.answer == UNKNOWN
    assert finding.caveat is not None
    assert "Fitted on drawings." in finding.caveat


@pytest.mark.parametrize(
    "said",
    [
        {},
        {
            DetectorName.FRAME_CLASSIFIER: Abstention(
                detector=DetectorName.FRAME_CLASSIFIER, reason=AbstainReason.CRASHED
            )
        },
        prior(2.0, suspicion=0.34),
    ],
    ids=["nobody asked", "abstained", "not suspect"],
)
def test_a_face_that_nobody_suspects_has_no_maker(said: dict[DetectorName, Evidence]) -> None:
    evidence = Attributor(known()).examine(CLIP, said).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_FEW_FINDINGS
    assert evidence.detail
    assert evidence.needs


@pytest.mark.parametrize(
    "clip", [make_clip(make_track(frames=1)), without_samples(CLIP)], ids=["one frame", "no looks"]
)
def test_a_person_who_is_hardly_seen_is_not_asked_about(clip: FaceClip) -> None:
    assert isinstance(Attributor(known()).examine(clip, prior(2.0)).evidence, Abstention)


def test_it_needs_the_detectors_that_it_reads_and_the_classifier() -> None:
    assert Attributor(known()).needs == {BLUR, DetectorName.FRAME_CLASSIFIER}


def test_probabilities_are_one_together_whatever_is_missing() -> None:
    for blur in (None, 1e-12, 1e12):
        found = known().probabilities(prior(blur))

        assert sum(found.values()) == pytest.approx(1)


def test_a_file_that_cannot_be_is_refused() -> None:
    (feature,) = known().features

    with pytest.raises(ValueError, match="deviation"):
        replace(feature, deviation=0.0)
    with pytest.raises(ValueError, match="weights"):
        replace(known(), features=(feature, feature))


def test_the_file_that_comes_along_reads_and_names_nothing_without_evidence() -> None:
    attribution = read_attribution()

    assert attribution.answer({}) == UNKNOWN
    assert "whole-image synthesis" in attribution.words
    assert len({family.name for family in attribution.families}) == len(attribution.families)
