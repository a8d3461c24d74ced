"""
How are docs/settings.md and .env.example made from the settings themselves?

    python -m tests.architecture.settings_page
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from pydantic import BaseModel

from app import settings
from app.settings import Settings
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "settings.md"
EXAMPLE = ROOT / ".env.example"
PREFIX = "DEEPVERDICT_"

PAGE_HEAD = """\
# Settings

Every setting is an environment variable. A file `.env` in the working directory is read too; the
environment wins. A name in that file that is not listed here is refused. Thresholds that decide
verdicts are no settings: they are a versioned policy in `app/policies/`.

In `docker-compose.yml` the gateway and the workers are given the database and the broker; add other
settings to their `environment`.
"""
EXAMPLE_HEAD = """\
# Every setting with its default. Copy to `.env` and uncomment what you change.
# Written by `python -m tests.architecture.settings_page`; docs/settings.md says more.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One variable."""

    variable: str
    default: str  # empty where there is none
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The variables of one section."""

    words: str
    settings: tuple[Setting, ...]


def groups() -> Iterator[Group]:
    """List every setting: those of the whole process first, then section by section."""
    words = _words_of(Settings)
    plain = {n: f for n, f in Settings.model_fields.items() if not _is_section(f.annotation)}
    yield Group(
        words="The whole process.",
        settings=tuple(
            Setting(variable=PREFIX + n.upper(), default=_spelt(f.default), words=words[n])
            for n, f in plain.items()
        ),
    )
    for section, field in Settings.model_fields.items():
        kind = field.annotation
        if not _is_section(kind):
            continue
        assert isinstance(kind, type)
        words = _words_of(kind)
        yield Group(
            words=inspect.cleandoc(kind.__doc__ or ""),
            settings=tuple(
                Setting(
                    variable=f"{PREFIX}{section}__{n}".upper(),
                    default=_spelt(f.default),
                    words=words[n],
                )
                for n, f in kind.model_fields.items()
            ),
        )


def page() -> str:
    """Write docs/settings.md."""
    parts = [PAGE_HEAD]
    for group in groups():
        rows = [
            f"| `{s.variable}` | {f'`{s.default}`' if s.default else ''} | {s.words} |"
            for s in group.settings
        ]
        table = ["| variable | default | |", "|---|---|---|", *rows]
        parts.append(f"## {group.words.rstrip('.')}\n\n" + "\n".join(table) + "\n")
    return "\n".join(parts)


def example() -> str:
    """Write .env.example."""
    parts = [EXAMPLE_HEAD]
    for group in groups():
        lines = [f"# --- {group.words}"]
        for setting in group.settings:
            lines += textwrap.wrap(setting.words, 96, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"#{setting.variable}={setting.default}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _words_of(kind: type[BaseModel]) -> dict[str, str]:
    """Read the docstring under each field, its bases' too; empty where a field has none."""
    tree = ast.parse(Path(settings.__file__).read_text())
    of_class = {c.name: c.body for c in tree.body if isinstance(c, ast.ClassDef)}
    body = [s for c in reversed(kind.__mro__) for s in of_class.get(c.__name__, [])]
    words = {}
    for field, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said = after.value.value if _is_docstring(after) else ""  # type: ignore[attr-defined]
            words[field.target.id] = " ".join(said.split())
    return words


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _spelt(default: object) -> str:
    """Spell a default as it would stand in the environment."""
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, PurePath):
        return default.as_posix()
    return str(default)


if __name__ == "__main__":
    PAGE.write_text(page())
    EXAMPLE.write_text(example())
