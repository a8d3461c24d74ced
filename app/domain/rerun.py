"""
What became of verdicts when stored videos were analysed again?

A rerun makes a job of its own for every video, so the old verdicts stay as they were. Each new
verdict is compared with the one of the job that it was made from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.domain.job import JobState
from app.domain.verdict import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunWish:
    """Which jobs are to be analysed again: those that every part names. An empty part names all."""

    job_ids: frozenset[str] = frozenset()
    since: datetime | None = None  # submitted at this moment or later
    until: datetime | None = None  # submitted before this moment
    labels: frozenset[Label] = frozenset()
    limit: int  # the newest so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict, as far as two are compared."""

    label: Label
    fake_probability: float | None
    models: Mapping[str, str]  # name -> version; "sha256:..." in verdicts older than versions
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A video that was judged twice."""

    job_id: str
    rerun_job_id: str
    before: Judgement
    after: Judgement

    @property
    def is_changed(self) -> bool:
        """Whether it says something else now, and not only by another probability."""
        return self.before.label is not self.after.label


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunReport:
    """How far a rerun is, and what it changed."""

    id: str
    tenant: str
    created_at: datetime
    jobs_by_state: Mapping[JobState, int]  # of the jobs that it made; states with none left out
    compared: tuple[Compared, ...]  # in the order in which the old jobs were submitted
    unavailable: tuple[str, ...]  # jobs that were named or found and cannot be analysed again
    left_out: int  # jobs that it would have been for as well, had the limit been higher

    @property
    def jobs(self) -> int:
        """How many jobs it made, less those that were removed since."""
        return sum(self.jobs_by_state.values())

    @property
    def is_done(self) -> bool:
        """Whether all of its jobs have ended."""
        return all(state.is_terminal for state in self.jobs_by_state)

    @property
    def changed(self) -> tuple[Compared, ...]:
        """Videos whose verdict says something else now."""
        return tuple(c for c in self.compared if c.is_changed)

    @property
    def unchanged(self) -> int:
        """How many videos were judged as before."""
        return len(self.compared) - len(self.changed)
