"""Workers that make overlays beside jobs, on a real database, with a real inference process."""

from collections.abc import Iterator

import pytest

from app.db.session import Database
from app.domain.job import JobState
from app.domain.overlay import Overlay
from app.services import jobs, overlays
from tests.workers.test_supervisor import Bench, until

TENANT = "desk"


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


def want(bench: Bench, job_id: str) -> Overlay:
    return overlays.want(bench.db, bench.bell, bench.store, tenant=TENANT, job_id=job_id)


def until_made(bench: Bench, job_id: str, state: JobState) -> Overlay:
    until(lambda: want(bench, job_id).state is state, f"overlay {state}")
    return want(bench, job_id)


def test_an_overlay_is_made_of_what_the_verdict_said_and_stored(each: Bench):
    job_id = each.submit()

    with each.working():
        each.until_state(job_id, JobState.SUCCEEDED)
        want(each, job_id)
        made = until_made(each, job_id, JobState.SUCCEEDED)

    assert made.blob is not None
    said = each.store.blobs[made.blob.key].decode()
    verdict = jobs.get(each.db, tenant=TENANT, job_id=job_id).judged.verdict
    assert said == f"{verdict.label.replace('_', ' ')} | policy {verdict.policy}: p1"


def test_one_worker_makes_overlays_and_jobs_in_turn(bench: Bench):
    first = bench.submit()
    with bench.working():
        bench.until_state(first, JobState.SUCCEEDED)
    others = [bench.submit() for _ in range(3)]
    want(bench, first)

    with bench.working():
        until_made(bench, first, JobState.SUCCEEDED)
        for job_id in others:
            bench.until_state(job_id, JobState.SUCCEEDED)


@pytest.mark.parametrize("what", ["overlay_dies", "overlay_raises"])
def test_an_overlay_that_takes_its_process_down_is_given_up_and_the_job_keeps_its_verdict(
    bench: Bench, what: str
):
    job_id = bench.submit(**{what: True})
    with bench.working():
        bench.until_state(job_id, JobState.SUCCEEDED)
        want(bench, job_id)
        failed = until_made(bench, job_id, JobState.FAILED)
        other = bench.submit()
        bench.until_state(other, JobState.SUCCEEDED)

    assert failed.error is not None
    assert failed.blob is None
    assert bench.state(job_id) is JobState.SUCCEEDED
    assert len(bench.store.blobs) == 2  # the two videos, and nothing half made


def test_an_overlay_whose_job_is_removed_meanwhile_leaves_nothing_behind(bench: Bench):
    job_id = bench.submit(overlay_sleeps_s=60)
    with bench.working():
        bench.until_state(job_id, JobState.SUCCEEDED)
        want(bench, job_id)
        until(lambda: want(bench, job_id).state is JobState.RUNNING, "taken")
        jobs.remove(bench.db, bench.store, tenant=TENANT, job_id=job_id)
        other = bench.submit()
        bench.until_state(other, JobState.SUCCEEDED)  # the worker let go of it

    assert len(bench.store.blobs) == 1


def test_a_drained_worker_hands_an_overlay_back(bench: Bench):
    job_id = bench.submit(overlay_sleeps_s=60)
    with bench.working():
        bench.until_state(job_id, JobState.SUCCEEDED)
        want(bench, job_id)
        until(lambda: want(bench, job_id).state is JobState.RUNNING, "taken")

    assert want(bench, job_id).state is JobState.QUEUED
