"""
Is the worker, or the trainer, of this machine alive? For a container's health check.

    python -m workers.health             # exits 0 if the worker is, as all others see it
    python -m workers.health trainer     # by the file that a trainer touches as it works
"""

import socket
import sys

from app.clock import utc_now
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.services import workers
from app.settings import Settings
from workers.trainer import seen_file

SEEN_WITHIN_S = 60.0
"""Workers say every ten seconds that they are there."""


def is_alive(db: Database, *, host: str) -> bool:
    """Tell whether a worker of `host` was heard of within a minute."""
    try:
        alive = workers.alive(db, within_s=SEEN_WITHIN_S)
    except DatabaseUnavailable:
        return False
    return any(worker.worker.startswith(f"{host[:64]}-") for worker in alive)


def is_trainer_alive(settings: Settings, *, host: str) -> bool:
    """Tell whether a trainer of `host` touched its file within a minute."""
    try:
        touched_at_s = seen_file(settings, host).stat().st_mtime
    except OSError:
        return False
    return utc_now().timestamp() - touched_at_s < SEEN_WITHIN_S


def main() -> int:
    """Return the exit status."""
    settings, host = Settings(), socket.gethostname()
    if sys.argv[1:] == ["trainer"]:
        return 0 if is_trainer_alive(settings, host=host) else 1
    db = Database(settings.resolved_database_url)
    try:
        return 0 if is_alive(db, host=host) else 1
    finally:
        db.close()


if __name__ == "__main__":
    sys.exit(main())
