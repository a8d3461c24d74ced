"""Do the documents keep up with the code? What callers and operators can meet is named there."""

import json
import re
from enum import StrEnum
from pathlib import Path

import pytest
from typer.main import get_command

from app.api import errors as problems
from app.api import metrics
from app.api.main import create_app
from app.cli import app as command_line
from app.db.session import Database
from app.domain.access import Scope
from app.domain.evidence import AbstainReason, DetectorName
from app.domain.job import JobState, Priority
from app.domain.policy import PointName
from app.domain.verdict import Inconclusive, Label
from app.errors import RejectCode
from app.settings import Settings
from tests.architecture import settings_page
from tests.conftest import ROOT
from tests.fakes import MemoryStore, RecordingBell

API = (ROOT / "docs" / "api.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
REMAKE = "run `python -m tests.architecture.settings_page`"


def _unnamed(names: list[str], page: str) -> list[str]:
    """Return the names that the page never gives as code, alone or as part of a code span."""
    spans = " ".join(re.findall(r"`([^`\n]+)`", page))
    return [n for n in names if not re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", spans)]


@pytest.mark.parametrize(
    "words",
    [
        RejectCode,
        AbstainReason,
        Inconclusive,
        JobState,
        Label,
        PointName,
        Priority,
        DetectorName,
        Scope,
    ],
    ids=lambda words: words.__name__,
)
def test_every_word_on_the_wire_is_explained_to_callers(words: type[StrEnum]) -> None:
    assert _unnamed([word.value for word in words], API) == []


def test_every_type_of_problem_is_explained_to_callers() -> None:
    kinds = [k for k in vars(problems).values() if isinstance(k, problems.Kind)]
    kinds += problems.KIND_OF.values()

    assert len(kinds) > 10
    assert _unnamed(sorted({k.slug for k in kinds}), API) == []


def test_the_status_of_every_problem_is_the_documented_one() -> None:
    documented = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", API, re.MULTILINE))
    kinds = [k for k in vars(problems).values() if isinstance(k, problems.Kind)]

    for kind in [*kinds, *problems.KIND_OF.values()]:
        assert documented[kind.slug] == str(kind.status.value), kind.slug


def test_every_call_of_the_gateway_is_explained_and_no_other() -> None:
    settings = Settings(_env_file=None)
    db = Database("sqlite://")
    app = create_app(settings, db=db, bell=RecordingBell(), store=MemoryStore())
    served = {
        f"{method.upper()} {path}"
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    db.close()
    explained = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?]*)`", API))

    assert explained - {"GET /openapi.json"} == {_shortened(call) for call in served}


def _shortened(call: str) -> str:
    """Spell a call as the page does: `{job_id}` is `{id}`, and other names lose their `_id`."""
    return call.replace("{job_id}", "{id}").replace("_id}", "}")


def test_the_settings_page_is_what_the_settings_say() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), REMAKE
    assert settings_page.EXAMPLE.read_text() == settings_page.example(), REMAKE


def test_every_setting_says_what_it_does() -> None:
    silent = [s.variable for g in settings_page.groups() for s in g.settings if not s.words]

    assert silent == []


def test_the_example_holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    given = re.findall(
        r"^#(DEEPVERDICT_\w+)=(.+)$", settings_page.EXAMPLE.read_text(), re.MULTILINE
    )
    for variable, value in given:
        monkeypatch.setenv(variable, value)

    assert len(given) > 30
    assert Settings(_env_file=None) == Settings.model_construct()


def test_every_variable_that_a_document_names_exists() -> None:
    known = {s.variable for g in settings_page.groups() for s in g.settings}
    test_only = {"DEEPVERDICT_LISTEN", "DEEPVERDICT_TEST_MEDIA", "DEEPVERDICT_TEST_WEIGHTS"}
    named = {v for page in PAGES for v in re.findall(r"DEEPVERDICT_[A-Z_]*[A-Z]", page.read_text())}

    assert named - known - test_only == set()


def test_every_command_that_a_document_gives_exists() -> None:
    known = set(get_command(command_line).commands)  # type: ignore[attr-defined]
    given = {
        verb
        for page in PAGES
        for verb in re.findall(r"(?<![\w/.-])deepverdict ([a-z]+)\b", _code(page.read_text()))
    }

    assert given - known == set()
    assert {"up", "serve", "worker", "migrate", "scan"} <= given


def _code(page: str) -> str:
    """Return the parts of a page that are set as code."""
    blocks = re.findall(r"```\w*\n(.*?)```", page, re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    return "\n".join([*blocks, *spans])


def test_every_metric_is_explained_to_operators() -> None:
    source = Path(metrics.__file__).read_text()
    names = set(re.findall(r'"(deepverdict_\w+)"', source))

    assert len(names) > 5
    assert [n for n in sorted(names) if n not in OPERATIONS] == []


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert broken == []


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text()
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))

    assert len(pages) >= 8
    assert [p.name for p in pages if f"({p.name})" not in listed] == []


def test_examples_of_json_are_json() -> None:
    for page in PAGES:
        for block in re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL):
            json.loads(block)
