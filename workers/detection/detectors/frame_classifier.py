"""
Does each look at the face, taken alone, look manipulated?

Abstains: where the face is too small, too blurred, or seen too few times.

How it is fooled: by forgeries of a kind its network never saw, by recompression and smoothing,
which wipe out the traces it goes by, and, the other way, by filters and heavy make-up on real
faces. The manifest's caveat says what was measured with the network in use.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from app.domain.evidence import Abstention, DetectorName, Evidence, Finding, Observation
from models.registry import OnnxModel
from workers.detection.detectors import aggregation
from workers.detection.detectors.fitness import usable_looks
from workers.detection.stage import Examination, FaceClip, FaceSample

BATCH = 16
INPUT, FAKE_LOGIT = "faces", "fake_logit"


class FrameClassifier:
    """
    Asks a network about each aligned crop.

    Args:
        model: takes `faces` (uint8 `[N, 256, 256, 3]` RGB), gives `fake_logit` (`[N]`), which
            its calibration, where it has one, turns into probabilities.
    """

    name = DetectorName.FRAME_CLASSIFIER
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, model: OnnxModel) -> None:
        self._model = model

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Judge the person by all looks that are sharp enough."""
        del prior
        looks = usable_looks(clip, self.name)
        if isinstance(looks, Abstention):
            return Examination(evidence=looks)
        logits = _fake_logits(self._model, looks)
        probability = partial(aggregation.probability, calibration=self._model.calibration)
        return Examination(
            evidence=Finding(
                detector=self.name,
                fake_probability=float(probability(aggregation.trimmed_mean(logits))),
                frames=len(looks),
                is_calibrated=self._model.is_calibrated,
                model=self._model.versioned_name,
                measurements={
                    "top_quarter_fake_probability": float(
                        probability(aggregation.top_mean(logits))
                    ),
                    "fake_logit_deviation": float(logits.std()),
                    "looks_too_blurred": float(len(clip.samples) - len(looks)),
                },
                observations=tuple(
                    Observation(
                        pts_s=look.pts_s, frame_index=look.frame_index, fake_probability=float(p)
                    )
                    for look, p in zip(looks, probability(logits), strict=True)
                ),
                caveat=self._model.caveat,
            )
        )


def _fake_logits(model: OnnxModel, looks: Sequence[FaceSample]) -> aggregation.Logits:
    column = model.output_names.index(FAKE_LOGIT)
    parts = [
        model.run({INPUT: np.stack([s.crop for s in looks[at : at + BATCH]])})[column]
        for at in range(0, len(looks), BATCH)
    ]
    return aggregation.bounded(np.concatenate(parts).astype(np.float64))
