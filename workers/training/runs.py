"""
What does a training run do, once a trainer has taken it? Runs in a process of its own.

A plan names its data; here names become paths, and nothing else does. What a command writes goes
into the run's folder, from which a later attempt goes on.
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from rich.console import Console

from app import log
from app.domain.model_version import ModelVersion
from app.domain.training_run import NAME, ROLES, RUN_ID, TrainingKind, TrainingPlan, Value
from app.errors import DISK_FULL, ClientMustAct, OperatorMustAct, RetryLater, ServiceError
from app.settings import Settings
from workers.training.errors import BadDataset, BadRecipe, Interrupted

LOG_FILE, LOCK_FILE = "log.txt", "lock"
LOCK_WITHIN_S = 30.0
LOCK_EVERY_S = 0.2
SHOWN_NAMES = 10
TOML = ".toml"

_log = log.get(__name__)


class Ending(Enum):
    """How a run's process ended, as it tells its trainer."""

    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    RETRY = "retry"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A plan whose names were found."""

    recipe: Path
    overrides: Sequence[str]  # `section.key=value` each
    data: Mapping[str, Sequence[Path]]
    out: Path
    console: Console
    promoted: Sequence[ModelVersion] = ()


def execute(
    descriptor: int,
    plan: TrainingPlan,
    folder: Path,
    settings: Settings,
    promoted: Sequence[ModelVersion] = (),
) -> None:
    """
    Do what a plan asks for, and say over `descriptor` how it ended: one JSON object.

    Args:
        folder: of the run, there already.
        settings: without the database's address, and the broker's.
        promoted: the networks in use that took the place of shipped ones.
    """
    os.set_inheritable(descriptor, False)
    log.configure(fmt=settings.log_format, level=settings.log_level)
    os.nice(settings.training.niceness)
    os.environ.update(_environment(settings))  # trainings read their settings as any command does
    with os.fdopen(descriptor, "w", encoding="utf-8") as trainer:
        json.dump(ended(plan, folder, settings, promoted), trainer)


def ended(
    plan: TrainingPlan,
    folder: Path,
    settings: Settings,
    promoted: Sequence[ModelVersion] = (),
) -> dict[str, Any]:
    """Do what a plan asks for; return how that ended, as JSON has it."""
    try:
        with _alone(folder), (folder / LOG_FILE).open("a", encoding="utf-8") as file:
            console = Console(file=file, width=120)
            # What a recipe or an override calls by a bare name is looked for among the data.
            os.chdir(settings.sets_dir)
            order = ordered(
                plan, folder, sets=settings.sets_dir, runs=settings.runs_dir, console=console
            )
            result = COMMANDS[plan.kind](replace(order, promoted=promoted))
    except Interrupted as stopped:
        return {"ending": Ending.INTERRUPTED.value, "detail": str(stopped)}
    except ServiceError as why:
        _log.warning("training.ended", why=str(why), exc_info=not isinstance(why, ClientMustAct))
        return _error(_ending_of(why), _code_of(why), str(why))
    except OSError as why:
        _log.exception("training.failed")
        if why.errno not in DISK_FULL:
            return _error(Ending.RETRY, "internal", "The training failed. The log says why.")
        return _error(Ending.RETRY, "insufficient-storage", f"{why}; make room")
    except Exception:  # noqa: BLE001 - the boundary of a run
        _log.exception("training.failed")
        return _error(Ending.RETRY, "internal", "The training failed. The log says why.")
    return {"ending": Ending.DONE.value, "result": result}


def ordered(plan: TrainingPlan, folder: Path, *, sets: Path, runs: Path, console: Console) -> Order:
    """
    Find everything that a plan names.

    Args:
        sets: the directory with the data that may be named.
        runs: the directory with the folders of runs; their ids may be named as well.

    Raises:
        BadDataset: there is nothing of that name, or the plan lacks some of its data.
        BadRecipe: there is no such recipe.
    """
    roles = {role.name: role for role in ROLES[plan.kind]}
    missing = [r.name for r in roles.values() if r.is_needed and not plan.data.get(r.name)]
    if strange := sorted(plan.data.keys() - roles.keys()):
        raise BadDataset(f"{plan.kind} takes no data called {', '.join(strange)}")
    if missing:
        raise BadDataset(f"{plan.kind} needs data called {', '.join(missing)}")
    data = {
        role: tuple(
            _found(name, sets=sets, runs=runs if roles[role].is_run else None) for name in names
        )
        for role, names in plan.data.items()
    }
    data |= {
        role.name: (folder / role.default,)
        for role in roles.values()
        if role.default and role.name not in data
    }
    overrides = [f"{place}={_toml(value)}" for place, value in plan.overrides.items()]
    overrides += [
        f"{role.place}={_toml(str(data[name][0]))}"
        for name, role in roles.items()
        if role.place and data.get(name)
    ]
    return Order(
        recipe=_recipe(plan.recipe, sets),
        overrides=overrides,
        data=data,
        out=folder,
        console=console,
    )


def _forger(order: Order) -> dict[str, Any]:
    from workers.training.forging.command import train_forger  # noqa: PLC0415  by kind, as all are

    train_forger(
        order.data["a"],
        order.data["b"],
        order.out,
        recipe=order.recipe,
        overrides=order.overrides,
        console=order.console,
    )
    return _record(order.out)


def _generate(order: Order) -> dict[str, Any]:
    from workers.training.checkpoints import replace_file  # noqa: PLC0415
    from workers.training.generate import GenerateOptions, generate  # noqa: PLC0415
    from workers.training.recipe import read_recipe, unusable  # noqa: PLC0415

    raw = read_recipe(order.recipe, order.overrides)
    try:
        options = GenerateOptions.model_validate(raw.get("generate", {}))
    except ValidationError as wrong:
        raise unusable("generate", wrong) from wrong

    def told(clips: int, of: int) -> None:
        state = {"stage": "generate", "step": clips, "steps": of}
        replace_file(order.out / "state.json", json.dumps(state).encode())

    made = generate(
        order.data["forgers"],
        order.data["manifest"][0],
        order.out,
        options,
        console=order.console,
        told=told,
    )
    fakes = sum(row.label == "fake" for row in made.rows)
    return {"clips": len(made.rows), "fakes": fakes, "manifest_sha256": made.sha256}


def _served(task: str) -> Callable[[Order], dict[str, Any]]:
    def train(order: Order) -> dict[str, Any]:
        from workers.training.run import train_command  # noqa: PLC0415

        train_command(task, order.recipe, order.out, order.overrides, order.console)
        return _record(order.out)

    return train


def _loop(order: Order) -> dict[str, Any]:
    from workers.kit import build_registry  # noqa: PLC0415
    from workers.training.rounds.command import run_loop  # noqa: PLC0415

    run_loop(
        order.recipe,
        order.out,
        order.overrides,
        console=order.console,
        registry=build_registry(Settings(), order.promoted),
    )
    return _json(order.out / "candidate" / "decision.json")


COMMANDS: Mapping[TrainingKind, Callable[[Order], dict[str, Any]]] = {
    TrainingKind.FORGER: _forger,
    TrainingKind.GENERATE: _generate,
    TrainingKind.CLASSIFIER: _served("classifier"),
    TrainingKind.SEGMENTER: _served("segmenter"),
    TrainingKind.LOOP: _loop,
}
"""What each kind of run does; it returns what the run's row tells of what came of it."""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """
    Be the only process that works in a run's folder.

    One that was given up for dead may take a moment to die. The lock is one that children of this
    process do not share, so that it is free as soon as this process is gone.

    Raises:
        RetryLater: another one is still there.
    """
    give_up_at_s = time.monotonic() + LOCK_WITHIN_S
    with (folder / LOCK_FILE).open("w") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as held:
                if time.monotonic() > give_up_at_s:
                    raise RetryLater("another process still works on this run") from held
                time.sleep(LOCK_EVERY_S)
        yield


def _found(name: str, *, sets: Path, runs: Path | None = None) -> Path:
    if runs is not None and re.fullmatch(RUN_ID, name):
        return runs / name
    is_name = re.fullmatch(NAME, name) is not None
    path = (sets / name).resolve() if is_name else sets
    if path.parent != sets.resolve():
        raise BadDataset(f"{name!r} leads out of the directory of data")
    if not path.exists():
        there = sorted(p.name for p in sets.iterdir() if re.fullmatch(NAME, p.name))
        shown = ", ".join(there[:SHOWN_NAMES]) or "nothing"
        raise BadDataset(f"there are no data called {name!r}; there are {shown}")
    return path


def _recipe(name: str, sets: Path) -> Path:
    from workers.training.recipe import SHIPPED  # noqa: PLC0415

    if name.endswith(TOML):
        return _found(name, sets=sets)
    shipped = {p.stem: p for p in Path(str(SHIPPED)).glob(f"*{TOML}")}
    if name not in shipped:
        raise BadRecipe(f"there is no recipe {name!r}; there are {', '.join(sorted(shipped))}")
    return shipped[name]


def _toml(value: Value) -> str:
    """Spell a value so that it is read as what it is, and never as anything more."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # TOML spells these as JSON does, for text without control characters.
    return json.dumps(value)


def _environment(settings: Settings) -> dict[str, str]:
    """Spell settings as the variables that they would be read from; what is secret is left out."""
    spelt: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        values = (
            {f"{name}__{n}": getattr(value, n) for n in type(value).model_fields}
            if isinstance(value, BaseModel)
            else {name: value}
        )
        spelt |= {
            f"DEEPVERDICT_{place.upper()}": str(v)
            for place, v in values.items()
            if v is not None and not isinstance(v, SecretStr)
        }
    # Relative ones were meant from where the trainer was started.
    spelt["DEEPVERDICT_DATA_DIR"] = str(settings.data_dir.resolve())
    spelt["DEEPVERDICT_MODELS__DIR"] = str(settings.models_dir.resolve())
    return spelt


def _record(folder: Path) -> dict[str, Any]:
    from workers.training.run import RUN_FILE  # noqa: PLC0415

    return _json(folder / RUN_FILE)


def _json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def _ending_of(why: ServiceError) -> Ending:
    match why:
        case ClientMustAct():
            return Ending.REJECTED
        case OperatorMustAct():
            return Ending.FAILED
        case _:
            return Ending.RETRY


def _code_of(why: ServiceError) -> str:
    """Spell an error's name as codes are: `BadDataset` is `bad-dataset`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(why).__name__).lower()


def _error(ending: Ending, code: str, detail: str) -> dict[str, Any]:
    return {"ending": ending.value, "code": code, "detail": detail}
