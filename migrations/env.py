"""How does a migration run? One at a time, never waiting long for a table that is in use."""

from alembic import context
from sqlalchemy import Connection

from app.db.tables import Base

ONE_AT_A_TIME = 0x6465657076  # any number that nobody else locks; "deepv" in ASCII
TURN_S = 60
TABLE_LOCK_S = 5
"""A migration that waits for a table makes everybody else wait behind it: give up early."""


def migrate(connection: Connection) -> None:
    """Run the migrations inside the transaction that `connection` is in."""
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:  # SQLite's own BEGIN IMMEDIATE lets one writer in at a time
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TURN_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TABLE_LOCK_S}s'")
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transactional_ddl=True,  # of SQLite too: the transaction is opened by us, not the driver
        render_as_batch=is_sqlite,  # it cannot alter a column in place
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("migrations are run against a database, see app.db.migrate")
migrate(context.config.attributes["connection"])
