"""How does a database get its tables? By the migrations that are shipped with the program."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.db.session import Database

ONE_AT_A_TIME = Lock()  # Alembic keeps the migration under way in module globals


def upgrade(url: str, revision: str = "head") -> None:
    """
    Bring the database up to `revision`; harmless where it is there, or when many do it at once.

    Raises:
        DatabaseUnavailable: it does not answer, or somebody held its tables for too long.
    """
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision`; `base` removes every table and all that is in it."""
    _run(url, lambda config: command.downgrade(config, revision))


def head() -> str:
    """Return the revision that this program was written for."""
    with _config() as config:
        revision = ScriptDirectory.from_config(config).get_current_head()
    assert revision is not None
    return revision


def is_current(db: Database) -> bool:
    """Whether the database has the tables that this program was written for."""
    with db.reading() as session:
        context = MigrationContext.configure(session.connection())
        return context.get_current_heads() == (head(),)


def _run(url: str, step: Callable[[Config], None]) -> None:
    db = Database(url)
    try:
        with ONE_AT_A_TIME, db.writing() as session, _config() as config:
            config.attributes["connection"] = session.connection()
            step(config)
    finally:
        db.close()


@contextmanager
def _config() -> Iterator[Config]:
    """Configure Alembic without an `alembic.ini`: an installed package has none to offer."""
    with as_file(files("migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        yield config
