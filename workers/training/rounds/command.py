"""
How does one command make better detectors, or show that it made none?

faces -> forgers -> generate -> classifier -> segmenter -> evaluate -> gate. A loop that was killed
goes on where it was; one whose recipe was changed makes anew what the change touches.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from app.db.migrate import is_current
from app.db.session import Database
from app.services import model_versions
from app.settings import Settings
from models.registry import Registry
from workers.kit import build_registry
from workers.training.checkpoints import replace_file
from workers.training.generate import MANIFEST_FILE
from workers.training.manifest import read_manifest
from workers.training.rounds import candidate, report
from workers.training.rounds.inputs import Inputs, look_through
from workers.training.rounds.recipe import read_loop_recipe
from workers.training.rounds.report import Story
from workers.training.rounds.stages import Done, Runner
from workers.training.rounds.work import CANDIDATE, CLASSIFIER, SEGMENTER, Tools, Work

RECIPE_FILE = "recipe.json"
SQLITE = "sqlite:///"


def run_loop(
    recipe: Path,
    out: Path,
    overrides: Sequence[str] = (),
    *,
    console: Console,
    registry: Registry | None = None,
    tools: Tools | None = None,
) -> Story:
    """
    Forge, learn, compare, and decide.

    Args:
        recipe: of the loop; TOML, or the bare name of one that came with the program.
        out: gets a folder a stage, `candidate/`, `state.json`, `report.json` and `report.md`.
        overrides: `section.key=value` each.
        registry: of the networks in use; those that workers judge with unless given.
        tools: instead of the real commands.

    Returns:
        What was done and decided. Nothing is promoted.

    Raises:
        BadRecipe: something is missing, or a frozen set shares somebody with what is trained on.
        Interrupted: SIGINT or SIGTERM came; the same command goes on.
        ServiceError: whatever a stage raises.
    """
    options = read_loop_recipe(recipe, overrides)
    inputs = look_through(options)
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / RECIPE_FILE, (options.model_dump_json(indent=2) + "\n").encode())
    work = Work(
        inputs=inputs,
        registry=registry or registry_in_use(Settings()),
        out=out,
        console=console,
        tools=tools or Tools(),
    )
    runner = Runner(out, console)
    forgers = _forgers(runner, work)
    generated = runner.run(work.generate(list(forgers.values())))
    inputs.check_generated(read_manifest(generated.folder / MANIFEST_FILE))
    classifier = _classifier(runner, work, generated)
    segmenter = None
    if options.segmenter is not None:
        segmenter = runner.run(work.network(SEGMENTER, SEGMENTER, options.segmenter, generated))
    evaluated = runner.run(work.evaluate(classifier, segmenter))
    gated = runner.run(work.gate(evaluated, classifier, segmenter, generated))
    story = Story(
        decision=work.decision(evaluated),
        stages=tuple(runner.done),
        facts=_facts(inputs, forgers, generated, [classifier, *([segmenter] if segmenter else [])]),
        candidate=out / CANDIDATE,
        versions=gated.results["versions"],
    )
    report.write_report(out, story)
    candidate.write_decision(story.candidate, report.as_document(story))
    report.show(story, console)
    return story


def registry_in_use(settings: Settings) -> Registry:
    """
    Say which networks are to be beaten: promoted ones, where a database knows of any.

    Raises:
        DatabaseUnavailable: the settings name a database, and it does not answer.
    """
    url = settings.resolved_database_url
    if settings.database_url is None and not Path(url.removeprefix(SQLITE)).exists():
        return build_registry(settings)  # asking would make one
    db = Database(url)
    try:
        return build_registry(settings, model_versions.current(db) if is_current(db) else ())
    finally:
        db.close()


def _forgers(runner: Runner, work: Work) -> dict[str, Done]:
    made: dict[str, Done] = {}
    pairs = work.inputs.recipe.pairs
    faces = {
        pair.name: {who: runner.run(work.faces(pair, who)) for who in "ab"} for pair in pairs
    }  # all of them first: what is wrong with a clip is known before hours of training
    runner.run(work.data_faces())
    for pair in pairs:
        made[pair.name] = runner.run(work.forger(pair, faces[pair.name], made))
    return made


def _classifier(runner: Runner, work: Work, generated: Done) -> Done:
    options = work.inputs.recipe.classifiers
    if len(options) == 1:
        return runner.run(work.network(CLASSIFIER, CLASSIFIER, options[0], generated))
    members = [
        runner.run(work.network(CLASSIFIER, f"{CLASSIFIER}/{at}-{one.recipe.stem}", one, generated))
        for at, one in enumerate(options, 1)
    ]
    return runner.run(work.joined(members))


def _facts(
    inputs: Inputs, forgers: Mapping[str, Done], generated: Done, networks: Sequence[Done]
) -> list[str]:
    """Say in sentences what was done."""
    facts = []
    for name, done in forgers.items():
        made = done.results
        measures = ", ".join(
            f"{words} {made['measures'][key]:.2f}"
            for key, words in _MEASURES.items()
            if key in made["measures"]
        )
        facts.append(
            f"Forger {name} ({made['architecture']}): {made['steps']} steps"
            + (f"; on faces it had not seen: {measures}." if measures else ".")
        )
    facts.append("What each forger draws, step by step: the sheets in `forgers/NAME/pictures`.")
    made = generated.results
    facts.append(
        f"{made['fakes']} fakes were made beside {made['reals']} real clips, with an exact mask "
        f"each: {', '.join(made['methods'])}."
    )
    facts += [
        f"{done.name.split('/')[0].capitalize()}: trained for {done.results['seconds'] / 60:.1f} "
        f"minutes, seed {done.results['seed']}."
        for done in networks
    ]
    for one in inputs.frozen:
        # A photograph that belongs to no clip shows masks where none should be, and is no clip.
        clips = {row.clip: row for row in one.rows if row.kind == "video" or row.clip != row.path}
        fakes = sum(row.label == "fake" for row in clips.values())
        facts.append(
            f"Measured on {one.options.name}: {fakes} manipulated and {len(clips) - fakes} real "
            f"clips, groups of people: {len({row.group for row in clips.values()})} "
            f"({one.options.manifest}, {', '.join(one.options.splits)})."
        )
    return facts


_MEASURES = {
    "ssim_a": "SSIM of a",
    "ssim_b": "of b",
    "identity_ab": "swapped faces nearer to b than to a",
    "identity_ba": "to a than to b",
}
