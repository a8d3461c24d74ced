"""What does a doorbell do? It has the process look for work; its content is not believed."""

from collections.abc import Callable
from typing import Any

from celery import Celery

from app.queue import TaskName


def register(app: Celery, task: TaskName, *, ring_and_wait: Callable[[], None]) -> None:
    """
    Add a task to `app`.

    It returns once there is no work left, so that a busy worker takes no second message. What it
    was rung for does not matter: the database says which comes first.
    """

    def look_for_work() -> None:
        ring_and_wait()

    app.task(look_for_work, name=task.value, shared=False, Strategy="workers.tasks.doorbell:unread")


def unread(task: Any, _app: Celery, _consumer: Any) -> Callable[..., None]:  # noqa: ANN401 - Celery's
    """
    Run the task for any message that names it, without reading what else is in there.

    Celery's own strategy unpacks the body before it acknowledges: one malformed body takes the
    consumer down, is put back on the queue, and takes it down again, for ever. It would also keep
    a message until the time that its sender asks for.
    """

    def on_message(message: Any, *_: object) -> None:  # noqa: ANN401 - kombu's
        message.ack()
        task()

    return on_message
