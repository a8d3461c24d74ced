"""
How does a worker come to judge by other versions of its networks, without being started again?

Between two jobs it is told which versions are current. Where those are not the ones that its
inference process has, a second process is started with them. If that one says that they are loaded
and verified, it takes the place of the first; if not, the first goes on as before and the worker
says so. A process has the versions it was started with until it ends, so no job is ever judged by
a mixture that nobody asked for.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app import log
from app.domain.model_version import ModelVersion
from app.domain.worker import WorkerCondition
from app.errors import OperatorMustAct
from workers.inference import Died, InferenceProcess, Ready, Refused
from workers.work_loop import LOOK_EVERY_S

START_WITHIN_S = 300.0  # loading every network from a cold disk takes seconds
TAKE_UP_WITHIN_S = 60.0  # jobs wait meanwhile, which the networks that are loaded could judge
RETRY_S, RETRY_FACTOR = 60.0, 10.0
"""After a failure: not before a minute, nor before ten times as long as it took to fail."""

Versions = tuple[ModelVersion, ...]

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Versions that could not be loaded."""

    models: Versions
    why: str
    retry_at_s: float


class CurrentNetworks:
    """
    Keeps one inference process running, with the versions that are current.

    Args:
        is_stopping: asked while something is awaited.
    """

    def __init__(self, inference: InferenceProcess, *, is_stopping: Callable[[], bool]) -> None:
        self._inference = inference
        self._is_stopping = is_stopping
        self._models: Versions | None = None  # what the process has, or had when it last ran
        self._loaded: WorkerCondition | None = None
        self._refusal: _Refusal | None = None

    @property
    def models(self) -> Versions:
        """The promoted versions that videos are judged by; none where nothing is promoted."""
        return self._models or ()

    @property
    def condition(self) -> WorkerCondition | None:
        """What the worker has to say of itself; None before it was ready."""
        if self._loaded is None or self._refusal is None:
            return self._loaded
        late = [m for m in self._refusal.models if m not in self.models]
        back = {m.name for m in self.models} - {m.name for m in self._refusal.models}
        return replace(
            self._loaded,
            not_taken_up=(
                *(m.versioned_name for m in late),
                *(f"{name} as it comes with the program" for name in sorted(back)),
            ),
            why_not=self._refusal.why,
        )

    def make_ready(self, wanted: Versions) -> bool:
        """
        Have a process run, by the versions that are `wanted` if they can be loaded.

        False where told to stop meanwhile.

        Raises:
            OperatorMustAct: there is none that works: the first one refuses to start, or the
                versions that worked before cannot be loaded any more.
        """
        if self._models is None:
            return self._start(wanted)
        if wanted == self._models:
            self._refusal = None
        elif self._is_due(wanted) and not self._take_up(wanted):
            return False
        return self._inference.is_running or self._start(self._models)

    def _start(self, models: Versions) -> bool:
        started_s = time.monotonic()
        self._inference.start(models)
        answer = self._answer(self._inference, models, within_s=START_WITHIN_S)
        if isinstance(answer, Refused):
            raise OperatorMustAct(answer.detail)
        if answer is not None:
            self._adopt(models, answer.condition, started_s)
        return answer is not None

    def _is_due(self, wanted: Versions) -> bool:
        failed = self._refusal
        return failed is None or failed.models != wanted or time.monotonic() >= failed.retry_at_s

    def _take_up(self, wanted: Versions) -> bool:
        """Try `wanted` beside the process that runs; False where told to stop meanwhile."""
        started_s = time.monotonic()
        fresh = self._inference.twin()
        try:
            fresh.start(wanted)
            answer = self._answer(fresh, wanted, within_s=TAKE_UP_WITHIN_S)
            if isinstance(answer, Ready):
                self._inference.become(fresh)
                self._refusal = None
                self._adopt(wanted, answer.condition, started_s)
        finally:
            fresh.kill()
        if isinstance(answer, Refused):
            took_s = time.monotonic() - started_s
            retry_in_s = max(RETRY_S, RETRY_FACTOR * took_s)
            self._refusal = _Refusal(
                models=wanted, why=answer.detail, retry_at_s=time.monotonic() + retry_in_s
            )
            _log.error(
                "models.not_taken_up",
                wanted=_names(wanted),
                kept=_names(self.models),
                why=answer.detail,
                retry_in_s=round(retry_in_s, 1),
            )
        return answer is not None

    def _adopt(self, models: Versions, condition: WorkerCondition, started_s: float) -> None:
        self._models, self._loaded = models, condition
        _log.info(
            "inference.started",
            took_s=round(time.monotonic() - started_s, 3),
            promoted=_names(models),
            device=condition.device,
            missing_models=condition.missing_models,
            sandbox=condition.sandbox,
        )

    def _answer(
        self, inference: InferenceProcess, models: Versions, *, within_s: float
    ) -> Ready | Refused | None:
        """Wait until a process is ready or is not going to be; None where told to stop."""
        until_s = time.monotonic() + within_s
        while not self._is_stopping():
            match inference.receive(LOOK_EVERY_S):
                case Ready(condition=condition) as ready:
                    others = _others(models, condition)
                    return Refused(detail=others) if others else ready
                case Refused() as refused:
                    return refused
                case Died(how=how):
                    return Refused(detail=f"the inference process did not start: {how}")
                case _ if time.monotonic() > until_s:
                    return Refused(
                        detail=f"the inference process was not ready after {within_s:.0f} s"
                    )
        return None


def _others(models: Versions, condition: WorkerCondition) -> str:
    """Say which networks a process has loaded in place of those it was given; "" where none."""
    return "; ".join(
        f"wanted {m.versioned_name} of sha256:{m.sha256}, it loaded {condition.models[m.name]}"
        for m in models
        if condition.models.get(m.name, f"sha256:{m.sha256}") != f"sha256:{m.sha256}"
    )


def _names(models: Sequence[ModelVersion]) -> list[str]:
    return [m.versioned_name for m in models]
