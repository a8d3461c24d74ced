"""
What is a worker made of? Settings in, an analyzer out: the only place that names every part.

Runs in the inference process and in `deepverdict scan`, never in the worker that holds the lease.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from app.domain.model_version import ModelVersion
from app.errors import ModelUnavailable, SandboxUnavailable
from app.settings import Settings
from app.version import code_version
from models.manifest import ManifestEntry
from models.registry import Presence, Registry
from workers.detection.analyze import Analyzer
from workers.detection.attribution import read_attribution
from workers.detection.decode import Sandbox, check_sandbox
from workers.detection.detectors.attention_map import AttentionMapper
from workers.detection.detectors.attribution import Attributor
from workers.detection.detectors.blink_rate import BlinkRate
from workers.detection.detectors.boundary_color import BoundaryColor
from workers.detection.detectors.double_edge import DoubleEdge
from workers.detection.detectors.frame_classifier import FrameClassifier
from workers.detection.detectors.landmark_flow import LandmarkFlow
from workers.detection.detectors.lip_sync import LipSync
from workers.detection.detectors.mouth_blur import MouthBlur
from workers.detection.detectors.noise_residual import NoiseResidual
from workers.detection.detectors.occlusion_flicker import OcclusionFlicker
from workers.detection.detectors.over_blur import OverBlur
from workers.detection.detectors.pixel_segmenter import PixelSegmenter
from workers.detection.detectors.pulse import Pulse
from workers.detection.detectors.temporal_smoothness import TemporalSmoothness
from workers.detection.face_detectors import (
    DeepverdictDetector,
    FaceDetector,
    InsightFaceDetector,
    YuNet,
)
from workers.detection.face_mesh import FaceMesh
from workers.detection.faces import FaceFollower
from workers.detection.identity import DeepverdictEmbedder, FaceEmbedder, MobileFaceNet
from workers.detection.landmarks import FaceLandmarks, Landmarker
from workers.detection.persons import Alike, PersonLinker
from workers.detection.reference import read_reference

FACE_DETECTORS = {
    "deepverdict": "face_detector",
    "yunet": "yunet",
    "insightface": "insightface_scrfd",
}
FACE_EMBEDDERS = {"deepverdict": "face_embedding", "mobilefacenet": "mobilefacenet"}
ALIKE = {
    "deepverdict": Alike(likely=0.5, surely=0.6),
    "mobilefacenet": Alike(likely=0.45, surely=0.5),
}
"""From which cosines on two faces are one person's, to each network; docs/models/face_embedding.md
says how they were chosen."""
LANDMARKS = "face_landmarks"
FRAME_CLASSIFIER = "frame_classifier"
SEGMENTER = "fake_segmenter"
LANDMARK_FLOW = "landmark_flow"
TEACHER_FINDER, TEACHER_LANDMARKS = "yunet", "face_mesh_468"


def build_analyzer(settings: Settings, promoted: Sequence[ModelVersion] = ()) -> Analyzer:
    """
    Load the networks and put the parts together.

    Args:
        promoted: versions that take the place of networks that came along.

    Raises:
        ModelUnavailable: a network that comes with the program is missing, or a network's bytes
            are not the ones that the manifest pins.
        SandboxUnavailable: the decoder cannot be jailed, and no setting allows that.
    """
    registry = build_registry(settings, promoted)
    wanted = wanted_models(settings)
    reference = read_reference()
    classifier = registry.load(FRAME_CLASSIFIER)
    segmenter = PixelSegmenter(registry.load(SEGMENTER))
    return Analyzer(
        limits=settings.media,
        sampling=settings.analysis,
        allow_unsandboxed=settings.worker.allow_unsandboxed,
        follower=_follower(settings, registry),
        detectors=(
            FrameClassifier(classifier),
            segmenter,
            LandmarkFlow(registry.load(LANDMARK_FLOW)),
            TemporalSmoothness(reference),
            BlinkRate(reference),
            OverBlur(reference),
            BoundaryColor(reference),
            DoubleEdge(reference),
            MouthBlur(reference),
            NoiseResidual(reference),
            OcclusionFlicker(reference),
            Pulse(reference),
            LipSync(reference),
            AttentionMapper(classifier),
            Attributor(read_attribution()),
        ),
        models={name: registry.status(name).detail for name in wanted},
        versions={name: registry.entry(name).version for name in wanted},
        sandbox=_tried_sandbox(settings),
        code=code_version(),
        device=registry.device,
        seed=settings.seed,
        marker=segmenter,
    )


def build_registry(settings: Settings, promoted: Sequence[ModelVersion] = ()) -> Registry:
    """
    Say where networks are looked for, and how they are run.

    Raises:
        ModelUnavailable: what is known of a promoted version cannot be read by this program.
    """
    return Registry(
        shipped_dir=Path(str(files("models") / "weights")),
        pulled_dir=settings.models_dir,
        threads=settings.analysis.threads,
        promoted=[_entry(model) for model in promoted],
    )


def _entry(model: ModelVersion) -> ManifestEntry:
    try:
        return ManifestEntry.model_validate_json(model.entry)
    except ValidationError as error:
        raise ModelUnavailable(
            f"{model.versioned_name} was promoted by another version of this program, whose entry "
            f"this one cannot read: {error}; go back with `deepverdict models rollback "
            f"{model.name}`"
        ) from error


def wanted_models(settings: Settings) -> tuple[str, ...]:
    """Name the networks that detection uses under these settings, in the manifest's words."""
    finder = FACE_DETECTORS[settings.faces.detector]
    found = (finder, LANDMARKS, FRAME_CLASSIFIER, SEGMENTER, LANDMARK_FLOW)
    if settings.faces.identity == "none":
        return found
    return (*found, FACE_EMBEDDERS[settings.faces.identity])


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceNetworks:
    """What finds faces and places their points."""

    detector: FaceDetector
    landmarks: Landmarker


def face_networks(settings: Settings) -> FaceNetworks:
    """
    Load the networks that find faces, as the settings have it.

    Raises:
        ModelUnavailable: one is missing, or its bytes are not the ones that the manifest pins.
    """
    return _face_networks(settings, build_registry(settings))


def _face_networks(settings: Settings, registry: Registry) -> FaceNetworks:
    landmarks = FaceLandmarks(registry.load(LANDMARKS))
    return FaceNetworks(detector=_finder(settings, registry), landmarks=landmarks)


def person_linker(settings: Settings) -> PersonLinker | None:
    """
    Build what joins faces into persons, as the settings have it; None where nothing does.

    Raises:
        ModelUnavailable: the network that comes with the program is missing, or its bytes are not
            the ones that the manifest pins.
    """
    return _linker(settings, build_registry(settings))


def teacher_networks(settings: Settings) -> FaceNetworks:
    """
    Load the third parties' networks that our own learned faces from.

    Raises:
        ModelUnavailable: one was not pulled, or its bytes are not the ones that the manifest pins.
    """
    registry = build_registry(settings)
    return FaceNetworks(
        detector=YuNet(registry.read(TEACHER_FINDER)),
        landmarks=FaceMesh(registry.load(TEACHER_LANDMARKS)),
    )


def _finder(settings: Settings, registry: Registry) -> FaceDetector:
    chosen = settings.faces.detector
    name = FACE_DETECTORS[chosen]
    if chosen == "deepverdict":
        return DeepverdictDetector(registry.load(name))
    return (YuNet if chosen == "yunet" else InsightFaceDetector)(registry.read(name))


def _follower(settings: Settings, registry: Registry) -> FaceFollower | None:
    """Build what follows faces; None where the optional network that was chosen is missing."""
    finder = FACE_DETECTORS[settings.faces.detector]
    is_optional = not registry.entry(finder).is_shipped
    if is_optional and registry.status(finder).word is Presence.MISSING:
        return None
    networks = _face_networks(settings, registry)
    return FaceFollower(
        networks.detector,
        networks.landmarks,
        detect_every=settings.faces.detect_every,
        samples_per_person=settings.analysis.samples_per_person,
        max_persons=settings.analysis.max_persons,
        linker=_linker(settings, registry),
    )


def _linker(settings: Settings, registry: Registry) -> PersonLinker | None:
    """Build what joins faces; None where nothing is to, or the network that was chosen is missing,
    which `wanted_models` says."""
    embedder = _embedder(settings, registry)
    if embedder is None:
        return None
    return PersonLinker(
        embedder,
        alike=ALIKE[settings.faces.identity],
        samples_per_person=settings.analysis.samples_per_person,
    )


def _embedder(settings: Settings, registry: Registry) -> FaceEmbedder | None:
    chosen = settings.faces.identity
    if chosen == "none":
        return None
    name = FACE_EMBEDDERS[chosen]
    is_optional = not registry.entry(name).is_shipped
    if is_optional and registry.status(name).word is Presence.MISSING:
        return None
    network = registry.load(name)
    kind = DeepverdictEmbedder if chosen == "deepverdict" else MobileFaceNet
    return kind(network, sha256=network.sha256)


def _tried_sandbox(settings: Settings) -> Sandbox:
    sandbox = check_sandbox()
    if not sandbox.is_network_removed and not settings.worker.allow_unsandboxed:
        raise SandboxUnavailable(
            f"the decoder cannot be jailed here ({sandbox.words}); allow user namespaces, or set "
            "DEEPVERDICT_WORKER__ALLOW_UNSANDBOXED=true to decode without, which /readyz will say"
        )
    return sandbox
