"""Who may do what? A key speaks for one tenant and holds scopes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do. Wire and database spelling."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    ADMIN = "admin"  # trains networks, and sees what they make


USUAL_SCOPES = frozenset({Scope.JOBS_WRITE, Scope.JOBS_READ})
"""What a key may do unless more, or less, is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever asks, once the key was found to be valid."""

    key_id: str
    tenant: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as its owner may look at it again: without the secret."""

    id: str
    tenant: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
