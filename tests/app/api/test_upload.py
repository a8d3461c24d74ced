"""Is a video that was answered with 202 durable, and one that was not gone?"""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.domain.access import Scope
from app.settings import ApiSettings, UploadLimits
from tests.app.api.conftest import Kitchen, Service
from tests.app.api.videos import JUNK, VIDEOS, isom

MP4 = isom()
RAW = {"Content-Type": "video/mp4"}


def slug(answer: httpx.Response) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["instance"].endswith(answer.headers["X-Request-Id"])
    found: str = problem["type"].rsplit(":", 1)[-1]
    return found


def in_pieces(content: bytes, size: int = 10_000) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def test_a_raw_video_is_stored_and_queued_before_it_is_answered(either_service: Service) -> None:
    service = either_service
    with service.client(service.key()) as desk:
        answer = desk.post(
            "/v1/jobs", params={"ref_id": "desk-1", "priority": "batch"}, content=MP4, headers=RAW
        )
        job = answer.json()

        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
        assert answer.headers["Retry-After"] == "2"
        assert job["state"] == "queued"
        assert job["ref_id"] == "desk-1"
        assert job["priority"] == "batch"
        assert job["sha256"] == hashlib.sha256(MP4).hexdigest()
        assert job["size_bytes"] == len(MP4)
        assert "verdict" not in job
        assert service.bell.rung == [job["id"]]
        assert [f.read_bytes() for f in service.files()] == [MP4]
        assert desk.get(answer.headers["Location"]).json() == job


@pytest.mark.parametrize("content_type", ["video/mp4", "application/octet-stream", "Video/X-Any"])
def test_a_video_is_taken_by_its_bytes_whatever_it_is_called(
    desk: httpx.Client, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    found = {
        name: desk.post("/v1/jobs", content=video, headers=headers).status_code
        for name, video in VIDEOS.items()
    }

    assert dict.fromkeys(VIDEOS, 202) == found


def test_a_form_with_one_file_is_the_same_as_its_bytes(
    service: Service, desk: httpx.Client
) -> None:
    answer = desk.post(
        "/v1/jobs",
        files={"file": ("../..\\ü\x07.mp4", MP4, "video/mp4")},
        data={"ref_id": "desk-2", "priority": "batch"},
    )
    job = answer.json()

    assert answer.status_code == 202
    assert job["sha256"] == hashlib.sha256(MP4).hexdigest()
    assert job["ref_id"] == "desk-2"
    assert job["priority"] == "batch"
    assert job["file_name"].isprintable()
    assert [f.read_bytes() for f in service.files()] == [MP4]
    assert [service.settings.blob_dir] == [f.parent for f in service.files()]


def test_a_chunked_body_without_a_length_is_taken(desk: httpx.Client) -> None:
    answer = desk.post("/v1/jobs", content=in_pieces(MP4), headers=RAW)

    assert answer.status_code == 202
    assert answer.json()["sha256"] == hashlib.sha256(MP4).hexdigest()


def test_a_job_is_live_unless_told_otherwise(desk: httpx.Client) -> None:
    assert desk.post("/v1/jobs", content=MP4, headers=RAW).json()["priority"] == "live"


@pytest.mark.parametrize("is_form", [False, True])
def test_what_is_no_video_is_turned_away_and_not_kept(
    service: Service, desk: httpx.Client, is_form: bool
) -> None:
    def post(junk: bytes) -> httpx.Response:
        if is_form:
            return desk.post("/v1/jobs", files={"file": ("clip.mp4", junk, "video/mp4")})
        return desk.post("/v1/jobs", content=junk, headers=RAW)

    answers = {name: post(junk) for name, junk in JUNK.items()}

    assert dict.fromkeys(JUNK, 415) == {n: a.status_code for n, a in answers.items()}
    assert {"unsupported-media"} == {slug(a) for a in answers.values()}
    assert service.files() == []
    assert service.bell.rung == []


def test_a_body_that_claims_to_be_no_video_is_turned_away(desk: httpx.Client) -> None:
    for claim in ("text/plain", "image/jpeg", "application/json", "", "video", None):
        headers = {} if claim is None else {"Content-Type": claim}
        answer = desk.post("/v1/jobs", content=MP4, headers=headers)

        assert (claim, 415) == (claim, answer.status_code)
        assert slug(answer) == "unsupported-media"


@pytest.mark.parametrize("body", [b"", iter([b""]), iter([])], ids=["length 0", "chunk 0", "none"])
def test_an_empty_body_is_told_apart_from_a_bad_one(
    service: Service, desk: httpx.Client, body: Any
) -> None:
    answer = desk.post("/v1/jobs", content=body, headers=RAW)

    assert answer.status_code == 400
    assert slug(answer) == "empty-body"
    assert service.files() == []


def test_an_empty_file_in_a_form_is_an_empty_body(desk: httpx.Client) -> None:
    answer = desk.post("/v1/jobs", files={"file": ("clip.mp4", b"", "video/mp4")})

    assert slug(answer) == "empty-body"


def test_an_operating_point_is_kept_and_one_that_is_unknown_is_told_what_there_is(
    desk: httpx.Client,
) -> None:
    file = {"file": ("clip.mp4", MP4, "video/mp4")}
    raw = desk.post(
        "/v1/jobs", params={"operating_point": "fpr_1"}, content=MP4, headers=RAW
    ).json()
    form = desk.post("/v1/jobs", data={"operating_point": "fpr_5"}, files=file).json()
    silent = desk.post("/v1/jobs", content=MP4, headers=RAW).json()
    wrong = desk.post("/v1/jobs", params={"operating_point": "fpr_7"}, content=MP4, headers=RAW)

    assert (raw["operating_point"], form["operating_point"]) == ("fpr_1", "fpr_5")
    assert "operating_point" not in silent
    assert "'fpr_5' or 'fpr_1'" in wrong.json()["errors"][0]["what"]


def test_an_encoded_body_is_turned_away(desk: httpx.Client) -> None:
    for encoding in ("gzip", "br", "gzip, identity"):
        answer = desk.post("/v1/jobs", content=MP4, headers=RAW | {"Content-Encoding": encoding})

        assert answer.status_code == 415
        assert slug(answer) == "unsupported-encoding"


def test_what_is_said_of_a_video_is_held_to_the_document(
    service: Service, desk: httpx.Client
) -> None:
    for name, value in (
        ("priority", "urgent"),
        ("priority", "1e308"),
        ("operating_point", "fpr_7"),
        ("operating_point", ""),
        ("ref_id", "x" * 256),
        ("ref_id", ""),
        ("ref_id", "a\nb"),
        ("ref_id", "a\0b"),
        ("callback_url", "http://127.0.0.1/"),
        ("source_url", "file:///etc/passwd"),
    ):
        file = {"file": ("clip.mp4", MP4, "video/mp4")}
        raw = desk.post("/v1/jobs", params={name: value}, content=MP4, headers=RAW)
        form = desk.post("/v1/jobs", data={name: value}, files=file)

        assert [raw.status_code, form.status_code] == [422, 422]
        assert [slug(raw), slug(form)] == ["validation"] * 2
        assert ["query", name] == raw.json()["errors"][0]["where"]
        assert ["body", name] == form.json()["errors"][0]["where"]
    assert service.files() == []


def test_a_field_said_in_two_places_is_turned_away(desk: httpx.Client) -> None:
    file = {"file": ("clip.mp4", MP4, "video/mp4")}

    both = desk.post("/v1/jobs", params={"ref_id": "a"}, data={"ref_id": "a"}, files=file)
    twice = desk.post("/v1/jobs", data={"ref_id": ["a", "b"]}, files=file)

    assert [slug(both), slug(twice)] == ["validation"] * 2


def test_a_form_with_two_files_is_turned_away_and_neither_is_kept(
    service: Service, desk: httpx.Client
) -> None:
    files = [("file", (f"{n}.mp4", MP4, "video/mp4")) for n in "ab"]

    answer = desk.post("/v1/jobs", files=files)

    assert answer.status_code == 400
    assert slug(answer) == "bad-multipart"
    assert service.files() == []


def test_a_form_without_a_boundary_is_turned_away(desk: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data"}

    assert slug(desk.post("/v1/jobs", content=MP4, headers=headers)) == "bad-multipart"


@pytest.mark.parametrize("is_form", [False, True])
def test_a_video_may_have_exactly_as_many_bytes_as_allowed(kitchen: Kitchen, is_form: bool) -> None:
    service = kitchen.serve(upload=UploadLimits(max_bytes=len(MP4), min_free_bytes=0))
    with service.client(service.key()) as desk:

        def post(content: bytes) -> httpx.Response:
            if is_form:
                return desk.post("/v1/jobs", files={"file": ("clip.mp4", content, "video/mp4")})
            return desk.post("/v1/jobs", content=in_pieces(content), headers=RAW)

        fits, over = post(MP4), post(MP4 + b"x")

    assert fits.status_code == 202
    assert over.status_code == 413
    assert slug(over) == "too-large"
    assert len(service.files()) == 1


def test_a_disk_that_is_nearly_full_takes_no_video(kitchen: Kitchen) -> None:
    service = kitchen.serve(upload=UploadLimits(min_free_bytes=2**62))
    with service.client(service.key()) as desk:
        answer = desk.post("/v1/jobs", content=MP4, headers=RAW)

    assert answer.status_code == 507
    assert slug(answer) == "insufficient-storage"
    assert answer.headers["Retry-After"].isdigit()
    assert service.files() == []


def test_a_video_whose_row_cannot_be_written_is_not_kept(
    service: Service, desk: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with service.db.engine.connect() as other:
        other.exec_driver_sql("ALTER TABLE jobs RENAME TO elsewhere")
        other.commit()

    answer = desk.post("/v1/jobs", params={"ref_id": "marker"}, content=MP4, headers=RAW)

    assert answer.status_code == 500
    assert slug(answer) == "internal"
    assert "elsewhere" not in answer.text
    assert "jobs" not in answer.json()["detail"]
    assert "no such table" in caplog.text
    assert "marker" not in caplog.text
    assert service.files() == []


def test_a_link_begins_with_the_configured_address_and_never_with_the_host_header(
    kitchen: Kitchen,
) -> None:
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil"}
    service = kitchen.serve(api=ApiSettings(port=0, public_url="https://verdict.example/"))
    with service.client(service.key()) as desk:
        answer = desk.post("/v1/jobs", content=MP4, headers=RAW | evil)

    assert answer.headers["Location"] == f"https://verdict.example/v1/jobs/{answer.json()['id']}"
    assert "evil" not in answer.text


def test_a_refusal_is_counted_by_its_problem(service: Service, desk: httpx.Client) -> None:
    desk.post("/v1/jobs", content=MP4, headers=RAW)
    desk.post("/v1/jobs", content=JUNK["zip"], headers=RAW)

    figures = desk.get("/metrics").text

    assert "deepverdict_uploads_accepted_total 1.0" in figures
    assert f"deepverdict_upload_bytes_total {float(len(MP4))}" in figures
    assert 'deepverdict_upload_rejected_total{problem="unsupported-media"} 1.0' in figures


def test_a_reader_may_not_submit(service: Service) -> None:
    with service.client(service.key(Scope.JOBS_READ)) as reader:
        answer = reader.post("/v1/jobs", content=MP4, headers=RAW)

    assert answer.status_code == 403
    assert slug(answer) == "insufficient-scope"
    assert "insufficient_scope" in answer.headers["WWW-Authenticate"]


def test_what_a_dead_gateway_left_is_swept_by_the_next(kitchen: Kitchen, service: Service) -> None:
    incoming = service.settings.blob_dir / "incoming"
    left, fresh = (incoming / f"01KDEEPVERD1CT00000000000{n}" for n in "12")
    for path in (left, fresh):
        path.write_bytes(MP4)
    os.utime(left, (1, 1))

    kitchen.serve()

    assert [fresh] == service.files()
