"""
How does a folder of clips become a data manifest? Listed, hashed, grouped, split, written.

Files that cannot be used are counted by what is wrong with them and left out; where they are too
many, or a file is not the one that its data set lists, nothing is written.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from workers.training.errors import BadDataset
from workers.training.layouts import Item, detect, layout_of
from workers.training.manifest import (
    LABELS,
    SHARES,
    SPLITS,
    Damage,
    DataManifest,
    Row,
    Split,
    deal,
    examine_all,
    make_manifest,
    read_manifest,
    strata_of,
    write_manifest,
)

LARGE_GROUP_SHARE = 0.5
"""Of a data set's clips; a group with more leaves little to split, and is told of."""
_TO_SHARE_OUT: Sequence[Split] = ("val", "cal")
"""No author sets calibration clips apart: an official validation part is shared with it."""


def index(
    folder: Path,
    *,
    layout: str | None,
    out: Path,
    seed: int,
    shares: tuple[float, float, float, float] = SHARES,
    console: Console,
) -> DataManifest:
    """
    Write the data manifest of a folder.

    A manifest that is already at `out`, of the same seed and shares, is replaced, and its groups
    keep their splits: data can be added without anybody moving from the test to the training.

    Data sets rarely say everywhere that two clips show one person. What a person found out can
    stand beside `out`, as `NAME.people.csv` for `NAME.csv`: the columns `group` and `same_as`
    name groups, as the layout gives them, that are to be one.

    Args:
        folder: the data set.
        layout: a name of `layouts.LAYOUTS`; told by looking unless given.
        out: where the manifest goes.
        seed: deals the groups out otherwise.
        shares: of the groups, for train, val, cal and test; 1 in all.
        console: where progress and tables are drawn.

    Raises:
        BadDataset: no layout fits, a file is not the one that is listed, or more than 1 % of the
            files cannot be used. Nothing is written then.
    """
    if abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:  # noqa: PLR2004 - decimal shares
        raise BadDataset(f"the shares of {', '.join(SPLITS)} are {shares}; want 1 in all")
    chosen = detect(folder) if layout is None else layout_of(layout)
    contents = chosen.read(folder)
    console.print(f"layout: {chosen.name} ({chosen.looks_like})", highlight=False)
    for remark in contents.remarks:
        console.print(f"  {remark}", highlight=False)
    if not contents.items:
        raise BadDataset(f"{folder} has the layout {chosen.name} and no clip in it")
    hashes, damage = _examined(folder, contents.items, console)
    if damage.count:
        console.print(_damage_table(damage))
    damage.refuse()
    items = [item for item in contents.items if item.path in hashes]
    same = _same_people(out.with_suffix(".people.csv"), items)
    if same:
        console.print(f"{len(same)} pairs of groups are one, says {out.stem}.people.csv")
    group_of = _groups(items, hashes, same)
    unsplit = _rows(items, hashes, group_of)
    settled = _settled(items, group_of, shares=shares, seed=seed)
    kept = _kept(out, folder, unsplit, seed=seed, shares=shares)
    if kept:
        console.print(f"{len(kept)} groups keep the splits that they have in {out}")
    dealt = {group: SPLITS.index(split) for group, split in (kept | settled).items()}
    parts = deal(strata_of(unsplit), shares, seed=seed, dealt=dealt)
    manifest = make_manifest(
        (replace(row, split=SPLITS[parts[row.group]]) for row in unsplit),
        root=folder,
        layout=chosen.name,
        seed=seed,
        shares=shares,
    )
    write_manifest(out, manifest)
    _tell_of_large_groups(manifest, console)
    console.print(summary(manifest))
    console.print(f"{out}: {len(manifest.rows)} files, sha256:{manifest.sha256}", highlight=False)
    return manifest


def summary(manifest: DataManifest) -> Table:
    """Show what is in each split: clips, groups and pictures by label, and by which methods."""
    table = Table("split", "label", title="clips, groups and pictures")
    for column in ("clips", "groups", "pictures"):
        table.add_column(column, justify="right")
    table.add_column("methods, clips of each")
    for split in SPLITS:
        for label in LABELS:
            rows = [row for row in manifest.rows if (row.split, row.label) == (split, label)]
            if not rows:
                continue
            clips = {row.clip: row.method for row in rows}
            methods = sorted(clips.values())
            table.add_row(
                split,
                label,
                str(len(clips)),
                str(len({row.group for row in rows})),
                str(sum(row.kind == "picture" for row in rows)),
                ", ".join(f"{name} {methods.count(name)}" for name in sorted(set(methods))),
            )
        table.add_section()
    return table


def _examined(
    folder: Path, items: Sequence[Item], console: Console
) -> tuple[dict[str, str], Damage]:
    """Hash every file; give the hashes of those that can be used, and tell of the others."""
    columns = (
        TextColumn("hashing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(items))
        return examine_all(
            folder,
            [(item.path, item.kind, item.sha256) for item in items],
            progress=lambda done, _total: progress.update(task, completed=done),
        )


def _damage_table(damage: Damage) -> Table:
    table = Table("what is wrong", title=f"{damage.count} of {damage.files} files are left out")
    table.add_column("files", justify="right")
    table.add_column("such as", overflow="fold")
    for kind, paths in damage.found.items():
        table.add_row(kind, str(len(paths)), paths[0])
    return table


def _same_people(path: Path, items: Iterable[Item]) -> list[tuple[str, str]]:
    """Read which groups are to be one; raises BadDataset for one that is not in the data set."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        same = [(line.get("group", ""), line.get("same_as", "")) for line in csv.DictReader(file)]
    known = {person for item in items for person in item.people}
    strange = sorted({name for pair in same for name in pair} - known)
    if strange:
        raise BadDataset(
            f"{path} names groups that the data set does not have: {', '.join(strange[:5])}; "
            "mend the names (columns `group` and `same_as`) or remove the lines"
        )
    return same


def _groups(
    items: Sequence[Item], hashes: Mapping[str, str], same: Iterable[tuple[str, str]]
) -> dict[str, str]:
    """
    Join items that have people, a source, or all their bytes in common, directly or by others.

    Returns:
        The group of each path: the first name, in order, of anybody in it.
    """
    join = Joins()
    for one, other in same:
        join.one(one, other)
    for item in items:
        for other in (*item.people[1:], f"sha256:{hashes[item.path]}"):
            join.one(item.people[0], other)
        # Whoever is in the pictures of a clip, or in the real one of a pair, is the same there.
        join.one(item.people[0], f"clip:{item.clip or item.path}")
        if item.pair:
            join.one(item.people[0], f"clip:{item.pair}")
    names: dict[str, list[str]] = {}
    for person in {person for item in items for person in item.people}:
        names.setdefault(join.root_of(person), []).append(person)
    return {item.path: min(names[join.root_of(item.people[0])]) for item in items}


class Joins:
    """Names that are joined to one another, in sets that grow together (union-find)."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def one(self, name: str, other: str) -> None:
        """Say that two names are in one set."""
        self._above[self.root_of(name)] = self.root_of(other)

    def root_of(self, name: str) -> str:
        """Return the name that stands for the set."""
        path = []
        while (above := self._above.setdefault(name, name)) != name:
            path.append(name)
            name = above
        self._above.update(dict.fromkeys(path, name))  # shorter for the next
        return name


def _rows(
    items: Sequence[Item], hashes: Mapping[str, str], group_of: Mapping[str, str]
) -> list[Row]:
    """Make rows, all of the first split for now; forget pairs that are not in the data set."""
    clips = {item.clip or item.path for item in items}
    return [
        Row(
            path=item.path,
            sha256=hashes[item.path],
            kind=item.kind,
            clip=item.clip or item.path,
            label=item.label,
            method=item.method,
            family=item.family,
            group=group_of[item.path],
            dataset=item.dataset,
            quality=item.quality,
            pair=item.pair if item.pair in clips else "",
            mask=item.mask,
            split=SPLITS[0],
            time_s=item.time_s,
        )
        for item in items
    ]


def _settled(
    items: Iterable[Item], group_of: Mapping[str, str], *, shares: Sequence[float], seed: int
) -> dict[str, Split]:
    """Say where the authors of the data set put groups. Wherever they put a group in several
    places, it is where it is looked at last."""
    settled: dict[str, Split] = {}
    for item in items:
        if item.official is not None:
            _hold_back(settled, group_of[item.path], item.official)
    validation = {g: ("official",) for g, split in settled.items() if split == _TO_SHARE_OUT[0]}
    parts = [shares[SPLITS.index(split)] for split in _TO_SHARE_OUT]
    if validation and sum(parts) > 0:
        dealt = deal(validation, [part / sum(parts) for part in parts], seed=seed)
        settled |= {group: _TO_SHARE_OUT[part] for group, part in dealt.items()}
    return settled


def _kept(
    out: Path, folder: Path, rows: Iterable[Row], *, seed: int, shares: Sequence[float]
) -> dict[str, Split]:
    """Say where groups are in the manifest that is replaced, by the files they have in common."""
    if not out.exists():
        return {}
    try:
        before = read_manifest(out, root=folder)
    except BadDataset as wrong:
        raise BadDataset(f"{out} is in the way; move it to begin anew: {wrong}") from wrong
    if (before.seed, before.shares) != (seed, tuple(shares)):
        return {}
    split_of = {row.path: row.split for row in before.rows}
    kept: dict[str, Split] = {}
    for row in rows:
        if row.path in split_of:
            _hold_back(kept, row.group, split_of[row.path])
    return kept


def _hold_back(splits: dict[str, Split], group: str, split: Split) -> None:
    """Put a group in a split, unless it is in one that is looked at later."""
    splits[group] = max(splits.get(group, split), split, key=SPLITS.index)


def _tell_of_large_groups(manifest: DataManifest, console: Console) -> None:
    clips_of: dict[str, set[str]] = {}
    groups_of: dict[str, dict[str, set[str]]] = {}
    for row in manifest.rows:
        clips_of.setdefault(row.dataset, set()).add(row.clip)
        groups_of.setdefault(row.dataset, {}).setdefault(row.group, set()).add(row.clip)
    for dataset, groups in groups_of.items():
        group, clips = max(groups.items(), key=lambda item: len(item[1]))
        if len(groups) > 1 and len(clips) > LARGE_GROUP_SHARE * len(clips_of[dataset]):
            console.print(
                f"{dataset}: {len(clips)} of {len(clips_of[dataset])} clips are one group, "
                f"{group}: they share people, so that they are in one split",
                highlight=False,
            )
