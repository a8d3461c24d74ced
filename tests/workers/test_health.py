"""Does a worker's container notice that its worker is gone?"""

from app.db.session import Database
from app.services import workers
from tests.make import make_condition
from workers.health import is_alive

HOST = "3f2a"


def test_a_worker_that_was_just_heard_of_is_alive(db: Database) -> None:
    workers.announce(db, worker=f"{HOST}-17-a1b2c3", code="0.1.0", condition=make_condition())

    assert is_alive(db, host=HOST)


def test_a_worker_that_left_is_not_alive(db: Database) -> None:
    workers.announce(db, worker=f"{HOST}-17-a1b2c3", code="0.1.0", condition=make_condition())
    workers.leave(db, worker=f"{HOST}-17-a1b2c3")

    assert not is_alive(db, host=HOST)


def test_the_worker_of_another_host_does_not_count(db: Database) -> None:
    workers.announce(db, worker=f"{HOST}9-17-a1b2c3", code="0.1.0", condition=make_condition())

    assert not is_alive(db, host=HOST)


def test_a_database_that_does_not_answer_is_no_sign_of_life() -> None:
    db = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")

    assert not is_alive(db, host=HOST)
    db.close()
