"""
What is a worker made of? Settings in, an analyzer out: the only place that names every part.

Runs in the inference process and in `deepverdict scan`, never in the worker that holds the lease.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from app.errors import SandboxUnavailable
from app.settings import Settings
from app.version import code_version
from models.registry import OnnxModel, Presence, Registry
from workers.detection.analyze import Analyzer
from workers.detection.decode import Sandbox, check_sandbox
from workers.detection.detectors.blink_rate import BlinkRate
from workers.detection.detectors.frame_classifier import FrameClassifier
from workers.detection.detectors.pixel_segmenter import PixelSegmenter
from workers.detection.detectors.temporal_smoothness import TemporalSmoothness
from workers.detection.face_detectors import FaceDetector, InsightFaceDetector, YuNet
from workers.detection.face_mesh import FaceMesh
from workers.detection.faces import FaceFollower

FACE_DETECTORS = {"yunet": "face_detector", "insightface": "insightface_scrfd"}
LANDMARKS = "face_landmarks"
FRAME_CLASSIFIER = "frame_classifier"
PIXEL_SEGMENTER = "pixel_segmenter"


def build_analyzer(settings: Settings) -> Analyzer:
    """
    Load every network that is in place and put the parts together.

    Raises:
        ModelUnavailable: a network's bytes are not the ones that the manifest pins.
        SandboxUnavailable: the decoder cannot be jailed, and no setting allows that.
    """
    registry = build_registry(settings)
    models = {name: registry.status(name).detail for name in wanted_models(settings)}
    return Analyzer(
        limits=settings.media,
        sampling=settings.analysis,
        allow_unsandboxed=settings.worker.allow_unsandboxed,
        follower=_follower(settings, registry),
        detectors=(
            FrameClassifier(_load(registry, FRAME_CLASSIFIER)),
            PixelSegmenter(_load(registry, PIXEL_SEGMENTER)),
            TemporalSmoothness(),
            BlinkRate(),
        ),
        models=models,
        sandbox=_tried_sandbox(settings),
        code=code_version(),
        device=registry.device,
        seed=settings.seed,
    )


def build_registry(settings: Settings) -> Registry:
    """Say where networks are looked for, and how they are run."""
    return Registry(
        shipped_dir=Path(str(files("models") / "weights")),
        pulled_dir=settings.models_dir,
        threads=settings.analysis.threads,
    )


def wanted_models(settings: Settings) -> tuple[str, ...]:
    """Name the networks that detection uses under these settings, in the manifest's words."""
    return (FACE_DETECTORS[settings.faces.detector], LANDMARKS, FRAME_CLASSIFIER, PIXEL_SEGMENTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceNetworks:
    """What finds faces and places their points."""

    detector: FaceDetector
    landmarks: FaceMesh


def face_networks(settings: Settings) -> FaceNetworks:
    """
    Load the networks that find faces, as the settings have it.

    Raises:
        ModelUnavailable: one is missing, or its bytes are not the ones that the manifest pins.
    """
    registry = build_registry(settings)
    weights = registry.read(FACE_DETECTORS[settings.faces.detector])
    detector: FaceDetector = (
        InsightFaceDetector(weights) if settings.faces.detector == "insightface" else YuNet(weights)
    )
    return FaceNetworks(detector=detector, landmarks=FaceMesh(registry.load(LANDMARKS)))


def _follower(settings: Settings, registry: Registry) -> FaceFollower | None:
    """Build what follows faces; None where one of its networks is missing."""
    wanted = (FACE_DETECTORS[settings.faces.detector], LANDMARKS)
    if any(registry.status(name).word is Presence.MISSING for name in wanted):
        return None
    networks = face_networks(settings)
    return FaceFollower(
        networks.detector,
        networks.landmarks,
        detect_every=settings.faces.detect_every,
        samples_per_person=settings.analysis.samples_per_person,
        max_persons=settings.analysis.max_persons,
    )


def _load(registry: Registry, name: str) -> OnnxModel | None:
    """Load a network; None where it is missing, which is allowed, unlike wrong bytes."""
    if registry.status(name).word is Presence.MISSING:
        return None
    return registry.load(name)


def _tried_sandbox(settings: Settings) -> Sandbox:
    sandbox = check_sandbox()
    if not sandbox.is_network_removed and not settings.worker.allow_unsandboxed:
        raise SandboxUnavailable(
            f"the decoder cannot be jailed here ({sandbox.words}); allow user namespaces, or set "
            "DEEPVERDICT_WORKER__ALLOW_UNSANDBOXED=true to decode without, which /readyz will say"
        )
    return sandbox
