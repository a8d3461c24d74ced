"""
What do tests stand on? Real databases, a real Redis, and the clips beside the checkout.

Every server is started on first use, shared for the session, and handed out empty.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.db import migrate
from app.db.session import Database
from app.db.tables import Base
from tests.servers import Postgres, Redis

ROOT = Path(__file__).parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Of several processes with as many threads as there are cores each, all wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL; for tests that make databases of their own, or that kill it."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis; for tests that kill it."""
    server = Redis()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def _migrated_postgres(postgres_server: Postgres) -> str:
    url = postgres_server.create_database("deepverdict")
    migrate.upgrade(url)
    return url


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgres_url(_migrated_postgres: str, postgres_server: Postgres) -> str:
    """A migrated and empty PostgreSQL database; whoever still held it is thrown out."""
    tables = ", ".join(f'"{t.name}"' for t in Base.metadata.sorted_tables)
    with psycopg.connect(postgres_server.conninfo("deepverdict"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = 'deepverdict' AND pid <> pg_backend_pid()"
        )
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")
    return _migrated_postgres


@pytest.fixture
def sqlite_url(_migrated_sqlite: Path, tmp_path: Path) -> str:
    """A migrated and empty SQLite database."""
    return f"sqlite:///{shutil.copy(_migrated_sqlite, tmp_path / 'deepverdict.db')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn, migrated and empty."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """Each kind of database in turn, migrated, empty and open."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis."""
    if redis_server.process is None:
        redis_server.start()
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The clips beside the checkout, or of DEEPVERDICT_TEST_MEDIA."""
    return _beside("DEEPVERDICT_TEST_MEDIA", "media")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The third-party weights beside the checkout, or of DEEPVERDICT_TEST_WEIGHTS."""
    return _beside("DEEPVERDICT_TEST_WEIGHTS", "weights")


def _beside(variable: str, name: str) -> Path:
    path = Path(os.environ.get(variable) or ROOT.parent / "shared" / name)
    if not path.is_dir():
        pytest.skip(f"no {path}; set {variable} to the folder")
    return path
