"""What does a worker say of itself when it is asked whether it can work?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCondition:
    """Told whenever it changes; read by `/readyz`, which has no models of its own."""

    models: Mapping[str, str]  # name -> "sha256:...", or "missing: ..." in words
    sandbox: str  # how the decoder is jailed, in words
    is_network_removed: bool
    device: str  # "cpu", "cuda"
    versions: Mapping[str, str] = field(default_factory=dict)  # name -> version; old rows lack it
    not_taken_up: tuple[str, ...] = ()  # "name@version" of what it should have and could not load
    why_not: str = ""

    @property
    def missing_models(self) -> tuple[str, ...]:
        """Names of the models that a detector wants and the worker does not have."""
        return tuple(n for n, s in self.models.items() if not s.startswith("sha256:"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWorker:
    """A worker that was heard of lately."""

    worker: str  # its id
    code: str  # version of the program it runs
    is_busy: bool
    last_seen_at: datetime
    condition: WorkerCondition
