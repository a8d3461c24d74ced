"""Can a caller see by which rules verdicts are made, and how often those were wrong?"""

import json

import httpx

from app.api import examples
from app.api.policy_schemas import PolicyView
from app.domain.policy import CURRENT
from app.services import model_versions
from tests.app.api.conftest import Service
from tests.make_packages import make_decision, make_version


def test_the_policy_in_force_is_shown_with_its_errors_and_what_decides(
    either_service: Service,
) -> None:
    with either_service.client(either_service.key()) as desk:
        policy = desk.get("/v1/policy").json()
    default = CURRENT.point()
    shown = {p["name"]: p for p in policy["operating_points"]}

    assert policy["version"] == CURRENT.version
    assert set(shown) == {p.name.value for p in CURRENT.points}
    assert shown[default.name]["is_default"]
    assert shown[default.name]["manipulated_from"] == default.manipulated_from
    assert shown[default.name]["false_positives"] == default.false_positives
    assert shown[default.name]["found"] == default.found
    deciding = {c["feature"] for c in policy["cues"] if c["decides"]}
    assert "frame_classifier" in deciding
    assert {c["feature"] for c in policy["cues"] if c["weight"] > 0} == deciding
    assert f"{default.false_positives} of {default.real_clips} real clips" in policy["caveat"]
    assert "not covered" in policy["coverage"]


def test_a_promoted_classifier_brings_its_own_lines(service: Service, desk: httpx.Client) -> None:
    model_versions.promote(service.db, [make_version(version="1.1")], make_decision(), actor="anna")

    policy = desk.get("/v1/policy").json()
    (point,) = policy["operating_points"]

    assert policy["version"] == f"{CURRENT.version}+frame_classifier@1.1"
    assert (point["manipulated_from"], point["clear_below"]) == (0.9, 0.2)
    assert (point["false_positives"], point["real_clips"]) == (1, 30)
    assert "fake_clips" not in point  # nobody counted, which is not none
    assert [c["feature"] for c in policy["cues"]] == ["frame_classifier"]


def test_the_example_is_what_a_policy_is_written_as() -> None:
    written = PolicyView.model_validate(examples.POLICY).model_dump_json()

    assert json.loads(written) == examples.POLICY
