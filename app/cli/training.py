"""How are networks trained and measured from a terminal?"""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import explained, out, read_settings, with_training

train_app = typer.Typer(
    no_args_is_help=True,
    help="""Train networks, and make what they are trained on.

      deepverdict train classifier --set data.manifest=videos.csv --set data.bank=bank/
      deepverdict train segmenter --recipe mine.toml --out out/mine --set run.steps=2000
      torchrun --nproc-per-node 4 -m app.cli train classifier --recipe mine.toml

    Every run has a folder: pictures of what the network sees, metrics.csv, a checkpoint every
    minute. Ctrl-C writes a checkpoint; the same command goes on from it.""",
)
data_app = typer.Typer(
    no_args_is_help=True,
    help="""List and split the videos and pictures that networks are trained on.

      deepverdict data index FaceForensics++/ --out ffpp.csv
      deepverdict data index videos/ --layout csv --seed 7""",
)


class Split(StrEnum):
    """The parts of a data manifest."""

    TRAIN = "train"
    VAL = "val"
    CAL = "cal"
    TEST = "test"
    ALL = "all"


class Person(StrEnum):
    """The two people of a forger."""

    A = "a"
    B = "b"


SERVED = {
    "classifier": "whether a face was manipulated, look by look",
    "segmenter": "which pixels of a face were manipulated",
    "detector": "where faces are",
    "landmarks": "where the points of a face are",
    "embedding": "whether two faces are of one person",
    "landmark_flow": "whether a face moves as faces do",
}
"""Networks that detection uses, and what each learns to say."""

Recipe = Annotated[
    Path | None,
    typer.Option(metavar="R.toml", help="How; the shipped recipe of that name unless given."),
]
RunFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Of this run; out/RECIPE unless given."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one value of the recipe."),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh/--resume", help="Forget what the run in DIR has done, or go on."),
]


def _train_served(network: str) -> Callable[..., None]:
    """Make the command that trains one of the networks that detection uses."""

    def train(
        recipe: Recipe = None,
        folder: RunFolder = None,
        overrides: Overrides = None,
        is_fresh: Fresh = False,
    ) -> None:
        with explained(), with_training():
            from workers.training.run import train_command  # noqa: PLC0415  imports torch

            chosen = recipe or Path(network)
            where = folder or Path("out") / chosen.stem
            onnx = train_command(network, chosen, where, overrides or [], out, is_fresh=is_fresh)
        out.print(f"Network: {onnx}", highlight=False, soft_wrap=True)

    return train


for _network, _says in SERVED.items():
    train_app.command(
        _network,
        help=f"""Train the network that says {_says}, and export it as it is served.

          deepverdict train {_network} --set data.manifest=videos.csv --set data.bank=bank/

        DIR gets metrics.csv, pictures, a checkpoint, and at the end the ONNX file and run.json.""",
    )(_train_served(_network))


@train_app.command("forger")
def train_forger(
    *,
    a: Annotated[
        list[Path],
        typer.Option("--a", metavar="PATH", help="A video of one person, or a folder of pictures."),
    ],
    b: Annotated[
        list[Path], typer.Option("--b", metavar="PATH", help="The same, of another person.")
    ],
    steps: Annotated[
        int | None, typer.Option(min=1, help="In the place of the recipe's run.steps.")
    ] = None,
    recipe: Annotated[
        Path, typer.Option(metavar="R.toml", help="How: forger, forger_128, forger_plain, a file.")
    ] = Path("forger"),
    folder: RunFolder = None,
    overrides: Overrides = None,
    is_fresh: Fresh = False,
) -> None:
    """
    Train the autoencoder that gives one person the face of another, to make fakes to learn from.

      deepverdict train forger --a anna.mp4 --b ben.mp4 --out out/anna-ben
      deepverdict train forger --a one.mp4 --a two.mp4 --b pictures/ --recipe forger_128

    --a and --b may be given several times. DIR gets the faces and a report of them, metrics.csv,
    sheets of pictures, a checkpoint, and at the end the forger. What it draws is synthetic and is
    always marked so; docs/forging.md says what it is for.
    """
    with explained(), with_training():
        from workers.training.forging.command import train_forger as train  # noqa: PLC0415

        where = folder or Path("out") / recipe.stem
        train(
            a,
            b,
            where,
            recipe=recipe,
            overrides=overrides or [],
            steps=steps,
            console=out,
            is_fresh=is_fresh,
        )
    out.print(f"Forger: {where}", highlight=False, soft_wrap=True)


@train_app.command("swap")
def swap_faces(
    *,
    forger: Annotated[
        Path,
        typer.Option(exists=True, file_okay=False, metavar="DIR", help="Of a finished forger."),
    ],
    video: Annotated[
        Path,
        typer.Option(
            exists=True, dir_okay=False, metavar="IN", help="Of the person that --to is not."
        ),
    ],
    to: Annotated[Person, typer.Option(help="Whose face is given.")],
    file: Annotated[
        Path, typer.Option("--out", metavar="OUT.mp4", help="Must not be there already.")
    ],
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Draw every choice by chance; without it they are plain ones."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="At most; all unless given.")] = None,
    mark: Annotated[
        bool, typer.Option("--mark/--no-mark", help="Write SYNTHETIC into the picture.")
    ] = True,
) -> None:
    """
    Give the face in a video another person's, with the exact mask of what was changed.

      deepverdict train swap --forger out/ab --video a.mp4 --to b --out s.mp4
      deepverdict train swap --forger out/ab --video b.mp4 --to a --out t.mp4 --seed 7

    Beside OUT.mp4 stand OUT.mask.mp4, in which white is what was changed, and OUT.json with every
    choice. The file says of itself that it is synthetic, whether or not it can be seen.
    """
    with explained(), with_training():
        from workers.training.swapping.command import swap  # noqa: PLC0415  imports torch

        record = swap(
            forger,
            video,
            to.value,
            file,
            seed=seed,
            max_frames=frames,
            has_visible_mark=mark,
            console=out,
        )
    out.print(
        f"{file}: {len(record.swapped)} of {record.frames} frames swapped, "
        f"{len(record.bridged)} of them bridged; sound {record.sound}",
        highlight=False,
        soft_wrap=True,
    )


@train_app.command("arms")
def train_arms(
    recipe: Recipe = None,
    folder: RunFolder = None,
    overrides: Overrides = None,
) -> None:
    """
    Compare what a classifier learns from blends alone with what forgers' fakes add to them.

      deepverdict train arms --set data.manifest=videos.csv --set data.bank=bank/
      deepverdict train arms --recipe mine.toml --out out/arms --set arms.seeds=[0,1,2]
      deepverdict train arms --set base.run.steps=400 --set arms.at_once=1

    Each arm and seed has a folder in DIR, and goes on there when it was stopped. At
    the end DIR gets arms.json and arms.md: every arm's AUC on clips of people that none
    was trained on, and the paired differences, with 95 % intervals.
    """
    read_settings()
    with explained(), with_training():
        from workers.training.arms import run_arms  # noqa: PLC0415  imports torch

        chosen = recipe or Path("arms")
        run_arms(chosen, folder or Path("out") / chosen.stem, overrides or [], console=out)


@train_app.command("generate")
def generate_fakes(
    *,
    forgers: Annotated[
        list[Path],
        typer.Option("--forger", metavar="DIR", help="Of a finished forger; may be repeated."),
    ],
    manifest: Annotated[
        Path,
        typer.Option(
            exists=True, dir_okay=False, metavar="M.csv", help="Of the clips they learned from."
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Gets the clips and manifest.csv.")
    ] = Path("out/generated"),
    compositions: Annotated[int, typer.Option(min=1, help="Of each clip, in each direction.")] = 2,
    frames: Annotated[int, typer.Option(min=1, help="Of each clip, at most.")] = 150,
    least_identity: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of swaps that must look like whom they show."),
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Draws the compositings otherwise.")] = 0,
) -> None:
    """
    Make a data set of swapped clips, each with its real one and the exact mask of what was changed.

      deepverdict train generate --forger out/anna-ben --manifest videos.csv --out out/generated
      deepverdict train generate --forger out/ab --forger out/cd --manifest videos.csv --frames 90

    Both people of a forger must lie in one split of M.csv, and the fakes lie there too. Run again
    after it was stopped, it goes on with the next clip. Every clip says in its metadata that it is
    synthetic; none of them belongs anywhere but in training.
    """
    with explained(), with_training():
        from workers.training.generate import GenerateOptions, generate  # noqa: PLC0415

        options = GenerateOptions(
            seed=seed,
            compositions=compositions,
            most_frames=frames,
            least_identity=least_identity,
        )
        generate(forgers, manifest, folder, options, console=out)


@train_app.command("loop")
def train_loop(
    *,
    recipe: Annotated[
        Path, typer.Option(metavar="R.toml", help="How: loop, loop_small, or a file.")
    ] = Path("loop"),
    folder: RunFolder = None,
    overrides: Overrides = None,
    is_promoted: Annotated[
        bool, typer.Option("--promote", help="Put the candidate in use, if it was proved better.")
    ] = False,
) -> None:
    """
    Forge fakes, train the detectors on them, and promote those only if they are proved better.

      deepverdict train loop --recipe mine.toml --out out/round1
      deepverdict train loop --recipe mine.toml --out out/round1 --promote
      deepverdict train loop --recipe loop_small --set gate.margins.auc=0.05

    DIR gets a folder a stage, state.json for whoever watches, and at the end report.md and the
    candidate. Ctrl-C keeps what there is; the same command goes on. docs/loop.md tells the rest.
    """
    read_settings()
    where = folder or Path("out") / recipe.stem
    with explained(), with_training():
        from workers.training.rounds.command import run_loop  # noqa: PLC0415  imports torch

        story = run_loop(recipe, where, overrides or [], console=out)
    if not story.decision.promoted:
        return
    if is_promoted:
        from app.cli.models import promote_model  # noqa: PLC0415

        promote_model(str(story.candidate))
    else:
        out.print(
            f"To put it in use: deepverdict models promote {story.candidate}",
            highlight=False,
            soft_wrap=True,
        )


@train_app.command("cues")
def collect_cues(
    *,
    manifest: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, metavar="M.csv", help="Labelled clips.")
    ],
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Gets evidence.jsonl.")
    ] = Path("out/evidence"),
    classifiers: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FOLDS.json",
            help="Which network judges which fold; those that came along unless given.",
        ),
    ] = None,
    splits: Annotated[
        list[Split] | None,
        typer.Option("--split", help="What is examined; may be repeated. All unless given."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="At the same time.")] = 1,
) -> None:
    """
    Examine labelled clips as the service would, and keep what every detector said.

      deepverdict train cues --manifest videos.csv
      deepverdict train cues --manifest videos.csv --classifiers folds.json --processes 2
      deepverdict train cues --manifest videos.csv --split val --split cal --out out/held-out

    FOLDS.json is {"frame_classifier": {"0": "fold0.onnx", ...}}: each clip is judged by networks
    that never saw its group. Run again after it was stopped, it goes on with the next clip.
    """
    read_settings()
    with explained(), with_training():
        from workers.training.fusion.collect import collect  # noqa: PLC0415

        wanted = [s.value for s in splits or [] if s is not Split.ALL]
        collect(
            manifest,
            folder,
            classifiers=classifiers,
            splits=wanted,
            processes=processes,
            console=out,
        )


@train_app.command("reference")
def make_reference(
    *,
    evidence: Annotated[
        Path,
        typer.Option(exists=True, file_okay=False, metavar="DIR", help="Of `train cues`."),
    ] = Path("out/evidence"),
    file: Annotated[
        Path,
        typer.Option("--out", metavar="REF.json", help="workers/detection/reference.json is used."),
    ] = Path("out/reference.json"),
) -> None:
    """
    Measure how every cue lies in real clips, so that others can be told in deviations from them.

      deepverdict train reference --evidence out/evidence --out workers/detection/reference.json

    Of real clips of every split but test, one value a clip. The same evidence gives the same bytes.
    """
    with explained(), with_training():
        from workers.training.fusion.real_clips import reference_command  # noqa: PLC0415

        reference_command(evidence, file, console=out)


@train_app.command("fusion")
def fit_fusion(
    *,
    evidence: Annotated[
        Path,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="Of `train cues`, by networks that never saw the clips.",
        ),
    ] = Path("out/evidence"),
    version: Annotated[str, typer.Option(help="What the policy is to be called.")],
    file: Annotated[
        Path, typer.Option("--out", metavar="POLICY.json", help="Gets the policy.")
    ] = Path("out/policy.json"),
    card: Annotated[
        Path | None,
        typer.Option(metavar="CARD.md", help="Gets every figure; POLICY.md unless given."),
    ] = None,
    shipped: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="Evidence by the networks that came along; its train split is passed over.",
        ),
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Face crops, to measure softness by, as a baseline."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="REF.json", help="Real clips; the one in use unless given."),
    ] = None,
) -> None:
    """
    Fit how much each detector may say, and write it down as a policy with its error table.

      deepverdict train fusion --evidence out/evidence --version 2026-12-01.1
      deepverdict train fusion --evidence out/evidence --version 2026-12-01.1 --card evidence.md

    A cue has a say only where leaving it out costs AUC, with its 95 % interval above zero; all
    others are shown and have none. Nothing is fitted and measured on the same people.
    """
    with explained(), with_training():
        from workers.training.fusion.command import fuse_command  # noqa: PLC0415

        fuse_command(
            evidence,
            file,
            version=version,
            card=card or file.with_suffix(".md"),
            shipped=shipped,
            bank=bank,
            reference=reference,
            console=out,
        )


@data_app.command("index")
def index_data(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, metavar="DIR")],
    layout: Annotated[
        str | None, typer.Option(help="How DIR is laid out; told by looking unless given.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--out", metavar="M.csv", help="DIR/manifest.csv unless given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Deals the groups out otherwise.")] = 0,
    shares: Annotated[
        str,
        typer.Option(metavar="TRAIN,VAL,CAL,TEST", help="Of the groups; 1 in all."),
    ] = "0.55,0.08,0.15,0.22",
) -> None:
    """
    Hash every video and picture of a folder, and split them so that no person is in two parts.

      deepverdict data index FaceForensics++/ --out ffpp.csv
      deepverdict data index dfdc_train_part_0/ --layout dfdc --seed 7
      deepverdict data index videos/ --shares 0.7,0.1,0.1,0.1

    Damaged files are counted by what is wrong with them; over 1 % of them, nothing is written.
    """
    with explained(), with_training():
        from workers.training.index import index  # noqa: PLC0415

        written = manifest or folder / "manifest.csv"
        index(folder, layout=layout, out=written, seed=seed, shares=_shares(shares), console=out)


def _shares(text: str) -> tuple[float, float, float, float]:
    """Read four numbers; whether they make sense is for the indexer to say."""
    try:
        train_share, val, cal, test = map(float, text.split(","))
    except ValueError as wrong:
        raise typer.BadParameter(
            f"want four numbers such as 0.7,0.1,0.1,0.1, got {text!r}"
        ) from wrong
    return train_share, val, cal, test


def evaluate(
    *,
    manifest: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, metavar="M.csv", help="What to judge.")
    ],
    bank: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Face crops, where they were cut before.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|PATH", help="Networks, by name or ONNX file; all unless given."),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Gets report.json and the plots.")
    ] = Path("out/evaluation"),
    split: Annotated[Split, typer.Option(help="The part that is measured on.")] = Split.TEST,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Published networks, as files; baselines where given."),
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Judge recompressed and changed clips too; minutes.")
    ] = False,
) -> None:
    """
    Measure networks on labelled clips, beside every baseline, with 95 % intervals.

      deepverdict evaluate --manifest videos.csv
      deepverdict evaluate --manifest videos.csv --models out/mine/frame_classifier.onnx
      deepverdict evaluate --manifest videos.csv --split cal --grid --out out/on-cal
    """
    read_settings()
    with explained(), with_training():
        from workers.training.evaluate.command import evaluate as measure  # noqa: PLC0415

        measure(
            manifest,
            bank=bank,
            models=models or [],
            out=folder,
            split=split.value,
            console=out,
            weights=weights,
            grid=grid,
        )
