"""The overlay over HTTP: asked for, waited for, fetched in ranges, gone with its job."""

import hashlib

import pytest

from app.domain.access import Scope
from app.domain.job import JobState
from app.services import overlays
from tests.app.api.conftest import Service
from tests.make import make_error

VIDEO = b"\0\0\0\x18ftypisom an overlay"


def make_overlay(service: Service, job_id: str) -> None:
    """Make the overlay that was asked for, as a worker would."""
    claim = overlays.claim(service.db, worker="w1", limits=service.settings.worker)
    assert claim is not None
    assert claim.job_id == job_id
    writer = service.store.begin()
    writer.write(VIDEO)
    assert overlays.conclude(service.db, claim, writer.commit())


def test_an_overlay_is_made_on_demand_and_then_kept(either_service: Service):
    service = either_service
    job_id = service.succeeded()
    path = f"/v1/jobs/{job_id}/overlay.mp4"
    with service.client(service.key(Scope.JOBS_READ)) as client:
        first, second = client.get(path), client.get(path)
        assert [a.status_code for a in (first, second)] == [202, 202]
        assert first.json() == {"state": "queued"}
        assert int(first.headers["Retry-After"]) > 0
        assert service.bell.rung.count(job_id) == 2  # for the analysis, and once for the overlay

        make_overlay(service, job_id)
        video = client.get(path)
        part = client.get(path, headers={"Range": "bytes=4-7"})
        again = client.get(path, headers={"If-None-Match": video.headers["ETag"]})

    assert (video.status_code, video.content) == (200, VIDEO)
    assert video.headers["Content-Type"] == "video/mp4"
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert again.status_code == 304


def test_an_overlay_goes_with_its_job(service: Service):
    job_id = service.succeeded()
    with service.client(service.key()) as client:
        client.get(f"/v1/jobs/{job_id}/overlay.mp4")
        make_overlay(service, job_id)
        assert client.delete(f"/v1/jobs/{job_id}").status_code == 204

        assert client.get(f"/v1/jobs/{job_id}/overlay.mp4").status_code == 404
    assert service.files() == []


def test_an_overlay_that_a_job_was_removed_under_is_not_kept(service: Service):
    job_id = service.succeeded()
    with service.client(service.key()) as client:
        client.get(f"/v1/jobs/{job_id}/overlay.mp4")
        claim = overlays.claim(service.db, worker="w1", limits=service.settings.worker)
        assert claim is not None
        client.delete(f"/v1/jobs/{job_id}")
    writer = service.store.begin()
    writer.write(VIDEO)

    assert not overlays.conclude(service.db, claim, writer.commit())


def test_there_is_no_overlay_of_a_job_without_a_verdict_or_of_anothers(service: Service):
    queued, others = service.queued(), service.succeeded("rival")
    with service.client(service.key()) as client:
        answers = [client.get(f"/v1/jobs/{j}/overlay.mp4") for j in (queued, others, "nonsense")]

    assert [a.status_code for a in answers] == [404, 404, 404]
    assert len({a.json()["detail"] for a in answers}) == 1


def test_an_overlay_that_could_not_be_made_says_so_and_is_tried_again_after_a_minute(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    job_id = service.succeeded()
    path = f"/v1/jobs/{job_id}/overlay.mp4"
    with service.client(service.key()) as client:
        client.get(path)
        claim = overlays.claim(service.db, worker="w1", limits=service.settings.worker)
        assert claim is not None
        assert overlays.fail(service.db, claim, make_error(detail="no room"))

        failed = client.get(path)
        monkeypatch.setattr(overlays, "TRY_AGAIN_AFTER_S", -1.0)
        later = client.get(path)

    assert (failed.status_code, later.status_code) == (503, 202)
    assert "no room" in failed.json()["detail"]
    fresh = overlays.claim(service.db, worker="w2", limits=service.settings.worker)
    assert fresh is not None
    assert fresh.lease_token > claim.lease_token  # nobody takes the old claim for the new one
    assert not overlays.fail(service.db, claim, make_error())


def test_what_is_ordered_is_what_the_verdict_said(service: Service):
    job_id = service.succeeded()
    with service.client(service.key()) as client:
        client.get(f"/v1/jobs/{job_id}/overlay.mp4")
    claim = overlays.claim(service.db, worker="w1", limits=service.settings.worker)
    assert claim is not None

    (person,) = claim.order.persons
    assert (person.id, person.fake_probability) == ("p1", 0.94)
    assert claim.order.caption.startswith("manipulated")
    assert claim.sha256 == hashlib.sha256(b"a video").hexdigest()
    assert JobState.QUEUED is overlays.retry(
        service.db, claim, make_error(), limits=service.settings.worker
    )
