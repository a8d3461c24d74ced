"""Does the map of attention lie where the network looked, and on the looks that it suspected?"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding, Observation
from models.registry import OnnxModel
from tests.make_faces import make_clip, make_track
from tests.make_models import make_calibration
from workers.detection.detectors.attention_map import LOOKS, AttentionMapper
from workers.detection.stage import FaceClip, FaceSample

CLIP = make_clip(make_track(frames=90))
CORNER = (slice(0, 64), slice(192, 256))  # top right


class Peephole:
    """A network that sees one part of each crop: the more detail there, the more manipulated."""

    name, version, versioned_name = "peephole", "1.0", "peephole@1.0"
    calibration = None
    is_calibrated = False
    caveat = None
    output_names = ("presence", "fake_logit")

    def __init__(self, part: tuple[slice, slice] = CORNER, *, sign: float = 1.0) -> None:
        self._part = part
        self._sign = sign
        self.asked = 0

    def run(self, inputs: Mapping[str, NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        rows, columns = self._part
        seen = inputs["faces"][:, rows, columns].astype(np.float32)
        self.asked += len(seen)
        logit = self._sign * seen.std(axis=(1, 2, 3)) / 10
        return [np.ones(len(seen), np.float32), np.asarray(logit, np.float32)]


class Blank(Peephole):
    """A network that says the same of everything."""

    def run(self, inputs: Mapping[str, NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return [np.ones(len(inputs["faces"]), np.float32)] * 2


class Garbled(Peephole):
    """A network that answers NaN."""

    def run(self, inputs: Mapping[str, NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return [np.full(len(inputs["faces"]), np.nan, np.float32)] * 2


def opinion(looks: tuple[FaceSample, ...], probabilities: list[float]) -> Finding:
    return Finding(
        detector=DetectorName.FRAME_CLASSIFIER,
        fake_probability=0.9,
        frames=len(looks),
        observations=tuple(
            Observation(pts_s=s.pts_s, frame_index=s.frame_index, fake_probability=p)
            for s, p in zip(looks, probabilities, strict=True)
        ),
    )


def suspicion(fake_probability: float) -> dict[DetectorName, Finding]:
    name = DetectorName.FRAME_CLASSIFIER
    return {name: Finding(detector=name, fake_probability=fake_probability, frames=16)}


@pytest.mark.parametrize(
    "part",
    [CORNER, (slice(96, 160), slice(96, 160)), (slice(200, 256), slice(0, 80))],
    ids=["corner", "middle", "chin"],
)
def test_the_map_lies_where_the_network_looked(part: tuple[slice, slice]) -> None:
    examination = AttentionMapper(Peephole(part)).examine(CLIP, suspicion(0.9))

    assert len(examination.attention) == LOOKS
    for attention in examination.attention:
        weight = attention.weight
        assert (weight.shape, weight.dtype) == ((256, 256), np.float32)
        assert (weight.min(), weight.max()) == (pytest.approx(0, abs=0.05), 1.0)
        row, column = np.unravel_index(weight.argmax(), weight.shape)
        assert part[0].start <= row < part[0].stop
        assert part[1].start <= column < part[1].stop
        elsewhere = np.ones(weight.shape, bool)
        elsewhere[part] = False
        assert weight[part].mean() > 5 * weight[elsewhere].mean()


def test_it_asks_a_network_so_many_times_and_no_more() -> None:
    network = Peephole()

    AttentionMapper(network).examine(CLIP, suspicion(0.9))

    assert network.asked == 150


def test_it_looks_at_the_most_suspect_looks_by_time() -> None:
    clip = CLIP
    said = [0.5] * 16
    said[11], said[2], said[7] = 0.99, 0.9, 0.95
    prior = {DetectorName.FRAME_CLASSIFIER: opinion(clip.samples, said)}

    examination = AttentionMapper(Peephole()).examine(clip, prior)

    assert isinstance(examination.evidence, Finding)
    expected = [clip.samples[i].frame_index for i in (2, 7, 11)]
    assert [o.frame_index for o in examination.evidence.observations] == expected
    assert [a.sample.frame_index for a in examination.attention] == expected


def test_where_the_classifier_said_nothing_it_looks_evenly() -> None:
    clip = CLIP
    silent = Abstention(detector=DetectorName.FRAME_CLASSIFIER, reason=AbstainReason.CRASHED)

    for prior in ({}, {DetectorName.FRAME_CLASSIFIER: silent}):
        examination = AttentionMapper(Peephole()).examine(clip, prior)

        shown = [a.sample.frame_index for a in examination.attention]
        assert shown == [clip.samples[i].frame_index for i in (2, 8, 13)]


def test_of_somebody_whom_nobody_suspects_there_is_nothing_to_show() -> None:
    network = Peephole()

    evidence = AttentionMapper(network).examine(CLIP, suspicion(0.49)).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_FEW_FINDINGS
    assert "0.49" in evidence.detail
    assert network.asked == 0


def test_a_calibrated_network_says_itself_from_where_on_somebody_is_suspect() -> None:
    network = Peephole()
    network.calibration = make_calibration()  # clear below 0.2

    mapper = AttentionMapper(network)

    assert isinstance(mapper.examine(CLIP, suspicion(0.2)).evidence, Finding)
    assert isinstance(mapper.examine(CLIP, suspicion(0.19)).evidence, Abstention)


@pytest.mark.parametrize("network", [Blank(), Peephole(sign=-1)], ids=["blank", "against"])
def test_where_hiding_lowers_nothing_there_is_no_map(network: Peephole) -> None:
    examination = AttentionMapper(network).examine(CLIP, suspicion(0.9))

    assert examination.attention == ()
    assert isinstance(examination.evidence, Finding)
    assert examination.evidence.measurements["looks_with_a_map"] == 0
    assert examination.evidence.measurements["largest_fall_of_log_odds"] < 0.1
    assert "share_of_attention_on_eyes" not in examination.evidence.measurements


def test_the_shares_of_the_parts_of_a_face_are_one_together() -> None:
    finding = AttentionMapper(Peephole()).examine(CLIP, suspicion(0.9)).evidence

    assert isinstance(finding, Finding)
    shares = {k: v for k, v in finding.measurements.items() if k.startswith("share_of_attention_")}
    assert len(shares) == 5
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["share_of_attention_on_background"] > 0.5  # the corner shows no face
    assert finding.fake_probability is None
    assert finding.model == "peephole@1.0"


def test_a_face_whose_landmarks_are_lost_has_a_map_and_no_shares() -> None:
    track = make_track(frames=90)
    lost = make_clip(replace(track, landmarks_px=np.full_like(track.landmarks_px, np.nan)))

    examination = AttentionMapper(Peephole()).examine(lost, suspicion(0.9))

    assert len(examination.attention) == LOOKS
    assert isinstance(examination.evidence, Finding)
    assert "share_of_attention_on_eyes" not in examination.evidence.measurements


def test_the_same_person_has_the_same_map_twice() -> None:
    first, second = (AttentionMapper(Peephole()).examine(CLIP, suspicion(0.9)) for _ in range(2))

    assert first.evidence == second.evidence
    for one, other in zip(first.attention, second.attention, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight, strict=True)


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (make_clip(make_track(samples=7)), AbstainReason.TOO_FEW_FRAMES),
        (make_clip(make_track(face_px=59)), AbstainReason.FACE_TOO_SMALL),
    ],
    ids=["few looks", "tiny face"],
)
def test_a_person_who_is_hardly_seen_is_not_asked_about(
    clip: FaceClip, reason: AbstainReason
) -> None:
    evidence = AttentionMapper(Peephole()).examine(clip, suspicion(0.9)).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is reason


def test_a_network_that_answers_no_number_is_a_fault() -> None:
    with pytest.raises(ValueError, match="not a number"):
        AttentionMapper(Garbled()).examine(CLIP, suspicion(0.9))


def test_a_classifier_of_the_registry_can_be_asked(brightness: OnnxModel) -> None:
    evidence = AttentionMapper(brightness).examine(CLIP, {}).evidence

    assert isinstance(evidence, Finding)
    assert evidence.model == brightness.versioned_name
