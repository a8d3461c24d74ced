"""How are workers told that there may be work? The row is the truth; this is a doorbell."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from celery import Celery
from kombu.exceptions import KombuError

from app import log

PUBLISH_S = 0.5
"""Longest wait for a broker to connect, and again for it to answer; a caller waits meanwhile."""

_log = log.get(__name__)


class TaskName(StrEnum):
    """Names on the wire; the producer never imports the consumer."""

    DETECT = "deepverdict.detect"
    TRAIN = "deepverdict.train"


class QueueName(StrEnum):
    """Celery queues."""

    DETECT = "detect"
    TRAIN = "train"


TASK_OF: Mapping[QueueName, TaskName] = {
    QueueName.DETECT: TaskName.DETECT,
    QueueName.TRAIN: TaskName.TRAIN,
}


class Bell(Protocol):
    """Rings for a worker. Never raises: a bell that fails is a matter of seconds, not of loss."""

    def ring(self, job_id: str) -> bool:
        """Tell any worker that there may be work; return whether it was told."""
        ...


class SilentBell:
    """No broker: workers find their work by polling."""

    def ring(self, job_id: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tell nobody."""
        return False


class CeleryBell:
    """Celery as a producer only: a message by name, in JSON, without an answer."""

    def __init__(self, broker_url: str, queue: QueueName = QueueName.DETECT) -> None:
        self._queue = queue
        settings = dict(celery_settings(broker_url))
        settings["broker_transport_options"] = {
            **_transport_options(broker_url),
            "socket_timeout": PUBLISH_S,
            "socket_connect_timeout": PUBLISH_S,
            "max_retries": 0,  # or kombu tries to connect for ever, behind our back
        }
        self._app = Celery("deepverdict", set_as_current=False, config_source=settings)

    def ring(self, job_id: str) -> bool:
        """Publish; a broker that does not answer costs a second at most."""
        try:
            self._app.send_task(
                TASK_OF[self._queue].value,
                kwargs={"job_id": job_id},
                queue=self._queue.value,
                ignore_result=True,
                retry=False,
            )
        except (KombuError, OSError) as error:
            _log.warning("doorbell.lost", job_id=job_id, error=type(error).__name__)
            return False
        return True

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()


def celery_settings(broker_url: str) -> Mapping[str, object]:
    """
    Return what producer and worker must agree on; the url has a password in it.

    Messages are acknowledged early and may be lost, repeated or reordered: leases in the database
    make good for that. JSON only, since whoever can write to the broker could otherwise run code.
    """
    return {
        "broker_url": broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": _transport_options(broker_url),
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_publish_retry": False,
        "task_default_queue": QueueName.DETECT.value,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": _is_redis(broker_url),  # Celery knows it of Redis only
        "worker_concurrency": 1,
        "worker_hijack_root_logger": False,
    }


def _transport_options(broker_url: str) -> dict[str, object]:
    if not _is_redis(broker_url):
        return {"confirm_publish": True}
    return {
        "socket_keepalive": True,
        "socket_timeout": 10.0,
        "socket_connect_timeout": 5.0,
        "health_check_interval": 25,
    }


def _is_redis(broker_url: str) -> bool:
    return broker_url.startswith(("redis://", "rediss://"))
