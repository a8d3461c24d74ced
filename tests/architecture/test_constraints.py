"""Does constraints.txt pin everything that pyproject.toml may install, and name no host?"""

import re
import tomllib
from importlib import metadata
from itertools import chain

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

OURS = "deepverdict"
LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PINS = dict(line.split("==") for line in LINES)


def _wanted() -> list[Requirement]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    listed = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return [r for r in map(Requirement, listed) if r.name != OURS]


def _installed_with(requirement: Requirement) -> list[Requirement]:
    """List what an installed distribution asks for, with the extras that are asked of it."""
    environment = dict(default_environment())
    extras = requirement.extras or {""}
    return [
        needed
        for needed in map(Requirement, metadata.requires(requirement.name) or [])
        if needed.marker is None
        or any(needed.marker.evaluate({**environment, "extra": extra}) for extra in extras)
    ]


def test_every_line_is_one_exact_version_of_one_package() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line)] == []
    assert len(PINS) == len(LINES)


def test_every_requirement_of_ours_is_pinned_within_its_bounds() -> None:
    outside = [
        str(r)
        for r in _wanted()
        if not r.specifier.contains(PINS.get(canonicalize_name(r.name), "0"))
    ]

    assert outside == []


def test_everything_that_comes_along_is_pinned_too() -> None:
    # `onnxruntime-gpu` is never installed beside `onnxruntime`, so what it brings is not seen here.
    waiting = [r for r in _wanted() if r.name != "onnxruntime-gpu"]
    seen: set[str] = set()
    unpinned: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        if name not in PINS:
            unpinned.add(name)
        else:
            waiting += _installed_with(requirement)

    assert unpinned == set()
