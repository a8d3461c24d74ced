"""
Is all there that a loop needs, and nothing of what it is measured on among what it learns from?

Looked through before hours of training, which a missing clip or a leak would waste.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.training.calibrate import LEAST_CLIPS_OF_A_LABEL
from workers.training.errors import BadRecipe
from workers.training.generate import METHOD
from workers.training.manifest import DataManifest, Row, read_manifest
from workers.training.recipe import read_recipe
from workers.training.rounds import frozen
from workers.training.rounds.frozen import TRAINED_ON
from workers.training.rounds.recipe import (
    FrozenSet,
    LoopRecipe,
    NetworkOptions,
    PairOptions,
)
from workers.training.tasks import make_task

RANDOM = "random"
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenData:
    """A set that is measured on, and its clips."""

    options: FrozenSet
    data: DataManifest
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that a loop begins with."""

    recipe: LoopRecipe
    data: DataManifest
    people: Mapping[str, tuple[tuple[Row, ...], tuple[Row, ...]]]  # of a and b, by pair
    calibration: FrozenData
    frozen: tuple[FrozenData, ...]

    def paths(self, rows: Sequence[Row]) -> list[Path]:
        """Return where clips of the data are."""
        return [self.data.root / row.path for row in rows]

    def check_generated(self, made: DataManifest) -> None:
        """
        Look through the frozen sets once more, now that it is known what was generated.

        Raises:
            BadRecipe: one shares somebody, a file, or in the primary case a method with it.
        """
        trained = frozen.trained_rows(self.data, made)
        for one in (self.calibration, *self.frozen):
            frozen.check_unseen(one.options, one.rows, trained)
        if self.recipe.gate.is_unseen_architecture:
            primary = next(one for one in self.frozen if one.options == self.recipe.primary)
            methods = {row.method for row in made.rows if row.method.startswith(METHOD)}
            frozen.check_unseen_methods(primary.options, primary.rows, sorted(methods))


def look_through(recipe: LoopRecipe) -> Inputs:
    """
    Read every manifest and recipe, and look for every clip.

    Raises:
        BadRecipe: a clip, a manifest or a recipe is missing, people are not of the training split,
            or a frozen set shares somebody or a file with what is trained on.
        BadDataset: a manifest cannot be trusted.
    """
    data = read_manifest(frozen.path_of(recipe.data.manifest), root=recipe.data.root)
    inputs = Inputs(
        recipe=recipe,
        data=data,
        people={pair.name: _people(pair, data, recipe) for pair in recipe.pairs},
        calibration=_frozen(recipe.calibration),
        frozen=tuple(_frozen(one) for one in recipe.frozen),
    )
    _check_enough(inputs.calibration)
    trained = frozen.trained_rows(data)
    for one in (inputs.calibration, *inputs.frozen):
        frozen.check_unseen(one.options, one.rows, trained)
        _check_there(one.data.root, one.rows, f"of the frozen set {one.options.name!r}")
    names = [RANDOM]
    for pair in recipe.pairs:
        _check_initial(pair, names)
        names.append(pair.name)
        read_recipe(pair.recipe, pair.overrides)
    for task, options in networks(recipe):
        # Whatever is wrong with it is wrong now already.
        make_task({**read_recipe(options.recipe, options.overrides), "task": task})
    return inputs


def networks(recipe: LoopRecipe) -> list[tuple[str, NetworkOptions]]:
    """Return the task and the options of every detector that is trained."""
    found = [("classifier", options) for options in recipe.classifiers]
    return [*found, *([("segmenter", recipe.segmenter)] if recipe.segmenter else [])]


def _people(
    pair: PairOptions, data: DataManifest, recipe: LoopRecipe
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    by_path = {row.path: row for row in data.rows}
    a, b = (
        tuple(_clip_of(path, pair, by_path, recipe) for path in paths) for paths in (pair.a, pair.b)
    )
    _check_there(data.root, (*a, *b), f"of the pair {pair.name!r}")
    return a, b


def _clip_of(path: Path, pair: PairOptions, by_path: Mapping[str, Row], recipe: LoopRecipe) -> Row:
    row = by_path.get(path.as_posix())
    if row is None or row.kind != "video" or row.label != "real":
        raise BadRecipe(
            f"the pair {pair.name!r}: {path} is no real clip of {recipe.data.manifest}; give paths "
            "as the manifest has them"
        )
    if row.split != TRAINED_ON:
        raise BadRecipe(
            f"the pair {pair.name!r}: {path} ({row.group}) lies in the split {row.split}, and "
            f"networks learn from {TRAINED_ON} alone; pair people of that"
        )
    return row


def _frozen(options: FrozenSet) -> FrozenData:
    data = read_manifest(frozen.path_of(options.manifest), root=options.root)
    return FrozenData(options=options, data=data, rows=tuple(frozen.judged_rows(data, options)))


def _check_enough(calibration: FrozenData) -> None:
    """Raise BadRecipe where no line could be drawn; lone pictures are no clips."""
    clips = {row.clip: row.label for row in calibration.rows if not _is_lone(row)}
    for label in ("real", "fake"):
        count = sum(of_clip == label for of_clip in clips.values())
        if count < LEAST_CLIPS_OF_A_LABEL:
            raise BadRecipe(
                f"the calibration set {calibration.options.name!r} has {count} {label} clips; a "
                f"line wants {LEAST_CLIPS_OF_A_LABEL}: name more splits, or another manifest"
            )


def _is_lone(row: Row) -> bool:
    return row.kind == "picture" and row.clip == row.path


def _check_there(root: Path, rows: Sequence[Row], what: str) -> None:
    missing = [row.path for row in rows if not (root / row.path).is_file()]
    if missing:
        raise BadRecipe(
            f"{len(missing)} of {len(rows)} files {what} are not in {root}: "
            f"{', '.join(missing[:_SHOWN])}; bring them back, or say where they are with `root`"
        )


def _check_initial(pair: PairOptions, before: Sequence[str]) -> None:
    if pair.initial not in before and not Path(pair.initial).is_dir():
        raise BadRecipe(
            f"the pair {pair.name!r} starts from {pair.initial!r}: want one of "
            f"{', '.join(before)}, or the folder of a forger"
        )
