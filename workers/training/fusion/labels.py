"""Which labels does a policy give clips? The rule itself is asked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.policy import Policy
from app.domain.verdict import Label, decide
from workers.training.fusion.evidence import ClipEvidence

REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What came out, by operating point and by what the clips are."""

    point: str
    truth: str  # real, fake, no_face
    counts: Mapping[str, int]  # by label, and the rejected
    reasons: Mapping[str, int]  # of those that are inconclusive: the first reason's code


def count_labels(clips: Sequence[ClipEvidence], policy: Policy) -> tuple[Labels, ...]:
    """Decide on every clip at every operating point."""
    found = []
    for point in policy.points:
        for truth in sorted({clip.label for clip in clips}):
            counts: Counter[str] = Counter()
            reasons: Counter[str] = Counter()
            for clip in clips:
                if clip.label != truth:
                    continue
                if clip.video is None:
                    counts[REJECTED] += 1
                    continue
                verdict = decide(clip.persons, clip.video, clip.abstentions, policy, point.name)
                counts[verdict.label.value] += 1
                if verdict.label is Label.INCONCLUSIVE:
                    first = next(said.code for said in verdict.said if said.code is not None)
                    reasons[first.value] += 1
            found.append(
                Labels(
                    point=point.name.value,
                    truth=truth,
                    counts=dict(counts),
                    reasons=dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
                )
            )
    return tuple(found)
