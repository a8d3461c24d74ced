"""Who is let in, and does anybody ever see what is another's? Routes come from the document."""

import itertools
from datetime import timedelta

import httpx
import pytest

from app.api import examples
from app.clock import utc_now
from app.domain.access import Scope
from app.services import keys
from tests.app.api.conftest import Kitchen, Service, filled
from tests.app.api.test_openapi import DOCUMENT, OPERATIONS
from tests.app.api.test_upload import slug
from tests.app.api.videos import isom

JOB_ROUTES = [(m, p) for m, p, _ in OPERATIONS if "{job_id}" in p]
TENANT_ROUTES = [(m, p) for m, p, _ in OPERATIONS if p.startswith("/v1/")]
UNKNOWN = "01KDEEPVERD1CT000000000099"
MALFORMED = (
    "x",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f",
    "%00",
    "%ff",
    "01kdeepverd1ct000000000099",
    UNKNOWN + "0",
    "é",
    "' OR 1=1 --",
    "a" * 10_000,
)
OWN_TO_EACH = {"date", "x-request-id"}


def ask(client: httpx.Client, method: str, path: str, job_id: str) -> httpx.Response:
    return client.request(method, filled(path, job_id))


def without_id(answer: httpx.Response) -> tuple[int, object, object]:
    body = {k: v for k, v in answer.json().items() if k != "instance"}
    headers = {k: v for k, v in answer.headers.items() if k not in OWN_TO_EACH}
    return answer.status_code, headers, body


def test_what_is_anothers_looks_like_what_never_was_on_every_route(
    either_service: Service,
) -> None:
    service = either_service
    theirs = service.succeeded(tenant="theirs")
    waiting = service.queued(tenant="theirs")
    with service.client(service.key()) as mine:
        gone = service.succeeded()
        assert mine.delete(f"/v1/jobs/{gone}").status_code == 204
        for method, path in JOB_ROUTES:
            answers = {
                job_id: ask(mine, method, path, job_id)
                for job_id in (UNKNOWN, theirs, waiting, gone, *MALFORMED)
            }
            seen = {job_id: without_id(a) for job_id, a in answers.items()}

            assert {slug(a) for a in answers.values()} == {"not-found"}, (method, path)
            assert list(seen.values()) == [seen[UNKNOWN]] * len(seen), (method, path)

    with service.client(service.key(tenant="theirs")) as them:
        assert them.get(f"/v1/jobs/{theirs}").json()["state"] == "succeeded"
        assert them.get(f"/v1/jobs/{waiting}").json()["state"] == "queued"


def test_a_tag_never_tells_of_anothers_job(service: Service) -> None:
    theirs = service.succeeded(tenant="theirs")
    with service.client(service.key(tenant="theirs")) as them:
        tag = them.get(f"/v1/jobs/{theirs}").headers["ETag"]
    with service.client(service.key()) as mine:
        for given in (tag, "*"):
            answer = mine.get(f"/v1/jobs/{theirs}", headers={"If-None-Match": given})

            assert answer.status_code == 404
            assert "ETag" not in answer.headers


def test_a_list_holds_ones_own_jobs_only(either_service: Service) -> None:
    service = either_service
    theirs = service.succeeded(tenant="theirs")
    own = service.queued()
    with service.client(service.key()) as mine:
        pages = [
            mine.get("/v1/jobs", params=query).text
            for query in (
                {},
                {"state": "succeeded"},
                {"label": "manipulated"},
                {"cursor": "7" + "Z" * 25},
            )
        ]

    assert own in pages[0]
    assert not any(theirs in page for page in pages)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer dv_nothing"},
        {"Authorization": f"Bearer {'x' * 10_000}"},
        {"Authorization": "Basic ZHY6ZHY="},
        {"Authorization": b"Bearer dv_\xff\xfe"},
        {"X-API-Key": "dv_nothing"},
    ],
    ids=lambda h: str(h)[:40],
)
def test_nobody_is_let_in_without_a_key(service: Service, header: dict[str, str | bytes]) -> None:
    with service.client(header) as stranger:  # type: ignore[arg-type]
        answers = [ask(stranger, method, path, UNKNOWN) for method, path in TENANT_ROUTES]

    assert {401} == {a.status_code for a in answers}
    assert {"unauthenticated"} == {slug(a) for a in answers}
    assert all(a.headers["WWW-Authenticate"].startswith("Bearer") for a in answers)


def test_a_key_that_expired_or_was_revoked_lets_nobody_in(either_service: Service) -> None:
    service = either_service
    expired = keys.create(
        service.db,
        tenant="desk",
        name="old",
        scopes=list(Scope),
        expires_at=utc_now() - timedelta(seconds=1),
    )
    revoked = keys.create(service.db, tenant="desk", name="lost", scopes=list(Scope))
    with service.client({"Authorization": f"Bearer {revoked.secret}"}) as client:
        assert client.get("/v1/jobs").status_code == 200
        keys.revoke(service.db, revoked.id)

        assert client.get("/v1/jobs").status_code == 401
        assert (
            client.get(
                "/v1/jobs", headers={"Authorization": f"Bearer {expired.secret}"}
            ).status_code
            == 401
        )


def test_a_key_in_the_query_is_no_key(service: Service) -> None:
    secret = service.key()["Authorization"].removeprefix("Bearer ")
    with service.client() as stranger:
        assert stranger.get("/v1/jobs", params={"api_key": secret}).status_code == 401


def needed_for(method: str, path: str) -> Scope:
    if path.startswith("/v1/training-runs"):
        return Scope.ADMIN
    return Scope.JOBS_READ if method == "get" else Scope.JOBS_WRITE


@pytest.mark.parametrize("held", Scope)
def test_a_scope_opens_its_own_routes_and_no_other(service: Service, held: Scope) -> None:
    job_id, other = service.succeeded(), service.succeeded()
    rerun = {"job_ids": [other]}
    with service.client(service.key()) as anybody:
        rerun_id = anybody.post("/v1/reruns", json=rerun).json()["id"]
    run_id = service.training()
    bodies: dict[str, dict[str, object]] = {
        "/v1/jobs": {"content": isom(5000), "headers": {"Content-Type": "video/mp4"}},
        "/v1/reruns": {"json": rerun},
        "/v1/training-runs": {"json": examples.TRAIN_CLASSIFIER},
    }
    for method, path in TENANT_ROUTES:
        needed = needed_for(method, path)
        with service.client(service.key(held)) as client:
            url = filled(path, job_id, rerun_id=rerun_id, run_id=run_id)
            body = bodies[path] if method == "post" else {}
            answer = client.request(method, url, **body)  # type: ignore[arg-type]

        assert (answer.status_code < 300) == (needed is held), (method, path)
        assert answer.status_code < 300 or slug(answer) == "insufficient-scope"


def test_an_unknown_method_is_told_which_ones_are_known(desk: httpx.Client) -> None:
    for path, operations in DOCUMENT["paths"].items():
        url = filled(path, UNKNOWN)
        for method in {"PUT", "PATCH", "OPTIONS", "TRACE", "BREW"} - {
            m.upper() for m in operations
        }:
            answer = desk.request(method, url)

            assert answer.status_code == 405
            assert slug(answer) == "method-not-allowed"
            assert {m.upper() for m in operations} == set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/jobs/", "/v1/jobs//", "/admin", "/v1/jobs/../../etc", "/%00"]
)
def test_a_path_that_is_none_is_a_problem_like_any_other(desk: httpx.Client, path: str) -> None:
    answer = desk.get(path)

    assert answer.status_code == 404
    assert slug(answer) == "not-found"
    assert "Location" not in answer.headers


def test_a_caller_may_name_a_request_if_the_name_is_plain(desk: httpx.Client) -> None:
    given = ("trace-0123.abc", "short", "x" * 65, 'a"b{}cdefgh', "line%0abreak")
    answered = [
        desk.get("/v1/jobs/x", headers={"X-Request-Id": g}).headers["X-Request-Id"] for g in given
    ]

    assert answered[0] == given[0]
    assert not set(answered[1:]) & set(given)
    assert len(set(answered)) == len(given)


def test_every_answer_forbids_guessing_its_type(service: Service, desk: httpx.Client) -> None:
    job_id = service.succeeded()
    answers = [ask(desk, m, p, job_id) for m, p, _ in OPERATIONS if m == "get"]
    answers.append(desk.get("/nowhere"))

    assert {"nosniff"} == {a.headers["X-Content-Type-Options"] for a in answers}


def test_a_database_that_is_away_is_said_to_be_and_nothing_more(kitchen: Kitchen) -> None:
    kitchen.database_url = "postgresql+psycopg://somebody:secret@127.0.0.1:1/elsewhere"
    service = kitchen.serve()
    with service.client({"Authorization": "Bearer dv_anything"}) as client:
        answers = [ask(client, method, path, UNKNOWN) for method, path in TENANT_ROUTES]

    assert {503} == {a.status_code for a in answers}
    assert {"unavailable"} == {slug(a) for a in answers}
    assert all(a.headers["Retry-After"].isdigit() for a in answers)
    for word, answer in itertools.product(("secret", "elsewhere", "127.0.0.1"), answers):
        assert word not in answer.text
