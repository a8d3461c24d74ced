"""The doorbell: real worker processes on a real Redis that forgets, lies, dies or never was."""

import base64
import json
import os
import pickle
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from app.db.session import Database
from app.domain.job import JobState, Priority, Stage
from app.queue import CeleryBell, QueueName, SilentBell, TaskName
from app.services import jobs
from app.storage import LocalBlobStore
from tests.servers import Redis
from tests.workers.analyzers import video
from tests.workers.process import SHORT, WorkerProcess
from tests.workers.test_inference import is_alive
from tests.workers.test_supervisor import until

NEVER = {
    "DEEPVERDICT_WORKER__POLL_INTERVAL_S": "600",
    "DEEPVERDICT_WORKER__RECONCILE_INTERVAL_S": "600",
}
"""Settings of a worker that looks for work only where it is rung for."""
HEAVY = {"numpy", "cv2", "av", "onnx", "onnxruntime", "torch", "models", "workers.detection"}


class Service:
    """A database, a store and a bell: what a gateway has."""

    def __init__(self, folder: Path, database_url: str, broker_url: str | None) -> None:
        self.folder = folder
        self.environment = {
            "DEEPVERDICT_DATA_DIR": str(folder / "data"),
            "DEEPVERDICT_DATABASE_URL": database_url,
        }
        if broker_url is not None:
            self.environment["DEEPVERDICT_BROKER_URL"] = broker_url
        self.db = Database(database_url)
        self.store = LocalBlobStore(folder / "data" / "blobs")
        self.bell = CeleryBell(broker_url) if broker_url else SilentBell()

    def close(self) -> None:
        self.db.close()
        if isinstance(self.bell, CeleryBell):
            self.bell.close()

    def submit(self, **does: object) -> str:
        writer = self.store.begin()
        writer.write(video(**does))
        return jobs.submit(
            self.db,
            self.bell,
            tenant="desk",
            blob=writer.commit(),
            ref_id=None,
            file_name=None,
            priority=Priority.BATCH,
        ).id

    def worker(
        self,
        extra: Mapping[str, str] | None = None,
        *,
        log: Path | None = None,
        analyzer: str = "as_told",
        modules: Path | None = None,
    ) -> WorkerProcess:
        return WorkerProcess(
            {**self.environment, **(extra or {})},
            log=log or self.folder / "worker.log",
            analyzer=analyzer,
            modules=modules,
        )

    def state(self, job_id: str) -> JobState:
        return jobs.get(self.db, tenant="desk", job_id=job_id).job.state

    def stage(self, job_id: str) -> Stage:
        return jobs.get(self.db, tenant="desk", job_id=job_id).job.progress.stage

    def attempt(self, job_id: str) -> int:
        return jobs.get(self.db, tenant="desk", job_id=job_id).job.attempt

    def until_all(self, state: JobState, job_ids: list[str]) -> None:
        until(lambda: all(self.state(i) is state for i in job_ids), f"all {state}")


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    one = Service(tmp_path, postgres_url, redis_url)
    yield one
    one.close()


@pytest.fixture
def without_broker(tmp_path: Path, sqlite_url: str) -> Iterator[Service]:
    one = Service(tmp_path, sqlite_url, None)
    yield one
    one.close()


def test_a_worker_that_never_polls_is_woken_by_the_bell(service: Service):
    with service.worker(NEVER) as worker:
        worker.until_logged("inference.started")
        job_id = service.submit()
        service.until_all(JobState.SUCCEEDED, [job_id])

        assert worker.terminate() == 0


def test_a_busy_worker_leaves_messages_to_others(service: Service, redis_server: Redis):
    with service.worker(NEVER) as worker, redis_server.client() as client:
        worker.until_logged("inference.started")
        slow = service.submit(sleeps_s=60)
        service.until_all(JobState.RUNNING, [slow])
        service.submit()
        service.submit()
        until(lambda: client.llen(QueueName.DETECT.value) == 2, "two messages wait")

        assert worker.is_running


def test_a_worker_process_loads_no_arrays_codecs_or_networks(service: Service, tmp_path: Path):
    modules = tmp_path / "modules"
    with service.worker(modules=modules) as worker:
        service.until_all(JobState.SUCCEEDED, [service.submit()])
        assert worker.terminate() == 0

    assert not HEAVY & set(modules.read_text().split())


def test_without_any_broker_workers_drain_the_queue_by_polling(without_broker: Service):
    job_ids = [without_broker.submit() for _ in range(5)]

    with without_broker.worker() as worker:
        without_broker.until_all(JobState.SUCCEEDED, job_ids)

        assert worker.terminate() == 0


def test_with_a_broker_that_never_was_workers_drain_the_queue_by_polling(
    tmp_path: Path, sqlite_url: str
):
    service = Service(tmp_path, sqlite_url, "redis://127.0.0.1:1/0")
    job_ids = [service.submit() for _ in range(3)]

    with service.worker() as worker:
        service.until_all(JobState.SUCCEEDED, job_ids)

        assert worker.terminate() == 0
    service.close()


def test_a_broker_that_forgets_everything_loses_nothing(service: Service, redis_server: Redis):
    with redis_server.client() as client:
        job_ids = [service.submit() for _ in range(5)]
        client.flushall()
        with service.worker(NEVER | {"DEEPVERDICT_WORKER__RECONCILE_INTERVAL_S": "0.5"}):
            service.until_all(JobState.SUCCEEDED, job_ids)


def test_a_broker_that_is_restarted_is_heard_again(service: Service, redis_server: Redis):
    with service.worker(NEVER) as worker:
        worker.until_logged("inference.started")
        service.until_all(JobState.SUCCEEDED, [service.submit()])
        redis_server.kill()
        redis_server.start()
        job_id = service.submit()

        def is_done() -> bool:
            service.bell.ring(job_id)  # a bell may find the old connection dead, once
            return service.state(job_id) is JobState.SUCCEEDED

        until(is_done, "heard again")
        assert worker.terminate() == 0


def envelope(body: bytes, *, content_type: str, task: str = TaskName.DETECT.value) -> str:
    """Make a message as Celery's producer puts it into Redis, around any body."""
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {"id": "forged", "task": task, "lang": "py"},
            "properties": {
                "body_encoding": "base64",
                "correlation_id": "forged",
                "delivery_info": {"exchange": "", "routing_key": QueueName.DETECT.value},
                "delivery_mode": 2,
                "delivery_tag": "forged",
                "priority": 0,
            },
        }
    )


class _Exploit:
    """Runs a program wherever it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def test_forged_doorbells_are_dropped_and_the_worker_lives(
    service: Service, redis_server: Redis, tmp_path: Path
):
    mark = tmp_path / "ran"
    nothing: object = [[], {}, {}]
    forged = [
        envelope(
            json.dumps([[], {"job_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, {}]).encode(),
            content_type="application/json",
        ),
        envelope(json.dumps([["x", "y", "z"], {}, {}]).encode(), content_type="application/json"),
        envelope(json.dumps({"not": "a task"}).encode(), content_type="application/json"),
        envelope(json.dumps(nothing).encode(), content_type="application/json", task="os.system"),
        envelope(b"\xff\xfe{", content_type="application/json"),
        envelope(
            pickle.dumps(((_Exploit(mark),), {}, {})), content_type="application/x-python-serialize"
        ),
        "not even an envelope",
        "{}",
    ]
    with service.worker(NEVER) as worker, redis_server.client() as client:
        worker.until_logged("inference.started")
        for message in forged:
            client.lpush(QueueName.DETECT.value, message)
        until(lambda: client.llen(QueueName.DETECT.value) == 0, "all read")
        job_id = service.submit()
        service.until_all(JobState.SUCCEEDED, [job_id])

        assert worker.terminate() == 0
    assert not mark.exists()


def test_sigterm_hands_the_job_back_with_its_attempt_and_leaves_no_process(service: Service):
    job_id = service.submit(sleeps_s=60)
    with service.worker() as worker:
        service.until_all(JobState.RUNNING, [job_id])
        family = psutil.Process(worker.process.pid).children(recursive=True)
        assert service.attempt(job_id) == 1
        began_s = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)

        assert worker.terminate() == 0  # the second one is harmless

    assert time.monotonic() - began_s < 5
    assert (service.state(job_id), service.attempt(job_id)) == (JobState.QUEUED, 0)
    assert family
    assert not [p for p in family if is_alive(p.pid)]


def test_a_killed_worker_takes_its_children_along_and_another_has_its_job_in_time(
    service: Service, tmp_path: Path
):
    lease_s, reconcile_s = (
        float(SHORT[f"DEEPVERDICT_WORKER__{name}_S"]) for name in ("LEASE", "RECONCILE_INTERVAL")
    )
    with service.worker() as victim:
        victim.until_logged("inference.started")
        job_id = service.submit(sleeps_s=60)
        service.until_all(JobState.RUNNING, [job_id])
        with service.worker(log=tmp_path / "other.log") as other:
            other.until_logged("inference.started")
            family = psutil.Process(victim.process.pid).children(recursive=True)
            victim.kill()
            killed_s = time.monotonic()
            until(lambda: service.attempt(job_id) == 2, "taken over")
            taken_over_s = time.monotonic() - killed_s

    assert taken_over_s < lease_s + reconcile_s + 2
    assert family
    assert not [p for p in family if is_alive(p.pid)]


def test_a_stopped_worker_that_wakes_too_late_writes_nothing(service: Service):
    job_id = service.submit(sleeps_s=2.0)
    with service.worker() as stale:
        until(lambda: service.stage(job_id) is Stage.FOLLOWING_FACES, "following faces")
        stale.process.send_signal(signal.SIGSTOP)
        with service.worker() as other:
            service.until_all(JobState.SUCCEEDED, [job_id])
            version = jobs.get(service.db, tenant="desk", job_id=job_id).job.version
            other.terminate()
        stale.process.send_signal(signal.SIGCONT)
        stale.until_logged("job.fenced_off")

    assert service.attempt(job_id) == 2
    assert version == jobs.get(service.db, tenant="desk", job_id=job_id).job.version


def test_a_worker_whose_model_differs_ends_with_the_words(service: Service):
    with service.worker(analyzer="refusing") as worker:
        assert worker.process.wait(20) != 0

        assert "frame_classifier: sha256 differs" in worker.words()
