"""What may a caller do with training runs? One function a verb, each sees one tenant's only."""

import re
from collections.abc import Mapping

from sqlalchemy.orm import Session
from ulid import ULID

from app import log
from app.db import leased
from app.db import training_runs as run_rows
from app.db.session import Database
from app.db.tables import TrainingRunRow
from app.db.training_records import (
    metric_from_row,
    picture_facts_from_row,
    picture_from_row,
    run_from_row,
)
from app.domain.job import JobState
from app.domain.training_run import (
    ROLES,
    RUN_ID,
    MetricRow,
    Picture,
    TrainingKind,
    TrainingPlan,
    TrainingRun,
    TrainingRunPage,
    TrainingRunReport,
)
from app.errors import BadRequest, NotFound
from app.queue import Bell

METRICS_POINTS = 500
"""Rows that are shown of each series, however long a run was."""

_log = log.get(__name__)


def submit(
    db: Database, bell: Bell, *, tenant: str, name: str | None, plan: TrainingPlan
) -> TrainingRun:
    """
    Record a run and ring for a trainer once the row is committed.

    Whether recipe and data are there is for the trainer to find: the gateway has neither.

    Raises:
        BadRequest: the plan lacks data that its kind needs, or names others than it takes.
    """
    _check_roles(plan.kind, plan.data)
    with db.writing() as session:
        _check_forgers(session, tenant, plan)
        row = run_rows.insert(session, run_id=str(ULID()), tenant=tenant, name=name, plan=plan)
        run = run_from_row(row)
    was_rung = bell.ring(run.id)
    _log.info("run.submitted", run_id=run.id, kind=plan.kind, was_rung=was_rung)
    return run


def get(db: Database, *, tenant: str, run_id: str) -> TrainingRunReport:
    """
    Return a run, and which previews there are of it.

    Raises:
        NotFound: unknown, malformed, purged or another tenant's; the four look the same.
    """
    with db.reading() as session:
        row = _find(session, tenant, run_id)
        pictures = run_rows.pictures(session, row.id)
        return TrainingRunReport(
            run=run_from_row(row), pictures=tuple(picture_facts_from_row(p) for p in pictures)
        )


def page(
    db: Database, *, tenant: str, state: JobState | None, cursor: str | None, limit: int
) -> TrainingRunPage:
    """
    Return up to `limit` of the tenant's runs, newest first, from where `cursor` left off.

    Raises:
        BadRequest: the cursor is not one that a page gave.
    """
    if cursor is not None and not re.fullmatch(RUN_ID, cursor):
        raise BadRequest("want the `next_cursor` of an earlier page as the cursor")
    with db.reading() as session:
        found = run_rows.page(session, tenant=tenant, state=state, before=cursor, limit=limit + 1)
        items = tuple(run_from_row(row) for row in found[:limit])
    return TrainingRunPage(items=items, next_cursor=items[-1].id if len(found) > limit else None)


def metrics(db: Database, *, tenant: str, run_id: str) -> tuple[MetricRow, ...]:
    """
    Return what a run wrote of its losses, evenly thinned where it wrote much.

    Raises:
        NotFound: no such run for this tenant.
    """
    with db.reading() as session:
        row = _find(session, tenant, run_id)
        found = run_rows.metrics(session, row.id, most=METRICS_POINTS)
        return tuple(metric_from_row(metric) for metric in found)


def picture(db: Database, *, tenant: str, run_id: str, series: str, step: int) -> Picture:
    """
    Return a preview with its bytes.

    Raises:
        NotFound: no such run or picture for this tenant.
    """
    with db.reading() as session:
        row = _find(session, tenant, run_id)
        found = run_rows.picture(session, row.id, series=series, step=step)
        if found is None:
            raise NotFound("no such picture of this run")
        return picture_from_row(found)


def remove(db: Database, *, tenant: str, run_id: str) -> TrainingRun:
    """
    Cancel a run that waits or runs; of one that has ended, remove everything but a tombstone.

    Its folder is removed by the trainers, who alone can reach it.

    Raises:
        NotFound: no such run for this tenant.
    """
    _check_id(run_id)
    with db.writing() as session:
        row = leased.lock_owned(session, TrainingRunRow, tenant=tenant, row_id=run_id)
        if row is None:
            raise _no_run()
        if JobState(row.state).is_terminal:
            run_rows.forget(session, row)
            run_rows.enter(session, row, JobState.PURGED, actor="tenant", note="purged")
        else:
            run_rows.enter(session, row, JobState.CANCELLED, actor="tenant", note="cancelled")
        return run_from_row(row)


def _find(session: Session, tenant: str, run_id: str) -> TrainingRunRow:
    _check_id(run_id)
    row = leased.find(session, TrainingRunRow, tenant=tenant, row_id=run_id)
    if row is None:
        raise _no_run()
    return row


def _check_id(run_id: str) -> None:
    if not re.fullmatch(RUN_ID, run_id):
        raise _no_run()


def _no_run() -> NotFound:
    return NotFound("no such training run")


def _check_roles(kind: TrainingKind, data: Mapping[str, tuple[str, ...]]) -> None:
    roles = {role.name: role for role in ROLES[kind]}
    if strange := sorted(data.keys() - roles.keys()):
        raise BadRequest(f"a run of kind {kind} takes no data called {', '.join(strange)}")
    if missing := [r.name for r in roles.values() if r.is_needed and not data.get(r.name)]:
        raise BadRequest(f"a run of kind {kind} needs data called {', '.join(missing)}")
    if many := [n for n, names in data.items() if len(names) > 1 and not roles[n].is_many]:
        raise BadRequest(f"want one name for {', '.join(many)}")


def _check_forgers(session: Session, tenant: str, plan: TrainingPlan) -> None:
    """Let a run build on what others made only where that is the tenant's own, and finished."""
    for role in ROLES[plan.kind]:
        for name in plan.data.get(role.name, ()) if role.is_run else ():
            if not re.fullmatch(RUN_ID, name):
                continue
            row = leased.find(session, TrainingRunRow, tenant=tenant, row_id=name)
            is_forger = row is not None and row.kind == TrainingKind.FORGER.value
            if row is None or not is_forger or row.state != JobState.SUCCEEDED.value:
                raise BadRequest(f"{role.name}: {name} is no finished forger of yours")
