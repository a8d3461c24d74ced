"""
What does a network say of each clip of a face bank?

A clip is scored as the product scores one person: the served crops of its looks, those that are
sharp enough where there are enough of them, log odds within bounds, a trimmed mean. A clip that
the product would abstain from is scored all the same and marked, so that figures can be given
over all clips, and over those that are judged beside the share of them. Lone stills are no clips.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.errors import ModelUnavailable
from models.onnx_wire import OnnxFileError, check_self_contained
from models.registry import Presence, Registry
from workers.detection.detectors import aggregation
from workers.detection.detectors.fitness import MIN_FACE_PX, MIN_LOOKS, MIN_SHARPNESS
from workers.detection.stage import Image
from workers.training.bank import Face, FaceBank
from workers.training.errors import BadDataset
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Array, Bools, Estimate
from workers.training.evaluate.sharpness import sharper_by

BATCH = 16
MAX_LOOKS = 16
INPUT, FAKE_LOGIT, FAKE_PROBABILITY, MASK = "faces", "fake_logit", "fake_probability", "mask"
EVERY_SPLIT = "all"
LEAST_CLIPS, LEAST_GROUPS = 3, 2
"""Fewer fakes of a method, or of fewer groups, say nothing of the method."""
NOT_COVERED_BELOW = 0.6
COVERED, NOT_COVERED, TOO_FEW = "covered", "not covered", "too few"

Logits = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""Served crops `[N, 256, 256, 3]` to log odds of being manipulated, `[N]`."""
View = Callable[[FaceBank, int], Image]
"""What of a row is shown to the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """What was said of one clip."""

    clip: str
    label: str  # "real" or "fake"
    method: str
    family: str
    group: str
    dataset: str
    quality: str
    logit: float
    frames: int  # looks that were counted
    is_fit: bool = True  # whether the product would judge it at all
    pair: str = ""  # the real clip it was made from, with the same faces cut
    sharper_by: float | None = None  # median log ratio of detail to that clip's; above 0: sharper

    @property
    def is_fake(self) -> bool:
        """Whether the clip is known to be manipulated."""
        return self.label == "fake"


class Network:
    """An ONNX network that takes served crops, whoever made it."""

    def __init__(self, name: str, content: bytes) -> None:
        try:
            check_self_contained(content)
        except OnnxFileError as error:
            raise ModelUnavailable(f"{name}: {error}") from error
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.name = name
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self.outputs = tuple(output.name for output in self._session.get_outputs())

    @property
    def is_judge(self) -> bool:
        """Whether it says of faces how likely they are manipulated."""
        return bool({FAKE_LOGIT, FAKE_PROBABILITY} & set(self.outputs))

    @property
    def has_masks(self) -> bool:
        """Whether it marks pixels."""
        return MASK in self.outputs

    def logits(self, faces: NDArray[np.uint8]) -> Array:
        """Return the log odds of `[N, 256, 256, 3]` faces, `[N]`."""
        if FAKE_LOGIT in self.outputs:
            return np.asarray(self._ask(faces, FAKE_LOGIT), dtype=np.float64)
        return aggregation.logit(self._ask(faces, FAKE_PROBABILITY))

    def masks(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the mask of each face, `[N, 256, 256]` in [0, 1]."""
        return np.clip(self._ask(faces, MASK), 0.0, 1.0)

    def _ask(self, faces: NDArray[np.uint8], output: str) -> NDArray[np.float32]:
        (answer,) = self._session.run([output], {INPUT: faces})
        return np.asarray(answer, dtype=np.float32)


def load_network(name: str, registry: Registry) -> Network:
    """
    Load a network by its name in the manifest, or from a path that ends in `.onnx`.

    Raises:
        ModelUnavailable: it is not there, is not what was pinned, or answers another question.
    """
    path = Path(name)
    if path.suffix != ".onnx":
        network = Network(registry.entry(name).versioned_name, registry.read(name))
    elif path.is_file():
        network = Network(path.stem, path.read_bytes())
    else:
        raise ModelUnavailable(f"there is no file {path}")
    if not network.is_judge:
        raise ModelUnavailable(
            f"{name} gives {list(network.outputs)}; want {FAKE_LOGIT} or {FAKE_PROBABILITY}"
        )
    return network


def judges(registry: Registry) -> list[Network]:
    """
    Load every network of the manifest that is in place and says whether faces are manipulated.

    Raises:
        ModelUnavailable: one is not what was pinned.
    """
    present = (
        Network(entry.versioned_name, registry.read(entry.name))
        for entry in registry.entries()
        if registry.status(entry.name).word is not Presence.MISSING
    )
    return [network for network in present if network.is_judge]


def served(bank: FaceBank, row: int) -> Image:
    """Show the crop as the product does."""
    return bank.served(row)


def clip_rows(bank: FaceBank, split: str = EVERY_SPLIT) -> tuple[int, ...]:
    """
    Return the rows of real and fake clips in a split, lone stills left out, by place.

    Raises:
        BadDataset: there are none.
    """
    rows = tuple(
        face.row
        for face in bank.rows
        if face.label in {"real", "fake"}
        and not is_lone_still(face)
        and split in {EVERY_SPLIT, face.split}
    )
    if not rows:
        raise BadDataset(f"no clip with a face stands in the split {split!r}")
    return rows


def is_lone_still(face: Face) -> bool:
    """Whether the look is a photograph that belongs to no clip."""
    return face.kind == "picture" and face.clip == face.path


def score_bank(
    bank: FaceBank, logits_fn: Logits, rows: Iterable[int], *, view: View = served
) -> list[ClipScore]:
    """Score the clips that the rows belong to, from no other looks than these rows."""
    chosen = _at_most(bank, rows)
    return clip_scores(bank, chosen, look_logits(bank, logits_fn, chosen, view=view))


def look_logits(
    bank: FaceBank, logits_fn: Logits, rows: Sequence[int], *, view: View = served
) -> Array:
    """Return what the network says of each look alone, `[len(rows)]`."""
    answers = [
        np.asarray(logits_fn(np.stack([view(bank, row) for row in rows[at : at + BATCH]])))
        for at in range(0, len(rows), BATCH)
    ]
    return np.concatenate(answers).astype(np.float64) if answers else np.zeros(0)


def clip_scores(bank: FaceBank, rows: Sequence[int], logits: Array) -> list[ClipScore]:
    """Make of the log odds of looks those of clips, in the order in which clips first appear."""
    by_clip: dict[str, list[tuple[Face, float]]] = defaultdict(list)
    for row, logit in zip(rows, logits, strict=True):
        by_clip[bank.rows[row].clip].append((bank.rows[row], float(logit)))
    return [_clip_score(bank, looks) for looks in by_clip.values()]


def with_sharpness(bank: FaceBank, scores: Sequence[ClipScore]) -> list[ClipScore]:
    """Say of each fake with a pair by how much it is sharper than its source."""
    sharper = {}
    for score in scores:
        rows = [row for row in bank.by_clip[score.clip] if bank.rows[row].pair >= 0]
        if rows:
            sharper[score.clip] = float(np.median([sharper_by(bank, row) for row in rows]))
    return [replace(score, sharper_by=sharper.get(score.clip)) for score in scores]


def summary(scores: Sequence[ClipScore], *, seed: int = 0) -> dict[str, Any]:
    """
    Return the figures of one network: over all clips, by family, by method, and by sharpness.

    Rows are `Estimate`s as plain values, so that the result can be written as JSON.
    """
    logits, is_fake, groups = columns(scores)
    fit = [score for score in scores if score.is_fit]
    per_method = by_field(scores, "method", seed=seed)
    named = {name: row for name, row in per_method.items() if row["auc"]["n_fake"] >= LEAST_CLIPS}
    worst = min(named, key=lambda name: named[name]["auc"]["value"], default=None)
    return {
        "clips": len(scores),
        "fakes": int(is_fake.sum()),
        "groups": len(set(groups)),
        "auc": _plain(metrics.auc_interval(logits, is_fake, groups, seed=seed)),
        "auc_of_judged": _plain(metrics.auc_interval(*columns(fit), seed=seed)),
        "coverage": len(fit) / len(scores) if scores else float("nan"),
        "abstained": len(scores) - len(fit),
        "equal_error_rate": _plain(metrics.equal_error_rate(logits, is_fake, groups, seed=seed)),
        "detection_rates": [
            None if rate is None else _rate(rate)
            for rate in (
                metrics.detection_rate(logits, is_fake, groups, false_positive_rate=wanted)
                for wanted in metrics.FALSE_POSITIVE_RATES
            )
        ],
        "average_precision": {
            f"{share:g}": _plain(
                metrics.average_precision(logits, is_fake, groups, prevalence=share, seed=seed)
            )
            for share in metrics.PREVALENCES
        },
        **_probability_figures(logits, is_fake, groups, seed=seed),
        "families": by_field(scores, "family", seed=seed),
        "methods": per_method,
        "worst_method": worst,
        "qualities": by_quality(scores, seed=seed),
        "sharpness": by_sharpness(scores, seed=seed),
    }


def columns(scores: Sequence[ClipScore]) -> tuple[Array, Bools, list[str]]:
    """Return log odds `[N]`, whether each is a fake `[N]`, and groups."""
    return (
        np.array([score.logit for score in scores], dtype=np.float64),
        np.array([score.is_fake for score in scores], dtype=bool),
        [score.group for score in scores],
    )


def by_field(scores: Sequence[ClipScore], name: str, *, seed: int = 0) -> dict[str, Any]:
    """Return the AUC of the fakes of each method or family against all real clips."""
    real = [score for score in scores if not score.is_fake]
    found = {}
    for value in sorted({getattr(score, name) for score in scores if score.is_fake}):
        fakes = [s for s in scores if s.is_fake and getattr(s, name) == value]
        estimate = metrics.auc_interval(*columns([*fakes, *real]), seed=seed)
        found[value] = {
            "auc": _plain(estimate) | {"n_fake": len(fakes), "n_real": len(real)},
            "family": fakes[0].family,
            "coverage": covered(estimate, fakes),
        }
    return found


def covered(estimate: Estimate, fakes: Sequence[ClipScore]) -> str:
    """Say whether a kind of forgery is told from real clips better than by a coin."""
    if len(fakes) < LEAST_CLIPS or len({score.group for score in fakes}) < LEAST_GROUPS:
        return TOO_FEW
    is_told = estimate.value >= NOT_COVERED_BELOW and not estimate.covers(0.5)
    return COVERED if is_told else NOT_COVERED


def by_quality(scores: Sequence[ClipScore], *, seed: int = 0) -> dict[str, Any]:
    """Return the AUC within each quality that has both labels: c23 against c40."""
    found = {}
    for quality in sorted({score.quality for score in scores if score.quality}):
        of_it = [score for score in scores if score.quality == quality]
        logits, is_fake, groups = columns(of_it)
        if is_fake.any() and not is_fake.all():
            found[quality] = _plain(metrics.auc_interval(logits, is_fake, groups, seed=seed)) | {
                "n_fake": int(is_fake.sum()),
                "n_real": int((~is_fake).sum()),
            }
    return found


def by_sharpness(scores: Sequence[ClipScore], *, seed: int = 0) -> dict[str, Any]:
    """
    Judge fakes that are sharper than the clip they were made from apart from softer ones.

    `pairs_ordered` is the share of fakes that score above their own source, `auc_of_pairs` the
    AUC of these fakes against these sources, `auc` against all real clips.
    """
    by_clip = {score.clip: score for score in scores}
    real = [score for score in scores if not score.is_fake]
    found = {}
    for name, is_sharper in (("sharper", True), ("softer", False)):
        fakes = [
            s
            for s in scores
            if s.is_fake and s.sharper_by is not None and (s.sharper_by > 0) == is_sharper
        ]
        paired = [s for s in fakes if s.pair in by_clip]
        sources = [by_clip[name] for name in sorted({s.pair for s in paired})]
        gap = np.array([s.logit - by_clip[s.pair].logit for s in paired])
        groups = [s.group for s in paired]
        found[name] = {
            "auc": _plain(metrics.auc_interval(*columns([*fakes, *real]), seed=seed)),
            "auc_of_pairs": _plain(metrics.auc_interval(*columns([*paired, *sources]), seed=seed)),
            "pairs_ordered": _plain(
                metrics.mean_interval((np.sign(gap) + 1) / 2, groups, seed=seed)
            ),
            "fakes": len(fakes),
            "pairs": len(paired),
        }
    return found


def compare(
    first: Sequence[ClipScore], second: Sequence[ClipScore], *, seed: int = 0
) -> dict[str, float]:
    """Return by how much the first is better in AUC, over the clips that both have scored."""
    others = {score.clip: score for score in second}
    common = [score for score in first if score.clip in others]
    logits, is_fake, groups = columns(common)
    against = np.array([others[score.clip].logit for score in common], dtype=np.float64)
    return _plain(metrics.auc_difference(logits, against, is_fake, groups, seed=seed))


def score_record(score: ClipScore) -> dict[str, Any]:
    """Give a score as plain values."""
    return asdict(score)


def read_scores(records: Iterable[Mapping[str, Any]]) -> list[ClipScore]:
    """
    Read scores from plain values.

    Raises:
        BadDataset: a key is missing or unknown.
    """
    try:
        return [ClipScore(**record) for record in records]
    except TypeError as wrong:
        raise BadDataset(f"these are not scores of clips: {wrong}") from wrong


def _clip_score(bank: FaceBank, looks: Sequence[tuple[Face, float]]) -> ClipScore:
    faces = [face for face, _ in looks]
    sharp = [logit for face, logit in looks if face.sharpness >= MIN_SHARPNESS]
    is_large = float(np.median([face.face_px for face in faces])) >= MIN_FACE_PX
    is_fit = is_large and len(sharp) >= MIN_LOOKS
    counted = sharp if is_fit else [logit for _, logit in looks]
    first = faces[0]
    return ClipScore(
        clip=first.clip,
        label=first.label,
        method=first.method,
        family=first.family,
        group=first.group,
        dataset=first.dataset,
        quality=first.quality,
        logit=aggregation.trimmed_mean(aggregation.bounded(np.array(counted))),
        frames=len(counted),
        is_fit=is_fit,
        pair=next((bank.rows[f.pair].clip for f in faces if f.pair >= 0), ""),
    )


def _at_most(bank: FaceBank, rows: Iterable[int]) -> list[int]:
    """Choose `MAX_LOOKS` rows of each clip, evenly spread."""
    by_clip: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_clip[bank.rows[row].clip].append(row)
    chosen: list[int] = []
    for of_clip in by_clip.values():
        count = min(len(of_clip), MAX_LOOKS)
        chosen += [of_clip[int((k + 0.5) * len(of_clip) / count)] for k in range(count)]
    return chosen


def _probability_figures(
    logits: Array, is_fake: Bools, groups: Sequence[str], *, seed: int
) -> dict[str, Any]:
    probabilities = aggregation.probability(logits)
    return {
        "brier": _plain(metrics.brier(probabilities, is_fake, groups, seed=seed)),
        "calibration_error": _plain(
            metrics.calibration_error(probabilities, is_fake, groups, seed=seed)
        ),
        "calibration_error_of_chance": metrics.calibration_error_of_chance(
            probabilities, is_fake, seed=seed
        ),
        "log_loss": metrics.log_loss(probabilities, is_fake),
        "area_under_risk": metrics.area_under_risk(probabilities, is_fake),
    }


def _plain(estimate: Estimate) -> dict[str, Any]:
    return asdict(estimate)


def _rate(rate: metrics.DetectionRate) -> dict[str, Any]:
    return asdict(rate)
