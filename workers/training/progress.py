"""How does a person see that training gets on? A bar in a terminal, else a line now and then."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 30.0


class TrainingProgress:
    """
    Shows loss, images a second, share of time waiting for data, and time left.

    Args:
        what: the network's name, or what else stands before the bar.
        done: steps that were done in earlier sittings.
    """

    def __init__(self, console: Console, *, what: str, done: int, steps: int) -> None:
        self._console = console
        self._what = what
        self._first = done
        self._steps = steps
        self._started_s = self._said_s = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._row = self._bar.add_task(what, total=steps, completed=done, figures="")

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, step: int, *, loss: float, images_per_s: float, waiting_share: float) -> None:
        """Tell of a step that was done."""
        figures = (
            f"loss {loss:.4f}  {images_per_s:.0f} images/s  waiting for data {waiting_share:.0%}"
        )
        if not self._bar.disable:
            self._bar.update(self._row, completed=step, figures=figures)
            return
        now_s = time.monotonic()
        if now_s - self._said_s < LINE_EVERY_S and step < self._steps:
            return
        self._said_s = now_s
        left_s = (now_s - self._started_s) / (step - self._first) * (self._steps - step)
        self.say(f"step {step}/{self._steps}  {figures}  {_spelt(left_s)} left")

    def say(self, words: str) -> None:
        """Write a line of its own; above the bar where there is one."""
        self._console.print(f"{self._what}: {words}", highlight=False, soft_wrap=True)


def _spelt(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}"
