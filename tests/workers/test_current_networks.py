"""A worker takes up other versions of its networks between two jobs, or says that it could not."""

import time
from collections.abc import Iterator

import pytest

from app.db.session import Database
from app.domain.job import JobState
from app.domain.policy import CURRENT
from app.domain.verdict import Label, Verdict
from app.domain.worker import WorkerCondition
from app.errors import OperatorMustAct
from app.services import jobs, model_versions, workers
from tests.make_packages import CLASSIFIER, make_decision, make_version
from tests.workers.test_inference import is_alive
from tests.workers.test_supervisor import LIMITS, Bench, until
from workers import current_networks

NEW_POLICY = f"{CURRENT.version}+frame_classifier@1.1"


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    database = Database(sqlite_url)
    yield Bench(database)
    database.close()


@pytest.fixture
def each(db: Database) -> Bench:
    """On each kind of database in turn."""
    return Bench(db)


def promote(bench: Bench, version: str = "1.1") -> None:
    model_versions.promote(bench.db, [make_version(version=version)], make_decision(), actor="anna")


def roll_back(bench: Bench) -> None:
    model_versions.roll_back(bench.db, name=CLASSIFIER, actor="anna")


def judged(bench: Bench, job_id: str) -> tuple[str | None, Verdict]:
    """Return by which version a job was judged once it was, and how."""
    bench.until_state(job_id, JobState.SUCCEEDED)
    found = jobs.get(bench.db, tenant="desk", job_id=job_id).judged
    assert found is not None
    (finding,) = found.persons[0].evidence
    assert finding.model == f"frame_classifier@{found.provenance.versions['frame_classifier']}"
    return finding.model, found.verdict


def condition(bench: Bench) -> WorkerCondition:
    (alive,) = workers.alive(bench.db, within_s=60)
    return alive.condition


def until_refused(bench: Bench, words: str) -> None:
    until(lambda: words in condition(bench).why_not, f"said {words!r}")


def test_the_next_job_is_judged_by_what_was_promoted_meanwhile(each: Bench):
    with each.working(analyzer="versioned") as (_, inference):
        before, by_the_old = judged(each, each.submit())
        old_pid = inference.pid
        promote(each)
        after, by_the_new = judged(each, each.submit())

        assert (before, after) == ("frame_classifier@1.0", "frame_classifier@1.1")
        assert old_pid != inference.pid
        assert not is_alive(old_pid)
        roll_back(each)
        assert judged(each, each.submit())[0] == "frame_classifier@1.0"

    # 0.80 is between the lines of the new one, wherever those of the one that came along are.
    assert by_the_old.policy == CURRENT.version
    assert (by_the_new.label, by_the_new.policy) == (Label.INCONCLUSIVE, NEW_POLICY)
    assert "1 of 30 real clips" in by_the_new.caveat


def test_a_job_that_runs_ends_by_the_networks_that_it_began_with(bench: Bench):
    with bench.working(analyzer="versioned") as (_, inference):
        job_id = bench.submit(sleeps_s=1.0)
        bench.until_state(job_id, JobState.RUNNING)
        pid = inference.pid
        promote(bench)

        assert judged(bench, job_id)[0] == "frame_classifier@1.0"
        assert judged(bench, bench.submit())[0] == "frame_classifier@1.1"
        assert pid != inference.pid


def test_an_idle_worker_takes_a_version_up_and_says_so(bench: Bench):
    with bench.working(analyzer="versioned"):
        until(lambda: len(workers.alive(bench.db, within_s=60)) == 1, "announced")
        assert condition(bench).versions == {"frame_classifier": "1.0"}
        promote(bench)

        until(lambda: condition(bench).versions == {"frame_classifier": "1.1"}, "taken up")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("broken", "mismatch: sha256 differs"),
        ("fatal", "killed by SIGKILL"),
        ("exchanged", "it loaded sha256:ff"),
    ],
)
def test_what_cannot_be_loaded_leaves_the_worker_as_it_was_and_it_says_why(
    bench: Bench, version: str, words: str, capfd: pytest.CaptureFixture[str]
):
    with bench.working(analyzer="versioned") as (_, inference):
        assert judged(bench, bench.submit())[0] == "frame_classifier@1.0"
        pid = inference.pid
        promote(bench, version)
        until_refused(bench, words)

        assert condition(bench).not_taken_up == (f"frame_classifier@{version}",)
        assert condition(bench).versions == {"frame_classifier": "1.0"}
        model, verdict = judged(bench, bench.submit())
        assert (model, verdict.policy) == ("frame_classifier@1.0", CURRENT.version)
        assert inference.pid == pid
        roll_back(bench)
        until(lambda: condition(bench).not_taken_up == (), "all is well again")
        assert inference.pid == pid


def test_a_process_that_dies_after_a_refusal_comes_back_with_what_worked(bench: Bench):
    with bench.working(analyzer="versioned"):
        promote(bench, "1.1")
        assert judged(bench, bench.submit())[0] == "frame_classifier@1.1"
        promote(bench, "broken")
        until_refused(bench, "mismatch")
        poison = bench.submit(dies=True)
        job_id = bench.submit()

        bench.until_state(poison, JobState.QUARANTINED)
        assert judged(bench, job_id)[0] == "frame_classifier@1.1"
        assert condition(bench).not_taken_up == ("frame_classifier@broken",)


def test_a_version_that_was_refused_is_tried_again_after_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(current_networks, "RETRY_S", 0.1)
    monkeypatch.setattr(current_networks, "RETRY_FACTOR", 0.0)
    tried: list[float] = []
    report = current_networks._log.error
    monkeypatch.setattr(
        current_networks._log, "error", lambda *a, **k: (tried.append(1.0), report(*a, **k))
    )
    with bench.working(analyzer="versioned"):
        promote(bench, "broken")

        until(lambda: len(tried) >= 2, "tried again")


def test_a_worker_that_starts_with_a_version_that_cannot_be_loaded_refuses(bench: Bench):
    """There is no network that it had before; another than was asked for would be a guess."""
    promote(bench, "broken")
    job_id = bench.submit()
    supervisor, _ = bench.supervisor(analyzer="versioned")

    with pytest.raises(OperatorMustAct, match="mismatch: sha256 differs"):
        supervisor.run()

    assert bench.claims(job_id) == 0


def test_a_worker_can_be_stopped_while_it_takes_a_version_up(bench: Bench):
    with bench.working(LIMITS, analyzer="versioned") as (supervisor, inference):
        judged(bench, bench.submit())
        pid = inference.pid
        promote(bench, "slow")
        time.sleep(1.0)
        supervisor.stop()
        until(lambda: not is_alive(pid), "ended")


def test_a_worker_that_starts_takes_the_version_that_is_current(bench: Bench):
    promote(bench)
    with bench.working(analyzer="versioned"):
        assert judged(bench, bench.submit())[0] == "frame_classifier@1.1"
