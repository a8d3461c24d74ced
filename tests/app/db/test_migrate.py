"""Do migrations make the tables that the program was written for, on both databases?"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from app.db import migrate
from app.db.session import Database
from app.db.tables import Base
from tests.servers import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'bare.db'}"
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.create_database(f"bare_{tmp_path.name}")


@pytest.fixture
def bare(bare_url: str):
    database = Database(bare_url)
    yield database
    database.close()


def shape(db: Database) -> dict[str, object]:
    """Read everything that the database itself enforces or knows of its tables."""
    inspector = inspect(db.engine)
    return {
        table: {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": sorted(inspector.get_foreign_keys(table), key=str),
            "unique": sorted(inspector.get_unique_constraints(table), key=str),
            "checks": sorted(inspector.get_check_constraints(table), key=str),
            "indexes": sorted(inspector.get_indexes(table), key=str),
        }
        for table in sorted(inspector.get_table_names())
        if table != "alembic_version"
    }


def test_a_database_without_tables_is_not_current_until_it_was_upgraded(bare_url, bare):
    assert not migrate.is_current(bare)

    migrate.upgrade(bare_url)

    assert migrate.is_current(bare)


def test_up_down_and_up_again_leaves_nothing_behind(bare_url, bare):
    migrate.upgrade(bare_url)
    first = shape(bare)
    migrate.downgrade(bare_url, "base")
    assert shape(bare) == {}

    migrate.upgrade(bare_url)

    assert shape(bare) == first
    assert set(first) == set(Base.metadata.tables)


def test_the_migrations_make_exactly_the_tables_of_the_program(bare_url, bare):
    migrate.upgrade(bare_url)
    migrated = shape(bare)
    with bare.reading() as session:
        differences = compare_metadata(
            MigrationContext.configure(session.connection()), Base.metadata
        )
    migrate.downgrade(bare_url, "base")
    with bare.writing() as session:
        Base.metadata.create_all(session.connection())

    assert differences == []
    assert migrated == shape(bare)  # checks too, which Alembic does not compare


def test_verdicts_outlive_the_migration_that_makes_room_for_a_network_in_their_policy(
    bare_url, bare
):
    migrate.upgrade(bare_url, "0002")
    with bare.writing() as session:
        connection = session.connection()
        moment = "'2026-11-21 09:00:00+00:00'"
        connection.exec_driver_sql(
            "INSERT INTO jobs (id, tenant, priority, priority_rank, state, stage, fraction,"
            " version, created_at, updated_at, blob_key, sha256, size_bytes, attempt, run_after,"
            " lease_token)"
            f" VALUES ('j1', 'desk', 'live', 0, 'succeeded', 'done', 1, 1, {moment}, {moment}, 'b',"
            f" 's', 1, 1, {moment}, 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO verdicts (job_id, label, reasons, statement, caveat, policy, created_at)"
            f" VALUES ('j1', 'inconclusive', '[]', 's', 'c', '2026-11-21.2', {moment})"
        )

    migrate.upgrade(bare_url)
    with bare.writing() as session:
        found = session.connection().exec_driver_sql("SELECT job_id, policy FROM verdicts").all()
        assert [tuple(row) for row in found] == [("j1", "2026-11-21.2")]
        session.connection().exec_driver_sql(
            "UPDATE verdicts SET policy = '2026-11-21.2+frame_classifier@1.1'"
        )
    migrate.downgrade(bare_url, "0002")

    with bare.reading() as session:
        (policy,) = session.connection().exec_driver_sql("SELECT policy FROM verdicts").scalars()
        assert policy.startswith("2026-11-21.2+frame_classifier")


def test_many_processes_may_upgrade_at_once(bare_url, bare):
    program = f"from app.db import migrate; migrate.upgrade({bare_url!r})"
    processes = [
        subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
        for _ in range(3)
    ]

    assert [p.wait(timeout=60) for p in processes] == [0, 0, 0]
    assert migrate.is_current(bare)


def test_many_threads_may_upgrade_at_once(bare_url, bare):
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(migrate.upgrade, bare_url) for _ in range(3)]:
            done.result(timeout=60)

    assert migrate.is_current(bare)


def test_a_migration_that_fails_leaves_no_half_made_tables(bare_url, bare):
    with bare.writing() as session:  # the last table that the first migration wants to make
        session.connection().exec_driver_sql("CREATE TABLE workers (id INTEGER)")

    with pytest.raises(DBAPIError, match="workers"):
        migrate.upgrade(bare_url)

    assert set(shape(bare)) == {"workers"}
    assert not migrate.is_current(bare)
