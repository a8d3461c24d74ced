"""
How does a worker take a job, keep it, and let go of it?

    reconcile when due -> claim -> analyse in the inference process, heartbeating -> conclude

The loop is that of `workers.work_loop`. It holds no arrays and loads no networks.
"""

import time
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from app import log
from app.db.session import Database
from app.domain.evidence import Analysis
from app.domain.job import Actor, Claim, JobError, JobState, Progress, Stage
from app.domain.media import StoredBlob
from app.domain.model_version import ModelVersion
from app.domain.overlay import OverlayClaim, Rendered
from app.domain.policy import policy_for
from app.domain.verdict import decide
from app.domain.worker import WorkerCondition
from app.errors import DatabaseUnavailable
from app.queue import Bell
from app.services import leases, model_versions, overlays, workers
from app.services.leasing import Reconciled
from app.settings import WorkerSettings
from app.storage import BlobStore
from workers.current_networks import CurrentNetworks
from workers.inference import (
    Assignment,
    Died,
    Failed,
    InferenceProcess,
    Outcome,
    Rejected,
    Rendering,
    Tampered,
)
from workers.work_loop import LOOK_EVERY_S, Lease, WorkLoop

COPY_BYTES = 1024 * 1024
SEEN_EVERY_S = 10.0  # `/readyz` counts workers heard of within a minute

_log = log.get(__name__)


class Interrupted(Enum):
    """Why an analysis was ended that might have gone on."""

    LEASE_LOST = "lease_lost"  # or cancelled: to a worker they are the same
    DRAINED = "drained"


class Supervisor(WorkLoop[Claim | OverlayClaim]):
    """One a worker process; makes overlays, too, in turn with jobs."""

    def __init__(
        self,
        *,
        db: Database,
        store: BlobStore,
        bell: Bell,
        inference: InferenceProcess,
        limits: WorkerSettings,
        worker: str,
        code: str,
    ) -> None:
        super().__init__(db=db, limits=limits, worker=worker)
        self._store = store
        self._bell = bell
        self._inference = inference
        self._wanted: tuple[ModelVersion, ...] = ()
        self._networks = CurrentNetworks(inference, is_stopping=lambda: self.is_stopping)
        self._job_deadline_s = limits.job_deadline_s
        self._code = code
        self._tell_at_s = 0.0
        self._condition: WorkerCondition | None = None
        self._is_told = False
        self._is_overlays_turn = True

    def _end(self) -> None:
        self._inference.kill()

    def _leave(self) -> None:
        workers.leave(self._db, worker=self._worker)

    def _make_ready(self) -> bool:
        """Have the current versions of the networks loaded; False where told to stop meanwhile."""
        self._wanted = model_versions.current(self._db)
        is_ready = self._networks.make_ready(self._wanted)
        if self._networks.condition != self._condition:
            self._condition, self._is_told = self._networks.condition, False
        return is_ready

    def _reconcile(self) -> Reconciled:
        return leases.reconcile(self._db, self._bell, limits=self._limits) + overlays.reconcile(
            self._db, self._bell, limits=self._limits
        )

    def _claim(self) -> Claim | OverlayClaim | None:
        """Take turns where there is both: somebody waits for an overlay, too, but not alone."""
        self._tell(is_busy=False)
        self._is_overlays_turn = not self._is_overlays_turn
        kinds = (self._claim_overlay, self._claim_job)
        for claim_one in kinds if self._is_overlays_turn else reversed(kinds):
            if (claim := claim_one()) is not None:
                return claim
        return None

    def _claim_overlay(self) -> OverlayClaim | None:
        return overlays.claim(self._db, worker=self._worker, limits=self._limits)

    def _claim_job(self) -> Claim | None:
        while claim := leases.claim(self._db, worker=self._worker, limits=self._limits):
            lease = Lease(self._limits.lease_s)
            current = lease.insist(lambda: model_versions.current(self._db))
            if current is None:
                break  # the database was away for as long as the job was ours
            if current == self._wanted:
                return claim
            # Somebody promoted another one while this worker got ready: it is for this job, too.
            leases.hand_back(self._db, claim)
            if not self._make_ready():
                break
        return None

    def _tell(self, *, is_busy: bool) -> None:
        """Say that this worker lives, and what it works with whenever that changed."""
        if self._condition is not None and not self._is_told:
            workers.announce(
                self._db, worker=self._worker, code=self._code, condition=self._condition
            )
            self._is_told = True
        elif time.monotonic() < self._tell_at_s:
            return
        workers.seen(self._db, worker=self._worker, is_busy=is_busy)
        self._tell_at_s = time.monotonic() + SEEN_EVERY_S

    def _work(self, claim: Claim | OverlayClaim) -> None:
        with structlog.contextvars.bound_contextvars(job_id=claim.job_id, attempt=claim.attempt):
            started_s = time.monotonic()
            lease = Lease(self._limits.lease_s)
            if isinstance(claim, OverlayClaim):
                self._make_overlay(claim, lease)
                return
            _log.info("job.claimed", lease_token=claim.lease_token, size_bytes=claim.size_bytes)
            try:
                self._settle(claim, self._examine(claim, lease), lease)
            except Exception:  # noqa: BLE001 - the boundary of a job: a bug here must not stop others
                _log.exception("job.mishandled")
                self._inference.kill()
                why = _ours("internal", "The analysis could not be concluded. The log says why.")
                self._settle(claim, Failed(error=why), lease)
            _log.info("job.left", took_s=round(time.monotonic() - started_s, 3))

    def _make_overlay(self, claim: OverlayClaim, lease: Lease) -> None:
        _log.info("overlay.claimed", lease_token=claim.lease_token)
        try:
            with TemporaryDirectory(prefix="deepverdict-") as folder:
                out = Path(folder) / "overlay.mp4"
                self._settle_overlay(claim, self._render(claim, out, lease), out, lease)
        except Exception:  # noqa: BLE001 - the boundary of an overlay: a bug here must not stop others
            _log.exception("overlay.mishandled")
            self._inference.kill()
            self._retry_overlay(claim, _ours("internal", "The overlay could not be made."), lease)

    def _render(self, claim: OverlayClaim, out: Path, lease: Lease) -> Outcome | Interrupted:
        with ExitStack() as lent:
            try:
                path = lent.enter_context(self._store.local_file(claim.blob_key))
            except OSError:
                _log.exception("blob.lending_failed")
                return Failed(error=_ours("storage", "The stored video could not be read."))
            self._inference.assign(
                Rendering(
                    path=str(path),
                    sha256=claim.sha256,
                    size_bytes=claim.size_bytes,
                    out=str(out),
                    order=claim.order,
                )
            )
            ending = self._attend(claim, lease)
            if not isinstance(ending, Rendered | Rejected | Tampered):
                self._inference.kill()
            return ending

    def _settle_overlay(
        self, claim: OverlayClaim, ending: Outcome | Interrupted, out: Path, lease: Lease
    ) -> None:
        match ending:
            case Rendered(sha256=sha256):
                blob = self._stored(out)
                if blob.sha256 != sha256:
                    raise OSError(f"{out} is not what was rendered")
                if lease.insist(lambda: overlays.conclude(self._db, claim, blob)):
                    _log.info("overlay.concluded", size_bytes=blob.size_bytes)
                else:
                    self._store.delete(blob.key)
            case Rejected(error=error) | Tampered(error=error):
                lease.insist(lambda: overlays.fail(self._db, claim, error))
            case Failed(error=error):
                self._retry_overlay(claim, error, lease)
            case Died(how=how):
                _log.error("inference.died", how=how)
                self._retry_overlay(claim, _ours("worker-died", f"It died: {how}."), lease)
            case Interrupted.LEASE_LOST:
                _log.warning("overlay.lost")
            case Interrupted.DRAINED:
                lease.insist(lambda: overlays.hand_back(self._db, claim))
            case Analysis():
                raise TypeError("an analysis came where an overlay was wanted")

    def _stored(self, file: Path) -> StoredBlob:
        """Keep a file as a blob."""
        writer = self._store.begin()
        try:
            with file.open("rb") as stream:
                while chunk := stream.read(COPY_BYTES):
                    writer.write(chunk)
            return writer.commit()
        finally:
            writer.abort()

    def _retry_overlay(self, claim: OverlayClaim, error: JobError, lease: Lease) -> None:
        state = lease.insist(lambda: overlays.retry(self._db, claim, error, limits=self._limits))
        if state is not None:
            _log.warning("overlay.retried", code=error.code, state=state)

    def _examine(self, claim: Claim, lease: Lease) -> Outcome | Interrupted:
        with ExitStack() as lent:
            try:
                path = lent.enter_context(self._store.local_file(claim.blob_key))
            except OSError:
                _log.exception("blob.lending_failed")
                return Failed(error=_ours("storage", "The stored video could not be read."))
            self._inference.assign(
                Assignment(path=str(path), sha256=claim.sha256, size_bytes=claim.size_bytes)
            )
            ending = self._attend(claim, lease)
            if not isinstance(ending, Analysis | Rejected | Tampered):
                self._inference.kill()
            return ending

    def _attend(self, claim: Claim | OverlayClaim, lease: Lease) -> Outcome | Interrupted:
        """Keep the lease while the process works; return what it said, or why it was cut off."""
        progress = Progress(stage=Stage.STARTING, fraction=0.0)
        deadline_at_s = time.monotonic() + self._job_deadline_s
        beat_at_s = 0.0
        while True:
            message = self._inference.receive(min(beat_at_s - time.monotonic(), LOOK_EVERY_S))
            if isinstance(message, Progress):
                if message.stage is not progress.stage:
                    beat_at_s = 0.0  # those who watch are told of every stage at once
                progress = message
            elif isinstance(message, Outcome):
                return message
            now_s = time.monotonic()
            if now_s >= deadline_at_s:
                return Died(how=f"no answer within {self._job_deadline_s:g} s")
            if self.is_grace_over:
                return Interrupted.DRAINED
            if now_s >= beat_at_s:
                beat_at_s = now_s + self._beat_every_s
                if not self._beat(claim, lease, progress):
                    return Interrupted.LEASE_LOST

    def _beat(self, claim: Claim | OverlayClaim, lease: Lease, progress: Progress) -> bool:
        """Renew the lease; False where it is lost, or must be by now."""
        lease_s = self._limits.lease_s
        try:
            if isinstance(claim, OverlayClaim):
                is_kept = overlays.heartbeat(self._db, claim, lease_s=lease_s)
            else:
                is_kept = leases.heartbeat(self._db, claim, lease_s=lease_s, progress=progress)
            if not is_kept:
                return False
            lease.renew()
            self._tell(is_busy=True)
        except DatabaseUnavailable:
            # Nobody else can claim the job either, until the lease is over.
            _log.warning("database.went_away", lease_left_s=round(lease.left_s, 1))
            return lease.left_s > 0
        return True

    def _settle(self, claim: Claim, ending: Outcome | Interrupted, lease: Lease) -> None:
        """Write the end of the attempt, as often as it takes while the lease may hold."""
        match ending:
            case Analysis():
                self._conclude(claim, ending, lease)
            case Rejected(error=error):
                if lease.insist(lambda: leases.reject(self._db, claim, error)):
                    _log.info("job.rejected", code=error.code)
            case Tampered(error=error):
                if lease.insist(lambda: leases.fail(self._db, claim, error)):
                    _log.error("job.failed", code=error.code, detail=error.detail)
            case Failed(error=error):
                self._retry(claim, error, JobState.FAILED, lease)
            case Died(how=how):
                _log.error("inference.died", how=how)
                detail = f"The analysis process did not live to answer: {how}."
                self._retry(claim, _ours("worker-died", detail), JobState.QUARANTINED, lease)
            case Interrupted.LEASE_LOST:
                _log.warning("job.lost")
            case Interrupted.DRAINED:
                if lease.insist(lambda: leases.hand_back(self._db, claim)):
                    _log.info("job.handed_back")
            case Rendered():
                raise TypeError("an overlay came where an analysis was wanted")

    def _conclude(self, claim: Claim, analysis: Analysis, lease: Lease) -> None:
        policy = policy_for(self._networks.models)
        verdict = decide(
            analysis.persons,
            analysis.video,
            analysis.abstentions,
            policy,
            claim.operating_point,
        )
        if lease.insist(lambda: leases.conclude(self._db, claim, analysis, verdict)):
            _log.info(
                "job.concluded",
                label=verdict.label,
                persons=len(analysis.persons),
                frames=analysis.video.frames_kept,
                analysis_s=analysis.timings.get("total_s"),
            )

    def _retry(self, claim: Claim, error: JobError, last_state: JobState, lease: Lease) -> None:
        state = lease.insist(
            lambda: leases.retry(self._db, claim, error, limits=self._limits, last_state=last_state)
        )
        if state is not None:
            _log.warning("job.retried", code=error.code, state=state)


def _ours(code: str, detail: str) -> JobError:
    return JobError(code=code, detail=detail, actor=Actor.OPERATOR)
