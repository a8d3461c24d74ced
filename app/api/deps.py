"""What does a route work with, and who is calling it?"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from app.api.metrics import Meters
from app.db.session import Database
from app.domain.access import Principal, Scope
from app.errors import Unauthenticated
from app.queue import Bell
from app.services import keys
from app.settings import Settings
from app.storage import BlobStore

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    bearerFormat="dv_...",
    description="`deepverdict keys create --tenant NAME` prints one, once.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the gateway is made of; one for each application."""

    settings: Settings
    db: Database
    bell: Bell
    training_bell: Bell
    store: BlobStore
    meters: Meters

    @property
    def base_url(self) -> str:
        """Beginning of every link; never taken from the request."""
        return (self.settings.api.public_url or "").rstrip("/")


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]


def _principal(
    parts: PartsOf,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Principal:
    if credentials is None:
        raise Unauthenticated("want Authorization: Bearer dv_..., found no such header")
    return keys.authenticate(parts.db, credentials.credentials)


Caller = Annotated[Principal, Depends(_principal)]


async def _reader(caller: Caller) -> Principal:
    keys.require(caller, Scope.JOBS_READ)
    return caller


async def _writer(caller: Caller) -> Principal:
    keys.require(caller, Scope.JOBS_WRITE)
    return caller


async def _admin(caller: Caller) -> Principal:
    keys.require(caller, Scope.ADMIN)
    return caller


Reader = Annotated[Principal, Depends(_reader)]
"""Whoever may see jobs; checked before the body is read."""

Writer = Annotated[Principal, Depends(_writer)]
"""Whoever may submit and remove jobs; checked before the body is read."""

Admin = Annotated[Principal, Depends(_admin)]
"""Whoever may train networks and see what they make; checked before the body is read."""
