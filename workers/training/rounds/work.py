"""
What is done at each stage of the loop? What other commands do, one after the other.

Every method gives a `Stage`: what it is made from, so that a change is noticed, and the work.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from models.manifest import ManifestEntry
from models.registry import Registry
from workers.training import committee
from workers.training.bank import FaceBank, open_or_build
from workers.training.calibrate import Calibration
from workers.training.evaluate.metrics import Estimate
from workers.training.evaluate.scores import Network, load_network
from workers.training.forging.command import FACES, train_forger
from workers.training.forging.face_sets import CurationOptions, curate
from workers.training.forging.runs import read_record
from workers.training.generate import generate
from workers.training.loop import HISTORY_FILE
from workers.training.manifest import Row
from workers.training.recipe import read_recipe, unusable
from workers.training.rounds import candidate
from workers.training.rounds.compare import (
    Detectors,
    Judged,
    calibrated,
    compare,
    rows_of,
    wanted,
)
from workers.training.rounds.gate import Decision, Measure, decide
from workers.training.rounds.inputs import RANDOM, FrozenData, Inputs
from workers.training.rounds.recipe import Frozen, NetworkOptions, PairOptions
from workers.training.rounds.stages import Done, Results, Stage, Tell, watched
from workers.training.run import train_command
from workers.training.tasks import SERVED_AS

BANK, BANKS, SET = "bank", "banks", "set"
CANDIDATE = "candidate"
CLASSIFIER, SEGMENTER = "classifier", "segmenter"
_DIGITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The commands that stages are made of."""

    curate: Any = curate
    train_forger: Any = train_forger
    read_record: Any = read_record
    generate: Any = generate
    open_bank: Any = open_or_build
    train: Any = train_command
    join: Any = committee.join


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The stages of one loop."""

    inputs: Inputs
    registry: Registry
    out: Path
    console: Console
    tools: Tools

    def faces(self, pair: PairOptions, who: str) -> Stage:
        """Cut out the faces of one of a pair."""
        options = _curation(pair)
        rows = self._rows(pair, who)

        def work(folder: Path, _: Tell) -> Results:
            made = self.tools.curate(
                self.inputs.paths(rows), folder / SET, options, console=self.console
            )
            return {"faces": len(made)}

        return Stage(
            name=f"faces/{pair.name}-{who}",
            inputs={"sources": _digests(rows), "options": options.model_dump(mode="json")},
            work=work,
        )

    def data_faces(self) -> Stage:
        """Cut out the faces of the clips that are learned from beside the fakes."""
        data = self.inputs.recipe.data

        def work(_: Path, __: Tell) -> Results:
            bank = self.tools.open_bank(self.inputs.data, data.bank, console=self.console)
            return {"looks": len(bank.rows)}

        return Stage(
            name="faces/data",
            inputs={"data": self.inputs.data.sha256, "bank": str(data.bank)},
            work=work,
        )

    def forger(
        self, pair: PairOptions, faces: Mapping[str, Done], before: Mapping[str, Done]
    ) -> Stage:
        """Train the forger of a pair."""
        seed = self.inputs.recipe.run.seed
        initial = pair.initial
        if initial in before:
            initial = str(before[initial].folder)
        overrides = (*pair.overrides, f"run.seed={seed}", f"network.initial={initial}")

        def work(folder: Path, tell: Tell) -> Results:
            for who in "ab":
                _bring(faces[who].folder / SET, folder / FACES / who)
            with watched(folder / HISTORY_FILE, steps=pair.steps, tell=tell):
                self.tools.train_forger(
                    *(self.inputs.paths(self._rows(pair, who)) for who in "ab"),
                    folder,
                    recipe=pair.recipe,
                    overrides=overrides,
                    steps=pair.steps,
                    console=self.console,
                )
            record = self.tools.read_record(folder)
            return {
                "architecture": record.architecture,
                "network_sha256": record.network_sha256,
                "steps": record.steps,
                "measures": dict(record.measures),
            }

        return Stage(
            name=f"forgers/{pair.name}",
            inputs={
                "recipe": read_recipe(pair.recipe, pair.overrides),
                "steps": pair.steps,
                "seed": seed,
                "faces": [faces[who].sha256 for who in "ab"],
                "initial": RANDOM
                if pair.initial == RANDOM
                else before[pair.initial].sha256
                if pair.initial in before
                else self.tools.read_record(Path(pair.initial)).network_sha256,
            },
            work=work,
        )

    def generate(self, forgers: Sequence[Done]) -> Stage:
        """Make fakes with all forgers, and cut their faces out."""
        recipe = self.inputs.recipe

        def work(folder: Path, tell: Tell) -> Results:
            made = self.tools.generate(
                [forger.folder for forger in forgers],
                recipe.data.manifest,
                folder,
                recipe.generate,
                console=self.console,
                root=recipe.data.root,
                told=tell,
            )
            self.tools.open_bank(made, folder / BANK, console=self.console)
            fakes = [row for row in made.rows if row.label == "fake"]
            return {
                "manifest_sha256": made.sha256,
                "fakes": len(fakes),
                "reals": len(made.rows) - len(fakes),
                "methods": sorted({row.method for row in fakes}),
            }

        return Stage(
            name="generate",
            inputs={
                "forgers": [forger.sha256 for forger in forgers],
                "options": recipe.generate.model_dump(mode="json"),
                "data": self.inputs.data.sha256,
            },
            work=work,
        )

    def network(self, task: str, name: str, options: NetworkOptions, generated: Done) -> Stage:
        """Train a detector on the data and on what was generated."""
        recipe = self.inputs.recipe
        overrides = (
            *options.overrides,
            f"run.seed={recipe.run.seed}",
            f"data.manifest={recipe.data.manifest}",
            f"data.bank={recipe.data.bank}",
            f"data.generated={generated.folder / BANK}",
            "data.folds=0",  # folds would train on what is frozen
        )
        raw = read_recipe(options.recipe, options.overrides)

        def work(folder: Path, tell: Tell) -> Results:
            # There already, unless somebody removed it since.
            self.tools.open_bank(self.inputs.data, recipe.data.bank, console=self.console)
            with watched(folder / HISTORY_FILE, steps=_steps(raw), tell=tell):
                self.tools.train(task, options.recipe, folder, overrides, self.console)
            return _story(folder)

        return Stage(
            name=name,
            inputs={
                "recipe": raw,
                "seed": recipe.run.seed,
                "data": self.inputs.data.sha256,
                "generated": generated.results["manifest_sha256"],
            },
            work=work,
        )

    def joined(self, members: Sequence[Done]) -> Stage:
        """Make one classifier of several."""
        weights = [options.weight for options in self.inputs.recipe.classifiers]

        def work(folder: Path, _: Tell) -> Results:
            runs = [
                committee.Member(run=member.folder, weight=weight)
                for member, weight in zip(members, weights, strict=True)
            ]
            self.tools.join(runs, folder, console=self.console)
            return _story(folder)

        return Stage(
            name=f"{CLASSIFIER}/joined",
            inputs={"members": [member.sha256 for member in members], "weights": weights},
            work=work,
        )

    def evaluate(self, classifier: Done, segmenter: Done | None) -> Stage:
        """Measure the networks in use and the candidates on what none of them learned from."""
        recipe, inputs = self.inputs.recipe, self.inputs
        current = recipe.current

        def work(_: Path, tell: Tell) -> Results:
            steps = len(inputs.frozen) + 1
            bank = self._bank(inputs.calibration)
            rows = rows_of(bank, inputs.calibration.options)
            sides = []
            for judge, marker in (
                (
                    load_network(current.frame_classifier, self.registry),
                    load_network(current.fake_segmenter, self.registry) if segmenter else None,
                ),
                (_candidate(classifier), _candidate(segmenter) if segmenter else None),
            ):
                line = calibrated(judge, bank, rows, seed=recipe.run.seed)
                sides.append(Detectors(classifier=judge, calibration=line, segmenter=marker))
            measures: list[Measure] = []
            for done, one in enumerate(inputs.frozen, 1):
                tell(done, steps)
                assert isinstance(one.options, Frozen)
                faces = self._bank(one)
                judged = Judged(
                    frozen=one.options,
                    data=one.data,
                    bank=faces,
                    rows=rows_of(faces, one.options),
                )
                measures += compare(
                    [judged], sides[0], sides[1], recipe.gate, seed=recipe.run.seed,
                    console=self.console,
                )  # fmt: skip
            return {
                "measures": [asdict(measure) for measure in measures],
                "calibration": [side.calibration.model_dump() for side in sides],
            }

        return Stage(
            name="evaluate",
            inputs={
                "classifier": classifier.sha256,
                "segmenter": segmenter.sha256 if segmenter else "",
                "current": [
                    load_network(name, self.registry).sha256
                    for name in (current.frame_classifier, current.fake_segmenter)
                ],
                "frozen": [
                    [one.data.sha256, one.options.model_dump(mode="json")]
                    for one in (inputs.calibration, *inputs.frozen)
                ],
                "gate": recipe.gate.model_dump(mode="json"),
                "seed": recipe.run.seed,
            },
            work=work,
        )

    def gate(
        self, evaluated: Done, classifier: Done, segmenter: Done | None, generated: Done
    ) -> Stage:
        """Put the candidate together, as it would be promoted."""
        package = self.out / CANDIDATE

        def work(_: Path, __: Tell) -> Results:
            shutil.rmtree(package, ignore_errors=True)
            package.mkdir()
            entries = [
                candidate.write_entry(
                    package,
                    candidate.Made(
                        name=SERVED_AS[task],
                        run=done.folder,
                        current=self._in_use(task),
                        calibration=_line(evaluated) if task == CLASSIFIER else None,
                        seeds=(self.inputs.recipe.run.seed,),
                        what=self._what(task),
                        trained_on=self._trained_on(task, generated),
                        caveat=self._caveat(task, evaluated),
                    ),
                )
                for task, done in ((CLASSIFIER, classifier), (SEGMENTER, segmenter))
                if done is not None
            ]
            return {
                "versions": {
                    entry.name: f"{self.registry.entry(entry.name).version} to {entry.version}"
                    for entry in entries
                },
                "sha256": {entry.name: entry.sha256 for entry in entries},
            }

        return Stage(
            name="gate",
            inputs={
                "evaluate": evaluated.sha256,
                "classifier": classifier.sha256,
                "segmenter": segmenter.sha256 if segmenter else "",
                "generated": generated.sha256,
            },
            work=work,
        )

    def decision(self, evaluated: Done) -> Decision:
        """Ask the gate."""
        recipe = self.inputs.recipe
        fault = candidate.fault_of(_line(evaluated))
        return decide(
            measures_of(evaluated),
            wanted=wanted(recipe.frozen),
            faults=[fault] if fault else [],
            least_groups=recipe.gate.least_groups,
            is_strict=recipe.gate.is_strict,
        )

    def _rows(self, pair: PairOptions, who: str) -> tuple[Row, ...]:
        return self.inputs.people[pair.name]["ab".index(who)]

    def _bank(self, one: FrozenData) -> FaceBank:
        """Open the faces of a set; cut them out where that was not done."""
        data = self.inputs.recipe.data
        folder = one.options.bank or (
            data.bank
            if one.data.sha256 == self.inputs.data.sha256
            else self.out / BANKS / one.data.sha256[:_DIGITS]
        )
        bank: FaceBank = self.tools.open_bank(one.data, folder, console=self.console)
        return bank

    def _in_use(self, task: str) -> ManifestEntry:
        return self.registry.entry(SERVED_AS[task])

    def _what(self, task: str) -> str:
        what = self._in_use(task).what
        if task == SEGMENTER:
            return what
        recipes = ", ".join(options.recipe.stem for options in self.inputs.recipe.classifiers)
        return f"{what.split('. ')[0]}. Made in a round of the loop, by the recipes {recipes}"

    def _trained_on(self, task: str, generated: Done) -> str:
        made = generated.results
        return (
            f"{self._in_use(task).trained_on}; and {made['fakes']} face swaps of the same people, "
            f"made by this program's own forgers ({', '.join(made['methods'])}; data manifest "
            f"sha256:{made['manifest_sha256']})"
        )

    def _caveat(self, task: str, evaluated: Done) -> str | None:
        if task == SEGMENTER:
            return self._in_use(task).caveat
        figures = ", ".join(
            f"{measure.candidate:.2f} {measure.name.removeprefix('AUC ')}"
            for measure in measures_of(evaluated)
            if measure.name.startswith("AUC (")
        )
        return (
            "Made for replaced and re-enacted faces. AUC on clips of people it never saw: "
            f"{figures}. Wholly generated faces and pictures set in motion are not covered."
        )


def measures_of(evaluated: Done) -> list[Measure]:
    """Read what a comparison found."""
    return [
        Measure(**{**values, "difference": Estimate(**values["difference"])})
        for values in evaluated.results["measures"]
    ]


def _line(evaluated: Done) -> Calibration:
    """Read the line of the candidate."""
    return Calibration.model_validate(evaluated.results["calibration"][1])


def _curation(pair: PairOptions) -> CurationOptions:
    raw = read_recipe(pair.recipe, pair.overrides)
    try:
        return CurationOptions.model_validate(raw.get("faces", {}))
    except ValidationError as wrong:
        raise unusable("forger", wrong) from wrong


def _bring(source: Path, target: Path) -> None:
    """Copy a set of faces, whole or not at all, unless it is there."""
    if target.exists():
        return
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    partial.replace(target)


def _candidate(done: Done) -> Network:
    return Network(CANDIDATE, (done.folder / done.results["onnx"]).read_bytes())


def _story(folder: Path) -> Results:
    record = candidate.record_of(folder)
    kept = ("onnx", "onnx_sha256", "recipe_sha256", "seed", "seconds")
    return {key: record[key] for key in kept} | {
        "validation": record.get("validation", {}),
        "steps": record.get("steps", 0),
    }


def _steps(raw: Mapping[str, object]) -> int:
    run = raw.get("run")
    return int(run["steps"]) if isinstance(run, dict) else 0


def _digests(rows: Sequence[Row]) -> list[str]:
    return [row.sha256 for row in rows]
