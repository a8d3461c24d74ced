"""Is a training given to one trainer at a time, gone on with, and told of without gap or double?"""

from datetime import timedelta
from math import ceil

import pytest
from sqlalchemy import select, update

from app.db.session import Database, now
from app.db.tables import TrainingMetricRow, TrainingPictureRow, TrainingRunRow
from app.domain.job import Actor, JobError, JobState
from app.domain.training_run import (
    ROLES,
    TrainingClaim,
    TrainingKind,
    TrainingNews,
    TrainingRun,
)
from app.errors import BadRequest, NotFound
from app.services import training_leases as leases
from app.services import training_runs as runs
from app.services.leasing import Reconciled
from app.settings import TrainingSettings
from tests.fakes import RecordingBell
from tests.make_runs import (
    make_checkpoint,
    make_metric,
    make_news,
    make_picture,
    make_plan,
    make_progress,
)

LIMITS = TrainingSettings(max_attempts=3, retry_delay_s=5, lease_s=30, republish_after_s=30)
BAD = JobError(code="bad-dataset", detail="too few faces\0\ud800", actor=Actor.CLIENT)
FULL = JobError(code="insufficient-storage", detail="make room", actor=Actor.OPERATOR)
OTHER_RUN = "01KDEEPVERD1CT000000000099"


def submit(db: Database, *, tenant: str = "desk", **plan: object) -> str:
    made = runs.submit(db, RecordingBell(), tenant=tenant, name="one", plan=make_plan(**plan))
    return made.id


def claim(db: Database, trainer: str = "t1") -> TrainingClaim:
    taken = leases.claim(db, trainer=trainer, limits=LIMITS)
    assert taken is not None
    return taken


def look(db: Database, run_id: str) -> TrainingRun:
    return runs.get(db, tenant="desk", run_id=run_id).run


def tell(db: Database, taken: TrainingClaim, news: TrainingNews | None) -> bool:
    return leases.heartbeat(db, taken, lease_s=30, news=news)


def history(db: Database, run_id: str) -> list[tuple[str, int, float]]:
    rows = runs.metrics(db, tenant="desk", run_id=run_id)
    return [(row.series, row.step, row.metrics["loss"]) for row in rows]


def let_the_lease_run_out(db: Database, run_id: str) -> None:
    with db.writing() as session:
        session.execute(
            update(TrainingRunRow)
            .where(TrainingRunRow.id == run_id)
            .values(lease_expires_at=now(session) - timedelta(seconds=1))
        )


def die(db: Database, run_id: str) -> Reconciled:
    let_the_lease_run_out(db, run_id)
    return leases.reconcile(db, RecordingBell(), limits=LIMITS)


def test_a_submitted_run_is_as_it_was_asked_for_and_a_trainer_is_rung_for(db):
    bell = RecordingBell()
    plan = make_plan(overrides={"a.b": 1e-5, "a.c": True, "a.d": "x", "a.e": (1, "y")})

    made = runs.submit(db, bell, tenant="desk", name=None, plan=plan)

    assert bell.rung == [made.id]
    assert look(db, made.id) == made
    assert made.plan == plan
    assert (made.state, made.progress.stage, made.progress.step) == (JobState.QUEUED, "queued", 0)


def test_the_oldest_run_goes_first_and_to_one_trainer_only(db):
    first, second = submit(db), submit(db)

    taken = [claim(db), claim(db)]

    assert [t.run_id for t in taken] == [first, second]
    assert leases.claim(db, trainer="t9", limits=LIMITS) is None
    assert taken[0].plan == make_plan()


def test_news_can_be_seen_by_whoever_asks(db):
    run_id = submit(db)
    taken = claim(db)

    assert tell(db, taken, make_news(20))

    report = runs.get(db, tenant="desk", run_id=run_id)
    assert report.run.progress == make_progress(20)
    assert [(p.series, p.step) for p in report.pictures] == [("", 20)]
    assert runs.metrics(db, tenant="desk", run_id=run_id) == (make_metric(20),)
    shown = runs.picture(db, tenant="desk", run_id=run_id, series="", step=20)
    assert shown == make_picture(20)


def test_a_heartbeat_without_news_keeps_the_lease_and_the_version(db):
    run_id = submit(db)
    taken = claim(db)
    before = look(db, run_id).version
    let_the_lease_run_out(db, run_id)

    assert tell(db, taken, None)

    assert leases.reconcile(db, RecordingBell(), limits=LIMITS) == Reconciled()
    assert look(db, run_id).version == before


def test_rows_made_anew_after_a_checkpoint_take_the_place_of_the_old_ones(db):
    run_id = submit(db)
    first = claim(db)
    old = tuple(make_metric(step, loss=9.0) for step in (10, 20, 30, 40))
    tell(db, first, make_news(40, metrics=old))
    die(db, run_id)
    again = claim(db)

    whole = (make_metric(10, loss=9.0), make_metric(20, loss=9.0), make_metric(30, loss=1.0))
    tell(db, again, make_news(30, metrics=whole))
    tell(db, again, make_news(40, metrics=(make_metric(40, loss=1.0),)))

    assert history(db, run_id) == [("", 10, 9.0), ("", 20, 9.0), ("", 30, 1.0), ("", 40, 1.0)]


def test_each_training_of_a_loop_has_a_history_of_its_own(db):
    run_id = submit(db, kind=TrainingKind.LOOP, data={})
    taken = claim(db)
    both = (make_metric(1, series="forgers/a"), make_metric(1, series="classifier"))
    tell(db, taken, make_news(1, metrics=both))
    tell(db, taken, make_news(2, metrics=(make_metric(2, series="classifier"),)))

    steps = [(series, step) for series, step, _ in history(db, run_id)]

    assert steps == [("classifier", 1), ("classifier", 2), ("forgers/a", 1)]


@pytest.mark.parametrize("rows", [1, 500, 501, 1203])
def test_a_long_history_is_thinned_evenly_and_keeps_its_last_row(db, rows):
    run_id = submit(db)
    metrics = tuple(make_metric(10 * n) for n in range(1, rows + 1))
    tell(db, claim(db), make_news(10 * rows, metrics=metrics))

    found = [step for _, step, _ in history(db, run_id)]

    every = ceil(rows / runs.METRICS_POINTS)
    assert found == list(range(10 * rows, 0, -10 * every))[::-1]
    assert len(found) <= runs.METRICS_POINTS


def test_the_newest_previews_are_kept_and_a_step_has_one(db, monkeypatch):
    monkeypatch.setattr(leases, "KEPT_PICTURES", 3)
    run_id = submit(db)
    taken = claim(db)
    steps = range(1, 6)
    for step in steps:
        tell(db, taken, make_news(step, pictures=(make_picture(step),), metrics=()))
    tell(db, taken, make_news(step, pictures=(make_picture(step, png=b"anew"),), metrics=()))

    kept = runs.get(db, tenant="desk", run_id=run_id).pictures

    assert [p.step for p in kept] == [3, 4, 5]
    shown = runs.picture(db, tenant="desk", run_id=run_id, series="", step=step)
    assert shown.png == b"anew"


def test_a_run_whose_trainer_died_goes_on_with_another_that_knows_how_far_it_was(db):
    run_id = submit(db)
    tell(db, claim(db, "dead"), make_news(20))

    assert die(db, run_id).requeued == 1

    error = look(db, run_id).error
    assert error is not None
    assert error.code == "worker-died"
    again = claim(db, "alive")
    assert (again.run_id, again.lease_token, again.attempt) == (run_id, 2, 2)
    assert again.progress.checkpoints == (make_checkpoint(20),)
    assert again.progress.seconds == 2.0


def test_a_trainer_that_was_given_up_for_dead_can_write_nothing(db):
    run_id = submit(db)
    stale = claim(db, "stale")
    die(db, run_id)
    fresh = claim(db, "fresh")

    assert not tell(db, stale, make_news(20))
    assert not leases.conclude(db, stale, {"a": 1})
    assert not leases.reject(db, stale, BAD)
    assert not leases.fail(db, stale, FULL)
    assert leases.retry(db, stale, FULL, limits=LIMITS, last_state=JobState.FAILED) is None
    assert not leases.hand_back(db, stale)
    assert history(db, run_id) == []
    assert look(db, run_id).result is None

    assert leases.conclude(db, fresh, {"a": 2})
    assert look(db, run_id).result == {"a": 2}


def test_three_trainers_that_died_without_getting_on_end_it(db):
    run_id = submit(db)
    for _ in range(3):
        claim(db)
        done = die(db, run_id)

    assert done.quarantined == 1
    assert look(db, run_id).state is JobState.QUARANTINED


def test_whoever_writes_checkpoints_is_no_poison_however_often_it_is_killed(db):
    run_id = submit(db)
    for step in (10, 20, 30, 40):
        taken = claim(db)
        tell(db, taken, make_news(step - 10 or 1))  # what there is
        tell(db, taken, make_news(step))
        assert die(db, run_id).requeued == 1

    assert look(db, run_id).state is JobState.QUEUED


def test_the_same_old_checkpoint_is_no_progress(db):
    run_id = submit(db)
    for _ in range(3):
        tell(db, claim(db), make_news(10))
        done = die(db, run_id)

    assert done.quarantined == 1


def test_a_finished_run_says_what_came_of_it_and_of_no_error(db):
    run_id = submit(db)
    leases.retry(db, claim(db), FULL, limits=LIMITS, last_state=JobState.FAILED)
    assert look(db, run_id).error == FULL
    with db.writing() as session:
        session.execute(update(TrainingRunRow).values(run_after=now(session)))
    taken = claim(db)

    for _ in range(2):  # the first answer was lost
        assert leases.conclude(db, taken, {"steps": 40})

    ended = look(db, run_id)
    assert (ended.state, ended.progress.stage) == (JobState.SUCCEEDED, "done")
    assert ended.result == {"steps": 40}
    assert ended.error is None
    assert ended.finished_at is not None


def test_a_rejected_run_says_why_and_is_not_tried_again(db):
    run_id = submit(db)

    assert leases.reject(db, claim(db), BAD)

    ended = look(db, run_id)
    assert ended.state is JobState.REJECTED
    assert ended.error is not None
    assert (ended.error.code, ended.error.actor) == ("bad-dataset", Actor.CLIENT)
    assert leases.claim(db, trainer="t9", limits=LIMITS) is None


def test_a_retry_waits_and_ends_where_it_was_told_to(db):
    run_id = submit(db)
    for expected in (JobState.QUEUED, JobState.QUEUED, JobState.FAILED):
        taken = claim(db)
        state = leases.retry(db, taken, FULL, limits=LIMITS, last_state=JobState.FAILED)
        assert state is expected
        assert leases.claim(db, trainer="t9", limits=LIMITS) is None
        with db.writing() as session:
            session.execute(update(TrainingRunRow).values(run_after=now(session)))

    assert look(db, run_id).state is JobState.FAILED


def test_handing_back_is_no_strike(db):
    run_id = submit(db)
    for _ in range(5):
        taken = claim(db)
        assert leases.hand_back(db, taken)
        assert leases.hand_back(db, taken)

    assert look(db, run_id).attempt == 0


def test_a_cancelled_run_is_not_written_to_and_then_removed_but_for_a_tombstone(db):
    run_id = submit(db)
    taken = claim(db)
    tell(db, taken, make_news(20))

    assert runs.remove(db, tenant="desk", run_id=run_id).state is JobState.CANCELLED
    assert not tell(db, taken, make_news(40))
    assert leases.purged_of(db, [run_id, OTHER_RUN]) == frozenset()
    assert runs.remove(db, tenant="desk", run_id=run_id).state is JobState.PURGED

    assert leases.purged_of(db, [run_id, OTHER_RUN]) == {run_id}
    with db.reading() as session:
        assert session.scalars(select(TrainingMetricRow)).all() == []
        assert session.scalars(select(TrainingPictureRow)).all() == []
        row = session.get_one(TrainingRunRow, run_id)
        assert (row.name, row.data, row.losses, row.checkpoints) == (None, {}, None, [])


def test_what_is_anothers_looks_like_what_never_was(db):
    run_id = submit(db, tenant="theirs")
    tell(db, claim(db), make_news(20))

    for asked in (run_id, OTHER_RUN, "x", "../x"):
        for ask in (
            lambda i: runs.get(db, tenant="desk", run_id=i),
            lambda i: runs.metrics(db, tenant="desk", run_id=i),
            lambda i: runs.picture(db, tenant="desk", run_id=i, series="", step=20),
            lambda i: runs.remove(db, tenant="desk", run_id=i),
        ):
            with pytest.raises(NotFound, match="no such training run"):
                ask(asked)
    listed = runs.page(db, tenant="desk", state=None, cursor=None, limit=10)
    assert listed.items == ()


def test_runs_are_listed_newest_first_page_by_page(db):
    made = [submit(db) for _ in range(3)]

    first = runs.page(db, tenant="desk", state=None, cursor=None, limit=2)
    second = runs.page(db, tenant="desk", state=None, cursor=first.next_cursor, limit=2)

    assert [r.id for r in (*first.items, *second.items)] == made[::-1]
    assert second.next_cursor is None
    queued = runs.page(db, tenant="desk", state=JobState.RUNNING, cursor=None, limit=2)
    assert queued.items == ()
    with pytest.raises(BadRequest, match="cursor"):
        runs.page(db, tenant="desk", state=None, cursor="' OR 1=1", limit=2)


@pytest.mark.parametrize("kind", TrainingKind)
def test_a_run_needs_its_data_and_takes_no_others(db, kind):
    needed = {role.name: ("x",) for role in ROLES[kind] if role.is_needed}
    for name in needed:
        lacking = {k: v for k, v in needed.items() if k != name}
        with pytest.raises(BadRequest, match=name):
            submit(db, kind=kind, data=lacking)
    with pytest.raises(BadRequest, match="etc"):
        submit(db, kind=kind, data={**needed, "etc": ("x",)})

    assert submit(db, kind=kind, data=needed)


def test_two_names_are_too_many_where_one_is_wanted(db):
    with pytest.raises(BadRequest, match="one name"):
        submit(db, data={"manifest": ("a.csv", "b.csv")})


def test_a_run_builds_on_finished_forgers_of_its_own_tenant_alone(db):
    people = {"a": ("anna",), "b": ("ben",)}
    mine = submit(db, kind=TrainingKind.FORGER, data=people)
    theirs = submit(db, kind=TrainingKind.FORGER, data=people, tenant="theirs")
    wanted = {"manifest": ("m.csv",)}
    for run_id in (mine, theirs, OTHER_RUN):
        with pytest.raises(BadRequest, match="no finished forger of yours"):
            submit(db, kind=TrainingKind.GENERATE, data={**wanted, "forgers": (run_id,)})
    for _ in (mine, theirs):
        leases.conclude(db, claim(db), {})

    with pytest.raises(BadRequest, match="no finished forger of yours"):
        submit(db, kind=TrainingKind.GENERATE, data={**wanted, "forgers": (theirs,)})
    assert submit(db, kind=TrainingKind.GENERATE, data={**wanted, "forgers": (mine, "old")})
