"""How are stored verdicts decided anew from a terminal, by another policy and without a video?"""

import getpass
import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from app.cli.console import database, err, explained, out
from app.domain.policy import CURRENT, PointName, Policy, read_policy, shipped, versions
from app.errors import Misconfigured

if TYPE_CHECKING:
    from app.domain.redecision import Redecided, Ruled

NOTHING = "-"
REF_WIDTH = 20


def redecide(
    policy: Annotated[
        str,
        typer.Option(metavar="FILE|VERSION", help="A policy file, or one that comes along."),
    ] = CURRENT.version,
    *,
    operating_point: Annotated[
        PointName | None,
        typer.Option(help="By whose lines; by those that each job asked for unless given."),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's jobs.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Replace the verdicts; else nothing is written.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(metavar="WHO", help="For the history; your login and host unless given."),
    ] = None,
) -> None:
    """
    Decide all stored verdicts anew from their evidence; list those that would change.

      deepverdict redecide --policy out/fusion/2026-12-01.1.json
      deepverdict redecide --policy 2026-11-21.2 --operating-point fpr_1 --tenant desk
      deepverdict redecide --policy 2026-12-01.1 --apply

    No video is touched and no network asked. Jobs whose evidence is of networks that the policy
    was not made for stay as they are and are counted. Workers go on judging by the policy that
    comes with the program, whatever is applied here.
    """
    with explained():
        wanted = _policy(policy)
        if operating_point is not None and operating_point not in {p.name for p in wanted.points}:
            measured = ", ".join(p.name for p in wanted.points)
            raise Misconfigured(
                f"policy {wanted.version} has no operating point {operating_point}; "
                f"it was measured at {measured}"
            )
    from app.services.redecide import redecide as decide_anew  # noqa: PLC0415

    columns = (
        TextColumn("Deciding anew"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with (
        database() as db,
        explained(),
        Progress(*columns, console=err, transient=True) as bar,
    ):
        task = bar.add_task("", total=None)
        found = decide_anew(
            db,
            wanted,
            operating_point=operating_point,
            tenant=tenant,
            actor=by or f"{getpass.getuser()}@{socket.gethostname()}",
            apply=apply,
            report=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if as_json:
        sys.stdout.write(json.dumps(_to_json(found), ensure_ascii=False) + "\n")
        return
    if found.changed:
        out.print(_table(found))
    for line in _summary(found, is_applied=apply):
        out.print(escape(line), highlight=False)


def _policy(named: str) -> Policy:
    path = Path(named)
    try:
        is_file = named not in versions() and (path.suffix == ".json" or path.exists())
        return read_policy(path) if is_file else shipped(named)
    except OSError as why:
        raise Misconfigured(f"{path}: {why.strerror or why}") from why
    except ValueError as why:
        raise Misconfigured(str(why)) from why


def _table(found: "Redecided") -> Table:
    """One job a row, before above after and the reason below: in that way it fits any window."""
    table = Table(
        Column("job", no_wrap=True),
        Column("ref", max_width=REF_WIDTH, overflow="ellipsis", no_wrap=True),
        "verdict before, after, and why",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for each in found.changed:
        words = Text.assemble(
            f"   {_in_short(each.before)}\n-> {_in_short(each.after)}\n", (each.why, "dim")
        )
        table.add_row(each.job_id, escape(each.ref_id or NOTHING), words)
    return table


def _in_short(ruled: "Ruled") -> str:
    p = ruled.fake_probability
    return f"{NOTHING if p is None else format(p, '.2f'):>4} {ruled.label}"


def _summary(found: "Redecided", *, is_applied: bool) -> list[str]:
    lines = [
        f"{found.examined} verdicts, by policy {found.policy}: {len(found.changed)} labels change, "
        f"{found.moved} stay with other numbers or words, {found.same} stay as they are."
    ]
    if found.of_other_networks:
        lines.append(
            f"{found.of_other_networks} rest on networks that this policy was not made for; "
            "they stay as they are. Analyse those videos again: POST /v1/reruns."
        )
    lines += [
        f"{jobs} lack {feature}: nobody asked for it when they were analysed. It counts as missing."
        for feature, jobs in found.lacking.items()
    ]
    if found.overtaken:
        lines.append(f"{found.overtaken} were removed or changed meanwhile and are left out.")
    if is_applied:
        lines.append(f"{found.written} verdicts are replaced.")
    elif found.changed or found.moved:
        lines.append("Nothing is written. To replace the verdicts, say --apply.")
    return lines


def _to_json(found: "Redecided") -> dict[str, object]:
    return {
        "policy": found.policy,
        "examined": found.examined,
        "changed": [
            {
                "job_id": each.job_id,
                "tenant": each.tenant,
                "ref_id": each.ref_id,
                "before": _ruled_to_json(each.before),
                "after": _ruled_to_json(each.after),
                "why": each.why,
            }
            for each in found.changed
        ],
        "moved": found.moved,
        "same": found.same,
        "of_other_networks": found.of_other_networks,
        "overtaken": found.overtaken,
        "lacking": dict(found.lacking),
        "written": found.written,
    }


def _ruled_to_json(ruled: "Ruled") -> dict[str, object]:
    return {
        "label": ruled.label,
        "fake_probability": ruled.fake_probability,
        "policy": ruled.policy,
        "operating_point": ruled.operating_point,
    }
