"""What does a recipe say, and how is it read? TOML in the repository, copied into every run."""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.training.errors import BadRecipe

SHIPPED = files("workers.training") / "recipes"

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A table of a recipe; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunOptions(Section):
    """How long to train, on how much at a time, and what to write meanwhile."""

    seed: int
    steps: Positive
    batch: Positive
    """Examples in a step of one process; of several, each takes as many."""
    loader_workers: Count = 1
    """Processes that make examples; 0 makes them between the steps."""
    threads: Count = 0
    """That one process computes with; 0 lets torch choose."""
    checkpoint_every_s: Annotated[float, Field(ge=0)] = 60.0
    pictures_every: Count
    """Steps between sample pictures; 0 writes none."""
    validate_every: Count
    """Steps between validations; 0 validates never."""
    log_every: Positive = 10


class OptimiserOptions(Section):
    """AdamW with a linear warm-up, then half a cosine."""

    rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_steps: Count
    final_rate_share: Share = 0.02
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """What is kept of the running means of the gradient and of its square at a step."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Greatest length of a gradient; of each part by itself where several learn in turns."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999


class DataOptions(Section):
    """What to train on. Relative paths are taken from where the command is run."""

    manifest: Path
    bank: Path
    generated: Path | None = None
    """A bank of what our own forgers made, for the pairs that are made of it."""
    folds: Count = 0
    fold: Annotated[int, Field(ge=-1)] = -1
    """The fold whose groups are kept out of training to be tested on; -1 keeps none out."""
    leave_out: tuple[str, ...] = ()
    """Methods whose fakes are kept out of training."""


class TrainingRecipe(Section):
    """What every recipe has; each task adds sections of its own."""

    task: str
    run: RunOptions
    optimiser: OptimiserOptions

    def canonical(self) -> str:
        """Return the whole recipe, defaults filled in, as JSON that is the same for the same."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2)

    @property
    def sha256(self) -> str:
        """The digest of `canonical()`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


class Recipe(TrainingRecipe):
    """The recipe of a network that learns from a manifest's faces, and is served."""

    data: DataOptions


FREE = frozenset(
    f"run.{name}"
    for name in (
        "loader_workers",
        "threads",
        "checkpoint_every_s",
        "pictures_every",
        "validate_every",
    )
)
"""What may change when a run goes on: nothing of it moves a weight. Not `log_every`, which says
what one row of the history is the mean of."""


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> dict[str, object]:
    """
    Read a recipe and put single values in place of its own.

    Args:
        path: a TOML file, or the bare name of a recipe that came with the program.
        overrides: `section.key=value` each. The value is TOML; what is none is taken as text, so
            that a path needs no quotes.

    Raises:
        BadRecipe: no such file, not TOML, or an override that names no place.
    """
    raw: dict[str, object] = _parsed(path)
    for override in overrides:
        place, equals, value = override.partition("=")
        *sections, key = place.strip().split(".")
        if not equals or not sections or not all((*sections, key)):
            raise BadRecipe(f"want --set section.key=value, got {override!r}")
        _put(raw, (*sections, key), _value(value.strip()), override)
    return raw


def unusable(task: str, wrong: ValidationError) -> BadRecipe:
    """Say in words what is wrong with a recipe."""
    faults = "; ".join(
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in wrong.errors()
    )
    return BadRecipe(f"the recipe for {task!r} cannot be used: {faults}")


def differences(before: str, after: str) -> list[str]:
    """Say in words how two recipes differ, as `canonical()` gave them; `FREE` keys aside."""
    old, new = _flat(json.loads(before)), _flat(json.loads(after))
    return [
        f"{key}: was {old.get(key, 'not there')}, is now {new.get(key, 'not there')}"
        for key in sorted(old.keys() | new.keys())
        if key not in FREE and old.get(key) != new.get(key)
    ]


def _parsed(path: Path) -> dict[str, object]:
    shipped = SHIPPED / f"{path.name}.toml"
    is_bare_name = path.name == str(path) and not path.suffix
    found = shipped if is_bare_name and not path.exists() and shipped.is_file() else path
    try:
        return tomllib.loads(found.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecipe(
            f"cannot read the recipe {path}: {error}; shipped with the program: {_shipped()}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BadRecipe(f"{path} is not TOML: {error}") from error


def _shipped() -> list[str]:
    if not SHIPPED.is_dir():
        return []
    return sorted(p.name.removesuffix(".toml") for p in SHIPPED.iterdir() if ".toml" in p.name)


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(raw: dict[str, object], place: Sequence[str], value: object, override: str) -> None:
    table = raw
    for section in place[:-1]:
        inner = table.setdefault(section, {})
        if not isinstance(inner, dict):
            raise BadRecipe(f"--set {override}: {section!r} is a value, not a section")
        table = inner
    table[place[-1]] = value


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat
