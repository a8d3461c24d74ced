"""Evidence for tests, drawn from normal distributions: what each feature is worth is known."""

from collections.abc import Mapping

import numpy as np

from app.domain.evidence import AbstainReason, Abstention, Cue, DetectorName, Evidence, Finding
from app.domain.fusion import probability
from tests.make import make_finding, make_person, make_video
from workers.training.fusion.evidence import ClipEvidence

MANIFEST = "ab" * 32


def make_clip(
    name: str,
    *evidence: Evidence,
    label: str = "real",
    group: str | None = None,
    family: str | None = None,
    split: str = "val",
    frames: int = 100,
    **changes: object,
) -> ClipEvidence:
    values: dict[str, object] = {
        "clip": name,
        "path": name,
        "sha256": "cd" * 32,
        "label": label,
        "method": "deepfakes" if label == "fake" else "phone",
        "family": family or ("faceswap" if label == "fake" else "real"),
        "group": group or name,
        "dataset": "made",
        "quality": "",
        "split": split,
        "manifest_sha256": MANIFEST,
        "judged_by": {},
        "code": "0",
        "video": make_video(),
        "persons": (make_person(*evidence, frames=frames),),
    }
    return ClipEvidence(**(values | changes))  # type: ignore[arg-type]


def classifier(logit: float) -> Finding:
    p = probability(logit)
    return make_finding(fake_probability=p, measurements={"top_quarter_fake_probability": 0.5})


def cue(detector: DetectorName, z: float | None, *, value: float = 1.0) -> Finding:
    return Finding(
        detector=detector, frames=100, cue=Cue(value=value, unit="times", z=z, reference="")
    )


def silent(detector: DetectorName) -> Abstention:
    return Abstention(detector=detector, reason=AbstainReason.TOO_COMPRESSED)


def make_clips(
    count: int = 160,
    *,
    classifier_by: float = 0.6,
    cues: Mapping[DetectorName, float] = {},
    missing: Mapping[DetectorName, tuple[float, float]] = {},
    groups: int = 80,
    seed: int = 0,
) -> list[ClipEvidence]:
    """
    Draw clips, every second one a fake.

    Args:
        classifier_by: by how many deviations fakes are above real clips, either way from 0.
        cues: likewise of each cue.
        missing: share of real clips and of fakes in which a cue's detector abstains.
    """
    rng = np.random.default_rng(seed)
    clips = []
    for i in range(count):
        is_fake = i % 2 == 1
        side = 1 if is_fake else -1
        evidence: list[Evidence] = [classifier(float(rng.normal() + side * classifier_by))]
        for detector, by in cues.items():
            z = float(rng.normal() + side * by)
            is_silent = rng.random() < missing.get(detector, (0.0, 0.0))[is_fake]
            evidence.append(silent(detector) if is_silent else cue(detector, z))
        clips.append(
            make_clip(
                f"c{i:03d}.mp4",
                *evidence,
                label="fake" if is_fake else "real",
                group=f"g{i % groups}",
                split=("train", "val", "cal", "test")[i % 4],
            )
        )
    return clips
