"""What is one worker, as a process? A supervisor, and an ear for the doorbell if there is one."""

import os
import secrets
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

from app import log
from app.db.session import Database
from app.queue import CeleryBell, SilentBell
from app.settings import Settings
from app.storage import LocalBlobStore
from app.version import code_version
from workers.celery_app import Doorbell
from workers.inference import InferenceProcess
from workers.supervisor import Supervisor

ANALYZER = "workers.kit:build_analyzer"

_log = log.get(__name__)


def run(settings: Settings, analyzer: str = ANALYZER) -> int:
    """
    Take jobs until SIGTERM or SIGINT; return the exit status.

    Args:
        analyzer: `package.module:function` that builds the analyses in the inference process;
            networks and codecs are loaded there and never here.

    Raises:
        OperatorMustAct: the inference process refuses to start, with its words.
    """
    log.configure(fmt=settings.log_format, level=settings.log_level)
    broker_url = settings.broker_url.get_secret_value() if settings.broker_url else None
    worker = f"{socket.gethostname()[:64]}-{os.getpid()}-{secrets.token_hex(3)}"
    db = Database(settings.resolved_database_url)
    bell = CeleryBell(broker_url) if broker_url else SilentBell()
    supervisor = Supervisor(
        db=db,
        store=LocalBlobStore(settings.blob_dir),
        bell=bell,
        inference=InferenceProcess(factory=analyzer, settings=settings),
        limits=settings.worker,
        worker=worker,
        code=code_version(),
    )
    doorbell = Doorbell(broker_url, ring_and_wait=supervisor.ring_and_wait) if broker_url else None

    def stop() -> None:
        supervisor.stop()
        if doorbell is not None:
            doorbell.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    _log.info("worker.started", worker=worker, code=code_version(), has_broker=bool(broker_url))
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="supervisor") as thread:
            life = thread.submit(supervisor.run)
            life.add_done_callback(lambda _: stop())
            if doorbell is not None:
                doorbell.listen()
            life.result()
    finally:
        if isinstance(bell, CeleryBell):
            bell.close()
        db.close()
    return 0
