"""
Does the job protocol hold for any order of events, on both databases?

Hypothesis tries orders of everything that callers, workers, deaths and brokers may do, and after
each step compares the database with a model of a dozen lines.
"""

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select, update

from app.db.session import Database, now
from app.db.tables import Base, JobEventRow, JobRow, PersonRow, VerdictRow
from app.domain.job import NEXT, Actor, Claim, JobError, JobState, Priority, Progress, Stage
from app.errors import NotFound
from app.services import jobs, leases, leasing
from app.settings import WorkerSettings
from tests.fakes import MemoryStore, RecordingBell
from tests.make import make_analysis, make_error, make_verdict

LIMITS = WorkerSettings(max_attempts=3, retry_delay_s=60, lease_s=60, republish_after_s=60)
DIED = JobError(code="worker-died", detail="killed", actor=Actor.OPERATOR)
ENOUGH = settings(
    max_examples=10, stateful_step_count=50, derandomize=True, database=None, deadline=None
)


@dataclass
class Expected:
    """What the model knows of a job."""

    number: int  # in the order of submission
    rank: int
    state: JobState = JobState.QUEUED
    attempt: int = 0
    token: int = 0
    must_wait: bool = False
    is_lease_over: bool = False
    is_rung_for: bool = True

    def is_held_by(self, taken: Claim) -> bool:
        return self.state is JobState.RUNNING and self.token == taken.lease_token

    def was_put_by(self, taken: Claim, *states: JobState) -> bool:
        return self.state in states and self.token == taken.lease_token

    def requeue(self, *, must_wait: bool = False) -> None:
        self.state = JobState.QUEUED
        self.must_wait = must_wait


class Protocol(RuleBasedStateMachine):
    """Callers, workers, deaths and brokers, one step at a time."""

    db: Database
    made = Bundle("made")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Expected] = {}
        self.store = MemoryStore()
        with self.db.writing() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))

    @rule(target=made, priority=st.sampled_from(Priority), is_broken=st.booleans())
    def submit(self, priority, is_broken):
        job = jobs.submit(
            self.db,
            RecordingBell(is_broken=is_broken),
            tenant="desk",
            blob=self.store.put(b"a video"),
            ref_id="secret",
            file_name=None,
            priority=priority,
        )
        self.jobs[job.id] = Expected(number=len(self.jobs), rank=priority.rank)
        return job.id

    @rule(target=claims, rings=st.integers(1, 3))
    def ring(self, rings):
        """A doorbell that arrives once, twice or thrice: each has one worker look."""
        taken = []
        for n in range(rings):
            ready = [
                (j.rank, j.number, job_id)
                for job_id, j in self.jobs.items()
                if j.state is JobState.QUEUED and not j.must_wait
            ]
            mine = leases.claim(self.db, worker=f"w{n}", limits=LIMITS)
            assert (min(ready)[2] if ready else None) == (mine.job_id if mine else None)
            if mine is None:
                break
            expected = self.jobs[mine.job_id]
            expected.state, expected.is_lease_over = JobState.RUNNING, False
            expected.attempt += 1
            expected.token += 1
            assert (mine.attempt, mine.lease_token) == (expected.attempt, expected.token)
            taken.append(mine)
        return multiple(*taken)

    @rule(taken=claims, fraction=st.floats(0, 1))
    def heartbeat(self, taken, fraction):
        expected = self.jobs[taken.job_id]
        is_held = expected.is_held_by(taken)
        progress = Progress(stage=Stage.EXAMINING, fraction=fraction)
        assert is_held == leases.heartbeat(self.db, taken, lease_s=60, progress=progress)
        if is_held:
            expected.is_lease_over = False

    @rule(taken=claims)
    def conclude(self, taken):
        """By whoever holds the job, by whoever held it once, and by whoever concluded it."""
        expected = self.jobs[taken.job_id]
        is_right = expected.is_held_by(taken) or expected.was_put_by(taken, JobState.SUCCEEDED)
        assert is_right == leases.conclude(self.db, taken, make_analysis(), make_verdict())
        if is_right:
            expected.state = JobState.SUCCEEDED

    @rule(taken=claims)
    def reject(self, taken):
        expected = self.jobs[taken.job_id]
        is_right = expected.is_held_by(taken) or expected.was_put_by(taken, JobState.REJECTED)
        assert is_right == leases.reject(self.db, taken, make_error())
        if is_right:
            expected.state = JobState.REJECTED

    @rule(taken=claims)
    def fail(self, taken):
        expected = self.jobs[taken.job_id]
        is_right = expected.is_held_by(taken) or expected.was_put_by(taken, JobState.FAILED)
        assert is_right == leases.fail(self.db, taken, DIED)
        if is_right:
            expected.state = JobState.FAILED

    @rule(taken=claims, last=st.sampled_from([JobState.FAILED, JobState.QUARANTINED]))
    def retry(self, taken, last):
        expected = self.jobs[taken.job_id]
        state = leases.retry(self.db, taken, DIED, limits=LIMITS, last_state=last)
        if expected.is_held_by(taken):
            if expected.attempt == LIMITS.max_attempts:
                expected.state = last
            else:
                expected.requeue(must_wait=True)
            assert state is expected.state
        elif expected.was_put_by(taken, JobState.QUEUED, last):
            assert state is expected.state
        else:
            assert state is None

    @rule(taken=claims)
    def hand_back(self, taken):
        expected = self.jobs[taken.job_id]
        is_held = expected.is_held_by(taken)
        is_right = is_held or expected.was_put_by(taken, JobState.QUEUED)
        assert is_right == leases.hand_back(self.db, taken)
        if is_held:
            expected.attempt -= 1
            expected.requeue()

    @rule(job_id=made)
    def remove(self, job_id):
        expected = self.jobs[job_id]
        if expected.state is JobState.PURGED:
            with pytest.raises(NotFound):
                jobs.remove(self.db, self.store, tenant="desk", job_id=job_id)
            return
        is_over = expected.state.is_terminal
        expected.state = JobState.PURGED if is_over else JobState.CANCELLED
        removed = jobs.remove(self.db, self.store, tenant="desk", job_id=job_id)
        assert removed.state is expected.state

    @rule()
    def workers_die(self):
        """Nobody hears of any worker for the length of a lease."""
        self._set(JobState.RUNNING, lease_expires_at=timedelta(seconds=-1))
        for expected in self.jobs.values():
            if expected.state is JobState.RUNNING:
                expected.is_lease_over = True

    @rule()
    def time_passes_for_those_who_wait(self):
        self._set(JobState.QUEUED, run_after=timedelta())
        for expected in self.jobs.values():
            expected.must_wait = False

    @rule()
    def the_broker_forgets(self):
        self._set(JobState.QUEUED, last_published_at=timedelta(seconds=-61))
        for expected in self.jobs.values():
            if expected.state is JobState.QUEUED:
                expected.is_rung_for = False

    @rule()
    def reconcile(self):
        over = [j for j in self.jobs.values() if j.state is JobState.RUNNING and j.is_lease_over]
        poison = [j for j in over if j.attempt == LIMITS.max_attempts]
        for expected in over:
            expected.requeue()
            expected.is_rung_for = False
        for expected in poison:
            expected.state = JobState.QUARANTINED
        unrung = {
            job_id
            for job_id, j in self.jobs.items()
            if j.state is JobState.QUEUED and not j.must_wait and not j.is_rung_for
        }
        bell = RecordingBell()
        done = leases.reconcile(self.db, bell, limits=LIMITS)

        assert done.quarantined == len(poison)
        assert done.requeued == len(over) - len(poison)
        assert done.rung == len(bell.rung) == min(len(unrung), leasing.RING_BATCH)
        assert set(bell.rung) <= unrung
        for job_id in bell.rung:
            self.jobs[job_id].is_rung_for = True

    @invariant()
    def the_database_is_as_the_model_says(self):
        with self.db.reading() as session:
            rows = {row.id: row for row in session.scalars(select(JobRow))}
            verdicts = set(session.scalars(select(VerdictRow.job_id)))
            persons = set(session.scalars(select(PersonRow.job_id)))
            events = session.scalars(select(JobEventRow).order_by(JobEventRow.id)).all()
        assert set(rows) == set(self.jobs)
        succeeded = {i for i, j in self.jobs.items() if j.state is JobState.SUCCEEDED}
        assert verdicts == persons == succeeded
        for job_id, expected in self.jobs.items():
            row = rows[job_id]
            assert (row.state, row.attempt, row.lease_token) == (
                expected.state,
                expected.attempt,
                expected.token,
            )
            assert row.attempt <= LIMITS.max_attempts
            assert (row.lease_owner is not None) == (expected.state is JobState.RUNNING)
            assert (row.ref_id is None) == (expected.state is JobState.PURGED)
            assert (row.finished_at is not None) == expected.state.is_terminal
            steps = [JobState(e.state) for e in events if e.job_id == job_id]
            assert steps[-1] is expected.state
            assert all(b in NEXT[a] for a, b in pairwise(steps))
        gone = (JobState.CANCELLED, JobState.PURGED)
        kept = {rows[i].blob_key for i, j in self.jobs.items() if j.state not in gone}
        assert set(self.store.blobs) == kept

    def _set(self, state: JobState, **moments: timedelta) -> None:
        with self.db.writing() as session:
            moment = now(session)
            session.execute(
                update(JobRow)
                .where(JobRow.state == state.value)
                .values({name: moment + shift for name, shift in moments.items()})
            )


def test_the_protocol_holds_whatever_comes_next(db):
    class OnThisDatabase(Protocol):
        pass

    OnThisDatabase.db = db
    run_state_machine_as_test(OnThisDatabase, settings=ENOUGH)
