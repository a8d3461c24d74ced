"""
Where did the frame classifier look?

A part of the most suspect looks is hidden at a time, blurred with soft edges, and the classifier is
asked again: where its log odds of "manipulated" fall the most, it had gone by what was there. No
gradient is needed, so whichever classifier is in use can be asked. After Zeiler & Fergus,
"Visualizing and Understanding Convolutional Networks", ECCV 2014.

Abstains: where the face is too small, too blurred, or seen too few times, as the classifier does;
and where the classifier found the person clear of suspicion, for then there is nothing to show. It
asks the network 150 times a person, about as long as it takes to judge ten persons.

How it is fooled: what is hidden is replaced by something that no face has either. A network that
takes blur for a trace of forgery sees more of it, and the place that it went by stays dark. Where
two places say the same, hiding either changes nothing. A map tells what a network went by, never
that it was right: it marks real faces just as firmly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    DetectorName,
    Evidence,
    Finding,
    Observation,
)
from models.registry import OnnxModel
from workers.detection import face_regions
from workers.detection.detectors.fitness import usable_looks
from workers.detection.stage import (
    CROP_SIDE_PX,
    AttentionMap,
    Examination,
    FaceClip,
    FaceSample,
    Floats,
    Image,
)

INPUT, FAKE_LOGIT = "faces", "fake_logit"
LOOKS = 3
GRID = 7
"""Places along each side: with one look as it is 50 questions a look, and 150 a person."""
BATCH = 25
BLUR_PX = 16.0
"""Standard deviation of the blur that hides. On 44 clips, hiding the 15 % of the pixels that such a
map marks most, with the mean colour instead of blur, took 1.33 off the log odds, hiding as many
elsewhere 0.03; of half the blur or of the mean colour maps were less telling (1.22 and 1.11 by
blur)."""
SPREAD = 0.5
"""Standard deviation of what one place says of the pixels around it, in places."""
LEAST_PROBABILITY = 0.5
"""Of a classifier that is not calibrated: a person under it is not suspect at all."""
LEAST_FALL = 0.1
"""Of log odds, at the place that matters most; less is no more than what any change does."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answer:
    """What hiding one place after the other did to one look."""

    look: FaceSample
    fall: Doubles  # [GRID, GRID] of the log odds, below 0 where hiding raised them
    weight: Floats  # [CROP_SIDE_PX, CROP_SIDE_PX] in [0, 1]; nought where no place matters


class AttentionMapper:
    """
    Asks the frame classifier what it went by.

    Args:
        model: takes `faces` (uint8 `[N, 256, 256, 3]` RGB), gives `fake_logit` (`[N]`).
    """

    name = DetectorName.ATTENTION_MAP
    needs: frozenset[DetectorName] = frozenset({DetectorName.FRAME_CLASSIFIER})

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        calibration = model.calibration
        self._floor = calibration.clear_below if calibration else LEAST_PROBABILITY

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Draw a map of each of the most suspect looks."""
        looks = usable_looks(clip, self.name)
        if isinstance(looks, Abstention):
            return Examination(evidence=looks)
        classifier = prior.get(DetectorName.FRAME_CLASSIFIER)
        if (clear := self._is_clear(classifier)) is not None:
            return Examination(evidence=clear)
        answers = [self._ask(look) for look in _most_suspect(looks, classifier)]
        shown = [a for a in answers if a.weight.any()]
        finding = Finding(
            detector=self.name,
            frames=len(answers),
            model=self._model.versioned_name,
            measurements={
                "largest_fall_of_log_odds": max(float(a.fall.max()) for a in answers),
                "looks_with_a_map": float(len(shown)),
                **_shares(clip, shown),
            },
            observations=tuple(
                Observation(pts_s=a.look.pts_s, frame_index=a.look.frame_index) for a in answers
            ),
            caveat="Shows what the classifier went by, not that it was right. It marks a place on "
            "every face that it suspects, also on real ones.",
        )
        maps = tuple(AttentionMap(sample=a.look, weight=a.weight) for a in shown)
        return Examination(evidence=finding, attention=maps)

    def _is_clear(self, classifier: Evidence | None) -> Abstention | None:
        """Say that there is nothing to show of somebody whom nobody suspects."""
        if not isinstance(classifier, Finding) or classifier.fake_probability is None:
            return None
        if classifier.fake_probability >= self._floor:
            return None
        return Abstention(
            detector=self.name,
            reason=AbstainReason.TOO_FEW_FINDINGS,
            detail=f"the classifier's probability is {classifier.fake_probability:.2f}",
            needs=f"{self._floor:g} or more: below, it found nothing that could be shown",
        )

    def _ask(self, look: FaceSample) -> _Answer:
        (as_it_is,) = self._logits([look.crop])
        hidden = list(_hidden(look.crop))
        parts = [self._logits(hidden[at : at + BATCH]) for at in range(0, len(hidden), BATCH)]
        fall = (as_it_is - np.concatenate(parts)).reshape(GRID, GRID)
        return _Answer(look=look, fall=fall, weight=_weight(fall))

    def _logits(self, crops: Sequence[Image]) -> Doubles:
        column = self._model.output_names.index(FAKE_LOGIT)
        logits = self._model.run({INPUT: np.stack(crops)})[column].astype(np.float64)
        if not np.isfinite(logits).all():
            raise ValueError(
                f"{self._model.versioned_name} answered with something that is not a number"
            )
        return logits


def _most_suspect(
    looks: Sequence[FaceSample], classifier: Evidence | None
) -> tuple[FaceSample, ...]:
    """Choose the looks that the classifier suspects most, by time; evenly where it said nothing."""
    seen: dict[int, float] = {}
    if isinstance(classifier, Finding):
        seen = {
            o.frame_index: o.fake_probability
            for o in classifier.observations
            if o.fake_probability is not None
        }
    known = [i for i, look in enumerate(looks) if look.frame_index in seen]
    known.sort(key=lambda i: -seen[looks[i].frame_index])
    count = min(LOOKS, len(looks))
    evenly = [int((k + 0.5) * len(looks) / count) for k in range(count)]
    return tuple(looks[i] for i in sorted(known[:count] or evenly))


@cache
def _windows() -> Floats:
    """
    Return how much of each pixel of a side each place hides, `[GRID, CROP_SIDE_PX]`.

    All of the pixels nearest to it, less and less of those beyond, none from its neighbours'
    middles on.
    """
    return np.asarray(np.clip(2 - 2 * np.abs(_apart()), 0, 1), np.float32)


def _apart() -> Doubles:
    """Return how far each pixel of a side is from each place, in places, `[GRID, side]`."""
    step = CROP_SIDE_PX / GRID
    middles = (np.arange(GRID) + 0.5) * step - 0.5
    return (np.arange(CROP_SIDE_PX) - middles[:, None]) / step


def _hidden(crop: Image) -> Iterator[Image]:
    """Hide one place of a crop after the other, row by row."""
    seen = crop.astype(np.float32)
    change = cv2.GaussianBlur(seen, (0, 0), BLUR_PX) - seen
    bands = [(slice(*np.flatnonzero(side)[[0, -1]] + [0, 1]), side) for side in _windows()]
    for rows, down in bands:
        for columns, across in bands:
            share = (down[rows, None] * across[columns])[..., None]
            hidden = crop.copy()
            hidden[rows, columns] = np.rint(
                seen[rows, columns] + share * change[rows, columns]
            ).astype(np.uint8)
            yield hidden


def _weight(fall: Doubles) -> Floats:
    """Spread falls `[GRID, GRID]` smoothly over the crop, the greatest being 1."""
    if not fall.max() >= LEAST_FALL:
        return np.zeros((CROP_SIDE_PX, CROP_SIDE_PX), np.float32)
    # The windows would do, but for their edges, which look like something in the picture.
    near = np.exp(-((_apart() / SPREAD) ** 2) / 2)
    near /= near.sum(axis=0)
    spread = near.T @ np.maximum(fall, 0) @ near
    return np.asarray(spread / spread.max(), np.float32)


def _shares(clip: FaceClip, answers: Sequence[_Answer]) -> dict[str, float]:
    """Say how much of the attention lies on which part of the face, over all maps."""
    found = [shares for a in answers if (shares := _shares_of(clip, a)) is not None]
    if not found:
        return {}
    return {part: float(np.mean([shares[part] for shares in found])) for part in found[0]}


def _shares_of(clip: FaceClip, answer: _Answer) -> dict[str, float] | None:
    """Say it of one look; None where its landmarks are lost."""
    track = next(
        t for t in clip.tracks if any(s.frame_index == answer.look.frame_index for s in t.samples)
    )
    points = face_regions.points_in_crop(track, answer.look)
    if not np.isfinite(points).all():
        return None
    eyes = np.zeros((CROP_SIDE_PX, CROP_SIDE_PX), bool)
    for eye, brow in zip(face_regions.EYES, face_regions.BROWS, strict=True):
        eyes |= face_regions.hull_mask(points[[*eye, *brow]], CROP_SIDE_PX)
    mouth = face_regions.hull_mask(points[list(face_regions.MOUTH)], CROP_SIDE_PX)
    inner = face_regions.hull_mask(points, CROP_SIDE_PX, scale=face_regions.INNER)
    near = face_regions.hull_mask(points, CROP_SIDE_PX, scale=face_regions.RING[0])
    parts = {
        "eyes": eyes & inner,
        "mouth": mouth & inner & ~eyes,
        "other_skin": inner & ~eyes & ~mouth,
        "boundary": near & ~inner,
        "background": ~near,
    }
    total = float(answer.weight.sum())
    return {
        f"share_of_attention_on_{name}": float(answer.weight[where].sum()) / total
        for name, where in parts.items()
    }
