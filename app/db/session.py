"""How is the database reached? One transaction a block, on PostgreSQL and SQLite alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from app.clock import utc_now
from app.errors import DatabaseUnavailable

SQLITE_BUSY_S = 10
POSTGRES_CONNECT_S = 5


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
                parsed, connect_args={"timeout": SQLITE_BUSY_S, "isolation_level": None}
            )
            event.listen(self.engine, "connect", _sqlite_pragmas)
            event.listen(self.engine, "begin", _sqlite_begin)
        else:
            self.engine = create_engine(
                parsed,
                pool_pre_ping=True,
                connect_args={
                    "connect_timeout": POSTGRES_CONNECT_S,
                    "options": "-c timezone=UTC -c lock_timeout=10000 "
                    "-c idle_in_transaction_session_timeout=60000",
                },
            )

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that writes nothing."""
        with self._transaction(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a transaction that may write; commits when the block ends without an error."""
        engine = self.engine.execution_options(deepverdict_writes=True)
        with self._transaction(engine) as session:
            yield session

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Session]:
        try:
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session
        except (OperationalError, InterfaceError) as error:
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


def _sqlite_pragmas(connection: Any, _record: Any) -> None:  # noqa: ANN401
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Any) -> None:  # noqa: ANN401
    writes = connection.get_execution_options().get("deepverdict_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
