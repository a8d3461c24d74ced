"""
Which parts of a long piece of work are done, and where does it go on after it was killed?

Each stage has a folder of its own. `begun.json` says from what it is made and how long it has been
worked on; `done.json`, written last, what came of it. A stage that is done and is asked for with
the same inputs is left as it is; with other inputs its folder is emptied and it is made again; one
that was stopped goes on in what it left. `state.json`, above the stages, is replaced as the work
gets on, for whoever watches.
"""

import hashlib
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from app.errors import InsufficientStorage, ServiceError
from workers.training.checkpoints import replace_file
from workers.training.errors import BadRecipe, Interrupted
from workers.training.history import STEP, read_history

BEGUN_FILE, DONE_FILE, STATE_FILE = "begun.json", "done.json", "state.json"
TELL_EVERY_S = 1.0
LOOK_EVERY_S = 2.0

Results = Mapping[str, Any]
"""What a stage found, as plain values."""
Tell = Callable[[int, int], None]
"""Told how many steps of a stage are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the work."""

    name: str  # of its folder; "forgers/anna-bert" is a part of "forgers"
    inputs: Mapping[str, object]  # plain values; where one changes, the stage is made again
    work: Callable[[Path, Tell], Results]  # given its folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A stage that was finished, now or before."""

    name: str
    folder: Path
    seconds: float  # over all sittings
    results: Results
    sha256: str  # of inputs and results: what a stage that builds on this one depends on


@dataclass(slots=True)
class Runner:
    """
    Runs stages one after the other.

    Args:
        out: the folder above all of theirs.
        console: is told what begins, what was done before, and how to go on after a failure.
    """

    out: Path
    console: Console
    done: list[Done] = field(default_factory=list)

    def run(self, stage: Stage) -> Done:
        """
        Return what a stage finds; work on it only where that is not there yet.

        Raises:
            Interrupted: SIGINT or SIGTERM came; what was reached is kept.
            BadRecipe: the stage's folder holds something that no stage wrote.
            ServiceError: whatever the work raises. What to do is said on the console.
        """
        folder = self.out / stage.name
        inputs = _digest(stage.inputs)
        found = _read(folder / DONE_FILE)
        if found is not None and found.get("inputs_sha256") == inputs:
            done = _done(stage.name, folder, found)
            self.console.print(
                f"[bold]{stage.name}[/bold]: done before, in {minutes(done.seconds)}",
                highlight=False,
            )
        else:
            done = self._make(stage, folder, inputs)
        self.done.append(done)
        return done

    def _make(self, stage: Stage, folder: Path, inputs: str) -> Done:
        seconds = self._prepare(stage, folder, inputs)
        sitting = _Sitting(self.out, folder, stage.name, inputs, seconds)
        sitting.tell(0, 0)
        try:
            with interruptible():
                results = stage.work(folder, sitting.tell)
        except KeyboardInterrupt as stopped:
            sitting.note()
            raise Interrupted(
                f"stopped in the stage {stage.name!r}; {self._kept()} Run the same command again "
                "to go on"
            ) from stopped
        except Interrupted:
            sitting.note()
            raise
        except ServiceError as wrong:
            self.console.print(
                f"The stage {stage.name!r} failed after {minutes(sitting.seconds)}: {wrong}\n"
                f"{self._kept()} Put that right and run the same command again: it goes on with "
                f"this stage.",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )
            raise
        document = {
            "stage": stage.name,
            "seconds": round(sitting.seconds, 1),
            "inputs": dict(stage.inputs),
            "inputs_sha256": inputs,
            "results": dict(results),
        }
        _write(folder / DONE_FILE, document)
        self.console.print(
            f"[bold]{stage.name}[/bold]: done in {minutes(sitting.seconds)}", highlight=False
        )
        # Read back, so that a loop that goes on sees what one that was never stopped sees.
        return _done(stage.name, folder, json.loads(json.dumps(document)))

    def _prepare(self, stage: Stage, folder: Path, inputs: str) -> float:
        """Make the folder ready; return the seconds that were spent on this stage before."""
        begun = _read(folder / BEGUN_FILE)
        if begun is None:
            if folder.exists() and any(folder.iterdir()):
                raise BadRecipe(
                    f"{folder} holds files and no {BEGUN_FILE}: no loop wrote them; choose another "
                    "folder with --out, or move them"
                )
            self.console.print(f"[bold]{stage.name}[/bold]", highlight=False)
        elif begun.get("inputs_sha256") != inputs:
            self.console.print(
                f"[bold]{stage.name}[/bold]: what it is made from has changed; making it again",
                highlight=False,
            )
            shutil.rmtree(folder)
            begun = None
        else:
            self.console.print(
                f"[bold]{stage.name}[/bold]: going on after {minutes(begun['seconds'])}",
                highlight=False,
            )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DONE_FILE).unlink(missing_ok=True)
        return float(begun["seconds"]) if begun else 0.0

    def _kept(self) -> str:
        names = ", ".join(done.name for done in self.done)
        kept = f"kept: {names}, and what there is of this one" if names else "what there is is kept"
        return f"{kept}, in {self.out}."


class _Sitting:
    """One stretch of work on a stage, from where the last one ended."""

    def __init__(self, out: Path, folder: Path, name: str, inputs: str, before_s: float) -> None:
        self._state, self._begun = out / STATE_FILE, folder / BEGUN_FILE
        self._name, self._inputs, self._before_s = name, inputs, before_s
        self._started_s = time.monotonic()
        self._told_s = -TELL_EVERY_S
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Spent on the stage, over all sittings."""
        return self._before_s + time.monotonic() - self._started_s

    def tell(self, step: int, steps: int) -> None:
        """Write down how far the stage is, but not more often than anybody looks."""
        now_s = time.monotonic()
        with self._lock:
            if step not in (0, steps) and now_s - self._told_s < TELL_EVERY_S:
                return
            self._told_s = now_s
            _write(self._state, {"stage": self._name, "step": step, "steps": steps})
            self.note()

    def note(self) -> None:
        """Keep the seconds, which a kill would lose."""
        _write(self._begun, {"inputs_sha256": self._inputs, "seconds": round(self.seconds, 1)})


@contextmanager
def watched(history: Path, *, steps: int, tell: Tell) -> Iterator[None]:
    """Tell of a training that runs meanwhile, by the last row of its history."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_EVERY_S):
            rows = read_history(history)
            if rows:
                with suppress(InsufficientStorage):  # the training itself says so
                    tell(int(rows[-1][STEP]), steps)

    watcher = threading.Thread(target=watch, name="watches a training", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def minutes(seconds: float) -> str:
    """Spell a time: seconds below two minutes, minutes from there on."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"  # noqa: PLR2004


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM stop the work as SIGINT does; a training within takes both over for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is sent signals
        return
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _done(name: str, folder: Path, document: Mapping[str, Any]) -> Done:
    return Done(
        name=name,
        folder=folder,
        seconds=document["seconds"],
        results=document["results"],
        sha256=_digest({key: document[key] for key in ("inputs_sha256", "results")}),
    )


def _digest(values: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    """Read a mark; None where there is none, or one that says nothing."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _write(path: Path, document: Mapping[str, object]) -> None:
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())
