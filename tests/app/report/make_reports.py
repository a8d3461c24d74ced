"""Reports for tests: what was found of made persons, with every kind of picture."""

import struct
from collections.abc import Mapping
from zlib import compress, crc32

from app.domain.evidence import (
    AbstainReason,
    ArtifactKind,
    Cue,
    DetectorName,
    Finding,
    Observation,
    Span,
)
from app.domain.media import Credentials, CredentialState, Origin
from app.domain.report import ArtifactFacts, Judged
from app.domain.verdict import Label, Verdict
from app.domain.words import Language
from app.report.content import ReportView, Subject, report_on
from tests.make import (
    PNG,
    WHEN,
    make_abstention,
    make_analysis,
    make_artifact,
    make_finding,
    make_person,
    make_verdict,
)

HOSTILE = '"><script>alert(1)</script>{{ 7*7 }}\u202egpj.4pm'
"""Breaks out of an attribute, brings a script and a template, and turns the line around."""
LETTERS_OF_THE_WORLD = "Überprüfung, Москва, Αθήνα, 東京, القاهرة, 👩🏽‍💻.mp4"
LONG = "a" * 251 + ".mp4"


def make_cue(z: float | None = 2.6, *, value: float = 4.5, unit: str = "blinks a minute") -> Cue:
    return Cue(value=value, unit=unit, z=z, reference="made: 60 real clips, 20 groups of people")


def make_cue_finding(cue: Cue | None = None, **others: object) -> Finding:
    return Finding(
        detector=DetectorName.BLINK_RATE,
        cue=cue or make_cue(),
        frames=240,
        spans=(Span(first_s=3.0, last_s=4.5), Span(first_s=8.0, last_s=11.2)),
        measurements={"blinks": 3.0},
        caveat="Blinking tells little.",
        **others,  # type: ignore[arg-type]
    )


def make_seen(number: int = 1, *, probability: float = 0.92) -> tuple[Observation, ...]:
    return tuple(
        Observation(pts_s=3.0 + n, frame_index=90 + 30 * n, fake_probability=probability - n / 50)
        for n in range(8)
    )


def make_full_judged(
    verdict: Verdict | None = None, *, persons: int = 1, tags: Mapping[str, str] | None = None
) -> Judged:
    """Build what was judged with everything in it that a report can show."""
    names = [f"p{n}" for n in range(1, persons + 1)]
    analysis = make_analysis(
        *(
            make_person(
                make_finding(observations=make_seen()),
                make_cue_finding(),
                make_abstention(DetectorName.PULSE, AbstainReason.TOO_DARK),
                id=name,
            )
            for name in names
        ),
        artifacts=tuple(
            artifact
            for name in names
            for artifact in (
                make_artifact(person_id=name),
                make_artifact(ArtifactKind.CROP, person_id=name),
                make_artifact(
                    ArtifactKind.FRAME, id=f"{name}-frame-000126", person_id=name, png=PNG
                ),
                make_artifact(
                    ArtifactKind.ATTENTION, id=f"{name}-attention-000126", person_id=name
                ),
            )
        ),
    )
    made = Judged.of(
        analysis,
        verdict or make_verdict(by_person={n: 0.94 - 0.06 * i for i, n in enumerate(names)}),
    )
    return Judged(
        verdict=made.verdict,
        video=made.video,
        persons=made.persons,
        abstentions=made.abstentions,
        artifacts=made.artifacts,
        provenance=made.provenance,
        timings=made.timings,
        origin=Origin(
            credentials=Credentials(state=CredentialState.UNTRUSTED, signer="A camera"),
            tags=tags if tags is not None else {"encoder": "Lavf58"},
            signs=("re-encoded",),
        ),
    )


def make_nobody() -> Judged:
    """Build what was judged of a video in which nobody was found."""
    analysis = make_analysis(
        abstentions=(
            make_abstention(
                DetectorName.FRAME_CLASSIFIER,
                AbstainReason.NO_FACE,
                detail="no face was found in the video",
                needs="a face",
            ),
        ),
        artifacts=(),
    )
    verdict = make_verdict(Label.INCONCLUSIVE, fake_probability=None, by_person={})
    made = Judged.of(analysis, verdict)
    return Judged(
        verdict=verdict,
        video=made.video,
        persons=(),
        abstentions=made.abstentions,
        artifacts=(),
        provenance=made.provenance,
        timings={},
    )


def make_report_view(
    judged: Judged | None = None,
    language: Language = Language.ENGLISH,
    *,
    file_name: str | None = "clip.mp4",
    ref_id: str | None = None,
) -> ReportView:
    subject = Subject(file_name=file_name, made_at=WHEN, ref_id=ref_id)
    return report_on(subject, judged or make_full_judged(), language=language, link=_nowhere)


def make_pictures(report: ReportView) -> Mapping[str, bytes]:
    return {p.id: make_png(grey) for grey, p in enumerate(report.pictures)}


def make_png(grey: int) -> bytes:
    """Write one pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = chunk(b"IDAT", compress(bytes((0, grey))))
    return b"\x89PNG\r\n\x1a\n" + head + pixel + chunk(b"IEND", b"")


def _nowhere(_: ArtifactFacts) -> None:
    return None
