"""
Does a network look at the face, or at something that gives the label away?

Each control takes away what a detector of forgery may go by. What is left should be worth one
half; a control well above it says that the data leak, and that the headline figure counts that.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from workers.detection.face_regions import hull_mask
from workers.detection.stage import CROP_SIDE_PX, Image
from workers.training.bank import BORDER_PX, FaceBank
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Estimate
from workers.training.evaluate.scores import ClipScore, columns

HIDDEN = 1.25
"""Scale of the mesh's hull that is blacked out: the seam of a swap lies around the hull itself."""
LEAKS_FROM = 0.6
SHUFFLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control's figure."""

    auc: Estimate
    words: str

    @property
    def is_leaking(self) -> bool:
        """Whether it is plainly above one half."""
        return self.auc.value > LEAKS_FROM and self.auc.low > 0.5  # noqa: PLR2004

    def record(self) -> dict[str, Any]:
        """Give it as plain values."""
        return {"auc": asdict(self.auc), "words": self.words, "is_leaking": self.is_leaking}


def without_face(bank: FaceBank, row: int) -> Image:
    """Show the served crop with the face, and what is right around it, in black."""
    points = np.asarray(bank.landmarks[row]) - np.float32(BORDER_PX)
    picture = bank.served(row)
    picture[hull_mask(points, CROP_SIDE_PX, scale=HIDDEN)] = 0
    return picture


def of_scores(scores: Sequence[ClipScore], words: str, *, seed: int = 0) -> Control:
    """Make a control of scores that were given without what matters."""
    return Control(auc=metrics.auc_interval(*columns(scores), seed=seed), words=words)


def shuffled_labels(scores: Sequence[ClipScore], *, seed: int = 0) -> Control:
    """
    Deal the labels out anew.

    The interval is that of the AUC by chance alone: what the true one must be outside of.
    """
    logits, is_fake, _ = columns(scores)
    rng = np.random.default_rng(seed)
    dealt = [metrics.auc(logits, rng.permutation(is_fake)) for _ in range(SHUFFLES)]
    low, high = np.percentile(dealt, [2.5, 97.5])
    beaten = float(np.mean(np.array(dealt) >= metrics.auc(logits, is_fake)))
    return Control(
        auc=Estimate(float(np.mean(dealt)), float(low), float(high), len(scores)),
        words=f"{beaten:.2%} of {SHUFFLES} deals reach the true figure",
    )


def recompressed_reals(
    untouched: Sequence[ClipScore], recompressed: Sequence[ClipScore], *, seed: int = 0
) -> Control:
    """Tell real clips that were encoded once more from the same clips untouched."""
    before = [score for score in untouched if not score.is_fake]
    after = [replace(s, label="fake") for s in recompressed if not s.is_fake]
    return of_scores(
        [*before, *after], "real clips, encoded once more, against themselves", seed=seed
    )
