"""
What lies in a folder of networks that are to be promoted, and does it hold?

    NAME.onnx NAME.json     of each network: the file, and its entry as a manifest would have it
    decision.json           what was measured before: {"promote": true, "reasons": [...], ...}

Nothing in it is believed. The bytes must be those that the entry pins, the network must answer its
canary, and it must take and give what the one of its name does.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from app.errors import ModelUnavailable, PromotionRefused
from models.manifest import ManifestEntry
from models.registry import Registry

DECISION = "decision.json"
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,31}")
"""What may stand after the @ of a finding, and in the name of a file."""
DIGEST_DIGITS = 8
MOST_JSON_BYTES = 4 * 1024**2

T = TypeVar("T", bound=BaseModel)


class Measured(BaseModel):
    """The part of `decision.json` that decides; all else in it is kept as it was written."""

    model_config = ConfigDict(frozen=True, extra="allow")

    promote: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network that was checked, under the name of the file that it will be served from."""

    entry: ManifestEntry
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What a folder holds."""

    candidates: tuple[Candidate, ...]
    measured: Measured


def read_package(folder: Path, registry: Registry) -> Package:
    """
    Read a folder, and check each network in it.

    Args:
        registry: of the networks that came with the program.

    Raises:
        PromotionRefused: in words, what is missing or does not hold.
    """
    if not folder.is_dir():
        raise PromotionRefused(f"{folder} is neither a candidate's folder nor NAME@VERSION")
    names = sorted(p.stem for p in folder.glob("*.json") if p.name != DECISION)
    files = sorted(p.stem for p in folder.glob("*.onnx"))
    if names != files or not names:
        raise PromotionRefused(
            f"want NAME.onnx and NAME.json of each network in {folder}, found "
            f"{[f'{n}.onnx' for n in files]} and {[f'{n}.json' for n in names]}"
        )
    measured = _read(folder / DECISION, Measured)
    return Package(
        candidates=tuple(_candidate(folder, name, registry) for name in names), measured=measured
    )


def _candidate(folder: Path, name: str, registry: Registry) -> Candidate:
    path, about = folder / f"{name}.onnx", folder / f"{name}.json"
    entry = _read(about, ManifestEntry)
    if entry.name != name:
        raise PromotionRefused(f"{about} is the entry of {entry.name}, not of {name}")
    if not VERSION.fullmatch(entry.version):
        raise PromotionRefused(f"{about}: want a version such as 1.1, got {entry.version!r}")
    along = {e.name: e for e in registry.entries() if e.is_shipped}
    if name not in along:
        raise PromotionRefused(
            f"{name} takes no network's place; those that can be promoted are {sorted(along)}"
        )
    if entry.version == along[name].version:
        raise PromotionRefused(
            f"{entry.versioned_name} is what comes with the program; give the candidate another "
            "version, since findings are stored under that name"
        )
    with path.open("rb") as file:
        content = file.read(entry.size_bytes + 1)
    if (found := hashlib.sha256(content).hexdigest()) != entry.sha256:
        raise PromotionRefused(
            f"{path} is sha256:{found}, its entry pins sha256:{entry.sha256} ({entry.size_bytes} "
            "bytes); make the package again"
        )
    try:
        model = registry.open(entry, content)
    except ModelUnavailable as why:
        raise PromotionRefused(f"{path}: {why}") from why
    if wrong := tuple(_unlike(along[name], entry, model.output_names)):
        raise PromotionRefused(f"{path} cannot take the place of {name}: {'; '.join(wrong)}")
    served = f"{name}-{entry.version}-{entry.sha256[:DIGEST_DIGITS]}.onnx"
    return Candidate(entry=entry.model_copy(update={"file": served}), content=content)


def _unlike(along: ManifestEntry, entry: ManifestEntry, outputs: tuple[str, ...]) -> Iterator[str]:
    """Say where a network takes or gives something else than the one whose place it takes."""
    takes = (entry.canary.input, entry.canary.dtype, entry.canary.shape[1:])
    wanted = (along.canary.input, along.canary.dtype, along.canary.shape[1:])
    if takes != wanted:
        yield f"it takes {takes}, want {wanted}"
    if missing := {e.output for e in along.canary.expected} - set(outputs):
        yield f"it gives {list(outputs)}, and not {sorted(missing)}"


def _read(path: Path, kind: type[T]) -> T:
    try:
        with path.open("rb") as file:
            return kind.model_validate_json(file.read(MOST_JSON_BYTES))
    except OSError as error:
        raise PromotionRefused(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise PromotionRefused(f"{path} is not what it should be: {error}") from error
