"""Is it known which workers are alive, and what each can do?"""

from datetime import timedelta

from sqlalchemy import select, update

from app.db.session import Database, now
from app.db.tables import WorkerRow
from app.services import workers
from tests.make import make_condition


def was_last_seen(db: Database, worker: str, *, ago_s: float) -> None:
    with db.writing() as session:
        session.execute(
            update(WorkerRow)
            .where(WorkerRow.id == worker)
            .values(last_seen_at=now(session) - timedelta(seconds=ago_s))
        )


def names(db: Database, within_s: float = 60) -> list[str]:
    return [w.worker for w in workers.alive(db, within_s=within_s)]


def test_a_worker_is_known_with_what_it_said_of_itself(db):
    condition = make_condition(is_missing=True, is_network_removed=False)
    workers.announce(db, worker="w1", code="1.0", condition=condition)

    (found,) = workers.alive(db, within_s=60)

    assert (found.worker, found.code, found.condition) == ("w1", "1.0", condition)
    assert not found.is_busy


def test_a_worker_that_says_it_again_is_still_one(db):
    workers.announce(db, worker="w1", code="1.0", condition=make_condition(is_missing=True))
    workers.announce(db, worker="w1", code="1.1", condition=make_condition())

    (found,) = workers.alive(db, within_s=60)
    assert (found.code, found.condition) == ("1.1", make_condition())


def test_a_worker_that_went_silent_is_not_alive_until_it_is_seen_again(db):
    for worker in ("w1", "w2"):
        workers.announce(db, worker=worker, code="1.0", condition=make_condition())
    was_last_seen(db, "w1", ago_s=61)
    assert names(db) == ["w2"]

    workers.seen(db, worker="w1", is_busy=True)

    assert names(db) == ["w1", "w2"]
    assert [w.is_busy for w in workers.alive(db, within_s=60)] == [True, False]


def test_a_worker_that_left_is_not_alive_and_may_leave_twice(db):
    workers.announce(db, worker="w1", code="1.0", condition=make_condition())
    workers.leave(db, worker="w1")
    workers.leave(db, worker="w1")
    workers.seen(db, worker="w1", is_busy=False)

    assert names(db) == []


def test_workers_that_died_long_ago_are_forgotten(db):
    workers.announce(db, worker="dead", code="1.0", condition=make_condition())
    was_last_seen(db, "dead", ago_s=86_401)

    workers.announce(db, worker="w1", code="1.0", condition=make_condition())

    with db.reading() as session:
        assert session.scalars(select(WorkerRow.id)).all() == ["w1"]
