"""
Which files make up a data set, what is each, and which part of the work may see it?

A data manifest is a CSV with one row a file, under a line that says how it came about. Whoever
is in one file together with whoever is in another has the same group, and a group lies in one
split whole: a network that saw a face in training is not asked about that face later.
"""

import csv
import hashlib
import io
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar, get_args

import cv2
import numpy as np

from app.domain.container import SNIFF_BYTES, sniff
from workers.training.errors import BadDataset

Kind = Literal["video", "picture"]
Label = Literal["real", "fake", "no_face"]
Split = Literal["train", "val", "cal", "test"]

Word = TypeVar("Word", bound=str)

KINDS: tuple[Kind, ...] = get_args(Kind)
LABELS: tuple[Label, ...] = get_args(Label)
SPLITS: tuple[Split, ...] = get_args(Split)
"""From what is looked at most to what is looked at last."""
SHARES = (0.55, 0.08, 0.15, 0.22)
"""Of the groups, by split."""

FORMAT = 1
MOST_DAMAGED_SHARE = 0.01
"""Of a data set's files; more mean that it is not what it seems."""

AND = "+"
"""Between the groups that were joined, in the name of the one they became."""

_HEADING = re.compile(
    r"# deepverdict data manifest (?P<format>\d+); layout=(?P<layout>[\w-]*); seed=(?P<seed>\d+); "
    r"shares=(?P<shares>[\d.,]+); sha256=(?P<sha256>[0-9a-f]{64}); root=(?P<root>.*)"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 1024 * 1024

Progress = Callable[[int, int], None]
"""Told how many files were looked at, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file of a data set."""

    path: str  # under the manifest's root, with forward slashes
    sha256: str
    kind: Kind
    clip: str  # `path` of a video and of a lone picture; pictures of one clip share it
    label: Label
    method: str  # what made it; of a real one, where it is from
    family: str  # of methods: faceswap, reenactment, ...; "real" of a real one
    group: str  # of people and sources; never in two splits
    dataset: str
    quality: str = ""
    pair: str = ""  # `clip` of the real one that it was made from
    mask: str = ""  # path of a video or picture of the manipulated pixels; not hashed
    split: Split
    time_s: float | None = None  # of a picture, in its clip


_COLUMNS = tuple(f.name for f in fields(Row))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataManifest:
    """The files of a data set, by path."""

    root: Path  # what the paths are under; not part of the hash
    rows: tuple[Row, ...]
    sha256: str  # of the rows
    layout: str = ""
    seed: int = 0
    shares: tuple[float, ...] = SHARES

    def clips(self) -> dict[str, tuple[Row, ...]]:
        """Return the rows of each clip: one of a video, several of a clip given as pictures."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.clip, []).append(row)
        return {clip: tuple(rows) for clip, rows in found.items()}


def people_of(group: str) -> frozenset[str]:
    """Return the groups that a group was joined from; itself where it was not."""
    return frozenset(group.split(AND))


def make_manifest(
    rows: Iterable[Row],
    *,
    root: Path,
    layout: str = "",
    seed: int = 0,
    shares: Sequence[float] = SHARES,
) -> DataManifest:
    """
    Put rows in order and take their hash.

    Raises:
        BadDataset: rows contradict one another, or a group lies in two splits.
    """
    ordered = tuple(sorted(rows, key=lambda row: row.path))
    _check_rows(ordered)
    return DataManifest(
        root=root,
        rows=ordered,
        sha256=hashlib.sha256(_table(ordered).encode()).hexdigest(),
        layout=layout,
        seed=seed,
        shares=tuple(shares),
    )


def write_manifest(path: Path, manifest: DataManifest) -> None:
    """Write a manifest, whole or not at all. Its root is kept as seen from the file's folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    root = Path(os.path.relpath(manifest.root.resolve(), path.parent.resolve())).as_posix()
    heading = (
        f"# deepverdict data manifest {FORMAT}; layout={manifest.layout}; seed={manifest.seed}; "
        f"shares={','.join(map(str, manifest.shares))}; sha256={manifest.sha256}; root={root}\n"
    )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(heading + _table(manifest.rows))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_manifest(path: Path, *, root: Path | None = None) -> DataManifest:
    """
    Read a manifest. Its files are not looked at: see `check_files`.

    Args:
        path: of the CSV.
        root: where the files are; where the manifest says unless given.

    Raises:
        BadDataset: it cannot be read, was changed by hand, has other columns than ours, or has a
            group in two splits.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise BadDataset(
            f"the data manifest {path} cannot be read ({wrong}); make one with "
            "`deepverdict data index`"
        ) from wrong
    first, _, table = text.partition("\n")
    heading = _HEADING.fullmatch(first.rstrip("\r"))
    if heading is None or int(heading["format"]) != FORMAT:
        raise BadDataset(
            f"{path} is no data manifest of format {FORMAT}: its first line is {first[:80]!r}; "
            "make one with `deepverdict data index`"
        )
    manifest = make_manifest(
        _parsed(table, path),
        root=path.parent / heading["root"] if root is None else root,
        layout=heading["layout"],
        seed=int(heading["seed"]),
        shares=[float(share) for share in heading["shares"].split(",")],
    )
    if manifest.sha256 != heading["sha256"]:
        raise BadDataset(
            f"the rows of {path} are sha256:{manifest.sha256}, its first line says "
            f"sha256:{heading['sha256']}: it was edited or cut off; index the data anew"
        )
    return manifest


class DamageKind(StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    UNREADABLE = "cannot be read"
    EMPTY = "empty file"
    NO_CONTAINER = "no video container"
    NO_PICTURE = "picture cannot be decoded"
    OTHER_HASH = "hash differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Which files of a data set cannot be used, by what is wrong with them."""

    files: int  # that were looked at
    found: Mapping[DamageKind, tuple[str, ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Files that cannot be used."""
        return sum(map(len, self.found.values()))

    def refuse(self) -> None:
        """
        Turn away a data set that cannot be trusted.

        Raises:
            BadDataset: a file is not the one that was listed, or more than `MOST_DAMAGED_SHARE`
                of them cannot be used.
        """
        kinds = "; ".join(
            f"{len(paths)} x {kind} (such as {', '.join(paths[:3])})"
            for kind, paths in self.found.items()
        )
        if DamageKind.OTHER_HASH in self.found:
            raise BadDataset(
                f"files are not the ones that were listed: {kinds}; restore them, or index the "
                "data anew if the change was meant"
            )
        if self.count > MOST_DAMAGED_SHARE * self.files:
            raise BadDataset(
                f"{self.count} of {self.files} files cannot be used, more than "
                f"{MOST_DAMAGED_SHARE:.0%}: {kinds}; mend, fetch again or remove them"
            )


def check_files(manifest: DataManifest, *, progress: Progress | None = None) -> Damage:
    """
    Hash every file of a manifest.

    Raises:
        BadDataset: a file is not the one that was indexed, or more than `MOST_DAMAGED_SHARE` of
            them cannot be used.
    """
    _, damage = examine_all(
        manifest.root,
        [(row.path, row.kind, row.sha256) for row in manifest.rows],
        progress=progress,
    )
    damage.refuse()
    return damage


def examine_all(
    root: Path, files: Sequence[tuple[str, Kind, str]], *, progress: Progress | None = None
) -> tuple[dict[str, str], Damage]:
    """
    Read many files.

    Args:
        root: what the paths are under.
        files: path, kind, and the SHA-256 that it must have or "" where any will do.
        progress: told of each file.

    Returns:
        The SHA-256 of each file that can be used, by path, and what is wrong with the others.
    """
    hashes: dict[str, str] = {}
    found: dict[DamageKind, list[str]] = {}
    for done, (path, kind, wanted) in enumerate(files, 1):
        sha256, wrong = examine(root / path, kind)
        if wrong is None and wanted not in ("", sha256):
            wrong = DamageKind.OTHER_HASH
        if wrong is None:
            hashes[path] = sha256
        else:
            found.setdefault(wrong, []).append(path)
        if progress is not None:
            progress(done, len(files))
    damaged = {kind: tuple(paths) for kind, paths in found.items()}
    return hashes, Damage(files=len(files), found=damaged)


def examine(path: Path, kind: Kind) -> tuple[str, DamageKind | None]:
    """Read a file once: return its SHA-256, and what is wrong with it or None."""
    digest = hashlib.sha256()
    head = b""
    try:
        with path.open("rb") as file:
            while part := file.read(_READ_BYTES):
                digest.update(part)
                if kind == "picture" or not head:
                    head += part
    except FileNotFoundError:
        return "", DamageKind.MISSING
    except OSError:
        return "", DamageKind.UNREADABLE
    if not head:
        wrong: DamageKind | None = DamageKind.EMPTY
    elif kind == "video":
        wrong = None if sniff(head[:SNIFF_BYTES]) else DamageKind.NO_CONTAINER
    else:
        wrong = None if _is_whole_picture(head) else DamageKind.NO_PICTURE
    return digest.hexdigest(), wrong


def folds(manifest: DataManifest, k: int, seed: int) -> dict[str, int]:
    """
    Deal the groups out to `k` folds, each data set and kind of source evenly over them.

    Args:
        manifest: of which all groups are dealt out, whatever their split.
        k: how many folds.
        seed: deals them otherwise. The order of the rows does not matter.

    Returns:
        The fold of each group, from 0.
    """
    if k < 2:  # noqa: PLR2004 - one fold leaves nothing to judge by
        raise ValueError(f"want 2 folds or more, got {k}")
    return deal(strata_of(manifest.rows), [1 / k] * k, seed=seed)


def strata_of(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """Tell of each group what it should be spread evenly with: its data set, and what it holds."""
    datasets: dict[str, set[str]] = {}
    holdings: dict[str, set[str]] = {}
    for row in rows:
        datasets.setdefault(row.group, set()).add(row.dataset)
        holdings.setdefault(row.group, set()).add(f"{row.kind} {row.label} {row.family}")
    return {
        group: (*sorted(names), " + ".join(sorted(holdings[group])))
        for group, names in datasets.items()
    }


def deal(
    strata: Mapping[str, Sequence[str]],
    shares: Sequence[float],
    *,
    seed: int,
    dealt: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """
    Share groups out so that each part gets its share of every stratum.

    Groups come up in the order of a hash of their names; each goes where its strata lack most.

    Args:
        strata: of each group, by name.
        shares: of the parts, 1 in all.
        seed: of the hash.
        dealt: parts that some groups have already, and keep.

    Returns:
        The part of each group, its place in `shares`.
    """
    part_of = {group: part for group, part in (dealt or {}).items() if group in strata}
    counts: dict[str, list[int]] = {s: [0] * len(shares) for of in strata.values() for s in of}
    for group, part in part_of.items():
        for stratum in strata[group]:
            counts[stratum][part] += 1
    for group in sorted(strata.keys() - part_of.keys(), key=lambda name: _draw(name, seed)):
        lacks = [0.0] * len(shares)
        for stratum in strata[group]:
            due = sum(counts[stratum]) + 1
            for part, share in enumerate(shares):
                lacks[part] += share * due - counts[stratum][part]
        part = max(range(len(shares)), key=lacks.__getitem__)
        part_of[group] = part
        for stratum in strata[group]:
            counts[stratum][part] += 1
    return part_of


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _is_whole_picture(content: bytes) -> bool:
    # A JPEG that was cut off decodes, its rest grey. The marker of its end is never in its data;
    # a thumbnail's may be, before the picture.
    if content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9", len(content) // 2) < 0:
        return False
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None


def _table(rows: Iterable[Row]) -> str:
    """Write rows as CSV. What can be told from the path is left out: thousands of lone stills."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_COLUMNS)
    for row in rows:
        cells = {name: getattr(row, name) for name in _COLUMNS}
        cells["clip"] = "" if row.clip == row.path else row.clip
        cells["group"] = "" if row.group == row.path else row.group
        cells["time_s"] = "" if row.time_s is None else repr(row.time_s)
        lines.writerow(cells.values())
    return text.getvalue()


def _parsed(table: str, path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(table, newline=""))
    columns = tuple(reader.fieldnames or ())
    if columns != _COLUMNS:
        strange, lacking = set(columns) - set(_COLUMNS), set(_COLUMNS) - set(columns)
        raise BadDataset(
            f"{path} has unknown columns {sorted(strange)} and lacks {sorted(lacking)}; a data "
            f"manifest has {', '.join(_COLUMNS)}, in this order"
        )
    rows = []
    for cells in reader:
        try:
            if None in cells or None in cells.values():
                raise ValueError(f"want {len(_COLUMNS)} cells")  # noqa: TRY301 - told below
            rows.append(_row(cells))
        except ValueError as wrong:
            raise BadDataset(
                f"{path}, line {reader.line_num + 1}: {wrong}; index the data anew"
            ) from wrong
    return rows


def _row(cells: Mapping[str, str]) -> Row:
    path = cells["path"]
    return Row(
        path=path,
        sha256=cells["sha256"],
        kind=_one_of(KINDS, cells["kind"], "kind"),
        clip=cells["clip"] or path,
        label=_one_of(LABELS, cells["label"], "label"),
        method=cells["method"],
        family=cells["family"],
        group=cells["group"] or path,
        dataset=cells["dataset"],
        quality=cells["quality"],
        pair=cells["pair"],
        mask=cells["mask"],
        split=_one_of(SPLITS, cells["split"], "split"),
        time_s=float(cells["time_s"]) if cells["time_s"] else None,
    )


def _leads_out(path: str) -> bool:
    """Whether a path is not within the data set; a manifest may come from anybody."""
    parts = PurePosixPath(path).parts
    return not parts or PurePosixPath(path).is_absolute() or ".." in parts


def _one_of(words: Sequence[Word], word: str, what: str) -> Word:
    for known in words:
        if word == known:
            return known
    raise ValueError(f"want a {what} of {list(words)}, got {word!r}")


def _check_rows(rows: Sequence[Row]) -> None:
    twice = [path for path, times in Counter(row.path for row in rows).items() if times > 1]
    if twice:
        raise BadDataset(f"files are listed twice: {', '.join(twice[:3])}; list each once")
    for row in rows:
        if _leads_out(row.path) or (row.mask and _leads_out(row.mask)):
            raise BadDataset(
                f"want paths within the data set, got {row.path!r} and the mask {row.mask!r}; "
                "put the files there"
            )
        if not _SHA256.fullmatch(row.sha256):
            raise BadDataset(f"{row.path} has no SHA-256, but {row.sha256!r}; index the data anew")
    group_of: dict[str, tuple[str, Label]] = {}
    splits: dict[str, set[Split]] = {}
    for row in rows:
        splits.setdefault(row.group, set()).add(row.split)
        if group_of.setdefault(row.clip, (row.group, row.label)) != (row.group, row.label):
            raise BadDataset(
                f"the pictures of {row.clip} have several groups or labels; give them one"
            )
    twins: dict[str, Row] = {}
    for row in rows:
        if (twin := twins.setdefault(row.sha256, row)).label != row.label:
            raise BadDataset(
                f"{twin.path} is {twin.label} and {row.path} is {row.label}, and they are the same "
                "bytes; find out which is right, and remove the other"
            )
    mixed = {group: found for group, found in splits.items() if len(found) > 1}
    if mixed:
        told = "; ".join(f"{group} in {', '.join(sorted(s))}" for group, s in mixed.items())
        raise BadDataset(
            f"{len(mixed)} groups lie in several splits: {told[:300]}; whoever is trained on "
            "cannot be tested on: index the data anew"
        )
    for row in rows:
        if row.pair and group_of.get(row.pair, ("", ""))[0] != row.group:
            raise BadDataset(
                f"{row.path} was made from {row.pair}, which is not listed or is of another "
                "group; index the data anew"
            )
