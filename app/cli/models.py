"""How are networks seen to from a terminal: listed, fetched, checked, put in use and taken out?"""

import getpass
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from app.cli.console import EXIT_FAILED, database, err, explained, out, read_settings
from app.errors import Misconfigured
from app.settings import Settings

if TYPE_CHECKING:
    from app.db.session import Database
    from app.domain.model_version import KnownVersion

NAMED = re.compile(r"(?P<name>[a-z0-9_]+)@(?P<version>[0-9A-Za-z][0-9A-Za-z._-]*)")

By = Annotated[
    str | None,
    typer.Option(metavar="WHO", help="For the history; your login and host unless given."),
]

models_app = typer.Typer(
    no_args_is_help=True,
    help="""See and check the networks, fetch optional ones, and put better ones in use.

      deepverdict models list
      deepverdict models pull                 # what there is to fetch; nothing is needed
      deepverdict models pull yunet
      DEEPVERDICT_MODELS__MIRROR=/mnt/mirror deepverdict models pull yunet
      deepverdict models verify
      deepverdict models promote out/loop/candidate
      deepverdict models rollback frame_classifier
      deepverdict models versions""",
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


@models_app.command("promote")
def promote_model(
    what: Annotated[
        str,
        typer.Argument(metavar="DIR|NAME@VERSION", help="A candidate, or a version of before."),
    ],
    despite_rejection: Annotated[
        bool,
        typer.Option("--despite-rejection", help="Use it although its decision says not to."),
    ] = False,
    by: By = None,
) -> None:
    """
    Have workers judge by other networks, from their next job on; none has to be started again.

      deepverdict models promote out/loop/candidate
      deepverdict models promote frame_classifier@1.1
      deepverdict models promote frame_classifier@1.0     # as it comes with the program

    DIR holds NAME.onnx and NAME.json of each network, and decision.json. What was rejected, other
    bytes than were pinned, and a network that does not answer its canary are refused. The files
    are copied to where pulled networks lie: workers on other hosts need that folder, too.
    """
    settings = read_settings()
    with database() as db:
        from app.services import model_versions  # noqa: PLC0415
        from workers.kit import build_registry  # noqa: PLC0415

        named = NAMED.fullmatch(what)
        actor = by or _login()
        if named is None or Path(what).exists():
            _promote_package(db, settings, Path(what), actor, despite_rejection=despite_rejection)
            return
        name, version = named["name"], named["version"]
        along = build_registry(settings).entry(name)
        is_along = along.is_shipped and version == along.version
        changed = model_versions.make_current(
            db, name=name, version=None if is_along else version, actor=actor
        )
    out.print(f"{what} is current{'' if changed else ' already'}.", highlight=False)


def _promote_package(
    db: "Database", settings: Settings, folder: Path, actor: str, *, despite_rejection: bool
) -> None:
    """Check a candidate, put its files where workers look, and only then make it current."""
    from app.db.records import model_version_from_entry  # noqa: PLC0415
    from app.domain.model_version import Decision  # noqa: PLC0415
    from app.services import model_versions  # noqa: PLC0415
    from models.package import read_package  # noqa: PLC0415
    from models.pull import put  # noqa: PLC0415
    from workers.kit import build_registry  # noqa: PLC0415

    package = read_package(folder, build_registry(settings))
    decision = Decision(
        is_promotion=package.measured.promote,
        reasons=package.measured.reasons,
        table=package.measured.model_dump_json(),
    )
    promoted = [model_version_from_entry(c.entry.model_dump_json()) for c in package.candidates]
    model_versions.check(db, promoted, decision, despite_rejection=despite_rejection)
    for candidate in package.candidates:
        path = settings.models_dir / candidate.entry.file
        try:
            put(candidate.content, path)
        except OSError as error:
            raise Misconfigured(f"{path} cannot be written: {error.strerror}") from error
    changed = model_versions.promote(
        db, promoted, decision, actor=actor, despite_rejection=despite_rejection
    )
    for model in promoted:
        already = "" if model in changed else " already"
        out.print(f"{model.versioned_name} is current{already}.", highlight=False)


@models_app.command("rollback")
def roll_back_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as frame_classifier.")],
    by: By = None,
) -> None:
    """
    Go back to the version that was current before; at last to what comes with the program.

      deepverdict models rollback frame_classifier

    Workers take it up before their next job. Stored verdicts stay as they are.
    """
    with database() as db:
        from app.services import model_versions  # noqa: PLC0415

        change = model_versions.roll_back(db, name=name, actor=by or _login())
    now = f"{name}@{change.version}" if change.version else f"{name} as it comes with the program"
    out.print(f"{now} is current, {change.note}.", highlight=False)


@models_app.command("versions")
def list_versions() -> None:
    """List every version that was promoted, with its figures, and who made which current when."""
    settings = read_settings()
    with database() as db:
        from app.services import model_versions  # noqa: PLC0415
        from workers.kit import build_registry  # noqa: PLC0415

        known = model_versions.known(db)
        here = [
            build_registry(settings, [version.model]).status(version.model.name).word
            for version in known.versions
        ]
    if not known.versions:
        out.print("Nothing was promoted: workers judge by the networks that came along.")
        return
    table = Table(
        *(Column(name, no_wrap=True) for name in ("version", "state", "here")),
        "operating point",
        "promoted",
        "why",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for version, word in zip(known.versions, here, strict=True):
        table.add_row(
            version.model.versioned_name,
            "[green]current[/green]" if version.is_current else "known",
            word,
            _operating_point(version),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            ("" if version.decision.is_promotion else "[red]rejected[/red]: ")
            + escape("; ".join(version.decision.reasons)),
        )
    out.print(table)
    steps = Table("when", "current since then", "by", "", box=SIMPLE_HEAD)
    for step in known.history:
        steps.add_row(
            f"{step.at:%Y-%m-%d %H:%M:%S}",
            f"{step.name}@{step.version}" if step.version else f"{step.name} as it came along",
            step.actor,
            step.note,
        )
    out.print(steps)


def _operating_point(version: "KnownVersion") -> str:
    point = version.model.operating_point
    if point is None:
        return "-"
    return f">= {point.manipulated_from:g}: {point.false_positives} of {point.real_clips} real"


def _login() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
