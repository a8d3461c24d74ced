"""
Are the rules of the house kept that no linter off the shelf knows?

Each exception is listed beside its rule, with the reason. A listed file that no longer needs its
exception fails too, so that the lists stay short.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("app", "workers", "models", "migrations")
VAGUE = ("util", "helper", "common", "manager", "misc", "base_")


def _sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


SOURCES = dict(_sources())


def _dotted(node: ast.AST) -> str:
    """Spell `a.b.c` of an attribute chain; empty where it starts from anything but a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def _reads_the_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _dotted(node.func).endswith(
        ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time")
    )


def _commits(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("commit", "rollback")
    )


def _prints(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _dotted(node.func) in ("print", "pprint.pprint")


def _reads_the_environment(node: ast.AST) -> bool:
    return _dotted(node) in ("os.environ", "os.getenv", "os.putenv", "environ", "getenv")


def _unpickles(node: ast.AST) -> bool:
    if isinstance(node, ast.ClassDef):
        return any(_dotted(base) == "pickle.Unpickler" for base in node.bases)
    return isinstance(node, ast.Call) and _dotted(node.func).endswith(
        ("pickle.load", "pickle.loads", "pickle.Unpickler", "shelve.open", "torch.load")
    )


def _catches_everything(node: ast.AST) -> bool:
    return isinstance(node, ast.ExceptHandler) and (
        node.type is None or _dotted(node.type) in ("Exception", "BaseException")
    )


RULES: Mapping[str, tuple[Callable[[ast.AST], bool], Mapping[str, str]]] = {
    "the time of day is read in app/clock.py": (
        _reads_the_clock,
        {"app/clock.py": "the one reader"},
    ),
    "a transaction ends with its block in app/db/session.py": (
        _commits,
        {
            "app/api/routes/jobs.py": "commits a blob, in the one call that writes its row",
            "workers/supervisor.py": "commits a blob, just before the row that names it",
        },
    ),
    "nothing prints: events are logged, and the command line writes through its console": (
        _prints,
        {},
    ),
    "the environment is read by app/settings.py": (
        _reads_the_environment,
        {
            "app/child.py": "hands the environment down to a child, less our settings",
            "workers/training/runs.py": "spells the settings that came by value, for commands",
            "workers/detection/escape.py": "shows that the jail was given none of it",
        },
    ),
    "nothing is unpickled": (
        _unpickles,
        {
            "app/child.py": "a parent's arguments, through a pipe that only it can write",
            "workers/inference.py": "a parent's assignments, through a pipe that only it can write",
            "models/convert/legacy_torch.py": "a reader that refuses every name but a tensor's",
            # Each asks for `weights_only`, torch's reader of tensors and plain values alone.
            "models/nets/mobilenet_v1.py": "published weights to start from",
            "workers/training/checkpoints.py": "a run's own checkpoints",
            "workers/training/evaluate/lrnet.py": "the published baseline",
        },
    ),
    "everything is caught at a boundary only": (
        _catches_everything,
        {
            "app/api/middleware.py": "a request: answered with 500, logged",
            "workers/detection/analyze.py": "a detector: abstains as crashed, logged",
            "workers/inference.py": "an analysis: failed, logged",
            "workers/supervisor.py": "a job: settled as failed, logged",
            "workers/trainer.py": "a run that is watched: settled as failed, logged",
            "workers/training/runs.py": "a run that is done: settled as failed, logged",
        },
    ),
}


def test_torch_reads_tensors_and_plain_values_alone() -> None:
    readers = [
        (name, {k.arg: k.value for k in node.keywords}.get("weights_only"))
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _dotted(node.func) == "torch.load"
    ]

    assert readers
    assert [n for n, v in readers if not (isinstance(v, ast.Constant) and v.value is True)] == []


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_the_house_is_kept(rule: str) -> None:
    is_breach, allowed = RULES[rule]
    breaches = {
        name: [node.lineno for node in ast.walk(tree) if is_breach(node)]  # type: ignore[attr-defined]
        for name, tree in SOURCES.items()
    }
    found = {name: lines for name, lines in breaches.items() if lines}

    assert {n: lines for n, lines in found.items() if n not in allowed} == {}, rule
    assert set(allowed) - set(found) == set(), f"exceptions that nothing needs: {rule}"


def test_every_file_says_which_question_it_answers() -> None:
    silent = [
        name
        for name, tree in SOURCES.items()
        if tree.body and not (ast.get_docstring(tree) or "").strip()
    ]

    assert silent == []


def test_every_public_class_and_function_says_what_it_is() -> None:
    silent = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in SOURCES.items()
        if not name.startswith("migrations/")
        for node in _public(tree)
        if not ast.get_docstring(node)
    ]

    assert silent == []


def _public(
    tree: ast.Module | ast.ClassDef,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name.startswith("_") or "overload" in map(_dotted, node.decorator_list):
                continue
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


def test_no_file_is_called_by_a_word_that_means_nothing() -> None:
    paths = [Path(name) for name in SOURCES]
    vague = [str(p) for p in paths if any(word in part for part in p.parts for word in VAGUE)]

    assert vague == []
