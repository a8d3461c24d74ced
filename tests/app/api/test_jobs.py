"""What is a caller told of a job, from its first second to its last trace?"""

import hashlib
from datetime import datetime

import httpx
import pytest

from app.domain.access import Scope
from app.domain.evidence import ArtifactKind, DetectorName, Observation
from app.domain.job import JobState, Progress, Stage
from app.domain.verdict import Label
from app.services import jobs, leases
from app.settings import ApiSettings
from tests.app.api.conftest import Kitchen, Service
from tests.app.api.test_upload import slug
from tests.make import (
    PNG,
    make_analysis,
    make_artifact,
    make_error,
    make_finding,
    make_person,
    make_verdict,
)


def test_a_job_is_followed_from_the_queue_to_its_verdict(either_service: Service) -> None:
    service = either_service
    with service.client(service.key()) as desk:
        path = f"/v1/jobs/{service.queued(ref_id='desk-1')}"
        queued = desk.get(path)
        claim = service.claimed()
        halfway = Progress(stage=Stage.EXAMINING, fraction=0.5)
        assert leases.heartbeat(service.db, claim, lease_s=30, progress=halfway)
        running = desk.get(path)
        assert leases.conclude(service.db, claim, make_analysis(), make_verdict())
        succeeded = desk.get(path)

    assert [a.status_code for a in (queued, running, succeeded)] == [200] * 3
    assert [a.json()["state"] for a in (queued, running, succeeded)] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert running.json()["progress"] == {"stage": "examining", "fraction": 0.5}
    assert [a.headers.get("Retry-After") for a in (queued, running, succeeded)] == ["2", "2", None]
    assert ["verdict" in a.json() for a in (queued, running, succeeded)] == [False, False, True]
    job = succeeded.json()
    assert job["ref_id"] == "desk-1"
    assert job["verdict"]["label"] == "manipulated"
    assert job["verdict"]["fake_probability"] == 0.94
    assert job["persons"][0]["best_crop"] == f"{path}/crops/p1"
    assert job["persons"][0]["evidence"][1]["abstention"]["reason"] == "track_too_short"
    assert job["video"]["frames_decoded"] == 300
    assert job["provenance"]["models"]["frame_classifier"].startswith("sha256:")
    assert datetime.fromisoformat(job["created_at"]).tzinfo is not None


def test_an_unknown_probability_is_null_and_not_left_out(
    service: Service, desk: httpx.Client
) -> None:
    verdict = make_verdict(Label.INCONCLUSIVE, fake_probability=None)

    job = desk.get(f"/v1/jobs/{service.succeeded(verdict=verdict)}").json()

    assert job["verdict"]["label"] == "inconclusive"
    assert job["verdict"]["fake_probability"] is None
    assert "fake_probability" not in job["persons"][0]


@pytest.mark.parametrize(("end", "state"), [(leases.reject, "rejected"), (leases.fail, "failed")])
def test_a_job_that_ended_without_evidence_has_an_error_and_no_verdict(
    service: Service, desk: httpx.Client, end: object, state: str
) -> None:
    path = f"/v1/jobs/{service.queued()}"
    assert callable(end)
    assert end(service.db, service.claimed(), make_error())

    job = desk.get(path).json()

    assert job["state"] == state
    assert job["error"]["code"] == "no-video-stream"
    assert "verdict" not in job
    assert job["persons"] == []
    assert {"state": state, "persons": []} == desk.get(f"{path}/persons").json()
    assert {"state": state, "points": []} == desk.get(f"{path}/timeline").json()


def test_an_unchanged_job_is_not_sent_again(service: Service, desk: httpx.Client) -> None:
    path = f"/v1/jobs/{service.queued()}"
    tag = desk.get(path).headers["ETag"]
    same = [
        desk.get(path, headers={"If-None-Match": given})
        for given in (tag, f"W/{tag}", f'"x", {tag}', "*", ", ".join(['"x"'] * 1000 + [tag]))
    ]
    others = [
        desk.get(path, headers={"If-None-Match": given})
        for given in ('"v0"', "garbage", '"', "", tag.strip('"'), '"x",' * 1000)
    ]
    service.claimed()
    changed = desk.get(path, headers={"If-None-Match": tag})

    assert not tag.startswith("W/")
    assert {304} == {a.status_code for a in same}
    assert {b""} == {a.content for a in same}
    assert {tag} == {a.headers["ETag"] for a in same}
    assert {200} == {a.status_code for a in others}
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_jobs_are_listed_newest_first_page_by_page(either_service: Service) -> None:
    service = either_service
    ids = [service.queued() for _ in range(5)]
    service.queued(tenant="someone-else")
    with service.client(service.key()) as desk:
        found, cursor = [], None
        for _ in range(3):
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = desk.get("/v1/jobs", params=query).json()
            found.append([item["id"] for item in page["items"]])
            cursor = page.get("next_cursor")

    newest = ids[::-1]
    assert [newest[:2], newest[2:4], newest[4:]] == found
    assert cursor is None


def test_jobs_are_listed_by_state_and_by_label(service: Service, desk: httpx.Client) -> None:
    faked = service.succeeded()
    clear = service.succeeded(
        verdict=make_verdict(Label.NO_MANIPULATION_FOUND, fake_probability=0.02)
    )
    waiting = service.queued()

    def listed(**query: str) -> list[str]:
        items = desk.get("/v1/jobs", params=query).json()["items"]
        return [item["id"] for item in items]

    assert [waiting, clear, faked] == listed()
    assert [waiting] == listed(state="queued")
    assert [clear, faked] == listed(state="succeeded")
    assert [faked] == listed(label="manipulated")
    assert listed(state="queued", label="manipulated") == []


def test_a_listed_job_says_what_it_came_to(service: Service, desk: httpx.Client) -> None:
    job_id = service.succeeded()

    (item,) = desk.get("/v1/jobs").json()["items"]

    assert item["label"] == "manipulated"
    assert item["fake_probability"] == 0.94
    assert desk.get(item["link"]).json()["id"] == job_id


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"state": "authentic"}, 422),
        ({"label": "real"}, 422),
        ({"limit": "0"}, 422),
        ({"limit": "201"}, 422),
        ({"limit": "NaN"}, 422),
        ({"offset": "1"}, 422),
        ({"cursor": "x" * 1000}, 422),
        ({"cursor": "../etc"}, 400),
        ({"cursor": "%00"}, 400),
    ],
    ids=str,
)
def test_a_list_is_held_to_the_document(
    desk: httpx.Client, query: dict[str, str], status: int
) -> None:
    answer = desk.get("/v1/jobs", params=query)

    assert status == answer.status_code
    assert slug(answer) == {422: "validation", 400: "bad-request"}[status]


def test_a_timeline_tells_when_each_person_looked_manipulated(
    service: Service, desk: httpx.Client
) -> None:
    first = Observation(pts_s=4.2, frame_index=126, fake_probability=0.97)
    second = Observation(pts_s=5.0, frame_index=150, fake_probability=0.81)
    other = Observation(pts_s=1.0, frame_index=30, fake_probability=0.02)
    analysis = make_analysis(
        make_person(make_finding(observations=(first, second))),
        make_person(make_finding(observations=(other,)), id="p2"),
        artifacts=(
            make_artifact(pts_s=4.2, frame_index=126, area=0.25),
            make_artifact(ArtifactKind.ATTENTION, pts_s=5.0, frame_index=150),
        ),
    )
    verdict = make_verdict(by_person={"p1": 0.94, "p2": 0.02})
    path = f"/v1/jobs/{service.succeeded(analysis=analysis, verdict=verdict)}"

    points = desk.get(f"{path}/timeline").json()["points"]
    of_one = desk.get(f"{path}/timeline", params={"person_id": "p2"}).json()["points"]

    assert [(p["person_id"], p["pts_s"], p["fake_probability"]) for p in points] == [
        ("p1", 4.2, 0.97),
        ("p1", 5.0, 0.81),
        ("p2", 1.0, 0.02),
    ]
    assert points[0]["mask"] == f"{path}/masks/p1-000126"
    assert points[0]["fake_area"] == 0.25
    assert "mask" not in points[1]
    assert "attention" not in points[0]
    assert points[1]["attention"] == f"{path}/attention/p1-attention-000150"
    assert desk.get(points[1]["attention"]).content == PNG
    assert of_one == points[2:]
    assert desk.get(points[0]["mask"]).content == PNG
    assert desk.get(f"{path}/timeline", params={"person_id": "p9"}).status_code == 404
    assert desk.get(f"{path}/timeline", params={"person": "p1"}).status_code == 422


def test_persons_are_listed_with_what_each_detector_said(
    service: Service, desk: httpx.Client
) -> None:
    analysis = make_analysis(make_person(make_finding(DetectorName.PIXEL_SEGMENTER)))
    path = f"/v1/jobs/{service.succeeded(analysis=analysis)}"

    answer = desk.get(f"{path}/persons").json()

    assert answer["state"] == "succeeded"
    assert answer["persons"] == desk.get(path).json()["persons"]
    assert answer["persons"][0]["evidence"][0]["detector"] == "pixel_segmenter"


@pytest.mark.parametrize("part", ["masks/p1-000126", "attention/p1-attention-000126", "crops/p1"])
def test_a_picture_cannot_be_taken_for_a_page(
    service: Service, desk: httpx.Client, part: str
) -> None:
    answer = desk.get(f"/v1/jobs/{service.succeeded()}/{part}")

    assert answer.status_code == 200
    assert answer.content == PNG
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    assert answer.headers["ETag"] == f'"{hashlib.sha256(PNG).hexdigest()}"'


def test_a_picture_that_is_held_already_is_not_sent_again(
    service: Service, desk: httpx.Client
) -> None:
    path = f"/v1/jobs/{service.succeeded()}/masks/p1-000126"
    tag = desk.get(path).headers["ETag"]

    again = desk.get(path, headers={"If-None-Match": tag})

    assert again.status_code == 304
    assert again.content == b""


def test_a_range_of_a_picture_is_answered_with_the_whole(
    service: Service, desk: httpx.Client
) -> None:
    path = f"/v1/jobs/{service.succeeded()}/masks/p1-000126"

    answer = desk.get(path, headers={"Range": "bytes=" + ",".join(["0-0"] * 5_000)})

    assert answer.status_code == 200
    assert answer.content == PNG


def test_a_mask_is_not_a_crop_and_a_crop_is_not_a_mask(
    service: Service, desk: httpx.Client
) -> None:
    path = f"/v1/jobs/{service.succeeded()}"

    for part in ("crops/p1-000126", "masks/p1", "masks/p1-000127", "masks/..%2f..", "crops/%00"):
        assert (part, 404) == (part, desk.get(f"{path}/{part}").status_code)
    for part in ("attention/p1-000126", "masks/p1-attention-000126", "attention/p1"):
        assert (part, 404) == (part, desk.get(f"{path}/{part}").status_code)


def test_a_job_that_has_not_ended_is_cancelled_by_delete(either_service: Service) -> None:
    service = either_service
    with service.client(service.key()) as desk:
        path = f"/v1/jobs/{service.queued()}"
        claim = service.claimed()

        cancelled = desk.delete(path)

        assert cancelled.status_code == 200
        assert cancelled.json()["state"] == "cancelled"
        assert not leases.conclude(service.db, claim, make_analysis(), make_verdict())
        assert desk.get(path).json()["state"] == "cancelled"
        assert "verdict" not in desk.get(path).json()
        assert service.files() == []


def test_a_job_that_has_ended_is_removed_without_a_trace(either_service: Service) -> None:
    service = either_service
    with service.client(service.key()) as desk:
        job_id = service.succeeded()
        path = f"/v1/jobs/{job_id}"

        removed = desk.delete(path)

        assert removed.status_code == 204
        assert removed.content == b""
        parts = ("", "/persons", "/timeline", "/masks/p1-000126", "/crops/p1")
        assert {404} == {desk.get(path + part).status_code for part in parts}
        assert desk.delete(path).status_code == 404
        assert job_id not in desk.get("/v1/jobs", params={"state": "succeeded"}).text
        assert service.files() == []


def test_a_reader_may_not_remove(service: Service) -> None:
    path = f"/v1/jobs/{service.queued()}"
    with service.client(service.key(Scope.JOBS_READ)) as reader:
        answer = reader.delete(path)

        assert answer.status_code == 403
        assert reader.get(path).json()["state"] == "queued"


def test_a_writer_may_not_read(service: Service) -> None:
    path = f"/v1/jobs/{service.succeeded()}"
    with service.client(service.key(Scope.JOBS_WRITE)) as writer:
        answers = [
            writer.get(path + part)
            for part in ("", "/persons", "/timeline", "/masks/p1-000126", "/crops/p1")
        ]

    assert {"insufficient-scope"} == {slug(a) for a in answers}


def test_links_of_a_job_begin_with_the_configured_address(kitchen: Kitchen) -> None:
    service = kitchen.serve(api=ApiSettings(port=0, public_url="https://verdict.example/"))
    with service.client(service.key()) as desk:
        job = desk.get(f"/v1/jobs/{service.succeeded()}", headers={"Host": "evil.example"}).json()
        listed = desk.get("/v1/jobs").json()["items"][0]

    base = f"https://verdict.example/v1/jobs/{job['id']}"
    assert job["persons"][0]["best_crop"] == f"{base}/crops/p1"
    assert listed["link"] == base


def test_method_overrides_are_ignored(service: Service, desk: httpx.Client) -> None:
    path = f"/v1/jobs/{service.queued()}"

    answer = desk.get(path, headers={"X-HTTP-Method-Override": "DELETE"})

    assert answer.status_code == 200
    assert jobs.get(service.db, tenant="desk", job_id=path[-26:]).job.state == JobState.QUEUED
