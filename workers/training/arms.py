"""
What do a forger's fakes teach that blends of real faces do not? Arms that differ in nothing else.

    deepverdict train arms --recipe arms --out out/arms

Every arm trains the same network for as many steps from the same seeds, its blends made of the same
real faces; in the arms beside `sbi` some of the blends give way to what our own forgers made. All
are then asked about the same clips, of people whom none of them saw, and the arms are compared clip
by clip. What was expected stands in the recipe, written before, and beside what came of it.
"""

import fnmatch
import hashlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator
from rich.console import Console
from torch import nn

from app import child
from app.errors import ServiceError
from app.version import code_version
from workers.training import checkpoints
from workers.training.arms_figures import Drawn, compared, tables
from workers.training.bank import FaceBank, open_or_build
from workers.training.errors import BadDataset, BadRecipe, Interrupted
from workers.training.evaluate.baselines import published_networks, softness
from workers.training.evaluate.kept import kept
from workers.training.evaluate.metrics import Array
from workers.training.evaluate.report import write_json
from workers.training.evaluate.scores import clip_rows, clip_scores, columns, look_logits
from workers.training.loop import train
from workers.training.manifest import people_of, read_manifest
from workers.training.pairs import PairOptions
from workers.training.recipe import (
    Count,
    DataOptions,
    Positive,
    Section,
    Share,
    read_recipe,
    unusable,
)
from workers.training.rendered import PairSource, render
from workers.training.rounds.stages import interruptible
from workers.training.tasks import make_task
from workers.training.tasks.classifier import (
    RENDER_SEED,
    ClassifierTask,
    generated_faces,
    score_rows,
    training_rows,
)

Arm = Literal["sbi", "generated", "recomposited"]
ARMS: tuple[Arm, ...] = ("sbi", "generated", "recomposited")
FIGURES, TABLES = "arms.json", "arms.md"
PAIRS, ANSWERS = "pairs", "answers"
BASELINE = "meso4"
"""Published networks whose names begin so are asked too."""
_SHOWN = 5


class ArmOptions(Section):
    """What the arms are, and how they are run."""

    recipe: Path = Path("classifier_mobilenet")
    """Of the classifier that every arm trains; `base` says what is changed in it."""
    names: Annotated[tuple[Arm, ...], Field(min_length=2)] = ARMS
    seeds: Annotated[tuple[int, ...], Field(min_length=2)] = (0, 1)
    generated_share: Share = 0.3
    """Of the fakes, those that forgers made, in both arms that have any."""
    recomposited_share: Share = 0.5
    """Of what forgers made, what is blended anew in the arm of that name."""
    labelled_share: Share = 0.0
    """Of the fakes, labelled ones, in every arm."""
    rendered: Count = 16_000
    """Pairs that an arm's runs share, made before them; 0 makes them as they are asked for."""
    at_once: Positive = 1
    """Runs that are trained at the same time, each in a process of its own."""
    weights: Path | None = None
    """Folder with the originals of published networks, to stand beside the arms."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, values in (("names", self.names), ("seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} has one twice: {list(values)}")
        return self


class HeldOut(Section):
    """Clips that the arms are asked about."""

    words: str
    """What it tests; the heading of its table."""
    bank: Path
    manifest: Path | None = None
    """Of the bank, to make it where it is not there."""
    split: str = "test"
    methods: tuple[str, ...] = ()
    """Of its fakes, those that count; `forger-*` are all that begin so. All unless any is named."""
    reals: Literal["own", "all"] = "own"
    """The real clips that the fakes were made from, or all of the split."""
    by_family: bool = False
    """Whether each family of methods has a table of its own besides."""
    people: Literal["unseen", "any"] = "unseen"
    """Unseen: nobody in it may be in what any arm is trained on."""
    architectures: Literal["unseen", "any"] = "any"
    """Unseen: no arm may be trained on fakes of its methods."""
    drawn: Drawn = "group"
    """Over what its intervals are. Forgers join the groups of both of their people, so that few
    forgers make few groups; `source` draws real clips, each with all that was made of it."""
    expected: Mapping[str, str] = {}
    """What was thought to come of it, in words, by arm or by `arm-other` for a difference."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = {*ARMS, *(f"{better}-{other}" for better in ARMS for other in ARMS)}
        if strange := sorted(self.expected.keys() - known):
            raise ValueError(f"expected has {strange}; want arms, or two such as generated-sbi")
        return self


class ArmsRecipe(Section):
    """All of an experiment."""

    task: Literal["arms"] = "arms"
    arms: ArmOptions = ArmOptions()
    data: DataOptions
    """That every arm learns from, in the place of what the classifier's recipe names."""
    base: Mapping[str, Mapping[str, object]] = {}
    """Sections of the classifier's recipe, with what is changed in them, alike for all arms."""
    tests: Annotated[Mapping[str, HeldOut], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One training."""

    arm: Arm
    seed: int
    raw: Mapping[str, object]  # recipe
    folder: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """A test, and the looks that it is made with."""

    name: str
    options: HeldOut
    bank: FaceBank
    rows: tuple[int, ...]

    @cached_property
    def people(self) -> set[str]:
        """Everybody who is seen."""
        return {who for row in self.rows for who in people_of(self.bank.rows[row].group)}

    @cached_property
    def methods(self) -> set[str]:
        """Of its fakes."""
        faces = (self.bank.rows[row] for row in self.rows)
        return {face.method for face in faces if face.label == "fake"}


def run_arms(
    recipe: Path, out: Path, overrides: Sequence[str] = (), *, console: Console
) -> dict[str, Any]:
    """
    Train every arm from every seed, ask all of them about the same clips, and compare them.

    Args:
        recipe: a TOML file, or the bare name of one that came with the program.
        out: gets a folder for each run, which goes on where it was, `arms.json` and `arms.md`.
        overrides: `section.key=value` each.

    Returns:
        What was written as JSON.

    Raises:
        BadRecipe: a recipe cannot be used.
        BadDataset: there is too little data, or somebody is trained on and tested on.
        Interrupted: somebody asked it to stop; the same command goes on.
        ServiceError: whatever `loop.train` raises.
    """
    options = read_arms_recipe(recipe, overrides)
    plan = {arm: _recipe_of(options, arm) for arm in options.arms.names}
    tasks = {arm: _task(raw) for arm, raw in plan.items()}
    # Before hours of training: whether all that is asked for can be had.
    tests = [_asked(name, test, console) for name, test in options.tests.items()]
    trained_on = {arm: _trained_on(task) for arm, task in tasks.items()}
    for test in tests:
        _check_unseen(test, trained_on.values())
    scored: dict[str, dict[str, list[Array]]] = {test.name: {} for test in tests}
    runs: dict[str, dict[str, Any]] = {}
    for arm in options.arms.names:
        for run in _trained(options, arm, plan[arm], out, console):
            network = _network(run, console)
            for test in tests:
                scored[test.name].setdefault(arm, []).append(_scores(test, network, run))
            runs[run.folder.name] = _story(run)
    document = {
        "code": code_version(),
        "recipe": options.model_dump(mode="json"),
        "recipe_sha256": _digest(options.model_dump_json()),
        "data_manifest_sha256": read_manifest(options.data.manifest).sha256,
        "arms": {
            arm: {
                "pairs": _shares(tasks[arm].recipe.pairs),
                "recipe_sha256": tasks[arm].recipe.sha256,
                "trained_on": trained_on[arm].counts(),
            }
            for arm in options.arms.names
        },
        "runs": runs,
        "tests": {
            test.name: _figures(test, scored[test.name], options.arms.weights) for test in tests
        },
    }
    write_json(out / FIGURES, document)
    words = tables(document)
    checkpoints.replace_file(out / TABLES, words.encode())
    console.print(words, highlight=False, markup=False, soft_wrap=True)
    return document


def read_arms_recipe(path: Path, overrides: Sequence[str] = ()) -> ArmsRecipe:
    """
    Read the recipe of an experiment.

    Raises:
        BadRecipe: it cannot be read, lacks something, or says something unknown.
    """
    try:
        options = ArmsRecipe.model_validate(read_recipe(path, overrides))
    except ValidationError as wrong:
        raise unusable("arms", wrong) from wrong
    if options.data.generated is None:
        raise BadRecipe(
            "data.generated names no bank of what forgers made; make one with `deepverdict train "
            "generate`"
        )
    return options


def _recipe_of(options: ArmsRecipe, arm: Arm) -> dict[str, object]:
    """Return the classifier's recipe for an arm, whatever its seed."""
    raw = read_recipe(options.arms.recipe)
    data = options.data.model_dump(exclude_none=True)
    if arm == "sbi":  # it learns the same whether there are forgers or not
        data.pop("generated", None)
    raw = _over(raw, {**options.base, "data": data})
    return _over(raw, {"pairs": _mixture(_task(raw).recipe.pairs, options.arms, arm)})


def _mixture(pairs: PairOptions, options: ArmOptions, arm: Arm) -> dict[str, float]:
    """Share the fakes out; blends keep the proportion that the classifier's recipe has."""
    forged = 0.0 if arm == "sbi" else options.generated_share
    anew = forged * options.recomposited_share if arm == "recomposited" else 0.0
    blends = 1 - options.labelled_share - forged
    both = pairs.self_blend_share + pairs.cross_blend_share
    of_self = pairs.self_blend_share / both if both else 1.0
    return {
        "self_blend_share": blends * of_self,
        "cross_blend_share": blends * (1 - of_self),
        "generated_share": forged - anew,
        "recomposited_share": anew,
    }


def _over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Lay one tree of values over another."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            both[key] = _over(under, value)
        else:
            both[key] = value
    return both


def _task(raw: Mapping[str, object]) -> ClassifierTask:
    task = make_task(raw)
    if not isinstance(task, ClassifierTask):
        raise BadRecipe(f"the arms' recipe is for {task.recipe.task!r}; want a classifier's")
    return task


def _shares(pairs: PairOptions) -> dict[str, float]:
    names = ("self_blend", "cross_blend", "generated", "recomposited", "labelled")
    return {name: round(getattr(pairs, f"{name}_share"), 4) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrainedOn:
    """Who and what an arm's pairs are made of."""

    people: frozenset[str]
    methods: Mapping[str, int]  # of the fakes that are shown; looks of each
    real_looks: int

    def counts(self) -> dict[str, Any]:
        return {
            "people": len(self.people),
            "real_looks": self.real_looks,
            "fake_looks": dict(self.methods),
        }


def _trained_on(task: ClassifierTask) -> _TrainedOn:
    pairs = task.recipe.pairs
    faces = [task.bank.rows[row] for row in training_rows(task.bank, task.recipe.data)]
    reals = [face for face in faces if face.label == "real"]
    fakes = [f for f in faces if f.label == "fake"] if pairs.labelled_share > 0 else []
    shown = [*reals, *fakes]
    made = generated_faces(task.bank, task.recipe.data)
    if made is not None:
        of_forgers = [made.bank.rows[row] for row in made.rows]
        shown += of_forgers
        fakes += [face for face in of_forgers if face.label == "fake"]
    methods: dict[str, int] = {}
    for face in fakes:
        methods[face.method] = methods.get(face.method, 0) + 1
    return _TrainedOn(
        people=frozenset(who for face in shown for who in people_of(face.group)),
        methods=methods,
        real_looks=len(reals),
    )


def _asked(name: str, options: HeldOut, console: Console) -> _Asked:
    """Open a test's bank and choose its looks."""
    if options.manifest is not None:
        bank = open_or_build(read_manifest(options.manifest), options.bank, console=console)
    else:
        bank = FaceBank.open(options.bank)
    faces = [bank.rows[row] for row in clip_rows(bank, options.split)]
    fakes = [
        face
        for face in faces
        if face.label == "fake"
        and (not options.methods or any(fnmatch.fnmatch(face.method, m) for m in options.methods))
    ]
    sources = {bank.rows[face.pair].clip for face in fakes if face.pair >= 0}
    reals = [
        face
        for face in faces
        if face.label == "real" and (options.reals == "all" or face.clip in sources)
    ]
    if not fakes or not reals:
        raise BadDataset(
            f"the test {name!r}: {options.bank} has {len(fakes)} looks at fakes of "
            f"{', '.join(options.methods) or 'any method'} in the split {options.split!r}, and "
            f"{len(reals)} at their real clips; want some of both"
        )
    rows = tuple(sorted(face.row for face in (*fakes, *reals)))
    return _Asked(name=name, options=options, bank=bank, rows=rows)


def _check_unseen(test: _Asked, arms: Collection[_TrainedOn]) -> None:
    """Refuse a test of what an arm has learned by heart."""
    people = set().union(*(arm.people for arm in arms))
    if test.options.people == "unseen" and (shared := sorted(test.people & people)):
        raise BadDataset(
            f"the test {test.name!r} shows {len(shared)} groups that arms are trained on: "
            f"{', '.join(shared[:_SHOWN])}; choose another split, or say "
            f"tests.{test.name}.people = 'any' and claim less"
        )
    methods = set().union(*(arm.methods for arm in arms))
    if test.options.architectures == "unseen" and (known := sorted(test.methods & methods)):
        raise BadDataset(
            f"the test {test.name!r} shows fakes of {', '.join(known)}, which arms are trained on; "
            "keep them from training with data.leave_out"
        )


def _trained(
    options: ArmsRecipe, arm: Arm, raw: Mapping[str, object], out: Path, console: Console
) -> list[_Run]:
    """Train an arm from every seed; runs that are done are left as they are."""
    folders = {seed: out / f"{arm}-seed{seed}" for seed in options.arms.seeds}
    pairs = None
    if options.arms.rendered:
        task = _task(raw)
        source = _source(task)
        pairs = out / PAIRS / f"{arm}-{_digest_of(source, options.arms.rendered)}"
        raw = _over(raw, {"rendered": {"folder": pairs, "count": options.arms.rendered}})
        if not all(_is_done(folder) for folder in folders.values()):
            console.print(f"[bold]{arm}[/bold]: pairs", highlight=False)
            render(source, count=options.arms.rendered, folder=pairs, console=console)
    runs = [
        _Run(arm=arm, seed=seed, raw=_over(raw, {"run": {"seed": seed}}), folder=folder)
        for seed, folder in folders.items()
    ]
    left = [run for run in runs if not _is_done(run.folder)]
    if options.arms.at_once > 1:
        for at in range(0, len(left), options.arms.at_once):
            _train_at_once(left[at : at + options.arms.at_once])
    for run in left:
        if not _is_done(run.folder):  # nor one that failed beside others: here it says why
            _train_one(run, console)
    if pairs is not None:  # gigabytes that no run asks for any more
        shutil.rmtree(pairs, ignore_errors=True)
    return runs


def _source(task: ClassifierTask) -> PairSource:
    """Return what an arm's pairs are made of: no other faces than training may see."""
    data = task.recipe.data
    made = generated_faces(task.bank, data)
    return PairSource(
        bank=data.bank,
        rows=training_rows(task.bank, data),
        options=task.recipe.pairs,
        seed=RENDER_SEED,
        generated=data.generated,
        generated_rows=() if made is None else made.rows,
    )


def _digest_of(source: PairSource, count: int) -> str:
    """Return a word for all that rendered pairs depend on, so that none of before are taken."""
    banks = [FaceBank.open(folder) for folder in (source.bank, source.generated) if folder]
    return _digest(repr((source, [bank.manifest_sha256 for bank in banks], count)))[:12]


def _train_at_once(runs: Sequence[_Run]) -> None:
    """Train several runs side by side; one that fails is left as it is."""
    processes = [child.start("workers.training.arms:train_apart", run) for run in runs]
    try:
        with interruptible():
            for process in processes:
                process.wait()
    except KeyboardInterrupt as stopped:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        raise Interrupted(
            "stopped; every run wrote a checkpoint, run the same command again to go on"
        ) from stopped


def train_apart(run: _Run) -> int:
    """Train a run in a process of its own; return its exit status."""
    console = Console(stderr=True)
    try:
        _train_one(run, console)
    except ServiceError as why:
        console.print(f"{run.folder.name}: {why}", highlight=False, markup=False, soft_wrap=True)
        return 1
    return 0


def _train_one(run: _Run, console: Console) -> None:
    console.print(f"[bold]{run.folder.name}[/bold]", highlight=False)
    _network(run, console)


def _network(run: _Run, console: Console) -> nn.Module:
    """Return a run's network, trained to the end."""
    task = _task(run.raw)
    return task.finished(train(task, run.folder, console=console))


def _is_done(folder: Path) -> bool:
    return (folder / checkpoints.NETWORK_FILE).is_file()


def _story(run: _Run) -> dict[str, Any]:
    ended = checkpoints.load(run.folder)
    assert ended is not None, "train() writes a checkpoint of its last step"
    return {
        "arm": run.arm,
        "seed": run.seed,
        "steps": ended.step,
        "seconds": round(ended.seconds, 1),
        "network_sha256": _digest((run.folder / checkpoints.NETWORK_FILE).read_bytes()),
    }


def _scores(test: _Asked, network: nn.Module, run: _Run) -> Array:
    """Return the log odds of a test's clips, in the order of `_clips`."""

    def ask() -> dict[str, float]:
        logits = score_rows(network, test.bank, test.rows)
        return {str(row): float(x) for row, x in zip(test.rows, logits, strict=True)}

    depends_on = (
        _digest((run.folder / checkpoints.NETWORK_FILE).read_bytes()),
        test.bank.manifest_sha256,
        repr(test.bank.rows),
        repr(test.rows),
    )
    by_row = kept(run.folder / ANSWERS, test.name, depends_on, ask)
    logits = np.array([by_row[str(row)] for row in test.rows])
    return columns(clip_scores(test.bank, test.rows, logits))[0]


def _figures(
    test: _Asked, by_arm: Mapping[str, Sequence[Array]], weights: Path | None
) -> dict[str, Any]:
    """Compare the arms on one test."""
    clips = clip_scores(test.bank, test.rows, np.zeros(len(test.rows)))
    return {
        "words": test.options.words,
        "methods": sorted(test.methods),
        "people": test.options.people,
        "expected": dict(test.options.expected),
        "drawn": test.options.drawn,
        "of": compared(
            clips,
            by_arm,
            _baselines(test, weights),
            by_family=test.options.by_family,
            drawn=test.options.drawn,
        ),
    }


def _baselines(test: _Asked, weights: Path | None) -> dict[str, Array]:
    """Score a test's clips by how soft faces are, and by published networks where they are."""
    found = {name: columns(scores)[0] for name, scores in softness(test.bank, test.rows).items()}
    for network in published_networks(weights) if weights else ():
        if network.name.startswith(BASELINE):
            logits = look_logits(test.bank, network.logits, test.rows)
            found[network.name] = columns(clip_scores(test.bank, test.rows, logits))[0]
    return found


def _digest(content: str | bytes) -> str:
    as_bytes = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(as_bytes).hexdigest()
