"""Are stored verdicts decided anew by what is stored, and written only where that is wanted?"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select

from app.db.session import Database
from app.db.tables import JobEventRow, JobRow
from app.domain.evidence import AbstainReason, Analysis, DetectorName
from app.domain.fusion import Fusion, Term
from app.domain.job import JobState, Priority
from app.domain.policy import ALONE, Made, PointName, Policy
from app.domain.redecision import Redecided
from app.domain.report import JobReport
from app.domain.verdict import Label, decide
from app.services import jobs, leases
from app.services import redecide as service
from app.settings import WorkerSettings
from tests.fakes import MemoryStore, RecordingBell
from tests.make import make_abstention, make_analysis, make_finding, make_person

LIMITS = WorkerSettings()
STRICT = replace(
    ALONE,
    version="2027-01-01.1",
    points=(
        replace(ALONE.point(), manipulated_from=0.9, clear_below=0.2),
        replace(ALONE.point(), name=PointName.FPR_1, manipulated_from=0.97, clear_below=0.2),
    ),
)


class Desk:
    """Tenants whose videos were judged by the policy of the day."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.store, self.bell = MemoryStore(), RecordingBell()

    def judged(
        self,
        probability: float | None,
        *,
        tenant: str = "desk",
        policy: Policy = ALONE,
        point: PointName | None = None,
        change: Callable[[Analysis], Analysis] = lambda a: a,
    ) -> str:
        job = jobs.submit(
            self.db,
            self.bell,
            tenant=tenant,
            blob=self.store.put(b"a video"),
            ref_id=f"ref {probability}",
            file_name=None,
            priority=Priority.LIVE,
            operating_point=point,
        )
        claim = leases.claim(self.db, worker="w1", limits=LIMITS)
        assert claim is not None
        said = (
            make_abstention(DetectorName.FRAME_CLASSIFIER, AbstainReason.TOO_BLURRED)
            if probability is None
            else make_finding(fake_probability=probability)
        )
        analysis = change(make_analysis(make_person(said)))
        verdict = decide(analysis.persons, analysis.video, (), policy, point)
        assert leases.conclude(self.db, claim, analysis, verdict)
        return job.id

    def redecide(self, policy: Policy = STRICT, **wish: object) -> Redecided:
        return service.redecide(self.db, policy, actor="anna", **wish)  # type: ignore[arg-type]

    def report(self, job_id: str, tenant: str = "desk") -> JobReport:
        return jobs.get(self.db, tenant=tenant, job_id=job_id)

    def history(self, job_id: str) -> list[tuple[str, str]]:
        with self.db.reading() as session:
            rows = session.scalars(select(JobEventRow).where(JobEventRow.job_id == job_id))
            return [(row.actor, row.note) for row in rows]


@pytest.fixture
def desk(db: Database) -> Desk:
    return Desk(db)


def test_changed_labels_are_listed_oldest_first_and_nothing_is_written(desk: Desk):
    accused, clear, unsure, sure = (desk.judged(p) for p in (0.8, 0.3, 0.5, 0.98))
    before = [desk.report(j) for j in (accused, clear, unsure, sure)]

    found = desk.redecide()

    assert [(c.job_id, c.before.label, c.after.label) for c in found.changed] == [
        (accused, Label.MANIPULATED, Label.INCONCLUSIVE),
        (clear, Label.NO_MANIPULATION_FOUND, Label.INCONCLUSIVE),
    ]
    first = found.changed[0]
    assert (first.ref_id, first.before.policy, first.after.policy) == (
        "ref 0.8",
        ALONE.version,
        STRICT.version,
    )
    assert first.why.startswith("between_thresholds: person p1: 0.80")
    assert (found.moved, found.same, found.written, found.examined) == (2, 0, 0, 4)
    assert [desk.report(j) for j in (accused, clear, unsure, sure)] == before


def test_applied_it_replaces_verdicts_and_nothing_else(desk: Desk):
    job_id = desk.judged(0.8)
    before = desk.report(job_id)

    found = desk.redecide(apply=True)
    after = desk.report(job_id)

    assert found.written == 1
    assert before.judged is not None
    assert after.judged is not None
    persons, video = before.judged.persons, before.judged.video
    assert after.judged == replace(before.judged, verdict=decide(persons, video, (), STRICT))
    assert after.job.state is JobState.SUCCEEDED
    assert after.job.version == before.job.version + 1  # so that a poller's ETag is void
    assert desk.history(job_id)[-1] == ("anna", "decided anew by 2027-01-01.1: inconclusive")


def test_a_second_time_there_is_nothing_left_to_write(desk: Desk):
    jobs_ = [desk.judged(p) for p in (0.8, None, 0.1)]
    desk.redecide(apply=True)
    versions = [desk.report(j).job.version for j in jobs_]

    again = desk.redecide(apply=True)

    assert (again.changed, again.moved, again.same, again.written) == ((), 0, 3, 0)
    assert [desk.report(j).job.version for j in jobs_] == versions


def test_the_same_policy_changes_nothing(desk: Desk):
    desk.judged(0.8)
    desk.judged(None)

    found = desk.redecide(ALONE, apply=True)

    assert (found.same, found.written) == (2, 0)


def test_a_tenant_s_jobs_can_be_decided_by_themselves(desk: Desk):
    ours = desk.judged(0.8)
    theirs = desk.judged(0.8, tenant="theirs")

    found = desk.redecide(tenant="desk", apply=True)

    assert [c.job_id for c in found.changed] == [ours]
    report = desk.report(theirs, "theirs")
    assert report.judged is not None
    assert report.judged.verdict.policy == ALONE.version


def test_each_job_keeps_its_operating_point_unless_another_is_wanted(desk: Desk):
    usual = desk.judged(0.95)
    strict = desk.judged(0.95, point=PointName.FPR_1)

    own = {c.job_id for c in desk.redecide().changed}
    all_strict = {c.job_id for c in desk.redecide(operating_point=PointName.FPR_1).changed}

    assert own == {strict}
    assert all_strict == {usual, strict}


def test_evidence_of_other_networks_is_left_alone_and_counted(desk: Desk):
    """Lines that were measured for one network say nothing of another's probabilities."""
    promoted = replace(ALONE, version=f"{ALONE.version}+frame_classifier@1.1")
    desk.judged(0.8, policy=promoted)

    def of_1_1(analysis: Analysis) -> Analysis:
        versions = {"frame_classifier": "1.1"}
        return replace(analysis, provenance=replace(analysis.provenance, versions=versions))

    desk.judged(0.8, change=of_1_1)
    made = Made(
        evidence_sha256="0" * 64,
        manifest_sha256="0" * 64,
        code="0.1.0",
        clips=9,
        groups=3,
        networks={"frame_classifier": "1.0"},
    )

    assert desk.redecide().of_other_networks == 1
    found = desk.redecide(replace(STRICT, made=made), apply=True)
    assert (found.of_other_networks, found.written, found.examined) == (1, 1, 2)


def test_features_that_nobody_asked_for_are_counted_and_silence_is_not(desk: Desk):
    terms = (
        *ALONE.fusion.terms,
        Term(feature="pulse", weight=0.2, mean=0.0, deviation=1.0, missing=0.0),
        Term(feature="lip_sync", weight=0.0, mean=0.0, deviation=1.0, missing=0.0),
    )
    policy = replace(STRICT, fusion=Fusion(terms=terms, intercept=0.0))
    desk.judged(0.5)

    def in_silence(analysis: Analysis) -> Analysis:
        silent = make_abstention(DetectorName.PULSE, AbstainReason.SKIN_NOT_VISIBLE)
        (one,) = analysis.persons
        return replace(analysis, persons=(replace(one, evidence=(*one.evidence, silent)),))

    desk.judged(0.5, change=in_silence)

    assert desk.redecide(policy).lacking == {"pulse": 1}


def test_a_job_that_is_removed_meanwhile_is_left_out(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    gone, kept = desk.judged(0.8), desk.judged(0.8)
    write = service._write

    def remove_first(db: Database, *rest: object, **more: object) -> set[str]:
        jobs.remove(db, desk.store, tenant="desk", job_id=gone)
        return write(db, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(service, "_write", remove_first)
    found = desk.redecide(apply=True)

    assert [c.job_id for c in found.changed] == [kept]
    assert (found.overtaken, found.written) == (1, 1)


def test_more_jobs_than_a_batch_are_all_decided_and_told_of(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service, "BATCH", 2)
    made = [desk.judged(0.8) for _ in range(5)]
    told: list[tuple[int, int]] = []

    found = desk.redecide(apply=True, report=lambda done, of: told.append((done, of)))

    assert [c.job_id for c in found.changed] == made
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_jobs_without_a_verdict_are_none_of_its_business(desk: Desk):
    waiting = jobs.submit(
        desk.db,
        desk.bell,
        tenant="desk",
        blob=desk.store.put(b"a video"),
        ref_id=None,
        file_name=None,
        priority=Priority.LIVE,
    )

    assert desk.redecide(apply=True).examined == 0
    with desk.db.reading() as session:
        row = session.get(JobRow, waiting.id)
        assert row is not None
        assert row.state == "queued"
