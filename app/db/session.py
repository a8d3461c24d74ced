"""How is the database reached? One transaction a block, on PostgreSQL and SQLite alike."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.clock import utc_now
from app.errors import DatabaseUnavailable

SQLITE_BUSY_S = 10
POSTGRES_CONNECT_S = 5

SQLITE_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""Primary result codes that say nothing against the statement."""

POSTGRES_PASSING = ("08", "25P03", "40", "53", "55P03", "57", "58")
"""
Beginnings of SQLSTATEs that say nothing against the statement: connection lost, idle for too
long, deadlock, out of resources, lock not to be had, operator intervened, system error.
"""


class Database:
    """
    A pool of connections and the two kinds of transaction.

    On SQLite a writing transaction begins with `BEGIN IMMEDIATE`, so that two claims can never
    read the same row before either writes; a file is in WAL mode and synced at each commit.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            # No implicit transactions by the driver: `_sqlite_begin` opens each one.
            self.engine = create_engine(
                parsed,
                hide_parameters=True,
                connect_args={"timeout": SQLITE_BUSY_S, "isolation_level": None},
            )
            event.listen(self.engine, "connect", _sqlite_pragmas)
            event.listen(self.engine, "begin", _sqlite_begin)
            self._reader: Engine = self.engine  # each of its transactions sees one moment anyway
            self._writer: Engine = self.engine.execution_options(deepverdict_writes=True)
        else:
            self.engine = create_engine(
                parsed,
                hide_parameters=True,  # errors go to the log, and callers' names must not
                pool_pre_ping=True,
                connect_args={
                    "connect_timeout": POSTGRES_CONNECT_S,
                    "options": "-c timezone=UTC -c lock_timeout=10000 "
                    "-c idle_in_transaction_session_timeout=15000",
                },
            )
            self._reader = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._writer = self.engine

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that writes nothing, and sees one moment however often it reads."""
        with self._transaction(self._reader) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a transaction that may write; commits when the block ends without an error."""
        with self._transaction(self._writer) as session:
            yield session

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Session]:
        try:
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session
        except PoolTimeout as error:
            raise DatabaseUnavailable("no connection to the database is free") from error
        except DBAPIError as error:
            if not _is_passing(error):
                raise  # a bug: no such table, a value too long
            raise DatabaseUnavailable("the database did not answer; try again") from error

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


def now(session: Session) -> datetime:
    """Return the database's time, the one clock that all workers share."""
    if session.get_bind().dialect.name == "sqlite":
        return utc_now()  # one machine, one clock; SQLite's own function lacks microseconds
    moment = session.scalar(select(func.clock_timestamp()))
    assert isinstance(moment, datetime)
    return moment.astimezone(UTC)


def _is_passing(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed another time."""
    cause = error.orig
    if error.connection_invalidated:
        return True
    if isinstance(cause, sqlite3.Error):
        code: int | None = getattr(cause, "sqlite_errorcode", None)  # absent before a statement
        return code is not None and code & 0xFF in SQLITE_PASSING
    if isinstance(cause, psycopg.Error):
        if cause.sqlstate is None:  # libpq's own: nobody there to send one
            return isinstance(cause, psycopg.OperationalError)
        return cause.sqlstate.startswith(POSTGRES_PASSING)
    return False


def _sqlite_pragmas(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("deepverdict_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
