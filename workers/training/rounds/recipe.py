"""What does a recipe of the loop say: whose faces, how much of everything, and what is proof?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from workers.training.evaluate.robustness import CONDITIONS
from workers.training.generate import GenerateOptions
from workers.training.manifest import Split
from workers.training.recipe import Positive, Section, Share, read_recipe, unusable
from workers.training.rounds.gate import LEAST_GROUPS

TASK: Literal["loop"] = "loop"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""A plain word: it becomes a folder."""
Guard = Literal["auc", "compressed_auc", "false_positives", "false_area"]
Shown = Literal["auc", "compressed_auc", "false_positives", "false_area", "iou"]
ALWAYS_GUARDED: tuple[Guard, ...] = ("false_positives", "compressed_auc")
GUARDED_OF_SEGMENTERS: Guard = "false_area"


class RunOptions(Section):
    """What holds for the whole loop."""

    seed: int = 0
    """Of the training of every network, and of the bootstrap."""


class DataOptions(Section):
    """The real clips and the labelled fakes that all networks learn from."""

    manifest: Path
    bank: Path
    """Folder of its faces; made where it is not there."""
    root: Path | None = None
    """Where its clips are; where the manifest says unless given."""


class PairOptions(Section):
    """Two people, and the forger that learns to make one of the other."""

    name: Name
    a: Annotated[tuple[Path, ...], Field(min_length=1)]
    """Clips of the one person, as paths of the manifest: each must be a real clip of it."""
    b: Annotated[tuple[Path, ...], Field(min_length=1)]
    recipe: Path = Path("forger")
    steps: Positive
    initial: str = "random"
    """Or the name of a pair above, whose forger this one starts from; or the folder of a run."""
    overrides: tuple[str, ...] = ()
    """`section.key=value` each, of the forger's recipe."""


class NetworkOptions(Section):
    """A detector that is trained anew."""

    recipe: Path
    overrides: tuple[str, ...] = ()
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Of its log odds, where several classifiers judge as one."""


class CurrentOptions(Section):
    """What the candidate is compared with: names in the manifest of models, or ONNX files."""

    frame_classifier: str = "frame_classifier"
    fake_segmenter: str = "fake_segmenter"


class FrozenSet(Section):
    """Clips that the loop never learns from."""

    name: Name
    manifest: Path
    root: Path | None = None
    bank: Path | None = None
    """Folder of its faces; that of the training data where it is the same manifest, else one
    within the loop's folder."""
    splits: Annotated[tuple[Split, ...], Field(min_length=1)] = ("test",)
    methods: tuple[str, ...] = ()
    """Of its fakes, those that count; all unless any is named."""


class Frozen(FrozenSet):
    """Clips that the gate looks at, and what it looks for."""

    is_primary: bool = False
    """Whether the AUC on this set must be better."""
    guards: tuple[Guard, ...] = ()
    """What must not be worse here."""
    shown: tuple[Shown, ...] = ()
    """What is put into the table and decides nothing."""


class Margins(Section):
    """By how much each guarded figure may be worse."""

    auc: Share = 0.02
    compressed_auc: Share = 0.03
    false_positives: Share = 0.02
    """Share of the real clips."""
    false_area: Share = 0.005
    """Share of the pixels of real faces."""


class GateOptions(Section):
    """What counts as proof."""

    margins: Margins = Margins()
    compressed: str = "H.264 CRF 40"
    """How clips are compressed anew for `compressed_auc`."""
    is_strict: bool = False
    """Whether a guard's interval must lie within its margin, and not its value alone. With few
    groups hardly any interval is that narrow."""
    least_groups: Positive = LEAST_GROUPS
    """Of people, that the primary set must show. Forgers join groups: a pair is one, and so are two
    pairs with somebody in common."""
    is_unseen_architecture: bool = True
    """Whether the primary set may hold no method that the loop generates."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.compressed not in CONDITIONS:
            raise ValueError(f"compressed is {self.compressed!r}; want one of {list(CONDITIONS)}")
        return self


class LoopRecipe(Section):
    """All of a loop."""

    task: Literal["loop"] = TASK
    run: RunOptions = RunOptions()
    data: DataOptions
    pairs: Annotated[tuple[PairOptions, ...], Field(min_length=1)]
    generate: GenerateOptions = GenerateOptions()
    classifiers: Annotated[tuple[NetworkOptions, ...], Field(min_length=1)]
    segmenter: NetworkOptions | None = None
    """Left as it is unless given."""
    current: CurrentOptions = CurrentOptions()
    calibration: FrozenSet
    """Both networks' lines are drawn here alike, whatever lines they had."""
    frozen: Annotated[tuple[Frozen, ...], Field(min_length=1)]
    gate: GateOptions = GateOptions()

    @property
    def primary(self) -> Frozen:
        """The set on which the candidate must be better."""
        return next(frozen for frozen in self.frozen if frozen.is_primary)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_once("pairs", [pair.name for pair in self.pairs])
        _check_once("frozen", [frozen.name for frozen in self.frozen])
        if sum(frozen.is_primary for frozen in self.frozen) != 1:
            raise ValueError("want one frozen set with is_primary = true")
        guarded = {guard for frozen in self.frozen for guard in frozen.guards}
        wanted = {*ALWAYS_GUARDED, *([GUARDED_OF_SEGMENTERS] if self.segmenter else [])}
        if missing := sorted(wanted - guarded):
            raise ValueError(f"no frozen set guards {', '.join(missing)}")
        of_masks = {guard for f in self.frozen for guard in (*f.guards, *f.shown)}
        if self.segmenter is None and (strange := sorted(of_masks & {"false_area", "iou"})):
            raise ValueError(f"{', '.join(strange)} needs a segmenter, and none is trained")
        return self


def read_loop_recipe(path: Path, overrides: Sequence[str] = ()) -> LoopRecipe:
    """
    Read a recipe of the loop.

    Raises:
        BadRecipe: it cannot be read, lacks something, or says something unknown.
    """
    try:
        return LoopRecipe.model_validate(read_recipe(path, overrides))
    except ValidationError as wrong:
        raise unusable(TASK, wrong) from wrong


def _check_once(what: str, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{what} with one name: {', '.join(twice)}")
