"""How is deepverdict run from a terminal? Every heavy import waits for the command it serves."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import EXIT_REJECTED, err, explained, out, read_settings
from app.cli.keys import keys_app
from app.cli.models import models_app
from app.cli.redecide import redecide
from app.cli.training import data_app, evaluate, train_app
from app.domain.policy import PointName
from app.domain.words import Language

app = typer.Typer(
    name="deepverdict",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Were the faces in this video manipulated? Where, when, and how sure is that?

    [bold]Try it on a file[/bold]
      deepverdict scan clip.mp4 --out pictures/

    [bold]Run the whole service on one machine[/bold] (SQLite, a folder, one worker)
      deepverdict up
      deepverdict keys create --tenant desk
      curl -H "Authorization: Bearer dv_..." -H "Content-Type: video/mp4"
           --data-binary @clip.mp4 http://127.0.0.1:8080/v1/jobs

    [bold]Run it in parts[/bold] (PostgreSQL, Redis, any number of workers)
      export DEEPVERDICT_DATABASE_URL=postgresql+psycopg://user:secret@db/deepverdict
      export DEEPVERDICT_BROKER_URL=redis://redis:6379/0
      deepverdict migrate && deepverdict serve      # and elsewhere: deepverdict worker

    [bold]Train its networks and measure them[/bold]
      deepverdict data index videos/ --out videos.csv
      deepverdict train classifier --set data.manifest=videos.csv --set data.bank=bank/
      deepverdict evaluate --manifest videos.csv

    [bold]Decide stored verdicts anew, by another policy and with no video touched[/bold]
      deepverdict redecide --policy 2026-11-21.2

    Every setting is an environment variable; docs/settings.md lists them.""",
)
app.add_typer(train_app, name="train")
app.add_typer(keys_app, name="keys")
app.add_typer(models_app, name="models")
app.add_typer(data_app, name="data")


REPORT_FORMS = (".html", ".pdf", ".json")
"""As `app.report.formats` has them, which is not loaded for --help."""


def _known_form(report: Path | None) -> Path | None:
    """Refuse a report that nobody can write before anything is looked at."""
    if report is not None and report.suffix.lower() not in REPORT_FORMS:
        raise typer.BadParameter(f"want a name that ends with one of {', '.join(REPORT_FORMS)}")
    return report


@app.command()
def scan(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE...")
    ],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a file on standard output.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write mask PNGs and an overview picture here."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html|.pdf|.json",
            help="Write a report here. Of several files: FILE-1, FILE-2 and so on, in their order.",
            callback=_known_form,
        ),
    ] = None,
    language: Annotated[
        Language, typer.Option(help="Of the report.", case_sensitive=False)
    ] = Language.ENGLISH,
    operating_point: Annotated[
        PointName | None,
        typer.Option(help="Call about 1 or 5 of 100 real clips manipulated; usually the policy's."),
    ] = None,
) -> None:
    """
    Judge video files, with no database and no broker, by the networks that come with the program.

      deepverdict scan clip.mp4
      deepverdict scan *.mp4 --out pictures/
      deepverdict scan clip.mp4 --operating-point fpr_1
      deepverdict scan clip.mp4 --json | jq .verdict
      deepverdict scan clip.mp4 --report clip.html
      deepverdict scan *.mp4 --report berichte/bericht.pdf --language de

    Versions that were promoted are for workers: only a database says which is current.
    Exit code 0 whatever the verdict; 2 if a file was rejected, with the reason.
    """
    settings = read_settings()
    with explained():
        from app.render import verdict_tables  # noqa: PLC0415  starts fast for --help
        from workers.scan import Scanner, report_paths  # noqa: PLC0415  with networks, alone

        scanner = Scanner(settings, console=err, operating_point=operating_point)
        rejected = False
        reports = report_paths(report, len(files)) if report else [None] * len(files)
        for file, path in zip(files, reports, strict=True):
            scanned = scanner.scan(file, folder)
            rejected = rejected or scanned.view.error is not None
            if path is not None and scanned.judged is not None:
                scanned.write_report(path, language=language)
            if as_json:
                sys.stdout.write(scanned.view.to_json() + "\n")
                sys.stdout.flush()
            else:
                out.print(verdict_tables(scanned.view, title=file.name))
                if scanned.pictures is not None:
                    out.print(f"Pictures: {scanned.pictures}", highlight=False, soft_wrap=True)
                if path is not None and scanned.judged is not None:
                    out.print(f"Report: {path}", highlight=False, soft_wrap=True)
    if rejected:
        raise typer.Exit(EXIT_REJECTED)


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
) -> None:
    """
    Run the whole service here: SQLite, a folder for the videos, one worker, no other server.

      deepverdict up
      deepverdict up --port 0
      DEEPVERDICT_DATA_DIR=/srv/deepverdict deepverdict up --host 0.0.0.0
    """
    settings = read_settings(is_service=True)
    chosen = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    settings = settings.model_copy(update={"api": settings.api.model_copy(update=chosen)})
    with explained():
        from app import embedded  # noqa: PLC0415

        raise typer.Exit(embedded.run(settings))


app.command()(evaluate)
app.command()(redecide)


@app.command()
def serve() -> None:
    """
    Run the gateway alone.

      deepverdict migrate && deepverdict serve
      DEEPVERDICT_API__HOST=0.0.0.0 deepverdict serve
    """
    settings = read_settings(is_service=True)
    with explained():
        from app.api.server import run  # noqa: PLC0415  the worker's image has no gateway

        run(settings)


@app.command()
def worker() -> None:
    """
    Run one worker; start as many as there are devices.

      deepverdict worker
      DEEPVERDICT_BROKER_URL=redis://redis:6379/0 deepverdict worker

    SIGTERM lets the running job end, or hands it back; nothing is lost either way.
    """
    settings = read_settings(is_service=True)
    with explained():
        from workers.run import run  # noqa: PLC0415

        raise typer.Exit(run(settings))


@app.command()
def trainer() -> None:
    """
    Run one trainer, which takes training runs as they are asked for over the API.

      mkdir -p data/sets && deepverdict trainer
      DEEPVERDICT_TRAINING__SETS_DIR=/mnt/faces deepverdict trainer

    It needs torch. SIGTERM has the running training write a checkpoint and hands it back; kill it
    in any other way, and the next one goes on from the last checkpoint.
    """
    settings = read_settings(is_service=True)
    with explained():
        from workers.trainer import run  # noqa: PLC0415

        raise typer.Exit(run(settings))


@app.command()
def migrate() -> None:
    """
    Bring the database's tables up to date; safe to run twice, and from several places.

      deepverdict migrate
    """
    settings = read_settings()
    with explained():
        from app.db.migrate import head, upgrade  # noqa: PLC0415

        upgrade(settings.resolved_database_url)
        out.print(f"The database is at schema {head()}.", highlight=False)


def main() -> None:
    """Run the command line."""
    app()
