"""
Has the loop seen what it is measured on? Nobody, and no file, may be on both sides.

People are compared by group, a group that forgers joined by all that it was joined from, and files
by their bytes; so a clip that was copied under another name, or indexed once more, is found.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from workers.training.errors import BadRecipe
from workers.training.manifest import DataManifest, Row, people_of
from workers.training.rounds.recipe import FrozenSet

TRAINED_ON = "train"
"""The split that networks learn from."""
_SHOWN = 3


def trained_rows(*manifests: DataManifest) -> list[Row]:
    """Return the rows that networks learn from."""
    return [row for data in manifests for row in data.rows if row.split == TRAINED_ON]


def judged_rows(data: DataManifest, frozen: FrozenSet) -> list[Row]:
    """
    Return the rows of a set that are looked at.

    Raises:
        BadRecipe: there are none.
    """
    rows = [
        row
        for row in data.rows
        if row.split in frozen.splits
        and row.label != "no_face"
        and (row.label == "real" or not frozen.methods or row.method in frozen.methods)
    ]
    if not rows:
        raise BadRecipe(
            f"the frozen set {frozen.name!r}: {frozen.manifest} has no clip of the splits "
            f"{', '.join(frozen.splits)}"
            + (f" and the methods {', '.join(frozen.methods)}" if frozen.methods else "")
        )
    return rows


def check_unseen(frozen: FrozenSet, judged: Iterable[Row], trained: Iterable[Row]) -> None:
    """
    Refuse a set that shares somebody, or a file, with what networks learn from.

    Raises:
        BadRecipe: it does; says who.
    """
    people: dict[str, str] = {}
    files: dict[str, str] = {}
    for row in trained:
        files.setdefault(row.sha256, row.path)
        for person in people_of(row.group):
            people.setdefault(person, row.path)
    rows = list(judged)
    same_files = sorted({f"{r.path} is {files[r.sha256]}" for r in rows if r.sha256 in files})
    if same_files:
        raise BadRecipe(
            f"the frozen set {frozen.name!r} ({frozen.manifest}) holds {len(same_files)} files "
            f"that are trained on: {'; '.join(same_files[:_SHOWN])}; what was learned by heart "
            "proves nothing: take them out of one of the two"
        )
    shared = {person for row in rows for person in people_of(row.group)} & people.keys()
    if shared:
        told = "; ".join(f"{person} (in {people[person]})" for person in sorted(shared)[:_SHOWN])
        raise BadRecipe(
            f"the frozen set {frozen.name!r} ({frozen.manifest}) shares {len(shared)} groups with "
            f"what is trained on: {told}; whoever is trained on cannot be tested on: freeze other "
            "people, or other splits"
        )


def check_unseen_methods(
    frozen: FrozenSet, judged: Iterable[Row], generated: Sequence[str]
) -> None:
    """
    Refuse a primary set whose fakes are of an architecture that the loop makes fakes with.

    Raises:
        BadRecipe: it holds such fakes.
    """
    seen = sorted({row.method for row in judged if row.label == "fake"} & set(generated))
    if seen:
        raise BadRecipe(
            f"the primary set {frozen.name!r} holds fakes of {', '.join(seen)}, which the loop "
            "makes as well; name others in its `methods`, or say gate.is_unseen_architecture = "
            "false and claim less"
        )


def path_of(manifest: Path) -> Path:
    """Return a manifest's path; raises BadRecipe, saying how one is made, where there is none."""
    if not manifest.is_file():
        raise BadRecipe(
            f"there is no data manifest {manifest}; make one of labelled clips with `deepverdict "
            "data index`, and one of forgers' fakes with `deepverdict train generate`"
        )
    return manifest
