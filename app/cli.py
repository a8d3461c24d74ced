"""How is deepverdict run from a terminal? Every heavy import waits for the command it serves."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from app import log
from app.clock import utc_now
from app.domain.access import Scope
from app.errors import ClientMustAct, Misconfigured, ServiceError
from app.settings import Settings

if TYPE_CHECKING:
    from app.db.session import Database

EXIT_REJECTED = 2
EXIT_FAILED = 1

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

    Every setting is an environment variable; docs/settings.md lists them.""",
)
keys_app = typer.Typer(
    no_args_is_help=True,
    help="""Make, list and revoke API keys.

      deepverdict keys create --tenant desk
      deepverdict keys create --tenant desk --name monitor --scope jobs:read --days 90
      deepverdict keys revoke 01JZ...""",
)
models_app = typer.Typer(
    no_args_is_help=True,
    help="""See and check the networks, and fetch optional ones.

      deepverdict models list
      deepverdict models pull                 # what there is to fetch; nothing is needed
      deepverdict models pull yunet
      DEEPVERDICT_MODELS__MIRROR=/mnt/mirror deepverdict models pull yunet
      deepverdict models verify""",
)
data_app = typer.Typer(
    no_args_is_help=True,
    help="""List and split the videos and pictures that networks are trained on.

      deepverdict data index FaceForensics++/ --out ffpp.csv
      deepverdict data index videos/ --layout csv --seed 7""",
)
app.add_typer(keys_app, name="keys")
app.add_typer(models_app, name="models")
app.add_typer(data_app, name="data")


class Network(StrEnum):
    """What can be trained."""

    CLASSIFIER = "classifier"
    SEGMENTER = "segmenter"
    DETECTOR = "detector"
    LANDMARKS = "landmarks"


class Split(StrEnum):
    """The parts of a data manifest."""

    TRAIN = "train"
    VAL = "val"
    CAL = "cal"
    TEST = "test"
    ALL = "all"


out = Console()
err = Console(stderr=True)


@contextmanager
def _database() -> Iterator["Database"]:
    """Open the database, which must have this version's tables."""
    from app.db.migrate import is_current  # noqa: PLC0415
    from app.db.session import Database  # noqa: PLC0415

    settings = _settings()
    with _explained():
        db = Database(settings.resolved_database_url)
        try:
            if not is_current(db):
                raise Misconfigured(
                    "the database does not have this version's tables; run `deepverdict migrate`, "
                    "or `deepverdict up`, which does that first"
                )
            yield db
        finally:
            db.close()


@contextmanager
def _explained() -> Iterator[None]:
    """Turn a foreseen failure into a sentence on standard error and an exit code."""
    try:
        yield
    except ServiceError as why:
        err.print(f"[red]deepverdict:[/red] {escape(str(why))}", highlight=False, soft_wrap=True)
        code = EXIT_REJECTED if isinstance(why, ClientMustAct) else EXIT_FAILED
        raise typer.Exit(code) from why


@contextmanager
def _with_training() -> Iterator[None]:
    """Say what to install where torch, or another package that only training needs, is missing."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith(("app", "models", "workers")):
            raise
        raise Misconfigured(
            f"this command needs {missing.name}, which is not installed; "
            "run: pip install -e '.[train]'"
        ) from missing


def _settings(*, is_service: bool = False) -> Settings:
    """Read the settings; a command at a terminal keeps its log to what went wrong."""
    try:
        settings = Settings()
    except ValidationError as wrong:
        for error in wrong.errors():
            name = "__".join(str(part) for part in error["loc"]).upper()
            err.print(f"[red]deepverdict:[/red] DEEPVERDICT_{name}: {error['msg']}")
        raise typer.Exit(EXIT_FAILED) from wrong
    level = settings.log_level
    log.configure(
        fmt=settings.log_format, level="WARNING" if level == "INFO" and not is_service else level
    )
    return settings


@app.command()
def scan(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE...")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a file on standard output.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write mask PNGs and an overview picture here."),
    ] = None,
) -> None:
    """
    Judge video files, with no database and no broker.

      deepverdict scan clip.mp4
      deepverdict scan *.mp4 --out pictures/
      deepverdict scan clip.mp4 --json | jq .verdict

    Exit code 0 whatever the verdict; 2 if a file was rejected, with the reason.
    """
    settings = _settings()
    with _explained():
        from app.render import verdict_tables  # noqa: PLC0415  starts fast for --help
        from workers.scan import Scanner  # noqa: PLC0415  the only command with networks

        scanner = Scanner(settings, console=err)
        rejected = False
        for file in files:
            scanned = scanner.scan(file, folder)
            rejected = rejected or scanned.view.error is not None
            if as_json:
                sys.stdout.write(scanned.view.to_json() + "\n")
                sys.stdout.flush()
            else:
                out.print(verdict_tables(scanned.view, title=file.name))
                if scanned.pictures is not None:
                    out.print(f"Pictures: {scanned.pictures}", highlight=False, soft_wrap=True)
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
    settings = _settings(is_service=True)
    chosen = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    settings = settings.model_copy(update={"api": settings.api.model_copy(update=chosen)})
    with _explained():
        from app import embedded  # noqa: PLC0415

        raise typer.Exit(embedded.run(settings))


@app.command()
def train(
    network: Annotated[Network, typer.Argument(help="What to train.", metavar="NETWORK")],
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="R.toml", help="How; the shipped recipe of that name unless given."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Of this run; out/RECIPE unless given."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one value of the recipe."),
    ] = None,
    is_fresh: Annotated[
        bool,
        typer.Option("--fresh/--resume", help="Forget what the run in DIR has done, or go on."),
    ] = False,
) -> None:
    """
    Train a network, look at it while it learns, and export it as it is served.

      deepverdict train classifier --set data.manifest=videos.csv --set data.bank=bank/
      deepverdict train segmenter --recipe mine.toml --out out/mine --set run.steps=2000
      torchrun --nproc-per-node 4 -m app.cli train classifier --recipe mine.toml

    NETWORK is classifier, segmenter, detector or landmarks. DIR gets pictures of what the network
    sees, history.csv, a checkpoint every minute, and at the end the ONNX file and run.json. Ctrl-C
    writes a checkpoint; the same command goes on from it.
    """
    with _explained(), _with_training():
        from workers.training.run import train_command  # noqa: PLC0415  imports torch

        chosen = recipe or Path(network.value)
        where = folder or Path("out") / chosen.stem
        onnx = train_command(network.value, chosen, where, overrides or [], out, is_fresh=is_fresh)
    out.print(f"Network: {onnx}", highlight=False, soft_wrap=True)


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
    with _explained(), _with_training():
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


@app.command()
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
    _settings()
    with _explained(), _with_training():
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


@app.command()
def serve() -> None:
    """
    Run the gateway alone.

      deepverdict migrate && deepverdict serve
      DEEPVERDICT_API__HOST=0.0.0.0 deepverdict serve
    """
    settings = _settings(is_service=True)
    with _explained():
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
    settings = _settings(is_service=True)
    with _explained():
        from workers.run import run  # noqa: PLC0415

        raise typer.Exit(run(settings))


@app.command()
def migrate() -> None:
    """
    Bring the database's tables up to date; safe to run twice, and from several places.

      deepverdict migrate
    """
    settings = _settings()
    with _explained():
        from app.db.migrate import head, upgrade  # noqa: PLC0415

        upgrade(settings.resolved_database_url)
        out.print(f"The database is at schema {head()}.", highlight=False)


@keys_app.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="Whom the key speaks for.")],
    name: Annotated[str, typer.Option(help="What the key is for, in your words.")] = "default",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; both scopes unless given.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Expires after so many days.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the secret only.")] = False,
) -> None:
    """
    Make a key. Its secret is shown this once and stored nowhere.

      deepverdict keys create --tenant desk
      KEY=$(deepverdict keys create --tenant desk --quiet)
    """
    from app.services import keys  # noqa: PLC0415

    with _database() as db:
        key = keys.create(
            db,
            tenant=tenant,
            name=name,
            scopes=frozenset(scope or Scope),
            expires_at=utc_now() + timedelta(days=days) if days else None,
        )
    if quiet:
        sys.stdout.write(key.secret + "\n")
        return
    out.print(f"Key {key.id} for {tenant}. Keep its secret; it is not shown again:")
    out.print(key.secret, highlight=False, soft_wrap=True)


@keys_app.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's keys.")] = None,
) -> None:
    """List keys, never their secrets."""
    from app.services import keys  # noqa: PLC0415

    with _database() as db:
        table = Table(Column("id", no_wrap=True), "tenant", "name", "scopes", "made on", "state")
        for key in keys.list_keys(db, tenant):
            state = "valid"
            if key.expires_at is not None:
                is_over = key.expires_at <= utc_now()
                state = f"{'expired' if is_over else 'until'} {key.expires_at:%Y-%m-%d}"
            if key.revoked_at is not None:
                state = f"revoked {key.revoked_at:%Y-%m-%d}"
            scopes = " ".join(sorted(key.scopes))
            table.add_row(key.id, key.tenant, key.name, scopes, f"{key.created_at:%Y-%m-%d}", state)
    out.print(table)


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Revoke a key, at once and for good."""
    from app.services import keys  # noqa: PLC0415

    with _database() as db:
        keys.revoke(db, key_id)
    out.print(f"Key {key_id} is revoked.", highlight=False)


@models_app.command("list")
def list_models() -> None:
    """List every network of the manifest: whether it is here, what it may be used for, how sure."""
    settings = _settings()
    with _explained():
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
    settings = _settings()
    with _explained():
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
    settings = _settings()
    with _explained():
        from workers.kit import build_registry  # noqa: PLC0415

        registry = build_registry(settings)
        table = Table("model", "status", "")
        statuses = [(e.name, registry.status(e.name)) for e in registry.entries()]
        for name, status in statuses:
            table.add_row(name, status.word, status.detail)
    out.print(table)
    if any(status.word == "mismatch" for _, status in statuses):
        raise typer.Exit(EXIT_FAILED)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
