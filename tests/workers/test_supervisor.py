"""The supervisor on a real database, with a real inference process around a double."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.session import Database
from app.db.tables import JobEventRow, JobRow, VerdictRow
from app.domain.evidence import DetectorName
from app.domain.job import Job, JobState, Priority, Stage
from app.domain.policy import CURRENT, PointName
from app.domain.verdict import decide
from app.errors import DatabaseUnavailable, OperatorMustAct
from app.services import jobs, workers
from app.settings import Settings, WorkerSettings
from tests.fakes import MemoryStore, RecordingBell
from tests.workers.analyzers import video
from tests.workers.test_inference import is_alive
from workers.inference import InferenceProcess
from workers.supervisor import Supervisor

PATIENCE_S = 30.0
LIMITS = WorkerSettings(
    lease_s=3.0,
    poll_interval_s=0.05,
    reconcile_interval_s=0.2,
    retry_delay_s=0.0,
    max_attempts=3,
    drain_grace_s=0.0,
)


def until(is_so: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


@dataclass
class Bench:
    """A database, a store, and workers on them."""

    db: Database
    store: MemoryStore = field(default_factory=MemoryStore)
    bell: RecordingBell = field(default_factory=RecordingBell)

    def submit(self, *, operating_point: PointName | None = None, **does: Any) -> str:
        """Queue a video that does something, see `tests.workers.analyzers.as_told`."""
        blob = self.store.put(video(**does))
        job = jobs.submit(
            self.db,
            self.bell,
            tenant="desk",
            blob=blob,
            ref_id=None,
            file_name=None,
            priority=Priority.BATCH,
            operating_point=operating_point,
        )
        return job.id

    def job(self, job_id: str) -> Job:
        return jobs.get(self.db, tenant="desk", job_id=job_id).job

    def state(self, job_id: str) -> JobState:
        return self.job(job_id).state

    def until_state(self, job_id: str, state: JobState) -> Job:
        until(lambda: self.state(job_id) is state, f"{job_id} {state}, but {self.job(job_id)}")
        return self.job(job_id)

    def claims(self, job_id: str) -> int:
        """Count how often the job was given to a worker."""
        return self._count(
            select(func.count())
            .select_from(JobEventRow)
            .where(JobEventRow.job_id == job_id, JobEventRow.state == JobState.RUNNING)
        )

    def verdicts(self) -> int:
        return self._count(select(func.count()).select_from(VerdictRow))

    def _count(self, query: Any) -> int:
        with self.db.reading() as session:
            return session.scalar(query) or 0

    def supervisor(
        self,
        limits: WorkerSettings = LIMITS,
        *,
        analyzer: str = "as_told",
        db: Database | None = None,
    ) -> tuple[Supervisor, InferenceProcess]:
        inference = InferenceProcess(
            factory=f"tests.workers.analyzers:{analyzer}", settings=Settings()
        )
        supervisor = Supervisor(
            db=db or self.db,
            store=self.store,
            bell=self.bell,
            inference=inference,
            limits=limits,
            worker="w1",
            code="0.1.0",
        )
        return supervisor, inference

    @contextmanager
    def working(
        self, limits: WorkerSettings = LIMITS, **options: Any
    ) -> Iterator[tuple[Supervisor, InferenceProcess]]:
        """Run a worker's loop in a thread for as long as the block lasts."""
        supervisor, inference = self.supervisor(limits, **options)
        thread = threading.Thread(target=supervisor.run, name="supervisor")
        thread.start()
        try:
            yield supervisor, inference
        finally:
            supervisor.stop()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert not inference.is_running


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    """Where the kind of database makes no difference."""
    database = Database(sqlite_url)
    yield Bench(database)
    database.close()


@pytest.fixture
def each(db: Database) -> Bench:
    """On each kind of database in turn."""
    return Bench(db)


class FlakyDatabase(Database):
    """A database that is away while told so."""

    is_away = False

    @contextmanager
    def _transaction(self, engine: Any) -> Iterator[Session]:
        if self.is_away:
            raise DatabaseUnavailable("away")
        with super()._transaction(engine) as session:
            yield session


@pytest.fixture
def flaky(sqlite_url: str) -> Iterator[FlakyDatabase]:
    """A second way to the database of `bench`."""
    database = FlakyDatabase(sqlite_url)
    yield database
    database.close()


def test_a_job_is_taken_analysed_judged_and_concluded(each: Bench):
    job_id = each.submit()

    with each.working():
        each.until_state(job_id, JobState.SUCCEEDED)

    report = jobs.get(each.db, tenant="desk", job_id=job_id)
    assert report.judged is not None
    assert report.judged.persons[0].id in report.judged.verdict.by_person
    assert report.judged.video.sha256 == report.job.sha256
    assert each.claims(job_id) == 1


def test_a_job_is_judged_by_the_operating_point_that_was_asked_for(bench: Bench):
    job_id = bench.submit(operating_point=PointName.FPR_5)

    with bench.working():
        bench.until_state(job_id, JobState.SUCCEEDED)

    judged = jobs.get(bench.db, tenant="desk", job_id=job_id).judged
    assert judged is not None
    asked_for, usual = (
        decide(judged.persons, judged.video, judged.abstentions, CURRENT, name)
        for name in (PointName.FPR_5, None)
    )
    assert judged.verdict == asked_for
    assert judged.verdict != usual


def test_live_jobs_go_before_older_batch_jobs(bench: Bench):
    batch = bench.submit(sleeps_s=0.1)
    blob = bench.store.put(video())
    live = jobs.submit(
        bench.db,
        bench.bell,
        tenant="desk",
        blob=blob,
        ref_id=None,
        file_name=None,
        priority=Priority.LIVE,
    ).id

    with bench.working():
        bench.until_state(batch, JobState.SUCCEEDED)

    assert bench.job(live).finished_at < bench.job(batch).finished_at


def test_a_video_that_is_at_fault_is_rejected_once_and_for_all(bench: Bench):
    job_id = bench.submit(is_rejected=True)

    with bench.working():
        job = bench.until_state(job_id, JobState.REJECTED)

    assert job.error is not None
    assert (job.error.code, job.error.actor) == ("no-video-stream", "client")
    assert bench.claims(job_id) == 1
    assert bench.verdicts() == 0


def test_a_blob_whose_bytes_changed_fails_the_job_for_its_integrity(bench: Bench):
    job_id = bench.submit()
    bench.store.blobs = {k: v + b"!" for k, v in bench.store.blobs.items()}

    with bench.working():
        job = bench.until_state(job_id, JobState.FAILED)

    assert job.error is not None
    assert (job.error.code, job.error.actor) == ("integrity", "operator")
    assert bench.claims(job_id) == 1
    assert bench.verdicts() == 0


def test_a_bug_fails_the_job_after_as_many_attempts_as_allowed_and_keeps_its_words(bench: Bench):
    job_id = bench.submit(raises="a path of this machine")

    with bench.working():
        job = bench.until_state(job_id, JobState.FAILED)

    assert job.error is not None
    assert job.error.code == "internal"
    assert "a path" not in job.error.detail
    assert bench.claims(job_id) == 3


def test_a_blob_that_is_gone_fails_the_job_for_the_store(bench: Bench):
    job_id = bench.submit()
    bench.store.blobs.clear()

    with bench.working():
        job = bench.until_state(job_id, JobState.FAILED)

    assert job.error is not None
    assert job.error.code == "storage"


def test_a_poison_job_is_quarantined_after_three_claims_and_holds_up_nobody(each: Bench):
    poison = each.submit(dies=True)
    others = [each.submit() for _ in range(5)]

    with each.working():
        for job_id in others:
            each.until_state(job_id, JobState.SUCCEEDED)
        job = each.until_state(poison, JobState.QUARANTINED)

    assert job.error is not None
    assert job.error.code == "worker-died"
    assert each.claims(poison) == 3
    assert [each.claims(job_id) for job_id in others] == [1] * 5


def test_an_analysis_that_hangs_in_c_is_killed_at_its_deadline(bench: Bench):
    job_id = bench.submit(hangs=True)
    limits = LIMITS.model_copy(update={"job_deadline_s": 0.3, "max_attempts": 1})

    with bench.working(limits):
        job = bench.until_state(job_id, JobState.QUARANTINED)

    assert job.error is not None
    assert "no answer within 0.3 s" in job.error.detail


def test_progress_can_be_watched_while_the_job_runs(bench: Bench):
    job_id = bench.submit(sleeps_s=60)
    limits = LIMITS.model_copy(update={"lease_s": 1.0})

    with bench.working(limits):
        until(lambda: bench.job(job_id).progress.stage is Stage.FOLLOWING_FACES, "following faces")

    assert JobState.QUEUED is bench.state(job_id)


def test_a_cancelled_jobs_process_is_dead_within_five_seconds(each: Bench):
    job_id = each.submit(sleeps_s=60)
    limits = LIMITS.model_copy(update={"lease_s": 30.0})

    with each.working(limits) as (_, inference):
        each.until_state(job_id, JobState.RUNNING)
        until(lambda: each.job(job_id).progress.stage is Stage.FOLLOWING_FACES, "started")
        pid = inference.pid
        jobs.remove(each.db, each.store, tenant="desk", job_id=job_id)
        cancelled_s = time.monotonic()
        until(lambda: not is_alive(pid), "dead")

    assert time.monotonic() - cancelled_s < 5
    assert JobState.CANCELLED is each.state(job_id)
    assert each.verdicts() == 0


def test_a_drained_worker_hands_its_job_back_and_the_attempt_is_not_counted(each: Bench):
    job_id = each.submit(sleeps_s=60)

    with each.working() as (_, inference):
        each.until_state(job_id, JobState.RUNNING)
        pid = inference.pid

    job = each.job(job_id)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    assert not is_alive(pid)


def test_a_drained_worker_ends_a_job_that_needs_less_than_the_grace(bench: Bench):
    first, second = bench.submit(sleeps_s=0.5), bench.submit()

    with bench.working(LIMITS.model_copy(update={"drain_grace_s": 20.0})):
        bench.until_state(first, JobState.RUNNING)

    assert [bench.state(first), bench.state(second)] == [JobState.SUCCEEDED, JobState.QUEUED]


def test_a_worker_whose_job_was_given_to_another_writes_nothing_more(each: Bench):
    job_id = each.submit(sleeps_s=60)

    with each.working(LIMITS.model_copy(update={"poll_interval_s": 60.0})) as (_, inference):
        each.until_state(job_id, JobState.RUNNING)
        pid = inference.pid
        with each.db.writing() as session:
            row = session.get_one(JobRow, job_id)
            row.lease_token += 1
            row.lease_owner = "w2"
        until(lambda: not is_alive(pid), "dead")

    with each.db.reading() as session:
        row = session.get_one(JobRow, job_id)
        assert (row.state, row.lease_owner) == (JobState.RUNNING, "w2")


def test_a_database_that_is_away_for_less_than_the_lease_costs_nothing(
    flaky: FlakyDatabase, bench: Bench
):
    job_id = bench.submit(sleeps_s=1.0)

    with bench.working(LIMITS.model_copy(update={"lease_s": 6.0}), db=flaky):
        bench.until_state(job_id, JobState.RUNNING)
        flaky.is_away = True
        time.sleep(2.0)  # the analysis ends meanwhile, and cannot be written
        assert JobState.RUNNING is bench.state(job_id)
        flaky.is_away = False
        bench.until_state(job_id, JobState.SUCCEEDED)

    assert bench.claims(job_id) == 1


def test_a_database_that_is_away_for_longer_has_the_job_done_again(
    flaky: FlakyDatabase, bench: Bench
):
    job_id = bench.submit(sleeps_s=1.5)

    with bench.working(LIMITS.model_copy(update={"lease_s": 1.0}), db=flaky) as (_, inference):
        bench.until_state(job_id, JobState.RUNNING)
        pid = inference.pid
        flaky.is_away = True
        until(lambda: not is_alive(pid), "dead")
        assert JobState.RUNNING is bench.state(job_id)
        flaky.is_away = False
        bench.until_state(job_id, JobState.SUCCEEDED)

    assert bench.claims(job_id) == 2
    assert bench.verdicts() == 1


def test_a_doorbell_wakes_a_worker_that_would_have_slept(bench: Bench):
    sleepy = LIMITS.model_copy(update={"poll_interval_s": 600.0, "reconcile_interval_s": 600.0})

    with bench.working(sleepy) as (supervisor, _):
        supervisor.ring_and_wait()  # it is up, and found nothing
        job_id = bench.submit(sleeps_s=0.3)
        supervisor.ring_and_wait()

        assert JobState.SUCCEEDED is bench.state(job_id)  # heard once: until the work was done


def test_a_worker_that_stops_lets_go_of_whoever_rang(bench: Bench):
    bench.submit(sleeps_s=60)

    with bench.working(LIMITS.model_copy(update={"drain_grace_s": 1.0})) as (supervisor, _):
        ringer = threading.Thread(target=supervisor.ring_and_wait)
        ringer.start()
        supervisor.stop()
        ringer.join(PATIENCE_S)

        assert not ringer.is_alive()


def test_a_worker_says_what_it_works_with_and_when_it_leaves(bench: Bench):
    with bench.working():
        until(lambda: len(workers.alive(bench.db, within_s=60)) == 1, "announced")
        known = workers.alive(bench.db, within_s=60)[0]
        assert (known.code, known.condition.device) == ("0.1.0", "cpu")
        assert DetectorName.FRAME_CLASSIFIER in known.condition.models

    assert workers.alive(bench.db, within_s=60) == ()


@pytest.mark.parametrize(
    ("analyzer", "words"),
    [("refusing", "frame_classifier: sha256 differs"), ("stillborn", "killed by SIGKILL")],
)
def test_a_worker_that_cannot_judge_ends_with_the_words_and_takes_no_job(
    bench: Bench, analyzer: str, words: str
):
    job_id = bench.submit()
    supervisor, _ = bench.supervisor(analyzer=analyzer)

    with pytest.raises(OperatorMustAct, match=words):
        supervisor.run()

    assert bench.claims(job_id) == 0
