"""Do those who run the service learn how it is, in words they understand?"""

import sqlite3

import httpx

from app.domain.job import Priority
from app.domain.worker import WorkerCondition
from app.services import leases, workers
from app.settings import UploadLimits
from tests.app.api.conftest import Kitchen, Service
from tests.make import make_condition, make_error


def announce(service: Service, condition: WorkerCondition, *, worker: str = "w1") -> None:
    workers.announce(service.db, worker=worker, code="0.1.0", condition=condition)


def test_a_service_with_a_sound_worker_is_ready(either_service: Service) -> None:
    service = either_service
    announce(service, make_condition())
    with service.client() as client:
        answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert list(answer.json()["checks"]) == [
        "database",
        "schema",
        "disk",
        "workers",
        "models",
        "sandbox",
    ]
    assert all(check["ok"] for check in answer.json()["checks"].values())


def _degraded_by(service: Service) -> dict[str, str]:
    with service.client() as client:
        answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    return {n: c["words"] for n, c in answer.json()["checks"].items() if not c["ok"]}


def test_a_service_without_a_worker_takes_videos_and_says_that_they_wait(service: Service) -> None:
    words = _degraded_by(service)

    assert list(words) == ["workers"]
    assert "deepverdict worker" in words["workers"]


def test_a_worker_that_left_is_missed(service: Service) -> None:
    announce(service, make_condition())
    workers.leave(service.db, worker="w1")

    assert list(_degraded_by(service)) == ["workers"]


def test_a_missing_model_is_named_with_the_way_to_get_it(service: Service) -> None:
    announce(service, make_condition())
    announce(service, make_condition(is_missing=True), worker="w2")
    words = _degraded_by(service)

    assert list(words) == ["models"]
    assert "frame_classifier" in words["models"]
    assert "deepverdict models pull" in words["models"]


def test_a_decoder_without_a_jail_is_never_passed_over(service: Service) -> None:
    announce(service, make_condition(is_network_removed=False))
    words = _degraded_by(service)

    assert list(words) == ["sandbox"]
    assert "w1" in words["sandbox"]


def test_a_full_disk_takes_the_service_out_of_use(kitchen: Kitchen) -> None:
    service = kitchen.serve(upload=UploadLimits(min_free_bytes=2**62))
    announce(service, make_condition())
    with service.client() as client:
        answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["status"] == "unready"
    assert not answer.json()["checks"]["disk"]["ok"]


def test_tables_of_another_version_take_the_service_out_of_use(
    service: Service, sqlite_url: str
) -> None:
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with service.client() as client:
        answer = client.get("/readyz")

    assert answer.status_code == 503
    assert "deepverdict migrate" in answer.json()["checks"]["schema"]["words"]


def test_a_gateway_without_its_database_lives_and_is_not_ready(kitchen: Kitchen) -> None:
    kitchen.database_url = "postgresql+psycopg://somebody:secret@127.0.0.1:1/elsewhere"
    service = kitchen.serve()
    with service.client() as client:
        alive, ready, metrics = (client.get(p) for p in ("/livez", "/readyz", "/metrics"))

    assert alive.status_code == 200
    assert ready.status_code == 503
    assert not ready.json()["checks"]["database"]["ok"]
    assert "secret" not in ready.text
    assert metrics.status_code == 200
    assert "deepverdict_database_up 0.0" in metrics.text
    assert "deepverdict_jobs{" not in metrics.text


def test_metrics_tell_of_the_queue_as_the_database_has_it(either_service: Service) -> None:
    service = either_service
    service.succeeded()
    service.queued()
    assert leases.reject(service.db, service.claimed(), make_error())
    service.queued()
    announce(service, make_condition())
    with service.client() as client:
        answer = client.get("/metrics")
    figures = dict(
        line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")
    )

    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert figures["deepverdict_database_up"] == "1.0"
    assert figures['deepverdict_jobs{state="succeeded"}'] == "1.0"
    assert figures['deepverdict_jobs{state="rejected"}'] == "1.0"
    assert figures['deepverdict_jobs{state="queued"}'] == "1.0"
    assert figures['deepverdict_jobs{state="failed"}'] == "0.0"
    assert figures['deepverdict_verdicts{label="manipulated"}'] == "1.0"
    assert figures["deepverdict_workers_seen"] == "1.0"
    assert figures["deepverdict_job_leases_expired"] == "0.0"
    for priority in Priority:
        name = f'deepverdict_job_oldest_queued_age_seconds{{priority="{priority}"}}'
        assert 0 <= float(figures[name]) < 60
    assert "desk" not in answer.text


def test_metrics_name_no_tenant_and_no_job(service: Service, desk: httpx.Client) -> None:
    job_id = service.queued(ref_id="marker-ref")
    text = desk.get("/metrics").text

    assert job_id not in text
    assert "marker-ref" not in text
