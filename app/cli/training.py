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


SERVED = {
    "classifier": "whether a face was manipulated, look by look",
    "segmenter": "which pixels of a face were manipulated",
    "detector": "where faces are",
    "landmarks": "where the points of a face are",
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
