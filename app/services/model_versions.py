"""
Which versions of networks should judge, who said so, and which do?

The last step of a network's history names the version that is current. Workers look there between
two jobs; nothing has to be told to them. The steps are never changed, and one that rolls back is a
step too.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app import log
from app.db import leased
from app.db import model_versions as version_rows
from app.db.records import (
    decision_from_row,
    model_change_from_row,
    model_version_from_row,
    model_version_to_row,
)
from app.db.session import Database, now
from app.db.tables import ModelChangeRow
from app.domain.model_version import (
    Decision,
    KnownVersion,
    ModelChange,
    ModelInUse,
    ModelVersion,
)
from app.domain.policy import CLASSIFIER
from app.errors import PromotionRefused
from app.services import workers

WORKER_SEEN_WITHIN_S = 60.0
ACTOR_CHARS = 128
SHA256 = "sha256:"

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Everything that was promoted, and every step."""

    versions: tuple[KnownVersion, ...]
    history: tuple[ModelChange, ...]  # the oldest first


def current(db: Database) -> tuple[ModelVersion, ...]:
    """Return the promoted versions that should judge, by name; one query, made before each job."""
    with db.reading() as session:
        return tuple(model_version_from_row(row) for row in version_rows.current(session))


def check(
    db: Database, models: Sequence[ModelVersion], decision: Decision, *, despite_rejection: bool
) -> None:
    """
    Say whether these may be promoted, without doing so.

    Raises:
        PromotionRefused: their decision rejects them and nobody overrides it, a classifier has no
            calibration, or a version is known with other bytes.
    """
    if not decision.is_promotion and not despite_rejection:
        raise PromotionRefused(
            f"the candidate was rejected: {'; '.join(decision.reasons) or 'no reason is given'}. "
            "To use it all the same, say --despite-rejection"
        )
    for model in models:
        if model.name == CLASSIFIER and model.operating_point is None:
            raise PromotionRefused(
                f"{model.versioned_name} has no calibration, so nobody knows from which "
                "probability on its verdict should be `manipulated`; calibrate it first"
            )
    with db.reading() as session:
        for model in models:
            row = version_rows.find(session, name=model.name, version=model.version)
            if row is not None:
                _check_bytes(model, row.sha256)


def promote(
    db: Database,
    models: Sequence[ModelVersion],
    decision: Decision,
    *,
    actor: str,
    despite_rejection: bool = False,
) -> tuple[ModelVersion, ...]:
    """
    Add these versions and make all of them current at once; return those that were not yet.

    The files must lie where workers look for them before this is called.

    Raises:
        PromotionRefused: as `check` says.
    """
    check(db, models, decision, despite_rejection=despite_rejection)
    note = "promoted" if decision.is_promotion else "promoted despite its rejection"
    changed: list[ModelVersion] = []
    with db.writing() as session:
        version_rows.be_the_only_writer(session)
        for model in models:
            row = version_rows.find(session, name=model.name, version=model.version)
            if row is None:
                row = model_version_to_row(model, decision)
                row.created_at = now(session)
                session.add(row)
                session.flush()
            _check_bytes(model, row.sha256)
            last = version_rows.last_change(session, model.name)
            if last is not None and last.version == model.version:
                continue
            version_rows.record(
                session,
                name=model.name,
                version=model.version,
                before=None if last is None else last.id,
                actor=_storable(actor),
                note=note,
            )
            changed.append(model)
    for model in changed:
        _log.info("model.promoted", model=model.name, version=model.version)
    return tuple(changed)


def make_current(db: Database, *, name: str, version: str | None, actor: str) -> bool:
    """
    Make a version current that was promoted before; False where it is already.

    Args:
        version: None for the network that comes with the program.

    Raises:
        PromotionRefused: no such version was ever promoted.
    """
    with db.writing() as session:
        version_rows.be_the_only_writer(session)
        if version is not None and version_rows.find(session, name=name, version=version) is None:
            promoted = ", ".join(f"{r.name}@{r.version}" for r in version_rows.listed(session))
            raise PromotionRefused(
                f"{name}@{version} was never promoted; known are {promoted or 'none'}"
            )
        last = version_rows.last_change(session, name)
        if (None if last is None else last.version) == version:
            return False
        version_rows.record(
            session,
            name=name,
            version=version,
            before=None if last is None else last.id,
            actor=_storable(actor),
            note="made current again",
        )
    _log.info("model.promoted", model=name, version=version)
    return True


def roll_back(db: Database, *, name: str, actor: str) -> ModelChange:
    """
    Make the version current that was so before the present one; at last what comes along.

    Raises:
        PromotionRefused: it is what comes with the program, and nothing was before it.
    """
    with db.writing() as session:
        version_rows.be_the_only_writer(session)
        last = version_rows.last_change(session, name)
        if last is None or (last.version is None and last.before is None):
            raise PromotionRefused(
                f"there is no promotion of {name} to roll back: what comes with the program is "
                "current"
            )
        target = None if last.before is None else session.get_one(ModelChangeRow, last.before)
        row = version_rows.record(
            session,
            name=name,
            version=None if target is None else target.version,
            before=None if target is None else target.before,
            actor=_storable(actor),
            note=f"rolled back from {last.version or 'what comes with the program'}",
        )
        change = model_change_from_row(row)
    _log.info("model.rolled_back", model=name, version=change.version)
    return change


def known(db: Database) -> Known:
    """Return every version that was promoted once, and who made which current when."""
    with db.reading() as session:
        now_current = {(r.name, r.version) for r in version_rows.current(session)}
        return Known(
            versions=tuple(
                KnownVersion(
                    model=model_version_from_row(row),
                    decision=decision_from_row(row),
                    is_current=(row.name, row.version) in now_current,
                    created_at=row.created_at,
                )
                for row in version_rows.listed(session)
            ),
            history=tuple(model_change_from_row(row) for row in version_rows.history(session)),
        )


def in_use(db: Database) -> tuple[ModelInUse, ...]:
    """Return the networks that workers say they judge with, and those that they should."""
    wanted = {m.name: m for m in current(db)}
    loaded: Counter[tuple[str, str, str]] = Counter()
    for worker in workers.alive(db, within_s=WORKER_SEEN_WITHIN_S):
        for name, said in worker.condition.models.items():
            if said.startswith(SHA256):
                version = worker.condition.versions.get(name, "")
                loaded[name, version, said.removeprefix(SHA256)] += 1
    for model in wanted.values():
        loaded.setdefault((model.name, model.version, model.sha256), 0)
    return tuple(
        ModelInUse(
            name=name,
            version=version,
            sha256=sha256,
            workers=count,
            is_wanted=name not in wanted or wanted[name].sha256 == sha256,
        )
        for (name, version, sha256), count in sorted(loaded.items())
    )


def _check_bytes(model: ModelVersion, known_sha256: str) -> None:
    if model.sha256 != known_sha256:
        raise PromotionRefused(
            f"{model.versioned_name} is known with other bytes: sha256:{known_sha256}, not "
            f"sha256:{model.sha256}. Findings are stored under that name, so give the new one "
            "another version"
        )


def _storable(actor: str) -> str:
    return leased.storable(actor)[:ACTOR_CHARS]
