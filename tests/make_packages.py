"""
Candidate packages for tests: a small network in the place of a shipped one, and its decision.

Not random: the same arguments, the same bytes.
"""

import json
from pathlib import Path

from app.db.records import model_version_from_entry
from app.domain.model_version import Decision, ModelVersion
from models.manifest import Calibration, ManifestEntry
from tests.make_models import (
    make_calibration,
    make_canary,
    make_classifier_onnx,
    make_entry,
    make_segmenter_onnx,
    make_training,
)

CLASSIFIER, SEGMENTER = "frame_classifier", "fake_segmenter"


def make_candidate(
    name: str = CLASSIFIER,
    version: str = "1.1",
    *,
    slope: float = 16,
    calibration: Calibration | None = None,
    is_calibrated: bool = True,
) -> tuple[ManifestEntry, bytes]:
    """
    Make a classifier by brightness, or a segmenter by redness, and its entry.

    Args:
        slope: of a classifier: other slopes, other bytes.
    """
    if name == SEGMENTER:
        content = make_segmenter_onnx()
        canary = make_canary("fake_probability", mean=0.0)
        calibration = None
    else:
        content = make_classifier_onnx(slope=slope)
        canary = make_canary("fake_logit", mean=-8.0)
        calibration = (calibration or make_calibration()) if is_calibrated else None
    entry = make_entry(
        content, name=name, canary=canary, training=make_training(), calibration=calibration
    )
    return entry.model_copy(update={"version": version}), content


def make_package(
    folder: Path,
    *candidates: tuple[ManifestEntry, bytes],
    promote: bool = True,
    reasons: tuple[str, ...] = ("auc: 0.80 to 0.85, +0.05 (+0.01 to +0.09)",),
) -> Path:
    """Write what a round of the loop leaves behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry, content in candidates or (make_candidate(),):
        (folder / f"{entry.name}.onnx").write_bytes(content)
        (folder / f"{entry.name}.json").write_text(entry.model_dump_json())
    decision = {"promote": promote, "reasons": list(reasons), "metrics": []}
    (folder / "decision.json").write_text(json.dumps(decision))
    return folder


def make_version(
    name: str = CLASSIFIER, version: str = "1.1", *, slope: float = 16, is_calibrated: bool = True
) -> ModelVersion:
    """Say of a candidate what a promotion says of it."""
    entry, _ = make_candidate(name, version, slope=slope, is_calibrated=is_calibrated)
    return model_version_from_entry(entry.model_dump_json())


def make_decision(*, is_promotion: bool = True, reason: str = "better beyond chance") -> Decision:
    """Build what was measured."""
    table = json.dumps({"promote": is_promotion, "reasons": [reason], "metrics": []})
    return Decision(is_promotion=is_promotion, reasons=(reason,), table=table)
