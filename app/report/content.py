"""
What does a report say? One content in a language, from which page, print and JSON are made.

Everything that a reader is told stands here in words. The three forms add nothing and leave
nothing out, but that JSON has links or names where the others show pictures.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pydantic import Field

from app.domain import timeline
from app.domain.evidence import (
    Abstention,
    ArtifactKind,
    Cue,
    DetectorName,
    Evidence,
    Finding,
    Person,
    Provenance,
)
from app.domain.fusion import Interval
from app.domain.job import Job
from app.domain.media import CredentialState, Origin, VideoFacts
from app.domain.policy import CURRENT, Policy, shipped, versions
from app.domain.report import ArtifactFacts, Judged
from app.domain.verdict import Label, Part, Said, Verdict, caveat_in, statement_in
from app.domain.words import Language, Sentence, say
from app.report.tongue import Tongue, visible
from app.views import (
    IfAny,
    OriginView,
    PersonView,
    Probability,
    ProvenanceView,
    VerdictView,
    VideoView,
    View,
    person_views,
)

MOST_FRAMES = 3
"""Telling frames shown; a worker keeps no more."""
LETTERS = "ABC"
MOST_SPANS, MOST_NUMBERS = 4, 16
"""Spans and frame numbers listed one by one; of more, how many they are."""
USUAL_Z = 2.0
"""Deviations within which a measurement is told to be usual; of measurements that are spread
evenly to both sides 19 of 20 lie within."""
MOST_Z = 8.0
"""Deviations beyond which a reference tells no more; see `workers.detection.reference`."""
NOTHING = "\N{EN DASH}"
"""Stands where there is nothing to say."""
HEADING_CHARACTERS = 96
"""Of a file's name in the heading; the whole name stands with the facts of the file."""
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
NOT_IN_KEYS = re.compile(r"[^a-z0-9]+")
SHOWN_KINDS = frozenset({ArtifactKind.CROP, ArtifactKind.FRAME, ArtifactKind.ATTENTION})
"""Pictures that a report shows; masks by themselves tell a reader nothing."""

Link = Callable[[ArtifactFacts], str | None]
"""Tells where a picture is found; None where it is part of the report only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is reported on, as its sender named it."""

    file_name: str | None
    made_at: datetime  # when the analysis ended
    job_id: str | None = None  # None for a file that was scanned
    ref_id: str | None = None

    @classmethod
    def of(cls, job: Job) -> "Subject":
        """Take the names from a job."""
        return cls(
            file_name=job.file_name,
            made_at=job.finished_at or job.updated_at,
            job_id=job.id,
            ref_id=job.ref_id,
        )


class FactView(View):
    """A line of a table of facts."""

    name: str
    value: str


class QuoteView(View):
    """The verdict as it may be quoted: both sentences together."""

    statement: str
    caveat: str
    language: Language = Field(
        description="Of these two sentences; old verdicts are in English only."
    )

    @property
    def text(self) -> str:
        """Both, as one text."""
        return f"{self.statement} {self.caveat}".strip()


class PictureView(View):
    """A picture, with the words that stand for it where it cannot be seen."""

    id: str
    kind: ArtifactKind
    person_id: str
    pts_s: float
    frame_index: int
    width_px: int
    height_px: int
    sha256: str
    alt: str
    caption: IfAny[str] = ""
    link: IfAny[str | None] = None


class FindingRow(View):
    """What one detector found of one person, in words."""

    detector: DetectorName
    name: str
    question: str
    values: list[str]
    comparison: str
    reference: IfAny[str] = ""
    rests_on: str
    frame_indices: list[int] = Field(description="Of the frames that were judged one by one.")
    is_decisive: bool | None = Field(description="Null where the policy is not known here.")
    role: str
    caveat: str
    own_caveat: IfAny[str] = Field(default="", description="In the program's English words.")
    model: IfAny[str | None] = None


class AbstentionRow(View):
    """Why one detector said nothing of one person, in words."""

    detector: DetectorName
    name: str
    reason: str
    detail: IfAny[str] = Field(default="", description="In the program's English words.")
    needs: IfAny[str] = Field(default="", description="In the program's English words.")


def alike(rows: Sequence[AbstentionRow]) -> list[tuple[str, AbstentionRow]]:
    """Put those together that abstain for the same reason: their names, and one of the rows."""
    names: dict[tuple[str, str, str], list[str]] = {}
    first: dict[tuple[str, str, str], AbstentionRow] = {}
    for row in rows:
        words = (row.reason, row.detail, row.needs)
        names.setdefault(words, []).append(row.name)
        first.setdefault(words, row)
    return [(", ".join(names[words]), row) for words, row in first.items()]


class PointView(View):
    """One judged frame of one person."""

    pts_s: float
    frame_index: int
    fake_probability: IfAny[Probability | None] = None
    fake_area: IfAny[float | None] = None


class PersonReport(View):
    """A person, and all that was said of them."""

    id: str
    name: str
    first_s: float
    last_s: float
    seen: str
    fake_probability: Probability | None
    probability: str
    is_most_suspect: bool
    crop: IfAny[PictureView | None] = None
    attention: IfAny[list[PictureView]] = Field(default=[])
    findings: list[FindingRow]
    abstentions: list[AbstentionRow]
    points: list[PointView]
    in_time: str = Field(description="The person's strip of the timeline, in words.")


class FrameView(View):
    """A telling frame and its letter in the timeline."""

    letter: str
    picture: PictureView


class OriginReport(View):
    """What the file says of itself, in words."""

    about: str
    credentials: list[FactView]
    tags: list[FactView]
    signs: list[str]


class MeasurementRow(View):
    """A number that a detector measured on the way."""

    detector: str
    name: str
    value: str


class MeasurementsView(View):
    """All such numbers of one person."""

    name: str
    rows: list[MeasurementRow]


class ReportView(View):
    """Everything that is reported of one video."""

    language: Language
    title: str
    heading: str = Field(description="Name of the file, with hidden characters made visible.")
    about: list[str]
    made_at: datetime
    label: Label
    label_words: str
    meaning: str
    quote: QuoteView
    reasons: IfAny[list[str]] = Field(
        default=[], description="Why it is inconclusive, in the program's words."
    )
    fake_probability: Probability | None
    probability: str
    operating_point: list[str]
    policy: str
    persons: list[PersonReport]
    frames: list[FrameView]
    abstentions: IfAny[list[AbstentionRow]] = Field(
        default=[], description="Of the whole video, where nobody could be examined."
    )
    file: list[FactView]
    warnings: list[str]
    origin: OriginReport | None
    checking: list[FactView]
    commands: list[str]
    measurements: IfAny[list[MeasurementsView]] = Field(default=[])
    verdict: VerdictView
    video: VideoView
    provenance: ProvenanceView
    file_origin: IfAny[OriginView | None] = None
    evidence: list[PersonView]

    def to_json(self) -> str:
        """Write JSON."""
        return self.model_dump_json()

    @property
    def pictures(self) -> list[PictureView]:
        """Every picture that is shown."""
        of_persons = [
            p for person in self.persons for p in (person.crop, *person.attention) if p is not None
        ]
        return [*(f.picture for f in self.frames), *of_persons]


def report_on(subject: Subject, judged: Judged, *, language: Language, link: Link) -> ReportView:
    """Put into words all that is known of a video that has a verdict."""
    return _Writer(subject, judged, language, link).write()


class _Writer:
    """Writes one report."""

    def __init__(self, subject: Subject, judged: Judged, language: Language, link: Link) -> None:
        self._subject = subject
        self._judged = judged
        self._tongue = Tongue(language=language)
        self._say = self._tongue.say
        self._link = link
        self._policy = _policy_of(judged.verdict)

    def write(self) -> ReportView:
        judged, say = self._judged, self._say
        verdict, language = judged.verdict, self._tongue.language
        file_name = self._subject.file_name
        return ReportView(
            language=language,
            title=say("report.kicker"),
            heading=_shortened(visible(file_name)) if file_name else say("report.unnamed"),
            about=self._about(),
            made_at=self._subject.made_at,
            label=verdict.label,
            label_words=say(f"label.{verdict.label.value}"),
            meaning=say(f"report.meaning_{verdict.label.value}"),
            quote=QuoteView(
                statement=statement_in(verdict, language),
                caveat=caveat_in(verdict, language),
                language=language if verdict.said else Language.ENGLISH,
            ),
            reasons=self._reasons(),
            fake_probability=verdict.fake_probability,
            probability=self._probability(
                verdict.fake_probability, verdict.interval, "report.probability_scale"
            ),
            operating_point=self._operating_point(),
            policy=verdict.policy,
            persons=self._persons(),
            frames=self._frames(),
            abstentions=[self._abstention(a) for a in judged.abstentions],
            file=self._file(judged.video),
            warnings=[
                self._tongue.said_or(f"warning.{code}", code) for code in judged.video.warnings
            ],
            origin=None if judged.origin is None else self._origin(judged.origin),
            checking=self._checking(judged.provenance),
            commands=["sha256sum VIDEO", self._scan_command()],
            measurements=self._measurements(),
            verdict=VerdictView.of(verdict),
            video=VideoView.of(judged.video),
            provenance=ProvenanceView.of(judged.provenance),
            file_origin=None if judged.origin is None else OriginView.of(judged.origin),
            evidence=person_views(judged, crops=None),
        )

    def _about(self) -> list[str]:
        subject = self._subject
        about = [self._say("report.made", when=self._tongue.moment(subject.made_at))]
        if subject.job_id:
            about.append(self._say("report.job", id=subject.job_id))
        if subject.ref_id:
            about.append(self._say("report.reference", ref=visible(subject.ref_id)))
        return about

    def _reasons(self) -> list[str]:
        """Say why there is no label; the names of detectors in words."""
        verdict, language = self._judged.verdict, self._tongue.language
        if verdict.label is not Label.INCONCLUSIVE:
            return []
        if not verdict.said:
            return list(verdict.reasons)
        said = (say(self._in_words(s), language) for s in verdict.said if s.part is Part.REASON)
        return [reason[:1].upper() + reason[1:] for reason in said]

    def _in_words(self, said: Said) -> Sentence:
        sentence = said.sentence
        obstacle = f"obstacle.{said.code}"
        if sentence.key == "reason.nobody" and self._tongue.knows(obstacle):
            return Sentence(key=obstacle)  # the detector's own words are in English
        detector = sentence.values.get("detector")
        if detector is None:
            return sentence
        name = self._tongue.said_or(f"detector.{detector}", str(detector))
        return Sentence(key=sentence.key, values={**sentence.values, "detector": name})

    def _probability(self, value: float | None, interval: Interval | None, key: str) -> str:
        if value is None:
            return self._say("report.probability_unknown")
        two = partial(self._tongue.decimal, digits=2)
        if interval is None:
            return self._say(key, value=two(value))
        return self._say(
            f"{key}_between", value=two(value), low=two(interval.low), high=two(interval.high)
        )

    def _operating_point(self) -> list[str]:
        """Say by which lines it was decided, and what was counted there."""
        policy, verdict = self._policy, self._judged.verdict
        if policy is None:
            return [self._say("report.lines_elsewhere", policy=verdict.policy)]
        point = policy.point(verdict.operating_point)
        two = partial(self._tongue.decimal, digits=2)
        said = [
            self._say(f"point.{point.name.value}"),
            self._say(
                "report.lines",
                manipulated=two(point.manipulated_from),
                clear=two(point.clear_below),
            ),
        ]
        if point.real_clips:
            counted = self._say(
                "report.counted",
                false_positives=point.false_positives,
                real_clips=point.real_clips,
                at_most=self._tongue.percent(point.false_positives_at_most),
            )
            said.append(counted)
        return said

    # Persons

    def _persons(self) -> list[PersonReport]:
        judged = self._judged
        points = timeline.merge(judged.persons, judged.artifacts, self._policy or CURRENT)
        by_person = judged.verdict.by_person
        known = [p for p in by_person.values() if p is not None]
        is_several = len(judged.persons) > 1
        return [
            self._person(
                person,
                by_person.get(person.id),
                is_most_suspect=is_several
                and bool(known)
                and by_person.get(person.id) == max(known),
                points=[
                    PointView(
                        pts_s=point.pts_s,
                        frame_index=point.frame_index,
                        fake_probability=point.fake_probability,
                        fake_area=point.fake_area,
                    )
                    for point in points
                    if point.person_id == person.id
                ],
            )
            for person in judged.persons
        ]

    def _person(
        self,
        person: Person,
        fake_probability: float | None,
        *,
        is_most_suspect: bool,
        points: list[PointView],
    ) -> PersonReport:
        clock = self._tongue.clock
        name = self._name(person.id)
        pictures = self._pictures(person.id)
        return PersonReport(
            id=person.id,
            name=name,
            first_s=person.first_s,
            last_s=person.last_s,
            seen=self._say(
                "report.person_seen",
                first=clock(person.first_s),
                last=clock(person.last_s),
                frames=self._tongue.whole(person.frames),
                pixels=round(person.median_face_px),
            ),
            fake_probability=fake_probability,
            probability=self._probability(
                fake_probability,
                self._judged.verdict.intervals_by_person.get(person.id),
                "report.probability_of_person",
            ),
            is_most_suspect=is_most_suspect,
            crop=next((p for p in pictures if p.kind is ArtifactKind.CROP), None),
            attention=[p for p in pictures if p.kind is ArtifactKind.ATTENTION],
            findings=[self._finding(e) for e in person.evidence if isinstance(e, Finding)],
            abstentions=[self._abstention(e) for e in person.evidence if isinstance(e, Abstention)],
            points=points,
            in_time=self._in_time(person, name, points),
        )

    def _name(self, person_id: str) -> str:
        return self._say("report.person", id=person_id)

    def _in_time(self, person: Person, name: str, points: Sequence[PointView]) -> str:
        clock, two = self._tongue.clock, partial(self._tongue.decimal, digits=2)
        seen = {"name": name, "first": clock(person.first_s), "last": clock(person.last_s)}
        judged = [p for p in points if p.fake_probability is not None]
        if not judged:
            return self._say("report.timeline_person_unjudged", **seen)
        highest = max(judged, key=_probability_of)
        return self._say(
            "report.timeline_person",
            **seen,
            count=len(judged),
            low=two(min(map(_probability_of, judged))),
            high=two(_probability_of(highest)),
            when=clock(highest.pts_s),
            marked=sum(bool(p.fake_area) for p in points),
        )

    # Pictures

    def _pictures(self, person_id: str) -> list[PictureView]:
        return [
            self._picture(a)
            for a in self._judged.artifacts
            if a.person_id == person_id and a.kind in SHOWN_KINDS
        ]

    def _frames(self) -> list[FrameView]:
        kept = [a for a in self._judged.artifacts if a.kind is ArtifactKind.FRAME]
        chosen = sorted(kept[:MOST_FRAMES], key=lambda a: a.pts_s)
        return [
            FrameView(letter=letter, picture=self._picture(a, letter))
            for letter, a in zip(LETTERS, chosen, strict=False)
        ]

    def _picture(self, artifact: ArtifactFacts, letter: str = "") -> PictureView:
        name, when = self._name(artifact.person_id), self._tongue.clock(artifact.pts_s)
        share = self._tongue.percent(artifact.area)
        frame = self._tongue.whole(artifact.frame_index)
        caption = ""
        match artifact.kind:
            case ArtifactKind.FRAME if artifact.area > 0:
                alt = self._say("report.frame_alt_marked", when=when, name=name, share=share)
                marked = self._say("report.frame_marked", share=share)
            case ArtifactKind.FRAME:
                alt = self._say("report.frame_alt", when=when, name=name)
                marked = self._say("report.frame_unmarked")
            case ArtifactKind.ATTENTION:
                alt = self._say("report.attention_alt", name=name, when=when)
                caption = self._say("report.attention_caption", frame=frame, when=when)
            case _:
                alt = self._say("report.crop_alt", name=name, when=when)
        if artifact.kind is ArtifactKind.FRAME:
            said = self._say(
                "report.frame_caption", letter=letter, name=name, when=when, frame=frame
            )
            caption = f"{said} {marked}"
        return PictureView(
            id=artifact.id,
            kind=artifact.kind,
            person_id=artifact.person_id,
            pts_s=artifact.pts_s,
            frame_index=artifact.frame_index,
            width_px=artifact.width_px,
            height_px=artifact.height_px,
            sha256=artifact.sha256,
            alt=alt,
            caption=caption,
            link=self._link(artifact),
        )

    # Evidence

    def _finding(self, finding: Finding) -> FindingRow:
        detector = finding.detector
        is_decisive = self._is_decisive(finding)
        own = finding.caveat or ""
        return FindingRow(
            detector=detector,
            name=self._say(f"detector.{detector.value}"),
            question=self._say(f"question.{detector.value}"),
            values=self._values(finding),
            comparison=self._comparison(finding.cue),
            reference=self._reference(finding.cue),
            rests_on=self._rests_on(finding),
            frame_indices=sorted({o.frame_index for o in finding.observations}),
            is_decisive=is_decisive,
            role=self._role(is_decisive),
            caveat=self._say(f"detector_caveat.{detector.value}"),
            own_caveat=visible(own),
            model=finding.model,
        )

    def _values(self, finding: Finding) -> list[str]:
        values = []
        if finding.fake_probability is not None:
            two = self._tongue.decimal(finding.fake_probability, 2)
            values.append(self._say("cue.probability", value=two))
        if finding.cue is not None:
            number, unit = self._tongue.number(finding.cue.value), self._unit(finding.cue.unit)
            values.append(f"{number}{unit}" if unit.startswith("-") else f"{number} {unit}".strip())
        if finding.answer is not None:
            values.append(self._tongue.said_or(f"answer.{finding.answer}", visible(finding.answer)))
        return values

    def _unit(self, unit: str) -> str:
        key = NOT_IN_KEYS.sub("_", unit.lower()).strip("_")
        return self._tongue.said_or(f"unit.{key}", visible(unit))

    def _comparison(self, cue: Cue | None) -> str:
        if cue is None:
            return NOTHING
        if cue.z is None:
            return self._say("cue.no_reference")
        off = self._tongue.decimal(abs(cue.z), 1)
        if abs(cue.z) < USUAL_Z:
            return self._say("cue.within", z=off)
        if cue.z >= MOST_Z:
            return self._say("cue.far_above", z=off)
        return self._say("cue.above" if cue.z > 0 else "cue.below", z=off)

    def _reference(self, cue: Cue | None) -> str:
        if cue is None or not cue.reference:
            return ""
        return self._say("cue.real_clips", reference=visible(cue.reference))

    def _rests_on(self, finding: Finding) -> str:
        frames = self._say("cue.frames", count=finding.frames)
        if not finding.spans:
            return f"{frames}: {self._say('cue.throughout')}"
        spans = (
            self._say(
                "cue.span",
                first=self._tongue.clock(s.first_s),
                last=self._tongue.clock(s.last_s),
            )
            for s in finding.spans
        )
        return f"{frames}: {self._tongue.listed(spans, most=MOST_SPANS)}"

    def _is_decisive(self, finding: Finding) -> bool | None:
        if self._policy is None:
            return None
        return self._policy.say(finding.detector) > 0

    def _role(self, is_decisive: bool | None) -> str:
        if is_decisive is None:
            return self._say("cue.unknown_role", policy=self._judged.verdict.policy)
        return self._say("cue.decides" if is_decisive else "cue.information")

    def _abstention(self, abstention: Abstention) -> AbstentionRow:
        return AbstentionRow(
            detector=abstention.detector,
            name=self._say(f"detector.{abstention.detector.value}"),
            reason=self._say(f"abstention.{abstention.reason.value}"),
            detail=visible(abstention.detail),
            needs=visible(abstention.needs),
        )

    # Tables of facts

    def _file(self, video: VideoFacts) -> list[FactView]:
        whole = self._tongue.whole
        frames = {"decoded": whole(video.frames_decoded), "kept": whole(video.frames_kept)}
        size = {"width": video.width, "height": video.height}
        name = self._subject.file_name
        return self._facts(
            {
                "file_name": visible(name) if name else "",
                "file_sha256": video.sha256,
                "file_size": self._say("report.file_size_value", bytes=whole(video.size_bytes)),
                "file_format": self._say(
                    "report.file_format_value",
                    container=visible(video.container),
                    codec=visible(video.codec),
                ),
                "file_picture": self._say(
                    "report.file_picture_turned", **size, degrees=video.rotation_deg
                )
                if video.rotation_deg
                else self._say("report.file_picture_value", **size),
                "file_length": self._say(
                    "report.file_length_value",
                    seconds=self._tongue.decimal(video.duration_s, 2),
                    rate=self._tongue.decimal(video.fps, 2),
                ),
                "file_frames": self._say("report.file_frames_value", **frames)
                if video.frames_expected is None
                else self._say(
                    "report.file_frames_of", **frames, expected=whole(video.frames_expected)
                ),
            }
        )

    def _origin(self, origin: Origin) -> OriginReport:
        credentials = origin.credentials
        said = {"credentials": self._say(f"credential.{credentials.state.value}")}
        if credentials.state is not CredentialState.ABSENT:
            generated = "report.yes" if credentials.is_generated else "report.no"
            said |= {
                "credentials_detail": visible(credentials.detail),
                "credentials_signer": visible(credentials.signer),
                "credentials_signed_at": visible(credentials.signed_at),
                "credentials_made_with": visible(credentials.made_with),
                "credentials_actions": visible(", ".join(credentials.actions)),
                "credentials_generated": self._say(generated),
            }
        return OriginReport(
            about=self._say("report.origin_about"),
            credentials=self._facts(said),
            tags=[FactView(name=visible(k), value=visible(v)) for k, v in origin.tags.items()],
            signs=[self._tongue.said_or(f"sign.{code}", visible(code)) for code in origin.signs],
        )

    def _checking(self, provenance: Provenance) -> list[FactView]:
        networks = [
            FactView(
                name=f"{self._say('report.networks')}: {name}",
                value=self._say(
                    "report.network_value",
                    version=provenance.versions.get(name, "?"),
                    sha256=sha256,
                ),
            )
            for name, sha256 in provenance.models.items()
        ]
        took = self._judged.timings.get("total_s")
        return [
            *self._facts({"program": provenance.code, "policy": self._judged.verdict.policy}),
            *networks,
            *self._facts(
                {
                    "decoder": visible(provenance.decoder),
                    "sandbox": visible(provenance.sandbox),
                    "device": visible(provenance.device),
                    "seed": str(provenance.seed),
                    "frame_indices": visible(provenance.frame_indices),
                    "looked_at": self._looked_at(
                        e for p in self._judged.persons for e in p.evidence
                    ),
                    "took": self._say("report.took_value", seconds=self._tongue.decimal(took, 1))
                    if took is not None
                    else "",
                }
            ),
        ]

    def _measurements(self) -> list[MeasurementsView]:
        blocks = (
            MeasurementsView(
                name=self._name(person.id),
                rows=[
                    MeasurementRow(
                        detector=self._say(f"detector.{e.detector.value}"),
                        name=name,
                        value=self._tongue.number(value),
                    )
                    for e in person.evidence
                    if isinstance(e, Finding)
                    for name, value in e.measurements.items()
                ],
            )
            for person in self._judged.persons
        )
        return [block for block in blocks if block.rows]

    def _scan_command(self) -> str:
        words = ["deepverdict scan VIDEO --report report.html"]
        point, policy = self._judged.verdict.operating_point, self._policy or CURRENT
        if point is not None and point != policy.default_point:
            words.append(f"--operating-point {point}")
        return " ".join(words)

    def _looked_at(self, evidence: Iterable[Evidence]) -> str:
        """List the frames that networks of single pictures were asked about."""
        frames = {o.frame_index for e in evidence if isinstance(e, Finding) for o in e.observations}
        return self._tongue.listed(map(str, sorted(frames)), most=MOST_NUMBERS)

    def _facts(self, values: Mapping[str, str]) -> list[FactView]:
        """Name values by their keys in the catalogue, leaving out what is not known."""
        return [
            FactView(name=self._say(f"report.{key}"), value=value)
            for key, value in values.items()
            if value
        ]


def _probability_of(point: PointView) -> float:
    assert point.fake_probability is not None, "only judged points are compared"
    return point.fake_probability


def _shortened(name: str) -> str:
    """Leave out the middle of a long name; the ending of a file stays to be seen."""
    if len(name) <= HEADING_CHARACTERS:
        return name
    half = HEADING_CHARACTERS // 2
    return f"{name[:half]} {ELLIPSIS} {name[-half:]}"


def _policy_of(verdict: Verdict) -> Policy | None:
    """Return the rules that a verdict was made by; None where this program does not know them."""
    return shipped(verdict.policy) if verdict.policy in versions() else None
