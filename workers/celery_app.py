"""
How does a worker hear the doorbell? By a Celery worker that does nothing but ring.

It is the embeddable half of Celery's worker: one task at a time in the calling thread, no pool of
processes, no remote control, no gossip between workers, and no signal handlers of its own.
"""

import threading
from collections.abc import Callable

import celery.worker.state
from celery import Celery
from celery.worker import WorkController

from app import log
from app.queue import TASK_OF, QueueName, celery_settings
from workers.tasks import doorbell

RESTART_AFTER_S = 1.0

_log = log.get(__name__)


class Doorbell:
    """
    Calls `ring_and_wait` for every message on its queue.

    What is on the wire is not trusted: a message that is no doorbell is dropped. What is not even
    a message brings Celery's consumer down; a new one is made, and the worker polls meanwhile.
    """

    def __init__(
        self, broker_url: str, queue: QueueName, *, ring_and_wait: Callable[[], None]
    ) -> None:
        self._broker_url = broker_url
        self._queue = queue
        self._ring_and_wait = ring_and_wait
        self._is_stopping = threading.Event()

    def listen(self) -> None:
        """Hear doorbells until `stop`; waits for a broker that is not there."""
        celery.worker.state.should_stop = None
        while not self._is_stopping.is_set():
            controller = WorkController(
                app=self._app(),
                pool_cls="solo",
                concurrency=1,
                queues=[self._queue.value],
                without_gossip=True,
                without_heartbeat=True,
                without_mingle=True,
            )
            controller.start()
            if not self._is_stopping.wait(RESTART_AFTER_S):
                _log.error("doorbell.restarted", exit_status=controller.exitcode)

    def stop(self) -> None:
        """Have `listen` return within a second or two. May be called from a signal handler."""
        self._is_stopping.set()
        celery.worker.state.should_stop = 0  # an exit status; Celery looks every second

    def _app(self) -> Celery:
        app = Celery(
            "deepverdict", set_as_current=False, config_source=celery_settings(self._broker_url)
        )
        app.finalize(auto=True)
        for builtin in list(app.tasks):  # maps, chords and groups: nobody here has a use for them
            app.tasks.unregister(builtin)
        doorbell.register(app, TASK_OF[self._queue], ring_and_wait=self._ring_and_wait)
        return app
