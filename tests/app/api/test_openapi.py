"""Does the OpenAPI document say what is, all of it?"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import jsonschema
import pytest

from app.api import examples
from app.api.errors import KIND_OF
from app.settings import ApiSettings
from app.views import JobView
from tests.app.api.conftest import Kitchen, Service, filled
from tests.app.api.openapi import SNAPSHOT, current
from tests.app.api.test_overlays import make_overlay

DOCUMENT = json.loads(current())
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]
PROTECTED = {path for path in DOCUMENT["paths"] if path.startswith("/v1/")}


def test_the_document_in_the_repository_is_that_of_the_code() -> None:
    assert current() == SNAPSHOT.read_text(), "run `make openapi` and read the difference"


def test_a_running_service_serves_the_same_document(desk: httpx.Client) -> None:
    assert desk.get("/openapi.json").json() == DOCUMENT


def test_the_document_may_be_kept_to_oneself(kitchen: Kitchen) -> None:
    service = kitchen.serve(api=ApiSettings(port=0, docs=False))
    with service.client() as client:
        assert [client.get(p).status_code for p in ("/openapi.json", "/docs")] == [404, 404]


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_every_operation_is_explained_and_tells_its_problems(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    answers = operation["responses"]

    assert operation["description"]
    assert "HTTPValidationError" not in json.dumps(operation)
    if path in PROTECTED:
        assert operation["security"] == [{"API key": []}]
        assert {"401", "403", "500", "503"} <= answers.keys()
    for status, answer in answers.items():
        if int(status) >= 400 and path in PROTECTED:
            assert list(answer["content"]) == ["application/problem+json"]
            assert answer["content"]["application/problem+json"]["examples"]
        if (
            status in ("200", "202")
            and "application/json" in answer["content"]
            and path in PROTECTED
        ):
            assert answer["content"]["application/json"]["examples"]


def _examples() -> Iterator[tuple[dict[str, Any], object]]:
    for _, _, operation in OPERATIONS:
        for answer in operation["responses"].values():
            for content in answer.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    yield content["schema"], example["value"]


def test_every_example_is_what_its_schema_says() -> None:
    shown = list(_examples())
    for schema, example in shown:
        whole = schema | {"components": DOCUMENT["components"]}
        jsonschema.validate(example, whole)

    assert len(shown) > 30


@pytest.mark.parametrize("example", [examples.QUEUED, examples.REJECTED, examples.SUCCEEDED])
def test_an_example_of_a_job_is_what_a_job_is_written_as(example: dict[str, object]) -> None:
    assert example == json.loads(JobView.model_validate(example).to_json())


def test_every_problem_has_a_slug_of_its_own() -> None:
    slugs = [kind.slug for kind in KIND_OF.values()]

    assert len(slugs) == len(set(slugs))


def test_every_answer_of_a_job_is_what_the_document_says(
    service: Service, desk: httpx.Client
) -> None:
    job_id = service.succeeded()
    rerun_id = desk.post("/v1/reruns", json={"job_ids": [job_id]}).json()["id"]
    run_id = service.training()
    desk.get(f"/v1/jobs/{job_id}/overlay.mp4")
    make_overlay(service, job_id)
    for method, path, operation in OPERATIONS:
        if method != "get" or path not in PROTECTED:
            continue
        answer = desk.get(filled(path, job_id, rerun_id=rerun_id, run_id=run_id))
        content = operation["responses"]["200"]["content"]

        assert answer.status_code == 200
        assert answer.headers["Content-Type"] in content
        if answer.headers["Content-Type"] == "application/json":
            schema = content["application/json"]["schema"]
            jsonschema.validate(answer.json(), schema | {"components": DOCUMENT["components"]})


def test_the_page_of_the_interface_loads_nothing_from_outside(service: Service) -> None:
    with service.client() as client:
        page = client.get("/docs")
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        document = re.findall(r"url: '([^']+)'", page.text)
        answers = [client.get(urljoin("/docs", link)) for link in (*loaded, *document)]

    assert page.status_code == 200
    assert len(loaded) == 3
    assert document == ["openapi.json"]
    assert [link for link in loaded if "//" in link] == []
    assert [answer.status_code for answer in answers] == [200] * 4
