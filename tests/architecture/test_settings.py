"""Are settings one typed value: frozen, strict, read from the environment once and passed on?"""

import ast
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from app.settings import Section, Settings
from tests.conftest import ROOT


def _sections() -> list[type[BaseModel]]:
    nested = [f.annotation for f in Settings.model_fields.values()]
    return [t for t in nested if isinstance(t, type) and issubclass(t, BaseModel)]


def test_settings_cannot_be_changed_once_they_are_built() -> None:
    settings = Settings(_env_file=None)

    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        settings.worker.lease_s = 1.0


def test_every_section_is_frozen_and_strict() -> None:
    assert len(_sections()) > 1
    assert all(issubclass(section, Section) for section in _sections())


def test_a_misspelt_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(_env_file=None, sead=1)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(_env_file=None, worker={"leese_s": 1})


def test_a_misspelt_key_in_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DEEPVERDICT_WORKER__LEESE_S=1\n")

    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(_env_file=file)


def test_a_misspelt_variable_of_a_section_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVERDICT_WORKER__LEESE_S", "1")

    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(_env_file=None)


def test_the_environment_is_read_by_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVERDICT_WORKER__LEASE_S", "7.5")

    assert Settings(_env_file=None).worker.lease_s == 7.5


@pytest.mark.parametrize("name", ["database_url", "broker_url"])
def test_what_holds_a_password_is_never_shown(name: str) -> None:
    settings = Settings(_env_file=None, **{name: "redis://:hunter2@host/0"})

    assert isinstance(getattr(settings, name), SecretStr)
    assert "hunter2" not in f"{settings!r}{settings}{settings.model_dump_json()}"


def test_every_setting_is_read_by_somebody() -> None:
    read = {
        node.attr
        for package in ("app", "workers", "models")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    fields = {name for kind in (Settings, *_sections()) for name in kind.model_fields}

    assert fields - read == set()


def test_no_module_builds_settings_when_it_is_imported() -> None:
    builders = [
        f"{path.relative_to(ROOT)}:{statement.lineno}"
        for package in ("app", "workers", "models")
        for path in (ROOT / package).rglob("*.py")
        for statement in _run_at_import(ast.parse(path.read_text()))
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Settings"
    ]

    assert builders == []


def _run_at_import(module: ast.Module) -> list[ast.stmt]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [statement for statement in module.body if not isinstance(statement, functions)]
