"""
How does the network of moving faces learn? From pairs: a face that moves, and a manipulated one.

The real half is the clip that the fake was made from where there is one, else a clip of the same
data set, else anybody's. Both halves are seen at one rate, through one blur, by landmarks that
tremble alike, so that none of these tells them apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.nets.landmark_flow import LandmarkFlow
from workers.detection import landmark_flow
from workers.detection.detectors import aggregation
from workers.detection.landmark_flow import CHANNELS, MIRRORED, POINTS, WINDOW, Motion
from workers.detection.stage import Floats, Image
from workers.training.errors import BadDataset
from workers.training.evaluate.metrics import auc
from workers.training.evaluate.scores import ClipScore
from workers.training.manifest import folds, read_manifest
from workers.training.motion_bank import AS_IT_IS, BLURRED, MotionBank, Recording
from workers.training.recipe import DataOptions, Recipe, Section
from workers.training.task import Batch, Example, Served
from workers.training.tasks.classifier import FOLD_SEED, pair_losses

MOTION, FAKE_LOGIT = "motion", "fake_logit"
SLOW = 2
"""Of so many frames one is taken where a clip is seen at another rate."""
EYES_PX = 30.0
"""Distance between the eyes in a small picture, about: what a tremble of the landmarks is in flow
beyond them."""
PICTURES = 8
_MIRROR = [POINTS.index(point) for point in MIRRORED]
_SCORE_BATCH = 64

Thing = TypeVar("Thing")
Chance = Annotated[float, Field(ge=0, le=1)]


class NetworkOptions(Section):
    """What is trained."""

    dropout: float = Field(0.3, ge=0, lt=1)


class LossOptions(Section):
    """What counts as wrong."""

    label_smoothing: float = Field(0.05, ge=0, lt=0.5)
    pair_weight: float = Field(0.5, ge=0)
    """Weight of the fake being scored above its own real, whatever the level of both."""


class ViewOptions(Section):
    """How a pair is changed before it is shown."""

    mirror: Chance = 0.5
    slow: Chance = 0.3
    """Chance of half the rate, of clips fast enough to be judged at it."""
    blur: Chance = 0.3
    tremble: Annotated[float, Field(ge=0)] = 0.004
    """Most noise on landmarks, in distances between the eyes; real landmarks tremble by .003."""
    anybody: Chance = 0.5
    """Chance of a real clip of whichever group, instead of the one that fits the fake."""


class LandmarkFlowRecipe(Recipe):
    """How the network of moving faces is trained."""

    task: Literal["landmark_flow"]
    network: NetworkOptions = NetworkOptions()
    loss: LossOptions = LossOptions()
    views: ViewOptions = ViewOptions()


class LandmarkFlowTask:
    """Trains `models.nets.landmark_flow`. See `workers.training.task.Task`."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self.recipe = LandmarkFlowRecipe.model_validate(raw)

    @cached_property
    def bank(self) -> MotionBank:
        """
        How the faces move.

        Raises:
            BadDataset: it was made from another manifest, whose splits may be others.
        """
        data = self.recipe.data
        bank = MotionBank.open(data.bank)
        if bank.manifest_sha256 != read_manifest(data.manifest).sha256:
            raise BadDataset(f"{data.bank} was not made from {data.manifest}; make it anew")
        return bank

    def network(self) -> LandmarkFlow:
        """Make the network."""
        torch.manual_seed(self.recipe.run.seed)
        return LandmarkFlow(channels=CHANNELS, dropout=self.recipe.network.dropout)

    def examples(self) -> Dataset[Example]:
        """Return pairs of windows of the clips that training may see."""
        clips = training_clips(self.bank, self.recipe.data)
        return MotionPairs(self.bank, clips, self.recipe.views, self.recipe.run.seed)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Compare the log odds of both halves with what they are."""
        real, fake = network(torch.cat([batch["real"], batch["fake"]])).float().chunk(2)
        options = self.recipe.loss
        return pair_losses(
            real, fake, smooth=options.label_smoothing, pair_weight=options.pair_weight
        )

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the AUC over clips of the val split; nothing where it has one kind only."""
        scores = score_clips(
            network, self.bank, [c for c, of in self.bank.by_clip.items() if of[0].split == "val"]
        )
        is_fake = np.array([score.is_fake for score in scores], bool)
        if not len(scores) or is_fake.all() or not is_fake.any():
            return {}
        return {"val_clip_auc": float(auc(np.array([s.logit for s in scores]), is_fake))}

    def pictures(self, network: nn.Module, batch: Batch) -> Image:
        """Draw windows, time across and channels down, the fake under its real."""
        del network
        halves = [
            np.concatenate([_drawn(window) for window in batch[half][:PICTURES].cpu().numpy()], 1)
            for half in ("real", "fake")
        ]
        return np.concatenate(halves, axis=0)

    def served(self, network: nn.Module) -> Served:
        """Give the network, which takes windows as they are served."""
        return Served(
            module=network.eval(),
            example={MOTION: torch.zeros((2, WINDOW, CHANNELS))},
            outputs=(FAKE_LOGIT,),
            dynamic={MOTION: {0: torch.export.Dim("windows_count", min=1, max=4096)}},
        )


class MotionPairs(Dataset[Example]):
    """
    A window of a real clip and one of a manipulated clip, as many as are asked for.

    Groups come up equally often, whatever the number of their clips.

    Raises:
        BadDataset: no clip of either kind is long enough for a window.
    """

    def __init__(
        self, bank: MotionBank, clips: Sequence[str], options: ViewOptions, seed: int
    ) -> None:
        self._bank = bank
        self._options = options
        self._seed = seed
        self._motions: dict[tuple[int, int, int], tuple[Motion, list[int]]] = {}
        able = [c for c in clips if any(self._starts(r) for r in bank.by_clip[c])]
        self._fakes = _by_group(bank, [c for c in able if bank.by_clip[c][0].label == "fake"])
        self._reals = _by_group(bank, [c for c in able if bank.by_clip[c][0].label == "real"])
        if not self._fakes or not self._reals:
            raise BadDataset(
                f"{len(able)} clips have {WINDOW} frames on end; want real and manipulated ones"
            )

    def __getitem__(self, number: int, /) -> Example:
        """Draw one pair."""
        rng = np.random.default_rng([self._seed, number])
        fake = _draw(rng, _draw(rng, self._fakes))
        real = self._real_for(fake, rng)
        return self._shown(real, fake, rng)

    def _real_for(self, fake: str, rng: np.random.Generator) -> str:
        told = self._bank.by_clip[fake][0]
        everybody = [clip for of in self._reals for clip in of]
        if rng.random() >= self._options.anybody:
            if told.pair in everybody:
                return told.pair
            alike = [c for c in everybody if self._bank.by_clip[c][0].dataset == told.dataset]
            if alike:
                return _draw(rng, alike)
        return _draw(rng, _draw(rng, self._reals))

    def _shown(self, real: str, fake: str, rng: np.random.Generator) -> Example:
        options = self._options
        wants_slow, version = rng.random() < options.slow, int(rng.random() < options.blur)
        is_mirrored = rng.random() < options.mirror
        tremble = rng.uniform(0, options.tremble)
        step = SLOW if wants_slow and all(map(self._can_slow, (real, fake))) else 1
        shown = {}
        for half, clip in (("real", real), ("fake", fake)):
            able = [r for r in self._bank.by_clip[clip] if self._starts(r, step=step)]
            recording = _draw(rng, able)
            motion, starts = self._motion(recording, version=version, step=step)
            cut = _cut(motion, _draw(rng, starts))
            cut = _trembling(cut, tremble, rng)
            shown[half] = landmark_flow.window(mirrored(cut) if is_mirrored else cut, 1)
        return shown

    def _can_slow(self, clip: str) -> bool:
        return any(self._starts(r, step=SLOW) for r in self._bank.by_clip[clip])

    def _starts(self, recording: Recording, *, step: int = 1) -> list[int]:
        return self._motion(recording, version=AS_IT_IS, step=step)[1]

    def _motion(self, recording: Recording, *, version: int, step: int) -> tuple[Motion, list[int]]:
        key = (recording.first, version, step)
        if key not in self._motions:
            whole = self._bank.motion(recording, BLURRED if version else AS_IT_IS)
            thin = landmark_flow.thinned(whole)
            if thin is not None and step > 1:
                thin = landmark_flow.thinned(thin.every(step))
            starts = [] if thin is None else landmark_flow.starts_of(thin, stride=1)
            self._motions[key] = (thin or whole, starts)
        return self._motions[key]


def training_clips(bank: MotionBank, options: DataOptions) -> list[str]:
    """
    Choose the clips that training may see.

    Without folds those of the train split; with folds everything but one fold's groups. Fakes of
    methods that are left out are left out of either.
    """
    if options.folds:
        fold_of = folds(read_manifest(options.manifest), options.folds, FOLD_SEED)
        chosen = [r for r in bank.recordings if fold_of[r.group] != options.fold]
    else:
        chosen = [r for r in bank.recordings if r.split == "train"]
    left_out = set(options.leave_out)
    chosen = [r for r in chosen if r.label == "real" or r.method not in left_out]
    return sorted({r.clip for r in chosen})


def score_clips(network: nn.Module, bank: MotionBank, clips: Sequence[str]) -> list[ClipScore]:
    """Judge clips as the service does; those that are too short or too slow are left out."""
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()
    found = []
    for clip in clips:
        windows = [
            window
            for recording in bank.by_clip[clip]
            if (thin := landmark_flow.thinned(bank.motion(recording))) is not None
            for window in landmark_flow.windows_of(thin)
        ]
        if not windows:
            continue
        logits: list[Floats] = []
        with torch.inference_mode():
            for at in range(0, len(windows), _SCORE_BATCH):
                batch = torch.from_numpy(np.stack(windows[at : at + _SCORE_BATCH]))
                logits.append(network(batch.to(device)).float().cpu().numpy())
        told = bank.by_clip[clip][0]
        said = aggregation.bounded(np.concatenate(logits))
        found.append(
            ClipScore(
                clip=clip,
                label=told.label,
                method=told.method,
                family=told.family,
                group=told.group,
                dataset=told.dataset,
                quality=told.quality,
                logit=aggregation.trimmed_mean(said),
                frames=len(windows) * WINDOW,
                pair=told.pair,
            )
        )
    network.train(was_training)
    return found


def mirrored(motion: Motion) -> Motion:
    """Return what a mirror would show."""
    flip = np.array([-1, 1], np.float32)
    return replace(
        motion, place=motion.place[:, _MIRROR] * flip, stray=motion.stray[:, _MIRROR] * flip
    )


def _cut(motion: Motion, start: int) -> Motion:
    """Cut out a window and the frame before it."""
    at = slice(start - 1, start + WINDOW)
    return Motion(
        pts_s=motion.pts_s[at],
        place=motion.place[at],
        stray=motion.stray[at],
        error=motion.error[at],
        is_whole=motion.is_whole[at],
    )


def _trembling(motion: Motion, deviation: float, rng: np.random.Generator) -> Motion:
    """Have landmarks tremble; the pixels do not go along."""
    noise = rng.normal(0, deviation, motion.place.shape).astype(np.float32)
    moved = np.diff(noise, axis=0, prepend=noise[:1])
    return replace(motion, place=motion.place + noise, stray=motion.stray - EYES_PX * moved)


def _by_group(bank: MotionBank, clips: Sequence[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for clip in sorted(clips):
        groups.setdefault(bank.by_clip[clip][0].group, []).append(clip)
    return [groups[name] for name in sorted(groups)]


def _draw(rng: np.random.Generator, things: Sequence[Thing]) -> Thing:
    return things[int(rng.integers(len(things)))]


def _drawn(window: Floats) -> Image:
    level = np.clip(127.5 + 127.5 / landmark_flow.MOST * window.T, 0, 255)
    return np.repeat(level.astype(np.uint8)[..., None], 3, axis=2)
