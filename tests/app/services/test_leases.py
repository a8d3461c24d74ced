"""Is every job given to one worker at a time, never lost, and concluded once?"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import event, select, text, update

from app.db import leased
from app.db.session import Database, now
from app.db.tables import ArtifactRow, JobEventRow, JobRow, VerdictRow
from app.domain.job import NEXT, Actor, Claim, Job, JobError, JobState, Priority, Progress, Stage
from app.domain.report import Judged
from app.errors import DatabaseUnavailable
from app.services import jobs, leases
from app.services.leasing import Reconciled
from app.settings import WorkerSettings
from tests.fakes import MemoryStore, RecordingBell
from tests.make import make_analysis, make_blob, make_error, make_verdict

LIMITS = WorkerSettings(max_attempts=3, retry_delay_s=5, lease_s=30, republish_after_s=30)
AT_ONCE = WorkerSettings(max_attempts=3, retry_delay_s=0, lease_s=30, republish_after_s=30)
EXAMINING = Progress(stage=Stage.EXAMINING, fraction=0.5)
DIED = JobError(code="worker-died", detail="the process was killed", actor=Actor.OPERATOR)


def submit(db: Database, *, priority: Priority = Priority.BATCH, tenant: str = "desk") -> Job:
    return jobs.submit(
        db,
        RecordingBell(),
        tenant=tenant,
        blob=make_blob(),
        ref_id=None,
        file_name=None,
        priority=priority,
    )


def claim(db: Database, worker: str = "w1") -> Claim:
    taken = leases.claim(db, worker=worker, limits=LIMITS)
    assert taken is not None
    return taken


def nothing_to_claim(db: Database) -> bool:
    return leases.claim(db, worker="w9", limits=LIMITS) is None


def reconcile(db: Database, bell: RecordingBell | None = None) -> Reconciled:
    return leases.reconcile(db, bell or RecordingBell(), limits=LIMITS)


def conclude(db: Database, taken: Claim) -> bool:
    return leases.conclude(db, taken, make_analysis(), make_verdict())


def look(db: Database, job_id: str) -> Job:
    return jobs.get(db, tenant="desk", job_id=job_id).job


def let_the_lease_run_out(db: Database, job_id: str) -> None:
    with db.writing() as session:
        session.execute(
            update(JobRow)
            .where(JobRow.id == job_id)
            .values(lease_expires_at=now(session) - timedelta(seconds=1))
        )


def let_the_wait_pass(db: Database, job_id: str) -> None:
    with db.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(run_after=now(session)))


def forget_the_ring(db: Database, job_id: str, *, ago_s: float) -> None:
    with db.writing() as session:
        session.execute(
            update(JobRow)
            .where(JobRow.id == job_id)
            .values(last_published_at=now(session) - timedelta(seconds=ago_s))
        )


def history(db: Database, job_id: str) -> list[str]:
    with db.reading() as session:
        return list(
            session.scalars(
                select(JobEventRow.state)
                .where(JobEventRow.job_id == job_id)
                .order_by(JobEventRow.id)
            )
        )


def test_an_empty_queue_gives_nothing(db):
    assert nothing_to_claim(db)


def test_a_claim_carries_all_that_a_worker_needs(db):
    job = submit(db)

    taken = claim(db)

    assert taken.job_id == job.id
    assert taken.tenant == "desk"
    assert taken.attempt == 1
    assert (taken.blob_key, taken.sha256, taken.size_bytes) == (
        make_blob().key,
        make_blob().sha256,
        make_blob().size_bytes,
    )
    assert look(db, job.id).state is JobState.RUNNING
    assert look(db, job.id).progress == Progress(stage=Stage.STARTING, fraction=0.0)


def test_a_job_is_given_to_one_worker_only(db):
    submit(db)
    claim(db)

    assert nothing_to_claim(db)


def test_live_jobs_go_before_older_batch_jobs_and_else_the_oldest_first(db):
    batch = [submit(db).id for _ in range(2)]
    live = [submit(db, priority=Priority.LIVE).id for _ in range(2)]

    assert [claim(db).job_id for _ in range(4)] == [*live, *batch]


def test_a_concluded_job_has_its_verdict_and_all_that_it_rests_on(db):
    job = submit(db)
    taken = claim(db)

    assert conclude(db, taken)

    report = jobs.get(db, tenant="desk", job_id=job.id)
    assert report.judged == Judged.of(make_analysis(), make_verdict())
    assert report.job.state is JobState.SUCCEEDED
    assert report.job.progress == Progress(stage=Stage.DONE, fraction=1.0)
    assert report.job.finished_at is not None
    assert history(db, job.id) == ["queued", "running", "succeeded"]


def test_a_heartbeat_keeps_the_lease_and_tells_how_far_it_is(db):
    job = submit(db)
    taken = claim(db)
    let_the_lease_run_out(db, job.id)

    assert leases.heartbeat(db, taken, lease_s=30, progress=EXAMINING)

    assert reconcile(db).requeued == 0
    assert look(db, job.id).progress == EXAMINING


def test_progress_never_falls_within_an_attempt(db):
    job = submit(db)
    taken = claim(db)
    leases.heartbeat(db, taken, lease_s=30, progress=EXAMINING)
    leases.heartbeat(db, taken, lease_s=30, progress=Progress(stage=Stage.CONCLUDING, fraction=0.1))

    assert look(db, job.id).progress == Progress(stage=Stage.CONCLUDING, fraction=0.5)


def test_a_heartbeat_without_news_does_not_change_the_version(db):
    job = submit(db)
    taken = claim(db)
    leases.heartbeat(db, taken, lease_s=30, progress=EXAMINING)
    version = look(db, job.id).version

    leases.heartbeat(db, taken, lease_s=30, progress=EXAMINING)

    assert look(db, job.id).version == version


def test_a_job_whose_worker_died_is_given_to_another(db):
    job = submit(db)
    claim(db, "dead")
    assert reconcile(db).requeued == 0  # not yet

    let_the_lease_run_out(db, job.id)

    assert reconcile(db).requeued == 1
    again = claim(db, "alive")
    assert (again.job_id, again.attempt, again.lease_token) == (job.id, 2, 2)


def test_a_worker_that_was_given_up_for_dead_can_write_nothing(db):
    job = submit(db)
    stale = claim(db, "stale")
    let_the_lease_run_out(db, job.id)
    reconcile(db)
    fresh = claim(db, "fresh")
    error = make_error()

    assert not leases.heartbeat(db, stale, lease_s=30, progress=EXAMINING)
    assert not conclude(db, stale)
    assert not leases.reject(db, stale, error)
    assert not leases.fail(db, stale, error)
    assert leases.retry(db, stale, error, limits=LIMITS, last_state=JobState.FAILED) is None
    assert not leases.hand_back(db, stale)
    assert jobs.get(db, tenant="desk", job_id=job.id).judged is None
    assert look(db, job.id).progress.stage is Stage.STARTING

    assert conclude(db, fresh)


def test_a_late_worker_cannot_overwrite_the_verdict_of_the_one_that_took_over(db):
    job = submit(db)
    stale = claim(db)
    let_the_lease_run_out(db, job.id)
    reconcile(db)
    conclude(db, claim(db))
    before = jobs.get(db, tenant="desk", job_id=job.id)

    assert not conclude(db, stale)
    assert jobs.get(db, tenant="desk", job_id=job.id) == before


def test_a_job_that_took_down_three_workers_is_quarantined_and_holds_up_nobody(db):
    poison, other = submit(db), submit(db)
    for _ in range(3):
        assert claim(db).job_id == poison.id
        let_the_lease_run_out(db, poison.id)
        done = reconcile(db)

    assert done.quarantined == 1
    ended = look(db, poison.id)
    assert ended.state is JobState.QUARANTINED
    assert ended.attempt == 3
    assert ended.error is not None
    assert (ended.error.code, ended.error.actor) == ("worker-died", Actor.OPERATOR)
    assert claim(db).job_id == other.id
    assert nothing_to_claim(db)


def test_a_commit_whose_answer_was_lost_may_be_repeated(db):
    job = submit(db)
    taken = claim(db)

    assert conclude(db, taken)
    assert conclude(db, taken)

    assert history(db, job.id).count("succeeded") == 1
    with db.reading() as session:
        assert len(session.scalars(select(VerdictRow)).all()) == 1
        stored = session.scalars(select(ArtifactRow.id)).all()
        assert sorted(stored) == sorted(a.id for a in make_analysis().artifacts)


def test_a_connection_cut_after_the_commit_arrived_still_ends_in_one_verdict(postgres_url):
    db = Database(postgres_url)
    job = submit(db)
    taken = claim(db)

    def commit_and_cut(connection) -> None:
        """Let the commit through, and lose the answer to it."""
        raw = connection.connection.dbapi_connection
        raw.commit()
        raw.close()

    event.listen(db.engine, "commit", commit_and_cut, once=True)
    with pytest.raises(DatabaseUnavailable):
        conclude(db, taken)

    assert conclude(db, taken)
    assert history(db, job.id) == ["queued", "running", "succeeded"]
    db.close()


def test_a_rejected_job_says_why_and_is_not_tried_again(db):
    job = submit(db)
    taken = claim(db)

    assert leases.reject(db, taken, make_error())
    assert leases.reject(db, taken, make_error())

    assert look(db, job.id).state is JobState.REJECTED
    assert look(db, job.id).error == make_error()
    assert nothing_to_claim(db)
    assert history(db, job.id) == ["queued", "running", "rejected"]


def test_a_failed_job_waits_for_an_operator(db):
    job = submit(db)
    error = JobError(code="integrity", detail="other bytes", actor=Actor.OPERATOR)

    assert leases.fail(db, claim(db), error)

    assert look(db, job.id).state is JobState.FAILED
    assert look(db, job.id).error == error
    assert nothing_to_claim(db)


def test_words_that_quote_a_hostile_file_can_be_stored(db):
    job = submit(db)
    error = make_error(detail="codec \0\ud800\u202e" + "x" * 1000)

    assert leases.reject(db, claim(db), error)
    assert look(db, job.id).state is JobState.REJECTED


def test_a_retry_waits_twice_as_long_each_time_and_ends_where_it_was_told_to(db):
    job = submit(db)
    waits_s = []
    for _ in range(2):
        taken = claim(db)
        assert (
            leases.retry(db, taken, DIED, limits=LIMITS, last_state=JobState.QUARANTINED)
            is JobState.QUEUED
        )
        assert nothing_to_claim(db)
        with db.reading() as session:
            row = session.get(JobRow, job.id)
            waits_s.append((row.run_after - now(session)).total_seconds())
        let_the_wait_pass(db, job.id)

    ended = leases.retry(db, claim(db), DIED, limits=LIMITS, last_state=JobState.QUARANTINED)

    assert waits_s == [pytest.approx(5, abs=1), pytest.approx(10, abs=1)]
    assert ended is JobState.QUARANTINED
    assert look(db, job.id).state is JobState.QUARANTINED
    assert look(db, job.id).error == DIED


def test_a_retry_may_be_repeated_and_counts_once(db):
    job = submit(db)
    taken = claim(db)
    for _ in range(2):
        state = leases.retry(db, taken, DIED, limits=AT_ONCE, last_state=JobState.FAILED)
        assert state is JobState.QUEUED

    assert look(db, job.id).error is None
    assert claim(db).attempt == 2


def test_handing_back_does_not_count_as_an_attempt(db):
    job = submit(db)
    for _ in range(5):
        taken = claim(db)
        assert leases.hand_back(db, taken)
        assert leases.hand_back(db, taken)  # its answer was lost, say

    assert look(db, job.id).attempt == 0
    assert claim(db).attempt == 1


def test_a_worker_that_handed_back_can_write_nothing_more(db):
    submit(db)
    taken = claim(db)
    leases.hand_back(db, taken)

    assert not conclude(db, taken)
    assert not leases.heartbeat(db, taken, lease_s=30, progress=EXAMINING)


def test_a_cancelled_job_never_gets_a_verdict(db):
    job = submit(db)
    taken = claim(db)

    jobs.remove(db, MemoryStore(), tenant="desk", job_id=job.id)

    assert not leases.heartbeat(db, taken, lease_s=30, progress=EXAMINING)
    assert not conclude(db, taken)
    assert not leases.hand_back(db, taken)
    assert jobs.get(db, tenant="desk", job_id=job.id).judged is None
    assert look(db, job.id).state is JobState.CANCELLED


def test_a_verdict_whose_evidence_cannot_be_stored_leaves_the_job_as_it_was(db):
    job = submit(db)
    taken = claim(db)

    with pytest.raises(ValueError, match="other persons"):
        leases.conclude(db, taken, make_analysis(), make_verdict(by_person={"p9": 0.5}))

    assert look(db, job.id).state is JobState.RUNNING
    assert conclude(db, taken)


def test_a_job_that_nobody_rang_for_lately_is_rung_for_again(db):
    lately, long_ago = submit(db), submit(db)
    forget_the_ring(db, lately.id, ago_s=29)
    forget_the_ring(db, long_ago.id, ago_s=31)
    bell = RecordingBell()

    assert reconcile(db, bell) == Reconciled(rung=1)
    assert bell.rung == [long_ago.id]
    assert reconcile(db, bell) == Reconciled()


def test_a_job_taken_from_a_dead_worker_is_rung_for_at_once(db):
    job = submit(db)
    claim(db)
    let_the_lease_run_out(db, job.id)
    bell = RecordingBell()

    assert reconcile(db, bell) == Reconciled(requeued=1, rung=1)
    assert bell.rung == [job.id]


def test_a_job_that_waits_for_its_next_try_is_not_rung_for(db):
    job = submit(db)
    leases.retry(db, claim(db), DIED, limits=LIMITS, last_state=JobState.FAILED)
    forget_the_ring(db, job.id, ago_s=100)

    assert reconcile(db) == Reconciled()


def test_a_dead_broker_is_asked_once_and_stops_no_reconciling(db):
    for _ in range(3):
        forget_the_ring(db, submit(db).id, ago_s=100)
    claim(db)

    assert reconcile(db, RecordingBell(is_broken=True)) == Reconciled()


def test_rings_go_out_only_after_what_they_tell_of_is_there_to_be_found(database_url, db):
    """A worker that is rung for looks from another connection."""
    other = Database(database_url)
    found = []

    class LookingBell:
        def ring(self, job_id: str) -> bool:
            found.append(leases.claim(other, worker="w", limits=LIMITS))
            return True

    jobs.submit(
        db,
        LookingBell(),
        tenant="desk",
        blob=make_blob(),
        ref_id=None,
        file_name=None,
        priority=Priority.BATCH,
    )
    let_the_lease_run_out(db, found[0].job_id)
    leases.reconcile(db, LookingBell(), limits=LIMITS)
    other.close()

    assert [taken.attempt for taken in found] == [1, 2]


def test_on_postgres_one_reconciler_works_at_a_time(postgres_url):
    db, other = Database(postgres_url), Database(postgres_url)
    job = submit(db)
    claim(db)
    let_the_lease_run_out(db, job.id)
    with other.writing() as session:
        assert leased.become_reconciler(session)
        assert reconcile(db) == Reconciled()
    assert reconcile(db).requeued == 1
    db.close()
    other.close()


def test_many_workers_at_once_never_take_the_same_job(database_url, db):
    made = {submit(db).id for _ in range(40)}
    together = threading.Barrier(8)

    def work(name: str) -> list[str]:
        own = Database(database_url)  # as another process would have
        together.wait(timeout=10)
        taken = []
        while (mine := leases.claim(own, worker=name, limits=LIMITS)) is not None:
            taken.append(mine.job_id)
            assert conclude(own, mine)
        own.close()
        return taken

    with ThreadPoolExecutor(8) as pool:
        hauls = list(pool.map(work, [f"w{n}" for n in range(8)]))

    everything = [job_id for haul in hauls for job_id in haul]
    assert len(everything) == 40
    assert set(everything) == made
    with db.reading() as session:
        assert len(session.scalars(select(VerdictRow.job_id)).all()) == 40


def test_a_reconciler_and_a_concluding_worker_never_both_win(database_url, db):
    """The lease is over and its holder concludes at the same moment; many times."""
    for _ in range(15):
        job = submit(db)
        taken = claim(db)
        let_the_lease_run_out(db, job.id)
        together = threading.Barrier(2)

        def finish(taken: Claim = taken, together: threading.Barrier = together) -> bool:
            together.wait(timeout=10)
            return conclude(db, taken)

        def mend(together: threading.Barrier = together) -> int:
            together.wait(timeout=10)
            return reconcile(db).requeued

        with ThreadPoolExecutor(2) as pool:
            concluded, mended = pool.submit(finish), pool.submit(mend)
            was_concluded, was_requeued = concluded.result(10), mended.result(10) == 1

        assert was_concluded != was_requeued
        assert look(db, job.id).state is (JobState.SUCCEEDED if was_concluded else JobState.QUEUED)
        if was_requeued:
            assert conclude(db, claim(db))


def test_a_worker_that_waits_for_a_row_is_passed_by_not_queued_up_behind(postgres_url):
    db, other = Database(postgres_url), Database(postgres_url)
    first, second = submit(db), submit(db)
    with other.writing() as session:
        session.execute(text("SELECT id FROM jobs WHERE id = :id FOR UPDATE"), {"id": first.id})

        assert claim(db).job_id == second.id
    db.close()
    other.close()


def test_every_step_in_the_history_is_one_that_a_job_may_take(db):
    done, poison, cancelled = submit(db), submit(db), submit(db)
    conclude(db, claim(db))
    for _ in range(3):
        claim(db)
        let_the_lease_run_out(db, poison.id)
        reconcile(db)
    jobs.remove(db, MemoryStore(), tenant="desk", job_id=cancelled.id)

    for job in (done, poison, cancelled):
        steps = [JobState(s) for s in history(db, job.id)]
        assert steps[0] is JobState.QUEUED
        assert all(after in NEXT[before] for before, after in pairwise(steps))
