"""
Which pixels of the face are manipulated?

Looks only at the most telling pictures: those that the frame classifier found most suspect, or
pictures spread evenly where it abstained. Its own opinion therefore rests on a chosen few.

Abstains: where the face is too small, too blurred, or seen too few times.

How it is fooled: its network first decides whether the face is manipulated, then marks pixels. A
manipulation that it does not know gives no mask at all; a real face that it takes for manipulated
gives a convincing one. So a missing mask clears nobody and a mask is no proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import Abstention, DetectorName, Evidence, Finding, Observation
from models.registry import OnnxModel
from workers.detection.detectors import aggregation
from workers.detection.detectors.fitness import usable_looks
from workers.detection.stage import (
    Examination,
    FaceClip,
    FaceSample,
    Floats,
    Image,
    PixelMask,
)

MAX_LOOKS = 8
INPUT, FAKE_PROBABILITY, MASK = "faces", "fake_probability", "mask"
MARKED_FROM = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answer:
    """What the network says of one look."""

    look: FaceSample
    fake_probability: float
    mask: Floats

    @property
    def fake_area(self) -> float:
        """Share of the crop that is marked."""
        return float((self.mask > MARKED_FROM).mean())


class PixelSegmenter:
    """
    Asks a network for a mask of each chosen look.

    Args:
        model: takes `faces` (uint8 `[N, 256, 256, 3]` RGB), gives `fake_probability` (`[N]`) and
            `mask` (`[N, 256, 256]` in [0, 1]).
    """

    name = DetectorName.PIXEL_SEGMENTER
    needs: frozenset[DetectorName] = frozenset({DetectorName.FRAME_CLASSIFIER})

    def __init__(self, model: OnnxModel) -> None:
        self._model = model

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Mark the pixels of the most telling looks."""
        looks = usable_looks(clip, self.name)
        if isinstance(looks, Abstention):
            return Examination(evidence=looks)
        chosen = most_telling(looks, prior.get(DetectorName.FRAME_CLASSIFIER))
        answers = _ask(self._model, chosen)
        logits = aggregation.logit(np.array([a.fake_probability for a in answers]))
        areas = np.array([a.fake_area for a in answers])
        finding = Finding(
            detector=self.name,
            fake_probability=float(aggregation.probability(aggregation.trimmed_mean(logits))),
            frames=len(answers),
            model=self._model.versioned_name,
            measurements={
                "mean_fake_area": float(areas.mean()),
                "largest_fake_area": float(areas.max()),
                "looks_with_a_mask": float((areas > 0).sum()),
            },
            observations=tuple(
                Observation(
                    pts_s=a.look.pts_s,
                    frame_index=a.look.frame_index,
                    fake_probability=a.fake_probability,
                    fake_area=a.fake_area,
                )
                for a in answers
            ),
            caveat=self._model.caveat,
        )
        masks = tuple(
            PixelMask(sample=a.look, probability=a.mask, area=a.fake_area) for a in answers
        )
        return Examination(evidence=finding, masks=masks)

    def mark(self, crops: Sequence[Image]) -> Floats:
        """Return how likely each pixel is manipulated, `[N, 256, 256]`; of looks of any choice."""
        return _masks(self._model, crops)[1]


def most_telling(
    looks: Sequence[FaceSample], classifier: Evidence | None
) -> tuple[FaceSample, ...]:
    """
    Choose `MAX_LOOKS` looks, given back by time.

    The ones that the classifier found most suspect; evenly spread ones where it abstained, and
    to fill up where it saw fewer.
    """
    seen: dict[int, float] = {}
    if isinstance(classifier, Finding):
        seen = {
            o.frame_index: o.fake_probability
            for o in classifier.observations
            if o.fake_probability is not None
        }
    ranked = sorted(
        (i for i, look in enumerate(looks) if look.frame_index in seen),
        key=lambda i: -seen[looks[i].frame_index],
    )[:MAX_LOOKS]
    rest = [i for i in range(len(looks)) if i not in ranked]
    missing = min(MAX_LOOKS - len(ranked), len(rest))
    spread = [rest[int((k + 0.5) * len(rest) / missing)] for k in range(missing)]
    return tuple(looks[i] for i in sorted({*ranked, *spread}))


def _ask(model: OnnxModel, looks: Sequence[FaceSample]) -> tuple[_Answer, ...]:
    probabilities, masks = _masks(model, [look.crop for look in looks])
    return tuple(
        _Answer(look=look, fake_probability=float(p), mask=mask)
        for look, p, mask in zip(looks, probabilities, masks, strict=True)
    )


def _masks(model: OnnxModel, crops: Sequence[Image]) -> tuple[NDArray[np.float64], Floats]:
    """Return what the network says of crops: probabilities `[N]`, masks `[N, 256, 256]`."""
    outputs = dict(zip(model.output_names, model.run({INPUT: np.stack(crops)}), strict=True))
    probabilities = np.clip(outputs[FAKE_PROBABILITY].astype(np.float64), 0.0, 1.0)
    masks = np.clip(outputs[MASK].astype(np.float32), 0.0, 1.0)
    if not (np.isfinite(probabilities).all() and np.isfinite(masks).all()):
        raise ValueError(f"{model.versioned_name} answered with something that is not a number")
    return probabilities, masks
