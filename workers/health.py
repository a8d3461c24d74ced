"""
Is the worker of this machine alive, as all others see it? For a container's health check.

    python -m workers.health    # exits 0 if it is, 1 if it is not
"""

import socket
import sys

from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.services import workers
from app.settings import Settings

SEEN_WITHIN_S = 60.0
"""Workers say every ten seconds that they are there."""


def is_alive(db: Database, *, host: str) -> bool:
    """Tell whether a worker of `host` was heard of within a minute."""
    try:
        alive = workers.alive(db, within_s=SEEN_WITHIN_S)
    except DatabaseUnavailable:
        return False
    return any(worker.worker.startswith(f"{host[:64]}-") for worker in alive)


def main() -> int:
    """Return the exit status."""
    db = Database(Settings().resolved_database_url)
    try:
        return 0 if is_alive(db, host=socket.gethostname()) else 1
    finally:
        db.close()


if __name__ == "__main__":
    sys.exit(main())
