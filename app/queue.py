"""How are workers told that there may be work? The row is the truth; this is a doorbell."""

from enum import StrEnum
from typing import Protocol


class TaskName(StrEnum):
    """Names on the wire; the producer never imports the consumer."""

    DETECT = "deepverdict.detect"


class QueueName(StrEnum):
    """Celery queues."""

    DETECT = "detect"


class Bell(Protocol):
    """Rings for a worker. Never raises: a bell that fails is a matter of seconds, not of loss."""

    def ring(self, job_id: str) -> bool:
        """Tell any worker that there may be work; return whether it was told."""
        ...
