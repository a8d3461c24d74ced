"""Can the service work, and if not, what would an operator have to do?"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.db import migrate
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.services import workers
from app.settings import UploadLimits
from app.storage import BlobStore

WORKER_SEEN_WITHIN_S = 60.0
GIB = 1024**3


class Status(StrEnum):
    """What to do with the traffic. Wire spelling."""

    READY = "ready"
    DEGRADED = "degraded"  # videos are taken and kept; verdicts wait or lack something
    UNREADY = "unready"  # send no requests here


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that the service needs."""

    name: str
    is_ok: bool
    is_vital: bool  # without it no video can be taken
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Everything that was checked."""

    checks: tuple[Check, ...]

    @property
    def status(self) -> Status:
        """The worst of all checks."""
        if any(c.is_vital and not c.is_ok for c in self.checks):
            return Status.UNREADY
        return Status.READY if all(c.is_ok for c in self.checks) else Status.DEGRADED


def check(db: Database, store: BlobStore, *, limits: UploadLimits) -> Readiness:
    """Ask the database, the disk, and what the workers last said of themselves."""
    return Readiness(checks=(*_database(db), _disk(store, limits), *_workers(db)))


def _database(db: Database) -> tuple[Check, ...]:
    try:
        is_current = migrate.is_current(db)
    except DatabaseUnavailable:
        return (_vital("database", words="does not answer"),)
    stale = "has other tables than this version needs; run `deepverdict migrate`"
    return (
        _vital("database", is_ok=True, words="answers"),
        _vital("schema", is_ok=is_current, words="is current" if is_current else stale),
    )


def _disk(store: BlobStore, limits: UploadLimits) -> Check:
    free, least = store.free_bytes(), limits.min_free_bytes
    words = f"{free / GIB:.1f} GiB free, uploads are refused below {least / GIB:.1f} GiB"
    return _vital("disk", is_ok=free >= least, words=words)


def _workers(db: Database) -> tuple[Check, ...]:
    try:
        alive = workers.alive(db, within_s=WORKER_SEEN_WITHIN_S)
    except DatabaseUnavailable:
        return ()
    if not alive:
        words = (
            f"none was heard of for {WORKER_SEEN_WITHIN_S:.0f} s: videos are taken and wait; "
            "start one with `deepverdict worker`"
        )
        return (_wanted("workers", is_ok=False, words=words),)
    missing = sorted({name for w in alive for name in w.condition.missing_models})
    late = sorted({name for w in alive for name in w.condition.not_taken_up})
    unjailed = sorted(w.worker for w in alive if not w.condition.is_network_removed)
    return (
        _wanted("workers", is_ok=True, words=f"{len(alive)} at work or waiting"),
        _wanted("models", is_ok=not missing and not late, words=_on_models(missing, late)),
        _wanted("sandbox", is_ok=not unjailed, words=_on_sandbox(unjailed)),
    )


def _on_models(missing: Sequence[str], late: Sequence[str]) -> str:
    if late:
        return (
            f"promoted and not taken up: {', '.join(late)}; a worker could not load it and goes on "
            "with the version before. Its log says why; promote the package again, or "
            f"`deepverdict models rollback {late[0].partition('@')[0]}`"
        )
    if not missing:
        return "every model is there, its bytes verified"
    return (
        f"missing where a worker runs: {', '.join(missing)}; what needs them abstains. Run "
        f"`deepverdict models pull {' '.join(missing)}` there and start the worker again"
    )


def _on_sandbox(unjailed: Sequence[str]) -> str:
    if not unjailed:
        return "videos are decoded without network"
    return (
        f"{', '.join(unjailed)} decode videos without a jail, as the kernel refuses one and "
        "`worker.allow_unsandboxed` is set: allow user namespaces, or trust every sender"
    )


def _vital(name: str, *, words: str, is_ok: bool = False) -> Check:
    return Check(name=name, is_ok=is_ok, is_vital=True, words=words)


def _wanted(name: str, *, words: str, is_ok: bool) -> Check:
    return Check(name=name, is_ok=is_ok, is_vital=False, words=words)
