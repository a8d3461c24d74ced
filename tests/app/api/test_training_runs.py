"""Are trainings started, watched and cancelled by administrators alone, and only as documented?"""

import json

import httpx
import pytest

from app.api import examples
from app.api.training_schemas import TrainingRunBody, TrainingRunView
from app.domain.access import Scope
from app.domain.job import Actor, JobError
from app.domain.training_run import TrainingKind
from app.services import training_leases
from tests.app.api.conftest import Service, filled
from tests.app.api.test_access import MALFORMED, UNKNOWN, without_id
from tests.app.api.test_openapi import OPERATIONS
from tests.app.api.test_upload import slug
from tests.make_runs import make_metric, make_news, make_picture

RUNS = "/v1/training-runs"
RUN_ROUTES = [(m, p) for m, p, _ in OPERATIONS if "{run_id}" in p]
PEOPLE = {"a": ["anna-1.mp4", "anna 2.mp4"], "b": "ben"}
FORGER = {"kind": "forger", "data": PEOPLE}
MISSPELT: tuple[dict[str, object], ...] = (
    {"kind": "gan"},
    {"kind": None},
    {"recipe": "../../etc/passwd"},
    {"recipe": "a/b"},
    {"recipe": "a\\b"},
    {"recipe": ".hidden"},
    {"recipe": "x" * 200},
    {"recipe": "forger\n"},
    {"data": {"a": "../anna", "b": "ben"}},
    {"data": {"a": "/etc/passwd", "b": "ben"}},
    {"data": {"a": "..", "b": "ben"}},
    {"data": {"a": "~root", "b": "ben"}},
    {"data": {"a": "anna\0", "b": "ben"}},
    {"data": {"a": [], "b": "ben"}},
    {"data": {"a": ["anna"] * 1000, "b": "ben"}},
    {"data": {"A": "anna", "b": "ben"}},
    {"data": ["anna", "ben"]},
    {"overrides": {"steps": 3}},
    {"overrides": {"run..steps": 3}},
    {"overrides": {"run.steps=1\nrun.seed": 3}},
    {"overrides": {"run.steps": None}},
    {"overrides": {"run.steps": {"a": 1}}},
    {"overrides": {"run.steps": [[1]]}},
    {"overrides": {"network.initial": "/data/runs/another"}},
    {"overrides": {"network.initial": "../another"}},
    {"overrides": {"network.initial": ".."}},
    {"overrides": {"network.initial": 'x"\nb = 1'}},
    {"overrides": {"a.b": "x" * 10_000}},
    {"overrides": {f"a.b{n}": n for n in range(100)}},
    {"name": "bell\x07"},
    {"name": ""},
    {"name": "x" * 300},
    {"tenant": "theirs"},
)
NO_WISHES = (
    (b"", 422),
    (b"{", 422),
    (b"[]", 422),
    (b'{"kind": "forger", "overrides": {"a.b": NaN}}', 422),
    (b'{"kind": "forger", "overrides": {"a.b": 1e999}}', 422),
    (b'{"kind": "forger", "name": "\\ud800"}', 422),
    (b'{"kind": "forger", "overrides": {"a.b": ' + b"[" * 10_000, 422),
    (b'{"name": "' + b"x" * 100_000 + b'"}', 413),
)


@pytest.mark.parametrize("body", [examples.TRAIN_FORGER, examples.TRAIN_CLASSIFIER])
def test_a_run_is_queued_and_found_where_the_answer_says(
    service: Service, desk: httpx.Client, body: dict[str, object]
) -> None:
    answer = desk.post(RUNS, json=body)

    assert answer.status_code == 202
    run = answer.json()
    assert answer.headers["Location"] == f"{RUNS}/{run['id']}"
    assert int(answer.headers["Retry-After"]) > 0
    assert desk.get(answer.headers["Location"]).json() == run
    assert service.training_bell.rung == [run["id"]]
    assert service.bell.rung == []
    assert (run["state"], run["kind"]) == ("queued", body["kind"])
    assert run["overrides"] == body.get("overrides", {})


def test_a_run_without_a_recipe_has_that_of_its_kind(desk: httpx.Client) -> None:
    run = desk.post(RUNS, json=FORGER).json()

    assert run["recipe"] == "forger"
    assert run["data"] == {"a": ["anna-1.mp4", "anna 2.mp4"], "b": ["ben"]}


@pytest.mark.parametrize(
    "example",
    [examples.TRAINING_QUEUED, examples.TRAINING_RUNNING, examples.TRAINING_REJECTED],
)
def test_an_example_of_a_run_is_what_a_run_is_written_as(example: dict[str, object]) -> None:
    assert example == json.loads(TrainingRunView.model_validate(example).model_dump_json())


@pytest.mark.parametrize("example", [examples.TRAIN_FORGER, examples.TRAIN_CLASSIFIER])
def test_an_example_of_a_wish_is_one_that_is_taken(example: dict[str, object]) -> None:
    assert TrainingRunBody.model_validate(example).plan().kind in TrainingKind


def test_a_run_can_be_watched(service: Service, desk: httpx.Client) -> None:
    run_id = service.training()

    answer = desk.get(f"{RUNS}/{run_id}")
    run = answer.json()
    again = desk.get(f"{RUNS}/{run_id}", headers={"If-None-Match": answer.headers["ETag"]})

    assert (run["state"], run["stage"], run["step"], run["steps"]) == (
        "running",
        "training",
        20,
        40,
    )
    assert run["losses"] == {"loss": 0.5}
    assert [c["step"] for c in run["checkpoints"]] == [20]
    assert run["pictures"] == [{"step": 20, "url": f"{RUNS}/{run_id}/pictures/20"}]
    assert again.status_code == 304
    assert desk.get(f"{RUNS}/{run_id}/metrics").json() == {
        "points": [{"step": 20, "metrics": {"loss": 0.05, "seconds": 2.0}}]
    }


def test_a_preview_is_fetched_once_and_never_taken_for_a_page(
    service: Service, desk: httpx.Client
) -> None:
    run_id = service.training()
    url = desk.get(f"{RUNS}/{run_id}").json()["pictures"][0]["url"]

    answer = desk.get(url)
    again = desk.get(url, headers={"If-None-Match": answer.headers["ETag"]})

    assert answer.content == make_picture(20).png
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "private" in answer.headers["Cache-Control"]
    assert again.status_code == 304


def test_a_loops_trainings_are_told_apart(service: Service, desk: httpx.Client) -> None:
    desk.post(RUNS, json={"kind": "loop", "recipe": "ours.toml"})
    claim = training_leases.claim(service.db, trainer="t1", limits=service.settings.training)
    assert claim is not None
    news = make_news(
        metrics=(make_metric(20, series="forgers/anna-ben"),),
        pictures=(make_picture(20, series="forgers/anna-ben", png=b"two faces"),),
    )
    training_leases.heartbeat(service.db, claim, lease_s=30, news=news)

    run = desk.get(f"{RUNS}/{claim.run_id}").json()
    (point,) = desk.get(f"{RUNS}/{claim.run_id}/metrics").json()["points"]

    assert point["series"] == run["pictures"][0]["series"] == "forgers/anna-ben"
    assert desk.get(run["pictures"][0]["url"]).content == b"two faces"
    assert desk.get(f"{RUNS}/{claim.run_id}/pictures/20").status_code == 404


def test_a_rejected_run_says_who_must_act(service: Service, desk: httpx.Client) -> None:
    run_id = desk.post(RUNS, json=FORGER).json()["id"]
    claim = training_leases.claim(service.db, trainer="t1", limits=service.settings.training)
    assert claim is not None
    error = JobError(code="bad-dataset", detail="12 faces; 64 are needed", actor=Actor.CLIENT)
    training_leases.reject(service.db, claim, error)

    run = desk.get(f"{RUNS}/{run_id}").json()

    assert run["state"] == "rejected"
    assert run["error"] == {
        "code": "bad-dataset",
        "detail": "12 faces; 64 are needed",
        "actor": "client",
    }


def test_a_run_is_cancelled_and_then_removed(service: Service, desk: httpx.Client) -> None:
    run_id = service.training()

    assert desk.delete(f"{RUNS}/{run_id}").json()["state"] == "cancelled"
    assert desk.delete(f"{RUNS}/{run_id}").status_code == 204
    assert desk.get(f"{RUNS}/{run_id}").status_code == 404
    assert desk.get(RUNS).json() == {"items": []}


def test_runs_are_listed_page_by_page(desk: httpx.Client) -> None:
    made = [desk.post(RUNS, json=FORGER).json()["id"] for _ in range(3)]

    first = desk.get(RUNS, params={"limit": 2}).json()
    second = desk.get(RUNS, params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [r["id"] for r in first["items"] + second["items"]] == made[::-1]
    assert "next_cursor" not in second
    assert desk.get(RUNS, params={"state": "running"}).json() == {"items": []}


def test_a_wish_that_is_not_as_documented_is_refused_whole(
    service: Service, desk: httpx.Client
) -> None:
    for change in MISSPELT:
        answer = desk.post(RUNS, json={**FORGER, **change})

        assert (answer.status_code, slug(answer)) == (422, "validation"), change
        assert answer.json()["errors"]
    assert desk.get(RUNS).json() == {"items": []}
    assert service.training_bell.rung == []


def test_a_body_that_is_no_such_json_is_refused(desk: httpx.Client) -> None:
    for content, status in NO_WISHES:
        answer = desk.post(RUNS, content=content, headers={"Content-Type": "application/json"})

        assert answer.status_code == status, content[:50]


def test_data_that_a_kind_does_not_take_are_refused_in_words(desk: httpx.Client) -> None:
    wrong = ({}, {"a": "anna"}, {**PEOPLE, "c": "carl"}, {**PEOPLE, "initial": ["x", "y"]})
    for data in wrong:
        answer = desk.post(RUNS, json={"kind": "forger", "data": data})

        assert (answer.status_code, slug(answer)) == (400, "bad-request"), data
        assert answer.json()["detail"]


@pytest.mark.parametrize("scopes", [(Scope.JOBS_READ,), (Scope.JOBS_READ, Scope.JOBS_WRITE)])
def test_whoever_is_no_administrator_sees_nothing_of_it(
    service: Service, scopes: tuple[Scope, ...]
) -> None:
    run_id = service.training()
    with service.client(service.key(*scopes)) as client:
        answers = [client.request(m, filled(p, run_id)) for m, p in RUN_ROUTES]
        answers += [client.get(RUNS), client.post(RUNS, json=FORGER), client.post(RUNS)]

    assert {a.status_code for a in answers} == {403}
    assert {slug(a) for a in answers} == {"insufficient-scope"}
    assert all("insufficient_scope" in a.headers["WWW-Authenticate"] for a in answers)


def test_anothers_run_looks_like_one_that_never_was_on_every_route(
    either_service: Service,
) -> None:
    service = either_service
    theirs = service.training(tenant="theirs")
    with service.client(service.key()) as mine:
        gone = service.training()
        assert [mine.delete(f"{RUNS}/{gone}").status_code for _ in range(2)] == [200, 204]
        for method, path in RUN_ROUTES:
            asked = (UNKNOWN, theirs, gone, *MALFORMED)
            seen = [without_id(mine.request(method, filled(path, i))) for i in asked]

            assert seen == [seen[0]] * len(seen), (method, path)
            assert seen[0][0] == 404
        assert theirs not in mine.get(RUNS).text

    with service.client(service.key(tenant="theirs")) as them:
        assert them.get(f"{RUNS}/{theirs}").json()["state"] == "running"


def test_a_step_that_is_none_is_a_problem_like_any_other(
    service: Service, desk: httpx.Client
) -> None:
    run_id = service.training()
    for step in ("-1", "x", "1e3", str(2**31), "9" * 400):
        answer = desk.get(f"{RUNS}/{run_id}/pictures/{step}")

        assert (answer.status_code, slug(answer)) == (422, "validation"), step
