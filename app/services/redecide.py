"""
What would another policy make of the evidence that is stored, and shall it?

No video is touched and no network asked: a verdict is a pure rule over evidence. Jobs are read and
decided in batches, each in a transaction that reads only; what is to be written is written in
another, to jobs that nobody changed in between. So a call that broke off may be repeated, and
workers never wait for long.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app import log
from app.db import jobs as job_rows
from app.db import verdicts as verdict_rows
from app.db.session import Database
from app.db.tables import JobRow
from app.domain.policy import PointName, Policy
from app.domain.redecision import Redecided, Redecision, Ruled, lacking
from app.domain.report import Judged
from app.domain.verdict import Verdict, decide

BATCH = 50
"""Jobs in one transaction: what a worker's heartbeat may have to wait for on SQLite."""
ACTOR_CHARS = 128

_log = log.get(__name__)


def redecide(
    db: Database,
    policy: Policy,
    *,
    operating_point: PointName | None = None,
    tenant: str | None = None,
    actor: str,
    apply: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Redecided:
    """
    Decide every succeeded job anew, the oldest first; write nothing unless told to.

    Args:
        operating_point: by whose lines. Where None by those that each job asked for.
        tenant: whose jobs; everybody's where None.
        actor: who wants it, for the history of the jobs.
        apply: replace verdicts that are not the same word for word.
        report: is told after each batch how many jobs of how many are done.
    """
    tally = _Tally()
    with db.reading() as session:
        of = job_rows.count_succeeded(session, tenant=tenant)
    done, after = 0, ""
    while True:
        with db.reading() as session:
            rows = job_rows.succeeded(session, tenant=tenant, after=after, limit=BATCH)
            decided = [
                found
                for row in rows
                if (found := _decide(session, row, policy, operating_point, tally)) is not None
            ]
        if not rows:
            break
        other = [d for d in decided if d.is_other]
        overtaken = _write(db, other, actor=actor) if apply and other else set()
        for each in decided:
            tally.add(each, is_overtaken=each.job_id in overtaken, is_written=apply)
        done, after = done + len(rows), rows[-1].id
        if report is not None:
            report(done, max(of, done))
    redecided = tally.sum(policy)
    _log.info(
        "verdicts.redecided",
        policy=policy.version,
        examined=redecided.examined,
        changed=len(redecided.changed),
        written=redecided.written,
    )
    return redecided


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """A job with its verdict, and the one that the policy comes to."""

    job_id: str
    tenant: str
    ref_id: str | None
    version: int
    before: Verdict
    after: Verdict
    lacking: tuple[str, ...]

    @property
    def is_other(self) -> bool:
        return self.before != self.after

    def redecision(self) -> Redecision:
        return Redecision(
            job_id=self.job_id,
            tenant=self.tenant,
            ref_id=self.ref_id,
            before=Ruled.of(self.before),
            after=Ruled.of(self.after),
            why=self.after.reasons[0] if self.after.reasons else "",
        )


class _Tally:
    """What has been seen so far."""

    def __init__(self) -> None:
        self._changed: list[Redecision] = []
        self._moved = self._same = self._overtaken = self._written = 0
        self._lacking: Counter[str] = Counter()
        self.of_other_networks = 0
        self.without_verdict = 0

    def add(self, decided: _Decided, *, is_overtaken: bool, is_written: bool) -> None:
        if is_overtaken:
            self._overtaken += 1
            return
        self._lacking.update(decided.lacking)
        if decided.before.label is not decided.after.label:
            self._changed.append(decided.redecision())
        elif decided.is_other:
            self._moved += 1
        else:
            self._same += 1
        self._written += is_written and decided.is_other

    def sum(self, policy: Policy) -> Redecided:
        return Redecided(
            policy=policy.version,
            changed=tuple(self._changed),
            moved=self._moved,
            same=self._same,
            of_other_networks=self.of_other_networks,
            overtaken=self._overtaken + self.without_verdict,
            written=self._written,
            lacking=dict(sorted(self._lacking.items())),
        )


def _decide(
    session: Session,
    row: JobRow,
    policy: Policy,
    operating_point: PointName | None,
    tally: _Tally,
) -> _Decided | None:
    judged = verdict_rows.load(session, row)
    if judged is None:  # purged between two statements
        tally.without_verdict += 1
        return None
    if not policy.holds_for(judged.verdict.policy, judged.provenance.versions):
        tally.of_other_networks += 1
        return None
    asked_for = operating_point or (PointName(row.operating_point) if row.operating_point else None)
    return _Decided(
        job_id=row.id,
        tenant=row.tenant,
        ref_id=row.ref_id,
        version=row.version,
        before=judged.verdict,
        after=_anew(judged, policy, asked_for),
        lacking=lacking(judged.persons, policy),
    )


def _anew(judged: Judged, policy: Policy, operating_point: PointName | None) -> Verdict:
    return decide(judged.persons, judged.video, judged.abstentions, policy, operating_point)


def _write(db: Database, decided: Sequence[_Decided], *, actor: str) -> set[str]:
    """Replace verdicts; return the ids of jobs that somebody else changed meanwhile."""
    wanted = {d.job_id: d for d in decided}
    with db.writing() as session:
        rows = job_rows.lock_versions(session, {d.job_id: d.version for d in decided})
        for row in rows:
            verdict = wanted[row.id].after
            verdict_rows.replace(session, row.id, verdict)
            job_rows.note_redecided(
                session,
                row,
                actor=actor[:ACTOR_CHARS],
                note=f"decided anew by {verdict.policy}: {verdict.label.value}",
            )
    return wanted.keys() - {row.id for row in rows}
