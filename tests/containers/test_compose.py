"""
Does the compose file keep what docs/operations.md says of it?

There is no engine to ask, so the file is held against a schema that is stricter than the engine's:
a key that is not listed is a spelling error, and what makes a container safe is required.
"""

import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.main import get_command

from app.cli import app as command_line
from app.settings import Settings, TrainingSettings, WorkerSettings
from tests.conftest import ROOT

Service = dict[str, Any]

DURATION = {"type": "string", "pattern": r"^\d+(ms|s|m)$"}
STRINGS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
HEALTHCHECK = {
    "type": "object",
    "required": ["test", "interval", "timeout", "retries"],
    "additionalProperties": False,
    "properties": {
        "test": {
            "type": "array",
            "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}],
            "items": {"type": "string"},
        },
        "interval": DURATION,
        "timeout": DURATION,
        "start_period": DURATION,
        "retries": {"type": "integer", "minimum": 1},
    },
}
CONDITIONS = ["service_started", "service_healthy", "service_completed_successfully"]
SERVICE = {
    "type": "object",
    "required": ["image", "read_only", "cap_drop", "security_opt", "restart", "networks"],
    "additionalProperties": False,
    "properties": {
        "image": {"type": "string"},
        "build": {
            "type": "object",
            "required": ["context", "dockerfile"],
            "additionalProperties": False,
            "properties": {
                "context": {"const": "."},
                "dockerfile": {"enum": ["Dockerfile.api", "Dockerfile.worker"]},
                "args": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "user": {"type": "string"},
        "init": {"type": "boolean"},
        "entrypoint": STRINGS,
        "command": STRINGS,
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "read_only": {"const": True},
        "cap_drop": {"const": ["ALL"]},
        "security_opt": {"const": ["no-new-privileges:true"]},
        "tmpfs": STRINGS,
        "volumes": {"type": "array", "items": {"pattern": r"^[a-z]+:/[a-z/]+(:ro)?$"}},
        "networks": {"type": "array", "items": {"enum": ["inside", "outside"]}, "minItems": 1},
        "ports": STRINGS,
        "profiles": STRINGS,
        "shm_size": {"type": "string"},
        "restart": {"enum": ["no", "on-failure", "unless-stopped"]},
        "stop_grace_period": DURATION,
        "healthcheck": HEALTHCHECK,
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["condition"],
                "additionalProperties": False,
                "properties": {"condition": {"enum": CONDITIONS}},
            },
        },
    },
}
SCHEMA = {
    "type": "object",
    "required": ["name", "services", "networks", "volumes"],
    "additionalProperties": False,
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": {"const": "deepverdict"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "networks": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"internal": {"type": "boolean"}},
            },
        },
        "volumes": {
            "type": "object",
            "additionalProperties": {"type": "object", "maxProperties": 0},
        },
    },
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    with (ROOT / "docker-compose.yml").open() as file:
        read: dict[str, Any] = yaml.safe_load(file)
    return read


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = compose["services"]
    return found


def _seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def test_the_file_is_spelt_right_and_every_container_is_hardened(compose: dict[str, Any]) -> None:
    errors = [
        f"{'/'.join(map(str, e.absolute_path))}: {e.message}"
        for e in Draft202012Validator(SCHEMA).iter_errors(compose)
    ]

    assert errors == []


def test_every_part_of_the_service_is_there(services: dict[str, Service]) -> None:
    wanted = {"postgres", "redis", "migrate", "api", "worker"}

    assert wanted == {name for name, s in services.items() if "profiles" not in s}


def test_whatever_is_named_by_a_service_exists(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert set(service["networks"]) <= set(compose["networks"])
        assert {v.split(":")[0] for v in service.get("volumes", [])} <= set(compose["volumes"])


def test_a_service_waits_for_health_only_where_health_is_measured(
    services: dict[str, Service],
) -> None:
    waited_for = {
        name
        for service in services.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }

    assert "postgres" in waited_for
    assert [name for name in waited_for if "healthcheck" not in services[name]] == []


@pytest.mark.parametrize("name", ["api", "worker", "trainer"])
def test_nothing_speaks_to_the_database_before_it_is_migrated(
    services: dict[str, Service], name: str
) -> None:
    condition = services[name]["depends_on"]["migrate"]["condition"]

    assert condition == "service_completed_successfully"


def test_the_service_starts_without_redis_being_well(services: dict[str, Service]) -> None:
    for name in ("api", "worker", "trainer"):
        assert services[name]["depends_on"]["redis"]["condition"] == "service_started"


def test_workers_can_be_scaled(services: dict[str, Service]) -> None:
    assert "ports" not in services["worker"]
    assert "container_name" not in services["worker"]


def test_only_the_gateway_can_be_reached_and_workers_reach_nothing_outside(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]

    assert [name for name, s in services.items() if "ports" in s] == ["api"]
    assert compose["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis", "migrate", "worker", "trainer"):
        assert services[name]["networks"] == ["inside"]


def test_the_doorbell_keeps_what_it_was_told(services: dict[str, Service]) -> None:
    command = services["redis"]["command"]

    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_originals_are_written_by_the_gateway_and_only_read_by_workers(
    services: dict[str, Service],
) -> None:
    assert "blobs:/data/blobs" in services["api"]["volumes"]
    assert {"blobs:/data/blobs:ro", "models:/data/models:ro"} == set(services["worker"]["volumes"])


def test_a_stopped_worker_is_given_longer_than_a_drain_takes(
    services: dict[str, Service],
) -> None:
    for name, limits in (("worker", WorkerSettings()), ("trainer", TrainingSettings())):
        grace_s = _seconds(services[name]["stop_grace_period"])

        assert grace_s > limits.drain_grace_s + 10


def test_a_trainer_is_an_image_of_its_own_that_runs_only_where_it_is_asked_for(
    services: dict[str, Service],
) -> None:
    trainer = services["trainer"]

    assert trainer["profiles"] == ["train"]
    assert trainer["build"]["args"]["ROLE"] == "train"
    assert trainer["image"] != services["worker"]["image"]
    assert trainer["healthcheck"]["test"][-1] == "trainer"


def test_trainers_see_no_videos_of_callers_and_only_read_their_data(
    services: dict[str, Service],
) -> None:
    volumes = set(services["trainer"]["volumes"])

    assert volumes == {"sets:/data/sets:ro", "runs:/data/runs", "models:/data/models:ro"}


def test_gateway_and_workers_are_given_the_same_database_and_doorbell(
    services: dict[str, Service],
) -> None:
    for name in ("DEEPVERDICT_DATABASE_URL", "DEEPVERDICT_BROKER_URL"):
        values = {services[s]["environment"][name] for s in ("migrate", "api", "worker", "trainer")}
        assert len(values) == 1


def test_every_setting_and_every_command_that_it_names_exists(
    services: dict[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = set(get_command(command_line).commands)  # type: ignore[attr-defined]
    for name in ("migrate", "api", "worker", "trainer", "models"):
        service = services[name]
        verb = service.get("entrypoint", service.get("command", [name]))[-1]
        assert verb in known | {"api"}
        for variable, value in service.get("environment", {}).items():
            monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value))
    settings = Settings(_env_file=None)

    assert settings.database_url is not None
    assert settings.broker_url is not None
    assert (
        settings.resolved_database_url
    ) == "postgresql+psycopg://deepverdict:deepverdict@postgres/deepverdict"
