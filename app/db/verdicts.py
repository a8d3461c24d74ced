"""What did a job come to? Its verdict, the persons, what was said of them, and the pictures."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, undefer

from app.db import records
from app.db.session import now
from app.db.tables import ArtifactRow, EvidenceRow, JobRow, PersonRow, VerdictRow
from app.domain.evidence import Analysis, Artifact, ArtifactKind, Evidence, Person
from app.domain.report import ArtifactFacts, Judged
from app.domain.verdict import Label, Verdict


def insert(session: Session, row: JobRow, analysis: Analysis, verdict: Verdict) -> None:
    """
    Store all that an analysis found and what was decided of it.

    Raises:
        ValueError: the verdict is not of these persons, or a number is not finite.
    """
    if set(verdict.by_person) != {p.id for p in analysis.persons}:
        raise ValueError(f"a verdict on {sorted(verdict.by_person)} of other persons' analysis")
    row.video = records.video_to_json(analysis.video)
    row.provenance = records.provenance_to_json(analysis.provenance)
    row.timings = records.timings_to_json(analysis.timings)
    row.abstentions = records.abstentions_to_json(analysis.abstentions)
    row.origin = None if analysis.origin is None else records.origin_to_json(analysis.origin)
    stored = records.verdict_to_row(row.id, verdict)
    stored.created_at = now(session)
    session.add(stored)
    session.add_all(
        records.person_to_row(row.id, position, person, verdict)
        for position, person in enumerate(analysis.persons)
    )
    session.flush()  # persons before what refers to them
    session.add_all(
        records.evidence_to_row(row.id, person.id, position, evidence)
        for person in analysis.persons
        for position, evidence in enumerate(person.evidence)
    )
    session.add_all(
        records.artifact_to_row(row.id, position, artifact)
        for position, artifact in enumerate(analysis.artifacts)
    )


def replace(session: Session, job_id: str, verdict: Verdict) -> None:
    """
    Put another verdict in the place of the one that a job has; the evidence stays.

    Raises:
        ValueError: the verdict is not of these persons, or a number is not finite.
    """
    followed = session.scalars(select(PersonRow).where(PersonRow.job_id == job_id)).all()
    if set(verdict.by_person) != {p.id for p in followed}:
        raise ValueError(f"a verdict on {sorted(verdict.by_person)} of other persons' analysis")
    session.execute(delete(VerdictRow).where(VerdictRow.job_id == job_id))
    stored = records.verdict_to_row(job_id, verdict)
    stored.created_at = now(session)
    session.add(stored)
    for person in followed:
        records.decide_person(person, verdict)


def load(session: Session, row: JobRow) -> Judged | None:
    """Put together what a job came to; None where it has no verdict."""
    stored = session.get(VerdictRow, row.id)
    if stored is None:
        return None
    assert row.video is not None
    assert row.provenance is not None
    followed = session.scalars(
        select(PersonRow).where(PersonRow.job_id == row.id).order_by(PersonRow.position)
    ).all()
    return Judged(
        verdict=records.verdict_from_row(stored, followed),
        video=records.video_from_json(row.video),
        persons=persons(session, row.id),
        abstentions=records.abstentions_from_json(row.abstentions or []),
        artifacts=artifacts(session, row.id),
        provenance=records.provenance_from_json(row.provenance),
        timings=row.timings or {},
        origin=None if row.origin is None else records.origin_from_json(row.origin),
    )


def persons(session: Session, job_id: str) -> tuple[Person, ...]:
    """Return everybody who was followed, with all that was said of them."""
    said: defaultdict[str, list[Evidence]] = defaultdict(list)
    for evidence in session.scalars(
        select(EvidenceRow).where(EvidenceRow.job_id == job_id).order_by(EvidenceRow.position)
    ):
        said[evidence.person_id].append(records.evidence_from_json(evidence.body))
    return tuple(
        records.person_from_row(person, tuple(said[person.id]))
        for person in session.scalars(
            select(PersonRow).where(PersonRow.job_id == job_id).order_by(PersonRow.position)
        )
    )


def artifacts(session: Session, job_id: str) -> tuple[ArtifactFacts, ...]:
    """Return what is known of the pictures, without their bytes."""
    return tuple(
        records.artifact_facts_from_row(row)
        for row in session.scalars(
            select(ArtifactRow).where(ArtifactRow.job_id == job_id).order_by(ArtifactRow.position)
        )
    )


def artifact(
    session: Session, *, job_id: str, artifact_id: str, kind: ArtifactKind
) -> Artifact | None:
    """Return one picture with its bytes."""
    row = session.scalar(
        select(ArtifactRow)
        .where(
            ArtifactRow.job_id == job_id,
            ArtifactRow.id == artifact_id,
            ArtifactRow.kind == kind.value,
        )
        .options(undefer(ArtifactRow.png))
    )
    return None if row is None else records.artifact_from_row(row)


def pngs(session: Session, *, job_id: str, kinds: Collection[ArtifactKind]) -> Mapping[str, bytes]:
    """Return the bytes of every picture of these kinds, by its id."""
    found = session.execute(
        select(ArtifactRow.id, ArtifactRow.png).where(
            ArtifactRow.job_id == job_id, ArtifactRow.kind.in_([k.value for k in kinds])
        )
    )
    return dict(found.all())


def remove(session: Session, job_id: str) -> None:
    """Delete everything that a job came to."""
    for table in (ArtifactRow, EvidenceRow, PersonRow, VerdictRow):
        session.execute(delete(table).where(table.job_id == job_id))


def count_by_label(session: Session) -> dict[str, int]:
    """Count verdicts; every label has its number."""
    found = dict(
        session.execute(select(VerdictRow.label, func.count()).group_by(VerdictRow.label)).all()
    )
    return {label.value: found.get(label.value, 0) for label in Label}
