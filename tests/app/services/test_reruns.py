"""Are stored videos analysed again as asked, compared, and kept for as long as a job needs them?"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from app.db.session import Database
from app.db.tables import JobRow
from app.domain.job import JobState, Priority
from app.domain.policy import PointName
from app.domain.rerun import RerunReport, RerunWish
from app.domain.verdict import Label
from app.errors import NotFound
from app.services import jobs, leases, reruns
from app.settings import WorkerSettings
from tests.fakes import MemoryStore, RecordingBell
from tests.make import make_analysis, make_error, make_verdict

LIMITS = WorkerSettings()
CLEAR = make_verdict(Label.NO_MANIPULATION_FOUND, fake_probability=0.1)
NOBODY = "01KDEEPVERD1CT000000000009"


@dataclass
class Desk:
    """A tenant, and the worker that judges its videos."""

    db: Database
    store: MemoryStore = field(default_factory=MemoryStore)
    bell: RecordingBell = field(default_factory=RecordingBell)
    tenant: str = "desk"

    def submit(self, *, ref_id: str | None = None, operating_point: PointName | None = None) -> str:
        return jobs.submit(
            self.db,
            self.bell,
            tenant=self.tenant,
            blob=self.store.put(b"a video"),
            ref_id=ref_id,
            file_name="clip.mp4",
            priority=Priority.LIVE,
            operating_point=operating_point,
        ).id

    def judge(self, verdict=None, *, version: str = "1.0") -> str:
        """Conclude the next job in the queue."""
        claim = leases.claim(self.db, worker="w1", limits=LIMITS)
        assert claim is not None
        analysis = make_analysis()
        provenance = replace(analysis.provenance, versions={"frame_classifier": version})
        analysis = replace(analysis, provenance=provenance)
        assert leases.conclude(self.db, claim, analysis, verdict or make_verdict())
        return claim.job_id

    def judged(self, verdict=None) -> str:
        job_id = self.submit()
        assert self.judge(verdict) == job_id
        return job_id

    def start(self, *job_ids: str, limit: int = 1000, **wish: object) -> RerunReport:
        wanted = RerunWish(job_ids=frozenset(job_ids), limit=limit, **wish)
        return reruns.start(self.db, self.bell, self.store, tenant=self.tenant, wish=wanted)

    def rerun(self, rerun_id: str) -> RerunReport:
        return reruns.get(self.db, tenant=self.tenant, rerun_id=rerun_id)

    def report(self, job_id: str):
        return jobs.get(self.db, tenant=self.tenant, job_id=job_id)

    def queued(self) -> list[str]:
        page = jobs.page(
            self.db,
            tenant=self.tenant,
            state=JobState.QUEUED,
            label=None,
            cursor=None,
            limit=100,
        )
        return [item.job.id for item in page.items]

    def remove(self, job_id: str) -> JobState:
        return jobs.remove(self.db, self.store, tenant=self.tenant, job_id=job_id).state

    def submitted_at(self, job_id: str) -> datetime:
        return self.report(job_id).job.created_at


@pytest.fixture
def desk(db: Database) -> Desk:
    return Desk(db)


def test_a_rerun_is_a_job_of_its_own_that_waits_behind_live_ones(desk: Desk):
    job_id = desk.submit(ref_id="desk-4711")
    desk.judge()

    started = desk.start(job_id)

    (new_id,) = desk.queued()
    old, new = desk.report(job_id).job, desk.report(new_id).job
    assert (started.jobs, started.is_done, started.unavailable) == (1, False, ())
    assert (new.rerun_of, new.priority, new.ref_id) == (job_id, Priority.BATCH, "desk-4711")
    assert (new.sha256, new.size_bytes, new.file_name) == (old.sha256, old.size_bytes, "clip.mp4")
    assert desk.bell.rung[-1] == new_id
    assert list(desk.store.blobs) == ["blob-1"]


def test_what_changed_is_listed_with_both_verdicts_and_the_old_one_stays(desk: Desk):
    one, other = desk.judged(), desk.judged()
    before = desk.report(one)
    started = desk.start(one, other)

    first = desk.judge(CLEAR, version="1.1")
    half = desk.rerun(started.id)
    desk.judge(make_verdict(fake_probability=0.99), version="1.1")
    done = desk.rerun(started.id)

    assert (half.is_done, len(half.changed), half.unchanged) == (False, 1, 0)
    assert half.jobs_by_state == {JobState.QUEUED: 1, JobState.SUCCEEDED: 1}
    assert (done.is_done, len(done.changed), done.unchanged) == (True, 1, 1)
    (changed,) = done.changed
    assert (changed.job_id, changed.rerun_job_id) == (one, first)
    assert (changed.before.label, changed.after.label) == (
        Label.MANIPULATED,
        Label.NO_MANIPULATION_FOUND,
    )
    assert (changed.before.fake_probability, changed.after.fake_probability) == (0.94, 0.1)
    assert (changed.before.models, changed.after.models) == (
        {"frame_classifier": "1.0"},
        {"frame_classifier": "1.1"},
    )
    assert desk.report(one) == before


def test_a_verdict_from_before_versions_were_stored_is_compared_by_its_bytes(desk: Desk):
    job_id = desk.judged()
    with desk.db.writing() as session:
        row = session.get_one(JobRow, job_id)
        row.provenance = {k: v for k, v in (row.provenance or {}).items() if k != "versions"}
    started = desk.start(job_id)
    desk.judge(CLEAR)

    (changed,) = desk.rerun(started.id).changed
    assert changed.before.models == {"frame_classifier": "sha256:" + "0" * 64}


def test_naming_a_job_twice_analyses_it_once(desk: Desk):
    job_id = desk.judged()

    assert desk.start(*[job_id, job_id]).jobs == 1


def test_what_cannot_be_analysed_again_is_listed_whatever_the_reason(desk: Desk):
    fine, lost, purged = desk.judged(), desk.judged(), desk.judged()
    desk.store.delete("blob-2")
    desk.remove(purged)
    theirs = replace(desk, tenant="other").judged()
    rejected = desk.submit()
    claim = leases.claim(desk.db, worker="w1", limits=LIMITS)
    assert leases.reject(desk.db, claim, make_error())
    waiting = desk.submit()

    named = (fine, lost, purged, theirs, rejected, waiting, NOBODY)
    started = desk.start(*named)

    assert started.jobs == 1
    assert started.unavailable == tuple(sorted(set(named) - {fine}))
    assert desk.rerun(started.id).unavailable == started.unavailable


def test_without_names_all_of_ones_own_are_analysed_again_the_newest_first(desk: Desk):
    replace(desk, tenant="other").judged()
    one, two, three = (desk.judged() for _ in range(3))

    everything = desk.start()
    some = desk.start(limit=2)

    assert (everything.jobs, everything.left_out) == (3, 0)
    assert (some.jobs, some.left_out) == (2, 1)
    of = [desk.report(job_id).job.rerun_of for job_id in desk.queued()]
    assert sorted(of) == sorted([one, two, two, three, three])


def test_jobs_are_chosen_by_when_they_came_and_what_was_said_of_them(desk: Desk):
    one, two, three = desk.judged(), desk.judged(CLEAR), desk.judged()
    middle = desk.submitted_at(two)

    def chosen(**wish: object) -> set[str | None]:
        earlier = set(desk.queued())
        desk.start(**wish)
        return {desk.report(j).job.rerun_of for j in set(desk.queued()) - earlier}

    assert chosen(since=middle) == {two, three}
    assert chosen(until=middle) == {one}
    assert chosen(since=middle, until=middle + timedelta(microseconds=1)) == {two}
    assert chosen(labels=frozenset({Label.NO_MANIPULATION_FOUND})) == {two}
    assert chosen(labels=frozenset({Label.MANIPULATED}), since=middle) == {three}
    assert chosen(labels=frozenset({Label.INCONCLUSIVE})) == set()


def test_a_video_that_was_analysed_again_is_not_taken_twice_unless_it_is_named(desk: Desk):
    job_id = desk.judged()
    desk.start(job_id)
    again = desk.judge(CLEAR, version="1.1")

    assert desk.start().jobs == 1
    assert desk.report(desk.queued()[0]).job.rerun_of == job_id
    assert desk.start(again).jobs == 1
    assert desk.report(desk.queued()[0]).job.rerun_of == again


def test_a_rerun_of_nothing_is_done_at_once(desk: Desk):
    started = desk.start()

    assert (started.jobs, started.is_done, started.changed) == (0, True, ())


def test_others_and_the_inventive_find_no_rerun(desk: Desk):
    started = desk.start(desk.judged())

    for tenant, rerun_id in (("other", started.id), ("desk", NOBODY), ("desk", "' OR 1=1")):
        with pytest.raises(NotFound):
            reruns.get(desk.db, tenant=tenant, rerun_id=rerun_id)


def test_a_video_outlives_the_first_job_that_is_removed_until_the_last_is(desk: Desk):
    job_id = desk.judged()
    started = desk.start(job_id)

    assert desk.remove(job_id) is JobState.PURGED
    assert list(desk.store.blobs) == ["blob-1"]
    again = desk.judge(CLEAR)
    gone = desk.rerun(started.id)
    assert (gone.jobs, gone.compared) == (1, ())  # there is nothing left to compare with

    assert desk.remove(again) is JobState.PURGED
    assert desk.store.blobs == {}
    assert desk.rerun(started.id).jobs == 0


def test_a_video_outlives_its_rerun_until_the_first_job_is_removed(desk: Desk):
    job_id = desk.judged()
    desk.start(job_id)
    again = desk.judge(CLEAR)

    assert desk.remove(again) is JobState.PURGED
    assert list(desk.store.blobs) == ["blob-1"]
    assert desk.report(job_id).judged is not None
    assert desk.remove(job_id) is JobState.PURGED
    assert desk.store.blobs == {}


@pytest.mark.parametrize("is_running", [False, True])
def test_cancelling_a_rerun_leaves_the_video_to_the_first_job(desk: Desk, is_running: bool):
    job_id = desk.judged()
    desk.start(job_id)
    (again,) = desk.queued()
    if is_running:
        leases.claim(desk.db, worker="w1", limits=LIMITS)

    assert desk.remove(again) is JobState.CANCELLED
    assert list(desk.store.blobs) == ["blob-1"]
    assert desk.remove(job_id) is JobState.PURGED  # a cancelled one needs no video
    assert desk.store.blobs == {}


def test_cancelling_the_last_that_needs_a_video_removes_it(desk: Desk):
    job_id = desk.judged()
    desk.start(job_id)
    (again,) = desk.queued()
    desk.remove(job_id)

    assert desk.remove(again) is JobState.CANCELLED
    assert desk.store.blobs == {}


def test_of_jobs_that_are_removed_at_once_the_last_takes_the_video_along(desk: Desk):
    job_id = desk.judged()
    for _ in range(4):
        desk.start(job_id)
        desk.judge()
    page = jobs.page(desk.db, tenant="desk", state=None, label=None, cursor=None, limit=100)
    sharers = [item.job.id for item in page.items]
    assert len(sharers) == 5

    with ThreadPoolExecutor(5) as pool:
        states = list(pool.map(desk.remove, sharers))

    assert states == [JobState.PURGED] * 5
    assert desk.store.blobs == {}


def test_a_video_is_never_removed_under_a_rerun_that_starts_meanwhile(desk: Desk):
    """Whichever comes first, a queued job has its video."""
    for _ in range(3):
        job_id = desk.judged()
        gate = threading.Barrier(2)

        def start(job_id: str = job_id, gate: threading.Barrier = gate) -> RerunReport:
            gate.wait()
            return desk.start(job_id)

        def remove(job_id: str = job_id, gate: threading.Barrier = gate) -> JobState:
            gate.wait()
            return desk.remove(job_id)

        with ThreadPoolExecutor(2) as pool:
            started, removed = pool.submit(start), pool.submit(remove)
            report = started.result()
            assert removed.result() is JobState.PURGED

        assert (len(desk.store.blobs) == 1) == (report.jobs == 1)
        for queued in desk.queued():
            desk.remove(queued)
        assert desk.store.blobs == {}


def test_a_rerun_judges_by_the_operating_point_that_was_asked_for_at_first(desk):
    job_id = desk.submit(operating_point=PointName.FPR_1)
    assert desk.judge() == job_id
    desk.start(job_id)

    claim = leases.claim(desk.db, worker="w1", limits=LIMITS)

    assert claim is not None
    assert claim.operating_point is PointName.FPR_1
    assert desk.report(claim.job_id).job.operating_point is PointName.FPR_1
