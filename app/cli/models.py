"""How are networks seen to from a terminal: listed, fetched, checked?"""

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from app.cli.console import EXIT_FAILED, err, explained, out, read_settings

models_app = typer.Typer(
    no_args_is_help=True,
    help="""See and check the networks, and fetch optional ones.

      deepverdict models list
      deepverdict models pull                 # what there is to fetch; nothing is needed
      deepverdict models pull yunet
      DEEPVERDICT_MODELS__MIRROR=/mnt/mirror deepverdict models pull yunet
      deepverdict models verify""",
)


@models_app.command("list")
def list_models() -> None:
    """List every network of the manifest: whether it is here, what it may be used for, how sure."""
    settings = read_settings()
    with explained():
        from workers.kit import build_registry  # noqa: PLC0415

        registry = build_registry(settings)
        table = Table(
            *(Column(name, no_wrap=True) for name in ("model", "version", "here")),
            "operating point",
            "sale",
            "licence",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
            caption_justify="left",
            caption="Operating point: the calibrated probability from which a clip is called "
            "manipulated, and how many real clips that takes along. Sale: whether the terms "
            "allow commercial use.",
        )
        for entry in sorted(registry.entries(), key=lambda entry: not entry.is_shipped):
            table.add_row(
                entry.name,
                entry.version,
                registry.status(entry.name).word,
                entry.calibration.operating_point if entry.calibration else "-",
                "yes" if entry.licence.commercial_use else "[red]no[/red]",
                entry.licence.name,
            )
    out.print(table)


@models_app.command("pull")
def pull_models(
    names: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...")] = None,
) -> None:
    """
    Fetch optional networks from where their authors publish them, or from a local mirror.

      deepverdict models pull                 # what there is to fetch; nothing is needed
      deepverdict models pull yunet
      DEEPVERDICT_MODELS__MIRROR=/mnt/mirror deepverdict models pull yunet

    Each file's SHA-256 is checked against the manifest before anything is kept.
    """
    settings = read_settings()
    with explained():
        from models.pull import pull  # noqa: PLC0415
        from workers.kit import build_registry  # noqa: PLC0415

        registry = build_registry(settings)
        if not names:
            out.print(
                "Nothing needs to be fetched: detection runs on the networks that came along."
            )
            table = Table("optional", "licence", "what it is")
            for entry in registry.entries():
                if not entry.is_shipped:
                    table.add_row(entry.name, entry.licence.name, entry.what)
            out.print(table)
        for name in names or ():
            entry = registry.entry(name)
            out.print(
                f"[bold]{name}[/bold] {entry.version}: {entry.licence.name}. {entry.licence.words}"
            )
            with err.status(f"fetching {name} ..."):
                path = pull(name, registry=registry, mirror=settings.models.mirror)
            out.print(f"  kept as {path}", highlight=False, soft_wrap=True)


@models_app.command("verify")
def verify_models() -> None:
    """Check the bytes of every network that is here against the manifest; 1 if any differs."""
    settings = read_settings()
    with explained():
        from workers.kit import build_registry  # noqa: PLC0415

        registry = build_registry(settings)
        table = Table("model", "status", "")
        statuses = [(e.name, registry.status(e.name)) for e in registry.entries()]
        for name, status in statuses:
            table.add_row(name, status.word, status.detail)
    out.print(table)
    if any(status.word == "mismatch" for _, status in statuses):
        raise typer.Exit(EXIT_FAILED)
