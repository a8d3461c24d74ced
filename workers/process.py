"""How does a process live off a queue? A loop in a thread, and an ear for the doorbell."""

import os
import secrets
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app import log
from app.db.session import Database
from app.queue import Bell, CeleryBell, QueueName, SilentBell
from app.settings import Settings
from app.version import code_version
from workers.celery_app import Doorbell
from workers.work_loop import WorkLoop

_log = log.get(__name__)


def live(
    settings: Settings,
    queue: QueueName,
    make_loop: Callable[[Database, Bell, str], WorkLoop[Any]],
) -> int:
    """
    Take work from a queue until SIGTERM or SIGINT; return the exit status.

    Args:
        make_loop: makes what does the work, given the database, a bell for that queue, and the
            name that this process goes by.

    Raises:
        OperatorMustAct: the work cannot be done here, in the loop's words.
    """
    log.configure(fmt=settings.log_format, level=settings.log_level)
    broker_url = settings.broker_url.get_secret_value() if settings.broker_url else None
    worker = f"{socket.gethostname()[:64]}-{os.getpid()}-{secrets.token_hex(3)}"
    db = Database(settings.resolved_database_url)
    bell = CeleryBell(broker_url, queue) if broker_url else SilentBell()
    loop = make_loop(db, bell, worker)
    doorbell = Doorbell(broker_url, queue, ring_and_wait=loop.ring_and_wait) if broker_url else None

    def stop() -> None:
        loop.stop()
        if doorbell is not None:
            doorbell.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    _log.info(
        "worker.started",
        worker=worker,
        queue=queue,
        code=code_version(),
        has_broker=bool(broker_url),
    )
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="work-loop") as thread:
            life = thread.submit(loop.run)
            life.add_done_callback(lambda _: stop())
            if doorbell is not None:
                doorbell.listen()
            life.result()
    finally:
        if isinstance(bell, CeleryBell):
            bell.close()
        db.close()
    return 0
