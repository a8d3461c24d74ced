"""How are API keys made, listed and revoked from a terminal?"""

import sys
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Column, Table

from app.cli.console import database, out
from app.clock import utc_now
from app.domain.access import USUAL_SCOPES, Scope

keys_app = typer.Typer(
    no_args_is_help=True,
    help="""Make, list and revoke API keys.

      deepverdict keys create --tenant desk
      deepverdict keys create --tenant desk --name monitor --scope jobs:read --days 90
      deepverdict keys create --tenant lab --scope admin
      deepverdict keys revoke 01JZ...""",
)


@keys_app.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="Whom the key speaks for.")],
    name: Annotated[str, typer.Option(help="What the key is for, in your words.")] = "default",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; both of jobs unless given.")
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

    with database() as db:
        key = keys.create(
            db,
            tenant=tenant,
            name=name,
            scopes=frozenset(scope or USUAL_SCOPES),
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

    with database() as db:
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

    with database() as db:
        keys.revoke(db, key_id)
    out.print(f"Key {key_id} is revoked.", highlight=False)
