"""Are transactions what they are said to be, on both databases?"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from app.db.session import Database, now
from app.db.tables import WorkerRow
from app.errors import DatabaseUnavailable
from tests.servers import free_port

WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def worker(id: str = "w1") -> WorkerRow:  # noqa: A002 - the column's own name
    return WorkerRow(
        id=id, code="1", started_at=WHEN, last_seen_at=WHEN, is_busy=False, condition={}
    )


def count(db: Database) -> int:
    with db.reading() as session:
        return session.scalar(select(func.count()).select_from(WorkerRow))


def test_what_was_written_is_there_when_the_block_has_ended(db):
    with db.writing() as session:
        session.add(worker())

    assert count(db) == 1


def write_and_raise(db: Database, statement: str) -> None:
    with db.writing() as session:
        session.execute(text(statement))
        raise KeyError("a bug")


def test_a_block_that_raises_leaves_nothing_behind(db):
    with db.writing() as session:
        session.add(worker())
    with pytest.raises(KeyError):
        write_and_raise(db, "DELETE FROM workers")

    assert count(db) == 1


def test_tables_made_in_a_block_that_raises_are_gone_too(db):
    with pytest.raises(KeyError):
        write_and_raise(db, "CREATE TABLE passing (id INTEGER)")
    with pytest.raises(DBAPIError), db.reading() as session:
        session.execute(text("SELECT * FROM passing"))


def test_two_writers_that_read_first_lose_no_update(db):
    with db.writing() as session:
        session.add(worker())
    together = threading.Barrier(4)

    def add_one() -> None:
        together.wait(timeout=10)
        for _ in range(10):
            with db.writing() as session:
                row = session.get(WorkerRow, "w1", with_for_update=True)
                row.code = str(int(row.code) + 1)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(add_one) for _ in range(4)]:
            done.result(timeout=30)

    with db.reading() as session:
        assert session.get(WorkerRow, "w1").code == "41"


def test_on_sqlite_a_writer_waits_for_its_turn_before_it_reads(sqlite_url):
    first, second = Database(sqlite_url), Database(sqlite_url)
    second_is_in = threading.Event()

    def write() -> None:
        with second.writing() as session:
            session.execute(text("SELECT 1"))
            second_is_in.set()

    with ThreadPoolExecutor(1) as pool:
        with first.writing() as session:  # has written nothing yet: BEGIN IMMEDIATE alone
            session.execute(text("SELECT 1"))
            done = pool.submit(write)
            assert not second_is_in.wait(0.2)
        done.result(timeout=10)
    first.close()
    second.close()


def test_on_sqlite_readers_go_on_while_somebody_writes(sqlite_url):
    db, other = Database(sqlite_url), Database(sqlite_url)
    with db.writing() as session:
        session.add(worker())
        session.flush()

        assert count(other) == 0
    assert count(other) == 1
    db.close()
    other.close()


def test_a_reader_sees_one_moment_however_often_it_reads(db, database_url):
    other = Database(database_url)
    with db.reading() as session:
        first = session.scalar(select(func.count()).select_from(WorkerRow))
        with other.writing() as writer:
            writer.add(worker())

        assert first == session.scalar(select(func.count()).select_from(WorkerRow))
    assert count(db) == 1
    other.close()


def test_a_reader_cannot_write(postgres_url):
    db = Database(postgres_url)
    with pytest.raises(DBAPIError, match="read-only"), db.reading() as session:
        session.add(worker())
    with db.writing() as session:  # and the connection is as good as new
        session.add(worker())
    db.close()


def test_on_sqlite_every_commit_is_synced_to_a_write_ahead_log(sqlite_url):
    db = Database(sqlite_url)
    with db.reading() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA synchronous")) == 2
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
    db.close()


def test_a_database_that_is_not_there_is_unavailable():
    db = Database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(DatabaseUnavailable), db.reading() as session:
        session.execute(text("SELECT 1"))
    db.close()


def test_a_connection_that_is_cut_is_unavailable_and_the_next_one_works(postgres_url):
    db, other = Database(postgres_url), Database(postgres_url)

    def be_cut_off() -> None:
        with db.writing() as session:
            mine = session.scalar(text("SELECT pg_backend_pid()"))
            with other.writing() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": mine})
            session.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        be_cut_off()

    assert count(db) == 0
    db.close()
    other.close()


def test_a_row_that_another_holds_for_too_long_is_unavailable(postgres_url):
    db, other = Database(postgres_url), Database(postgres_url)
    with db.writing() as session:
        session.add(worker())
    with other.writing() as session:  # stays with the connection, the only one of its pool
        session.execute(text("SET lock_timeout = '50ms'"))
    with db.writing() as session:
        session.get(WorkerRow, "w1", with_for_update=True)
        with pytest.raises(DatabaseUnavailable), other.writing() as impatient:
            impatient.get(WorkerRow, "w1", with_for_update=True)
    db.close()
    other.close()


def test_a_locked_sqlite_file_is_unavailable(sqlite_url):
    db, impatient = Database(sqlite_url), Database(sqlite_url)
    connection = impatient.engine.raw_connection()
    connection.cursor().execute("PRAGMA busy_timeout = 50")
    connection.close()  # back into the pool, to be taken out again below
    with db.writing() as session:
        session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable), impatient.writing() as other:
            other.execute(text("SELECT 1"))
    db.close()
    impatient.close()


@pytest.mark.parametrize("statement", ["SELECT * FROM nowhere", "SELEC 1", "SELECT nothing"])
def test_a_bug_is_not_passed_off_as_an_outage(db, statement):
    with pytest.raises(DBAPIError), db.reading() as session:
        session.execute(text(statement))


def test_a_broken_promise_to_the_tables_is_not_passed_off_as_an_outage(db):
    with pytest.raises(IntegrityError), db.writing() as session:
        session.execute(
            text(
                "INSERT INTO verdicts (job_id, label, reasons, statement, caveat, policy,"
                " created_at) VALUES ('x', 'authentic', '[]', '', '', '', '2026-01-01')"
            )
        )


def test_moments_are_aware_and_in_utc_with_all_their_digits(db):
    moment = datetime(2026, 11, 21, 9, 0, 0, 123456, tzinfo=UTC)
    with db.writing() as session:
        row = worker()
        row.started_at = moment
        session.add(row)

    with db.reading() as session:
        read = session.get(WorkerRow, "w1").started_at
        assert read == moment
        assert read.utcoffset().total_seconds() == 0


def test_naive_moments_are_refused(db):
    row = worker()
    row.started_at = datetime(2026, 11, 21)  # noqa: DTZ001 - the point of it
    with pytest.raises(StatementError, match="aware"), db.writing() as session:
        session.add(row)


def test_the_clock_moves_within_a_transaction(db):
    with db.reading() as session:
        assert now(session) < now(session)
