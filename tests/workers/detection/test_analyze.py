"""
Does one video become evidence, pictures and provenance, whatever a detector does?

The video is decoded in its jail; red squares stand in for faces, and detectors are doubles.
"""

import pickle
import pickletools
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    Analysis,
    ArtifactKind,
    DetectorName,
    Evidence,
    Finding,
    Observation,
)
from app.domain.job import Progress, Stage
from app.errors import RejectCode, RejectedMedia
from app.settings import AnalysisSettings, MediaLimits
from tests.media import make_video
from tests.workers.detection.make_scenes import make_follower, make_frames
from tests.workers.detection.real_faces import real_follower
from workers.detection.analyze import Analyzer, Examined
from workers.detection.decode import Sandbox
from workers.detection.detectors.blink_rate import BlinkRate
from workers.detection.detectors.temporal_smoothness import TemporalSmoothness
from workers.detection.faces import FaceFollower
from workers.detection.reference import NOTHING
from workers.detection.stage import CROP_SIDE_PX, Detector, Examination, FaceClip, PixelMask
from workers.detection.telling import MOST_MOMENTS

MODELS = {"face_detector": "sha256:aa", "frame_classifier": "missing: not pulled"}
SIZE = (320, 240)
ASKED = [
    DetectorName.FRAME_CLASSIFIER,
    DetectorName.PIXEL_SEGMENTER,
    DetectorName.TEMPORAL_SMOOTHNESS,
    DetectorName.BLINK_RATE,
]


class Classifier:
    """Finds everybody manipulated."""

    name = DetectorName.FRAME_CLASSIFIER
    needs: frozenset[DetectorName] = frozenset()

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        return Examination(
            evidence=Finding(
                detector=self.name,
                fake_probability=0.9,
                frames=len(clip.samples),
                observations=tuple(
                    Observation(pts_s=s.pts_s, frame_index=s.frame_index, fake_probability=0.9)
                    for s in clip.samples
                ),
            )
        )


class Segmenter:
    """Marks the upper half of the crop, if the classifier was asked before."""

    name = DetectorName.PIXEL_SEGMENTER
    needs = frozenset({DetectorName.FRAME_CLASSIFIER})

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        assert DetectorName.FRAME_CLASSIFIER in prior
        marked = np.zeros((CROP_SIDE_PX, CROP_SIDE_PX), np.float32)
        marked[: CROP_SIDE_PX // 2] = 1
        return Examination(
            evidence=Finding(detector=self.name, fake_probability=0.8, frames=2),
            masks=tuple(
                PixelMask(sample=s, probability=marked, area=0.5) for s in clip.samples[:2]
            ),
        )


class Broken(Classifier):
    """Raises whatever it is shown."""

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        raise ZeroDivisionError("the secret of this detector")


def make_analyzer(
    *detectors: Detector, follower: FaceFollower | None, sampling: AnalysisSettings | None = None
) -> Analyzer:
    return Analyzer(
        follower=follower,
        detectors=detectors
        or (Classifier(), Segmenter(), TemporalSmoothness(NOTHING), BlinkRate(NOTHING)),
        models=MODELS,
        versions={"face_detector": "1.0", "frame_classifier": "1.1"},
        code="1.0.0+abc",
        device="cpu",
        seed=7,
        limits=MediaLimits(),
        sampling=sampling or AnalysisSettings(),
        allow_unsandboxed=True,
        sandbox=Sandbox(is_network_removed=True, words="no network"),
    )


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red square that walks through the picture for two seconds and a half."""
    return write(
        tmp_path_factory.mktemp("walk") / "walk.mp4",
        [f.rgb for f in make_frames(lambda n: [(30 + 2 * n, 80, 60)], frames=64)],
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wall and nobody."""
    return write(
        tmp_path_factory.mktemp("bare") / "bare.mp4",
        [f.rgb for f in make_frames(lambda n: [], frames=12)],
    )


def write(
    path: Path, pictures: Sequence[np.ndarray], *, rate_hz: int = 25, rotation_deg: int = 0
) -> Path:
    """Write pictures as a video that players turn clockwise by `rotation_deg`."""
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "crf": "16"}
        stream = container.add_stream("libx264", rate=rate_hz, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if rotation_deg:
            stream.set_display_rotation(-rotation_deg)
        for rgb in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def analyze(analyzer: Analyzer, path: Path) -> Analysis:
    return analyzer.analyze(
        path, sha256="ab" * 32, size_bytes=path.stat().st_size, report=lambda progress: None
    )


def test_a_person_is_found_examined_and_pictured(walk: Path) -> None:
    analysis = analyze(make_analyzer(follower=make_follower()), walk)

    (person,) = analysis.persons
    assert (person.id, person.frames) == ("p1", 64)
    assert (person.first_s, person.last_s) == pytest.approx((0, 63 / 25))
    assert person.median_face_px == pytest.approx(60, abs=3)
    assert [e.detector for e in person.evidence] == ASKED
    assert analysis.abstentions == ()
    kinds = [a.kind for a in analysis.artifacts]
    marks = [ArtifactKind.MASK] * 2
    assert kinds == [ArtifactKind.CROP, *marks, *[ArtifactKind.FRAME] * MOST_MOMENTS]
    assert analysis.video.frames_decoded == 64
    assert analysis.video.sha256 == "ab" * 32


def test_a_mask_covers_the_face_in_the_frame_it_was_made_for(walk: Path) -> None:
    analysis = analyze(make_analyzer(follower=make_follower()), walk)

    masks = [a for a in analysis.artifacts if a.kind is ArtifactKind.MASK]
    for mask in masks:
        assert (mask.width_px, mask.height_px) == SIZE
        box = mask.box_px
        assert box is not None
        middle = box.x_px + box.width_px / 2
        assert middle == pytest.approx(60 + 2 * mask.frame_index, abs=3)
        assert box.y_px + box.height_px == pytest.approx(110, abs=3)  # the middle of the face


def test_provenance_says_what_it_takes_to_do_it_again(walk: Path) -> None:
    provenance = analyze(make_analyzer(follower=make_follower()), walk).provenance

    assert (provenance.code, provenance.device, provenance.seed) == ("1.0.0+abc", "cpu", 7)
    assert provenance.models == {"face_detector": "sha256:aa"}
    assert provenance.versions == {"face_detector": "1.0"}
    assert provenance.frame_indices == "every 1st of 64"
    assert provenance.decoder
    assert provenance.sandbox


def test_time_is_accounted_for(walk: Path) -> None:
    timings = analyze(make_analyzer(follower=make_follower()), walk).timings

    steps = {"decode_s", "faces_s", "sound_s", "artifacts_s", "origin_s"}
    steps |= {f"{name}_s" for name in ASKED}
    assert set(timings) == steps | {"total_s"}
    assert all(value >= 0 for value in timings.values())
    assert sum(timings[step] for step in steps) <= timings["total_s"]


def test_progress_rises_and_leaves_the_rest_to_the_worker(walk: Path) -> None:
    told: list[Progress] = []
    make_analyzer(follower=make_follower()).analyze(
        walk, sha256="", size_bytes=1, report=told.append
    )

    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(0.97)
    following = [p.fraction for p in told if p.stage is Stage.FOLLOWING_FACES]
    assert max(following) == pytest.approx(0.8, abs=0.01)
    assert {p.stage for p in told} == {Stage.FOLLOWING_FACES, Stage.EXAMINING}
    assert len(told) < 100


def test_no_array_leaves_the_worker(walk: Path) -> None:
    told: list[Progress] = []
    analyzer = make_analyzer(follower=make_follower())
    analysis = analyzer.analyze(walk, sha256="", size_bytes=1, report=told.append)

    names = {
        str(argument)
        for _, argument, _ in pickletools.genops(pickle.dumps((analysis, told)))
        if isinstance(argument, str)
    }

    assert not [name for name in names if name.startswith(("numpy", "cv2", "workers"))]


def test_the_same_video_gets_the_same_answer(walk: Path) -> None:
    analyzer = make_analyzer(follower=make_follower())

    first, second = analyze(analyzer, walk), analyze(analyzer, walk)

    assert first.persons == second.persons
    assert first.artifacts == second.artifacts


def test_a_detector_that_fails_is_one_that_abstains(
    walk: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    analyzer = make_analyzer(Broken(), Segmenter(), follower=make_follower())

    (person,) = analyze(analyzer, walk).persons

    crashed, finding = person.evidence
    assert isinstance(crashed, Abstention)
    assert crashed.reason is AbstainReason.CRASHED
    assert "secret" not in crashed.detail
    assert isinstance(finding, Finding)
    captured = capsys.readouterr()
    logged = caplog.text + captured.out + captured.err
    assert "detector.crashed" in logged
    assert "ZeroDivisionError" in logged


def test_where_nobody_is_everybody_abstains(bare: Path) -> None:
    analysis = analyze(make_analyzer(follower=make_follower()), bare)

    assert analysis.persons == ()
    assert analysis.artifacts == ()
    assert [(a.detector, a.reason) for a in analysis.abstentions] == [
        (name, AbstainReason.NO_FACE) for name in ASKED
    ]
    assert analysis.video.frames_decoded == 12


def test_a_face_that_is_seen_for_a_moment_is_not_called_no_face(tmp_path: Path) -> None:
    frames = make_frames(lambda n: [(80, 80, 60)], frames=4)
    path = write(tmp_path / "brief.mp4", [f.rgb for f in frames])

    analysis = analyze(make_analyzer(follower=make_follower()), path)

    assert {a.reason for a in analysis.abstentions} == {AbstainReason.TOO_FEW_FRAMES}


def test_without_the_networks_for_faces_the_video_is_decoded_and_nobody_judged(walk: Path) -> None:
    analysis = analyze(make_analyzer(follower=None), walk)

    assert analysis.persons == ()
    assert {a.reason for a in analysis.abstentions} == {AbstainReason.MODEL_MISSING}
    assert all("frame_classifier" in a.detail for a in analysis.abstentions)
    assert all("models pull" in a.needs for a in analysis.abstentions)
    assert (analysis.video.frames_decoded, analysis.video.frames_kept) == (64, 64)


def test_more_persons_than_are_examined_are_told_of(tmp_path: Path) -> None:
    frames = make_frames(lambda n: [(10 + 75 * i, 90, 50) for i in range(4)], frames=20)
    path = write(tmp_path / "crowd.mp4", [f.rgb for f in frames])

    analysis = analyze(make_analyzer(follower=make_follower(max_persons=2)), path)

    assert len(analysis.persons) == 2
    assert "persons-capped" in analysis.video.warnings


def test_a_video_that_is_none_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    path.write_bytes(b"this is no video")

    with pytest.raises(RejectedMedia) as caught:
        analyze(make_analyzer(follower=make_follower()), path)

    assert caught.value.code is RejectCode.UNSUPPORTED_CONTAINER


def test_sampling_is_kept_to(walk: Path) -> None:
    sampling = AnalysisSettings(max_kept_rate_hz=5)

    analysis = analyze(make_analyzer(follower=make_follower(), sampling=sampling), walk)

    assert analysis.video.frames_kept == 13
    assert analysis.persons[0].frames == 13


def test_a_sheet_is_drawn_when_asked_for(walk: Path, bare: Path) -> None:
    def examined(path: Path) -> Examined:
        return make_analyzer(follower=make_follower()).analyze_with_sheet(
            path, sha256="", size_bytes=1, report=lambda progress: None
        )

    sheet = examined(walk).sheet_png
    assert sheet is not None
    assert cv2.imdecode(np.frombuffer(sheet, np.uint8), cv2.IMREAD_COLOR) is not None
    assert examined(bare).sheet_png is None


def test_the_condition_is_what_it_was_built_with() -> None:
    condition = make_analyzer(follower=None).condition()

    assert condition.models == MODELS
    assert condition.missing_models == ("frame_classifier",)
    assert (condition.sandbox, condition.is_network_removed) == ("no network", True)
    assert condition.device == "cpu"


def test_detectors_out_of_order_are_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="to run first"):
        make_analyzer(Segmenter(), Classifier(), follower=None)


def test_a_video_of_any_picture_goes_through(tmp_path: Path) -> None:
    path = make_video(tmp_path / "odd.mkv", frames=8, size=(98, 34))

    analysis = analyze(make_analyzer(follower=make_follower()), path)

    assert analysis.video.frames_decoded == 8


@pytest.mark.shared
def test_a_face_filmed_sideways_is_found_upright(tmp_path: Path, shared_media: Path) -> None:
    with av.open(str(shared_media / "videos/real/webpair__RealBateman__1f2439.mp4")) as container:
        pictures = [
            np.rot90(f.to_ndarray(format="rgb24"))  # counter-clockwise; players turn it back
            for n, f in enumerate(container.decode(video=0))
            if n < 12
        ]
    path = write(tmp_path / "sideways.mp4", pictures, rotation_deg=90)

    analysis = analyze(make_analyzer(follower=real_follower()), path)

    assert (analysis.video.width, analysis.video.height) == (428, 398)
    assert analysis.video.rotation_deg == 90
    assert analysis.persons[0].frames == 12
    assert analysis.persons[0].median_face_px > 120


@pytest.mark.shared
def test_a_real_video_is_analysed_to_its_end(shared_media: Path) -> None:
    path = shared_media / "videos/real/webpair__RealClinton__5fbf77.mp4"
    analyzer = make_analyzer(
        Classifier(), TemporalSmoothness(NOTHING), BlinkRate(NOTHING), follower=real_follower()
    )

    analysis = analyze(analyzer, path)

    person = analysis.persons[0]
    _, smoothness, blinking = person.evidence
    assert person.frames == analysis.video.frames_kept
    assert isinstance(smoothness, Finding)
    assert isinstance(blinking, Abstention)
    assert blinking.reason is AbstainReason.TRACK_TOO_SHORT
