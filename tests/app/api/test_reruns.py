"""What is a caller told of videos that are analysed again, and of what that changed?"""

import socket
from datetime import timedelta

import httpx
import pytest

from app.api import json_body
from app.clock import utc_now
from app.domain.verdict import Label
from app.services import leases, model_versions, workers
from tests.app.api.conftest import Service
from tests.app.api.test_upload import slug
from tests.make import make_analysis, make_condition, make_verdict
from tests.make_packages import make_decision, make_version

UNKNOWN = "01KDEEPVERD1CT000000000099"


def test_a_rerun_is_followed_from_its_start_to_what_it_changed(either_service: Service) -> None:
    service = either_service
    with service.client(service.key()) as desk:
        job_id, other = service.succeeded(), service.succeeded()
        started = desk.post("/v1/reruns", json={"job_ids": [job_id, job_id, other, UNKNOWN]})
        path = started.headers["Location"]
        clear = make_verdict(Label.NO_MANIPULATION_FOUND, fake_probability=0.1)
        for verdict in (clear, make_verdict()):
            claim = service.claimed()
            assert leases.conclude(service.db, claim, make_analysis(), verdict)
        done = desk.get(path)
        (changed,) = done.json()["changed"]
        new = desk.get(changed["link"]).json()
        listed = desk.get("/v1/jobs").json()["items"]

    assert started.status_code == 202
    assert started.headers["Retry-After"] == "2"
    assert started.json()["states"] == {"queued": 2}
    assert started.json()["unavailable"] == [UNKNOWN]
    assert started.json()["is_done"] is False
    assert done.json()["is_done"] is True
    assert "Retry-After" not in done.headers
    assert (done.json()["jobs"], done.json()["unchanged"]) == (2, 1)
    assert changed["job_id"] == job_id
    assert [changed[w]["label"] for w in ("before", "after")] == [
        "manipulated",
        "no_manipulation_found",
    ]
    assert (new["rerun_of"], new["priority"]) == (job_id, "batch")
    assert [job.get("rerun_of") for job in listed] == [other, job_id, None, None]


def test_an_empty_wish_is_for_everything_of_ones_own(service: Service, desk: httpx.Client) -> None:
    service.succeeded()
    service.succeeded(tenant="theirs")

    assert desk.post("/v1/reruns", json={}).json()["jobs"] == 1


def test_jobs_are_chosen_by_time_and_verdict(service: Service, desk: httpx.Client) -> None:
    service.succeeded()
    soon = (utc_now() + timedelta(hours=1)).isoformat()
    wishes = {
        '{"labels": ["manipulated"]}': 1,
        '{"labels": ["inconclusive"]}': 0,
        f'{{"since": "{soon}"}}': 0,
        f'{{"until": "{soon}", "limit": 1}}': 1,
    }

    found = {w: desk.post("/v1/reruns", content=w).json()["jobs"] for w in wishes}

    assert found == wishes


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", ["body"]),
        (b"job_ids=1", ["body"]),
        (b"[]", ["body"]),
        (b'{"job_ids": []}', ["body", "job_ids"]),
        (b'{"job_ids": "01KDEEPVERD1CT000000000099"}', ["body", "job_ids"]),
        (b'{"job_ids": ["../../etc/passwd"]}', ["body", "job_ids", "0"]),
        (b'{"job_ids": ["01KDEEPVERD1CT000000000099\\n"]}', ["body", "job_ids", "0"]),
        (b'{"labels": ["authentic"]}', ["body", "labels", "0"]),
        (b'{"since": "2026-11-01T00:00:00"}', ["body", "since"]),
        (b'{"limit": 0}', ["body", "limit"]),
        (b'{"limit": 1001}', ["body", "limit"]),
        (b'{"tenant": "theirs"}', ["body", "tenant"]),
        (b'{"job_ids": ["01KDEEPVERD1CT000000000099"], "labels": ["manipulated"]}', ["body"]),
    ],
)
def test_a_body_that_is_not_as_documented_is_refused_with_the_place(
    desk: httpx.Client, body: bytes, where: list[str]
) -> None:
    answer = desk.post("/v1/reruns", content=body)

    assert answer.status_code == 422
    assert slug(answer) == "validation"
    assert where in [e["where"] for e in answer.json()["errors"]]


def test_a_body_that_is_too_large_is_not_read_to_its_end(desk: httpx.Client) -> None:
    answer = desk.post("/v1/reruns", content=b" " * (json_body.MAX_BYTES + 1))

    assert answer.status_code == 413
    assert slug(answer) == "too-large"


def test_a_body_of_a_stranger_is_not_read_at_all(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as stranger:
        stranger.sendall(
            b"POST /v1/reruns HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        )
        assert stranger.recv(100).startswith(b"HTTP/1.1 401")


def test_a_body_that_does_not_come_is_not_waited_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_body, "WHOLE_WITHIN_S", 0.1)
    bearer = service.key()["Authorization"]
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as slow:
        slow.sendall(
            b"POST /v1/reruns HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            b"Authorization: " + bearer.encode() + b"\r\n\r\n{"
        )
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_anothers_rerun_looks_like_one_that_never_was(service: Service) -> None:
    service.succeeded(tenant="theirs")
    with service.client(service.key(tenant="theirs")) as them:
        theirs = them.post("/v1/reruns", json={}).json()["id"]
    with service.client(service.key()) as mine:
        answers = [mine.get(f"/v1/reruns/{name}") for name in (theirs, UNKNOWN, "%00", "é" * 26)]

    assert {slug(a) for a in answers} == {"not-found"}


def test_the_networks_in_use_are_those_that_workers_tell_of(
    service: Service, desk: httpx.Client
) -> None:
    model = make_version()
    condition = make_condition(sha256="5f" * 32, versions={"frame_classifier": "1.0"})
    workers.announce(service.db, worker="w1", code="0.1.0", condition=condition)
    model_versions.promote(service.db, [model], make_decision(), actor="anna")

    assert desk.get("/v1/models").json() == {
        "items": [
            {
                "name": "frame_classifier",
                "version": "1.0",
                "sha256": "5f" * 32,
                "workers": 1,
                "is_wanted": False,
            },
            {
                "name": "frame_classifier",
                "version": "1.1",
                "sha256": model.sha256,
                "workers": 0,
                "is_wanted": True,
            },
        ]
    }
