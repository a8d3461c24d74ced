"""What does an editor get who asks for a report, and what where there is none?"""

import hashlib
import json
import re

import httpx
import pytest

from app.api import examples
from app.domain.evidence import ArtifactKind
from app.domain.verdict import Label
from app.report.content import ReportView
from app.services import jobs, leases
from tests.app.api.conftest import Service
from tests.app.api.test_upload import slug
from tests.make import (
    PNG,
    make_analysis,
    make_artifact,
    make_error,
    make_verdict,
)

FRAME = make_artifact(ArtifactKind.FRAME, id="p1-frame-000126")
WITH_FRAME = make_analysis(artifacts=(FRAME, make_artifact(ArtifactKind.CROP)))


def report_of(service: Service, **others: object) -> str:
    job_id = service.succeeded(analysis=WITH_FRAME, **others)  # type: ignore[arg-type]
    return f"/v1/jobs/{job_id}/report"


def test_a_report_comes_as_json_page_or_print(service: Service, desk: httpx.Client) -> None:
    path = report_of(service)
    answers = {f: desk.get(path, params={"format": f}) for f in ("json", "html", "pdf")}

    assert {a.status_code for a in answers.values()} == {200}
    assert answers["json"].headers["Content-Type"] == "application/json"
    assert answers["html"].headers["Content-Type"] == "text/html; charset=utf-8"
    assert answers["pdf"].headers["Content-Type"] == "application/pdf"
    assert answers["pdf"].content.startswith(b"%PDF-")
    assert answers["pdf"].headers["Content-Disposition"].startswith("attachment;")
    statement, caveat = make_verdict().statement, make_verdict().caveat
    assert answers["json"].json()["quote"]["statement"] == statement
    assert answers["json"].json()["quote"]["caveat"] == caveat
    assert statement in answers["html"].text
    assert caveat in answers["html"].text


def test_the_example_is_what_a_report_is_written_as() -> None:
    written = ReportView.model_validate(examples.REPORT).to_json()

    assert json.loads(written) == examples.REPORT


def test_a_page_may_run_nothing_and_fetch_nothing(service: Service, desk: httpx.Client) -> None:
    policy = desk.get(report_of(service), params={"format": "html"}).headers[
        "Content-Security-Policy"
    ]

    assert policy.startswith("sandbox; default-src 'none';")
    assert "script" not in policy


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/pdf", "application/pdf"),
        ("*/*", "application/json"),
        ("application/json;q=0.2, application/pdf;q=0.8", "application/pdf"),
    ],
)
def test_without_a_format_the_form_is_the_one_accepted(
    service: Service, desk: httpx.Client, accept: str, media_type: str
) -> None:
    answer = desk.get(report_of(service), headers={"Accept": accept})

    assert answer.headers["Content-Type"].split(";")[0] == media_type
    assert answer.headers["Vary"] == "Accept"


def test_a_form_that_there_is_not_is_told(service: Service, desk: httpx.Client) -> None:
    path = report_of(service)
    unwanted = desk.get(path, headers={"Accept": "image/png"})
    unknown = desk.get(path, params={"format": "docx"})

    assert (unwanted.status_code, slug(unwanted)) == (406, "not-acceptable")
    assert (unknown.status_code, slug(unknown)) == (422, "validation")
    assert slug(desk.get(path, params={"language": "fr"})) == "validation"


def test_a_report_speaks_the_language_that_is_asked_for(
    service: Service, desk: httpx.Client
) -> None:
    path = report_of(service)
    german = desk.get(path, params={"format": "html", "language": "de"})

    assert german.headers["Content-Language"] == "de"
    assert '<html lang="de">' in german.text
    assert "Nur zusammen mit dem Vorbehalt zu zitieren" in german.text
    assert desk.get(path).headers["Content-Language"] == "en"


def test_pictures_are_links_in_json_and_inside_the_page(
    service: Service, desk: httpx.Client
) -> None:
    path = report_of(service)
    body = desk.get(path).json()
    page = desk.get(path, params={"format": "html"}).text
    links = [body["frames"][0]["picture"]["link"], body["persons"][0]["crop"]["link"]]

    assert links == [
        path.replace("/report", "/frames/p1-frame-000126"),
        path.replace("/report", "/crops/p1"),
    ]
    assert [desk.get(link).content for link in links] == [PNG, PNG]
    assert page.count("data:image/png;base64,") == 2


def test_a_frame_is_served_as_other_pictures_are(service: Service, desk: httpx.Client) -> None:
    job = report_of(service).removesuffix("/report")
    answer = desk.get(f"{job}/frames/p1-frame-000126")
    tag = answer.headers["ETag"]

    assert answer.headers["Content-Type"] == "image/png"
    assert tag == f'"{hashlib.sha256(PNG).hexdigest()}"'
    again = desk.get(f"{job}/frames/p1-frame-000126", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    for other in ("p1", "p1-frame-000127", "..%2f", "x" * 100):
        assert desk.get(f"{job}/frames/{other}").status_code == 404
    assert desk.get(f"{job}/masks/p1-frame-000126").status_code == 404


def test_an_unchanged_report_is_not_sent_again(service: Service, desk: httpx.Client) -> None:
    path = report_of(service)
    asked = [
        {"format": form, "language": language}
        for form in ("json", "html", "pdf")
        for language in ("en", "de")
    ]
    tags = [desk.get(path, params=a).headers["ETag"] for a in asked]

    assert len(set(tags)) == len(asked)
    for wish, tag in zip(asked, tags, strict=True):
        again = desk.get(path, params=wish, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["Cache-Control"] == "private, no-cache"


def test_a_job_without_a_verdict_has_no_report_and_says_why(
    service: Service, desk: httpx.Client
) -> None:
    rejected = f"/v1/jobs/{service.queued()}/report"
    assert leases.reject(service.db, service.claimed(), make_error())
    queued = f"/v1/jobs/{service.queued()}/report"
    cancelled_id = service.queued()
    jobs.remove(service.db, service.store, tenant="desk", job_id=cancelled_id)

    answers = [desk.get(p) for p in (queued, rejected, f"/v1/jobs/{cancelled_id}/report")]

    assert {(a.status_code, slug(a)) for a in answers} == {(409, "no-verdict")}
    details = [a.json()["detail"] for a in answers]
    assert details == [
        "the job is queued; ask again when it has succeeded",
        "the job is rejected: no-video-stream, no video in it",
        "the job is cancelled; there will be no verdict",
    ]


def test_an_inconclusive_verdict_has_a_report(service: Service, desk: httpx.Client) -> None:
    verdict = make_verdict(Label.INCONCLUSIVE, fake_probability=None)
    page = desk.get(report_of(service, verdict=verdict), params={"format": "html"}).text

    assert "No verdict possible" in page
    assert "unknown; that is neither 0 nor one half" in page
    assert re.search(r'class="quote inconclusive"', page)


def test_the_name_that_a_file_was_sent_under_stays_text(
    service: Service, desk: httpx.Client
) -> None:
    hostile = '"><script>alert(1)</script>.mp4'
    job_id = service.queued(ref_id=hostile)
    assert leases.conclude(service.db, service.claimed(), WITH_FRAME, make_verdict())
    page = desk.get(f"/v1/jobs/{job_id}/report", params={"format": "html"}).text

    assert "<script" not in page
    assert "&lt;script&gt;" in page
