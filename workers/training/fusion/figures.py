"""What is each feature worth alone, and what would do as well with no look at a face?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import Abstention, DetectorName
from app.domain.fusion import FEATURES
from workers.training.bank import FaceBank
from workers.training.evaluate import baselines, metrics
from workers.training.evaluate.metrics import Array, Bools, Estimate
from workers.training.evaluate.scores import ClipScore, clip_rows
from workers.training.evaluate.videos import VideoFile
from workers.training.fusion.evidence import ClipEvidence
from workers.training.fusion.table import Table

UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """One feature by itself."""

    feature: str
    auc: Estimate
    by_family: Mapping[str, Estimate]  # fakes of the family against all real clips
    same_source: float  # share of pairs of one data set in which the fake is above; NaN of none
    pairs: int  # behind that
    real_clips: int
    fake_clips: int
    abstained_real: int  # of those
    abstained_fake: int
    reasons: Mapping[str, int]  # why its detector abstained, most frequent first


def alone(table: Table, feature: str, *, is_learned: bool) -> Alone:
    """
    Measure a feature on the clips that its network did not learn from.

    Args:
        is_learned: whether its network learned from the train split, which is left out then.
    """
    if is_learned:
        table = table.only(np.array([clip.split != "train" for clip in table.clips]))
    values, is_fake = table.column(feature), table.is_fake
    has = np.isfinite(values)
    families = np.array([clip.family for clip in table.clips])
    sources = np.array([clip.dataset for clip in table.clips])
    groups = np.array(table.groups)
    share, pairs = _within(values[has], is_fake[has], sources[has])
    return Alone(
        feature=feature,
        auc=_auc(values[has], is_fake[has], groups[has]),
        by_family={
            family: _auc(values[chosen], is_fake[chosen], groups[chosen])
            for family in sorted(set(families[is_fake].tolist()))
            for chosen in [has & (~is_fake | (families == family))]
        },
        same_source=share,
        pairs=pairs,
        real_clips=int((~is_fake).sum()),
        fake_clips=int(is_fake.sum()),
        abstained_real=int((~is_fake & ~has).sum()),
        abstained_fake=int((is_fake & ~has).sum()),
        reasons=_reasons(table, FEATURES[feature].detector),
    )


def trivial(table: Table, bank: FaceBank | None) -> dict[str, Array]:
    """
    Score clips by what has nothing to do with a forgery, `[N]` each, NaN where there is no score.

    Metadata and abstentions are scored by a model that was fitted on all other groups.
    """
    found = {"metadata only": _metadata(table), "which features are missing": _missing(table)}
    return found | (_softness(table, bank) if bank is not None else {})


def _auc(values: Array, is_fake: Bools, groups: NDArray[np.str_]) -> Estimate:
    if not is_fake.any() or is_fake.all():
        return UNKNOWN
    return metrics.auc_interval(values, is_fake, groups.tolist())


def _within(values: Array, is_fake: Bools, sources: Array) -> tuple[float, int]:
    """Compare fakes with real clips of their own source alone."""
    won, pairs = 0.0, 0
    for source in sorted(set(sources.tolist())):
        here = sources == source
        fake, real = values[here & is_fake], values[here & ~is_fake]
        if len(fake) and len(real):
            won += metrics.auc(values[here], is_fake[here]) * len(fake) * len(real)
            pairs += len(fake) * len(real)
    return (won / pairs if pairs else float("nan")), pairs


def _reasons(table: Table, detector: DetectorName) -> dict[str, int]:
    counts: dict[str, int] = {}
    for clip in table.clips:
        for said in clip.persons[0].evidence:
            if isinstance(said, Abstention) and said.detector is detector:
                counts[said.reason.value] = counts.get(said.reason.value, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _metadata(table: Table) -> Array:
    files = {
        clip.clip: VideoFile(
            width=clip.video.width,
            height=clip.video.height,
            rate_hz=clip.video.fps,
            duration_s=max(clip.video.duration_s, 1 / clip.video.fps),
            bits_per_s=8 * clip.video.size_bytes / max(clip.video.duration_s, 1 / clip.video.fps),
            codec=clip.video.codec,
        )
        for clip in table.clips
        if clip.video is not None and clip.video.fps > 0
    }
    scores = baselines.metadata_only([_score(clip) for clip in table.clips], files)
    return _in_place(table, {score.clip: score.logit for score in scores})


def _missing(table: Table) -> Array:
    """Tell fakes by which features are there, from a model of all other groups."""
    flags = np.isnan(table.of_main).astype(np.float64)
    flags = flags[:, (flags.min(axis=0) < flags.max(axis=0))]
    groups = np.array(table.groups)
    found = np.zeros(len(groups))
    for group in sorted(set(groups.tolist())):
        held = groups == group
        fitted = baselines.fit_logistic(flags[~held], table.is_fake[~held])
        found[held] = fitted[0] + flags[held] @ fitted[1:]
    return found


def _softness(table: Table, bank: FaceBank) -> dict[str, Array]:
    wanted = {clip.clip for clip in table.clips}
    rows = [row for row in clip_rows(bank) if bank.rows[row].clip in wanted]
    return {
        name: _in_place(table, {score.clip: score.logit for score in scores})
        for name, scores in baselines.softness(bank, rows).items()
    }


def _in_place(table: Table, by_clip: Mapping[str, float]) -> Array:
    return np.array([by_clip.get(clip.clip, np.nan) for clip in table.clips], dtype=np.float64)


def _score(clip: ClipEvidence) -> ClipScore:
    return ClipScore(
        clip=clip.clip,
        label=clip.label,
        method=clip.method,
        family=clip.family,
        group=clip.group,
        dataset=clip.dataset,
        quality=clip.quality,
        logit=0.0,
        frames=0,
    )
