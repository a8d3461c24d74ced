"""Who is asking? API keys: made once, shown once, stored as a digest."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ulid import ULID

from app import log
from app.db import keys as key_rows
from app.db.records import key_from_row
from app.db.session import Database, now
from app.db.tables import ApiKeyRow
from app.domain.access import ApiKey, Principal, Scope
from app.errors import BadRequest, InsufficientScope, NotFound, Unauthenticated

PREFIX = "dv_"  # lets scanners for leaked secrets know ours
SECRET_BYTES = 32
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_CHARS = 128

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made; the only moment its secret is known to us."""

    id: str
    secret: str = field(repr=False)


def create(
    db: Database,
    *,
    tenant: str,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None = None,
) -> NewKey:
    """
    Make a key that speaks for `tenant`.

    Raises:
        BadRequest: the tenant or the name is not one that can be stored, or no scope is given.
    """
    granted = sorted(s.value for s in set(scopes))
    if not TENANT.fullmatch(tenant):
        raise BadRequest(
            f"want a tenant like `desk-1`, up to 64 letters and digits, got {tenant!r}"
        )
    if len(name) > NAME_CHARS or not name.isprintable():
        raise BadRequest(f"want a printable name of at most {NAME_CHARS} characters")
    if not granted:
        raise BadRequest(f"want at least one scope of {', '.join(Scope)}")
    # A digest without salt or stretching is enough: 256 random bits cannot be guessed.
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    with db.writing() as session:
        row = ApiKeyRow(
            id=str(ULID()),
            tenant=tenant,
            name=name,
            secret_sha256=_digest(secret),
            scopes=granted,
            created_at=now(session),
            expires_at=expires_at,
        )
        session.add(row)
        made = NewKey(id=row.id, secret=secret)
    _log.info("key.created", key_id=made.id, tenant=tenant)
    return made


def authenticate(db: Database, secret: str) -> Principal:
    """
    Say whom the secret speaks for.

    Raises:
        Unauthenticated: it is unknown, expired or revoked; the three look the same.
    """
    digest = _digest(secret)
    with db.reading() as session:
        row = key_rows.find_by_digest(session, digest)
        if row is None or not hmac.compare_digest(row.secret_sha256, digest):
            raise _unknown()
        if row.revoked_at is not None:
            raise _unknown()
        if row.expires_at is not None and row.expires_at <= now(session):
            raise _unknown()
        return Principal(
            key_id=row.id, tenant=row.tenant, scopes=frozenset(Scope(s) for s in row.scopes)
        )


def require(principal: Principal, scope: Scope) -> None:
    """
    Let pass who holds `scope`.

    Raises:
        InsufficientScope: the key lacks it.
    """
    if scope not in principal.scopes:
        raise InsufficientScope(f"the key lacks the scope {scope}")


def list_keys(db: Database, tenant: str | None = None) -> tuple[ApiKey, ...]:
    """Return the keys of `tenant`, or of all, the oldest first; revoked ones too."""
    with db.reading() as session:
        return tuple(key_from_row(row) for row in key_rows.listed(session, tenant))


def revoke(db: Database, key_id: str) -> None:
    """
    Make a key void from the next request on; harmless where it is already.

    Raises:
        NotFound: no such key.
    """
    with db.writing() as session:
        row = session.get(ApiKeyRow, key_id, with_for_update=True)
        if row is None:
            raise NotFound(f"no key {key_id}")
        row.revoked_at = row.revoked_at or now(session)
    _log.info("key.revoked", key_id=key_id)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _unknown() -> Unauthenticated:
    return Unauthenticated("want a valid API key")
