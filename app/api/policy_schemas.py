"""What does a policy look like outside? The rules, what was counted, and what decides."""

from typing import Self

from pydantic import Field

from app.domain.evidence import DetectorName
from app.domain.fusion import FEATURES
from app.domain.policy import COVERAGE, CueFigures, Estimate, Made, Point, PointName, Policy
from app.domain.words import say
from app.views import IfAny, Probability, View


class MadeView(View):
    """What the policy was fitted on."""

    evidence_sha256: str
    manifest_sha256: str = Field(description="Of the list of clips.")
    code: str = Field(description="Version of the program.")
    clips: int
    groups: int = Field(description="Of people; none stands on two sides of a split.")
    networks: IfAny[dict[str, str]] = Field(
        default={}, description="Versions of those that it holds for."
    )

    @classmethod
    def of(cls, made: Made) -> Self:
        """Show what a policy was fitted on."""
        return cls(
            evidence_sha256=made.evidence_sha256,
            manifest_sha256=made.manifest_sha256,
            code=made.code,
            clips=made.clips,
            groups=made.groups,
            networks=dict(made.networks),
        )


class FamilyView(View):
    """Manipulated clips of one family at one operating point."""

    family: str = Field(examples=["face_swap"])
    clips: int
    found: int = Field(description="Called manipulated.")


class OperatingPointView(View):
    """Two lines through the probabilities, and what was counted there on held-out clips."""

    name: PointName
    is_default: bool
    manipulated_from: Probability = Field(description="From here on: `manipulated`.")
    clear_below: Probability = Field(description="Below: `no_manipulation_found`.")
    real_clips: int
    false_positives: int = Field(description="Real clips that were called manipulated.")
    false_positives_at_most: float = Field(
        ge=0, le=1, description="Share of real clips; upper end of the 95 % interval."
    )
    fake_clips: IfAny[int | None] = Field(default=None, description="Absent: nobody counted.")
    found: IfAny[int | None] = Field(default=None, description="Fakes called manipulated.")
    cleared_fakes: IfAny[int | None] = Field(
        default=None, description="Fakes that were said to show no manipulation."
    )
    by_family: IfAny[list[FamilyView]] = Field(default=[], description="Of manipulated clips.")

    @classmethod
    def of(cls, point: Point, *, is_default: bool) -> Self:
        """Show an operating point."""
        was_counted = point.fake_clips > 0
        return cls(
            name=point.name,
            is_default=is_default,
            manipulated_from=point.manipulated_from,
            clear_below=point.clear_below,
            real_clips=point.real_clips,
            false_positives=point.false_positives,
            false_positives_at_most=point.false_positives_at_most,
            fake_clips=point.fake_clips if was_counted else None,
            found=point.found if was_counted else None,
            cleared_fakes=point.cleared_fakes if was_counted else None,
            by_family=[
                FamilyView(family=name, clips=f.clips, found=f.found)
                for name, f in point.by_family.items()
            ],
        )


class EstimateView(View):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """Show a figure."""
        return cls(value=estimate.value, low=estimate.low, high=estimate.high)


class CueFiguresView(View):
    """What one feature is worth, and whether it has a say."""

    feature: str = Field(examples=["blink_rate"])
    detector: DetectorName
    decides: bool = Field(description="Else it is shown as information only.")
    weight: float = Field(
        ge=0, description="Log odds by which one deviation moves the probability; 0: no say."
    )
    auc: IfAny[EstimateView | None] = Field(default=None, description="Of the feature alone.")
    gain: IfAny[EstimateView | None] = Field(
        default=None, description="In AUC over the same fit without it."
    )
    real_clips: IfAny[int | None] = Field(default=None, description="Absent: nobody counted.")
    fake_clips: IfAny[int | None] = None
    abstained_real: IfAny[int | None] = Field(default=None, description="Of those real clips.")
    abstained_fake: IfAny[int | None] = None

    @classmethod
    def of(cls, cue: CueFigures, *, weight: float) -> Self:
        """Show what was measured of a feature."""
        was_counted = cue.real_clips + cue.fake_clips > 0
        return cls(
            feature=cue.feature,
            detector=cue.detector,
            decides=cue.decides,
            weight=weight,
            auc=None if cue.auc is None else EstimateView.of(cue.auc),
            gain=None if cue.gain is None else EstimateView.of(cue.gain),
            real_clips=cue.real_clips if was_counted else None,
            fake_clips=cue.fake_clips if was_counted else None,
            abstained_real=cue.abstained_real if was_counted else None,
            abstained_fake=cue.abstained_fake if was_counted else None,
        )


class PolicyView(View):
    """The rules that verdicts are made by just now."""

    version: str = Field(examples=["2026-11-21.2"])
    made: IfAny[MadeView | None] = Field(
        default=None, description="Absent where nothing was fitted beyond the classifier."
    )
    required: list[DetectorName] = Field(
        description="Without a finding of these a person is given no label."
    )
    min_frames: int = Field(description="Fewest frames a person must be seen for.")
    operating_points: list[OperatingPointView]
    cues: list[CueFiguresView] = Field(description="Those that decide first.")
    coverage: str = Field(description="What was trained for, and what is not covered.")
    caveat: str = Field(description="Said with every verdict at the default operating point.")

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Show a policy."""
        weights = {t.feature: t.weight for t in policy.fusion.terms}
        figures = {c.feature: c for c in policy.cues}
        for feature, weight in weights.items():
            figures.setdefault(feature, CueFigures(feature=feature, decides=weight > 0))
        ordered = sorted(
            figures.values(), key=lambda c: (not c.decides, list(FEATURES).index(c.feature))
        )
        return cls(
            version=policy.version,
            made=None if policy.made is None else MadeView.of(policy.made),
            required=sorted(policy.required),
            min_frames=policy.min_frames,
            operating_points=[
                OperatingPointView.of(p, is_default=p.name is policy.default_point)
                for p in policy.points
            ],
            cues=[CueFiguresView.of(c, weight=weights.get(c.feature, 0.0)) for c in ordered],
            coverage=say(COVERAGE),
            caveat=" ".join(say(s) for s in policy.caveat()),
        )
