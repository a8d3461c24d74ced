"""What do all commands share? Two consoles, the settings, and failures told in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from app import log
from app.errors import ClientMustAct, Misconfigured, ServiceError
from app.settings import Settings

if TYPE_CHECKING:
    from app.db.session import Database

EXIT_REJECTED = 2
EXIT_FAILED = 1

out = Console()
err = Console(stderr=True)


@contextmanager
def database() -> Iterator["Database"]:
    """Open the database, which must have this version's tables."""
    from app.db.migrate import is_current  # noqa: PLC0415
    from app.db.session import Database  # noqa: PLC0415

    settings = read_settings()
    with explained():
        db = Database(settings.resolved_database_url)
        try:
            if not is_current(db):
                raise Misconfigured(
                    "the database does not have this version's tables; run `deepverdict migrate`, "
                    "or `deepverdict up`, which does that first"
                )
            yield db
        finally:
            db.close()


@contextmanager
def explained() -> Iterator[None]:
    """Turn a foreseen failure into a sentence on standard error and an exit code."""
    try:
        yield
    except ServiceError as why:
        err.print(f"[red]deepverdict:[/red] {escape(str(why))}", highlight=False, soft_wrap=True)
        code = EXIT_REJECTED if isinstance(why, ClientMustAct) else EXIT_FAILED
        raise typer.Exit(code) from why


@contextmanager
def with_training() -> Iterator[None]:
    """Say what to install where torch, or another package that only training needs, is missing."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith(("app", "models", "workers")):
            raise
        raise Misconfigured(
            f"this command needs {missing.name}, which is not installed; "
            "run: pip install -e '.[train]'"
        ) from missing


def read_settings(*, is_service: bool = False) -> Settings:
    """Read the settings; a command at a terminal keeps its log to what went wrong."""
    try:
        settings = Settings()
    except ValidationError as wrong:
        for error in wrong.errors():
            name = "__".join(str(part) for part in error["loc"]).upper()
            err.print(f"[red]deepverdict:[/red] DEEPVERDICT_{name}: {error['msg']}")
        raise typer.Exit(EXIT_FAILED) from wrong
    level = settings.log_level
    log.configure(
        fmt=settings.log_format, level="WARNING" if level == "INFO" and not is_service else level
    )
    return settings
