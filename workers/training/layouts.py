"""
What does a folder say of the clips in it? Data sets are laid out in their own ways; five are known.

Each layout turns a folder into items, without opening a video. An item names everybody who is in
it (people, or the source video where people have no names): items that share one of those names
belong to one group, and so does whatever they have in common with others in turn.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.training.errors import BadDataset
from workers.training.manifest import Kind, Label, Split

FAMILY_OF = {
    "celebdf": "faceswap",
    "deepfakedetection": "faceswap",
    "deepfakes": "faceswap",
    "dfdc": "faceswap",
    "face2face": "reenactment",
    "faceshifter": "faceswap",
    "faceswap": "faceswap",
    "neuraltextures": "reenactment",
}
"""Of the methods of the data sets whose layouts are known. DFDC mixes several, nearly all swaps."""

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file as its data set tells of it."""

    path: str  # under the folder, with forward slashes
    kind: Kind
    label: Label
    method: str
    family: str
    people: tuple[str, ...]  # everybody in it; the first gives its name to a group of its own
    dataset: str
    clip: str = ""  # "" stands for `path`
    quality: str = ""
    pair: str = ""  # clip of the real one that it was made from, listed or not
    mask: str = ""
    time_s: float | None = None
    sha256: str = ""  # as the data set states it; "" where it does not
    official: Split | None = None  # where the data set's authors put it


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a layout made of a folder."""

    items: tuple[Item, ...]
    remarks: tuple[str, ...] = ()  # that a person who indexes should read


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way of laying out a data set."""

    name: str
    looks_like: str  # how a person knows it
    is_here: Callable[[Path], bool]
    read: Callable[[Path], Contents]


def detect(folder: Path) -> Layout:
    """
    Tell the layout of a folder.

    Raises:
        BadDataset: it has none that we know, or more than one.
    """
    if not folder.is_dir():
        raise BadDataset(f"{folder} is not a folder; give the one that the data set lies in")
    found = [layout for layout in LAYOUTS.values() if layout.is_here(folder)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadDataset(
            f"{folder} looks like {' and '.join(layout.name for layout in found)}; say which by "
            "--layout, or give the folder of one"
        )
    known = "".join(f"\n  {layout.name}: {layout.looks_like}" for layout in LAYOUTS.values())
    raise BadDataset(f"{folder} has none of the layouts that are known:{known}")


def layout_of(name: str) -> Layout:
    """Return a layout by its name; raises BadDataset for one that is not known."""
    if name not in LAYOUTS:
        raise BadDataset(f"no layout {name!r}; known are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


# FaceForensics++, and DFD, which came in the same folders.

_QUALITIES = {"raw": "raw", "c0": "raw", "c23": "c23", "c40": "c40"}
_ORIGINALS = {"youtube": "ffpp", "actors": "dfd"}
_ACTORS = re.compile(r"(?P<people>\d+(_\d+)?)__(?P<scene>.+?)(__[A-Z0-9]{8})?")
"""`01__scene` of an original, `01_02__scene__XXXXXXXX` of actor 01 given the face of actor 02."""
_OFFICIAL_PARTS: Mapping[str, Split] = {"train": "train", "val": "val", "test": "test"}


def _is_faceforensics(folder: Path) -> bool:
    return any((folder / top).is_dir() for top in ("original_sequences", "manipulated_sequences"))


def _read_faceforensics(folder: Path) -> Contents:
    items = []
    official = _faceforensics_splits(folder)
    originals = {
        path: source
        for source in _ORIGINALS
        for path in _videos(folder, f"original_sequences/{source}/*/videos")
    }
    for path, source in originals.items():
        stem, quality = Path(path).stem, _quality_of(path)
        if quality is None:
            continue
        dataset = _ORIGINALS[source]
        people = _faceforensics_people(stem, dataset)
        items.append(
            Item(
                path=path,
                kind="video",
                label="real",
                method=dataset,
                family="real",
                people=people,
                dataset=dataset,
                quality=quality,
                official=official.get(people[0]),
            )
        )
    for path in _videos(folder, "manipulated_sequences/*/*/videos"):
        method, folder_quality = Path(path).parts[1:3]
        quality = _quality_of(path)
        if quality is None:
            continue
        stem = Path(path).stem
        dataset = "dfd" if method == "DeepFakeDetection" else "ffpp"
        people = _faceforensics_people(stem, dataset)
        mask = f"manipulated_sequences/{method}/masks/videos/{Path(path).name}"
        items.append(
            Item(
                path=path,
                kind="video",
                label="fake",
                method=method.lower(),
                family=FAMILY_OF.get(method.lower(), "unknown"),
                people=people,
                dataset=dataset,
                quality=quality,
                pair=_faceforensics_original(stem, dataset, folder_quality),
                mask=mask if (folder / mask).is_file() else "",
                official=official.get(people[0]),
            )
        )
    remarks = ["the official split files are followed"] if official else []
    return Contents(items=tuple(items), remarks=tuple(remarks))


def _quality_of(path: str) -> str | None:
    """Return the quality of a path's folder; None for other folders, such as `masks`."""
    return _QUALITIES.get(Path(path).parts[2])


def _faceforensics_people(stem: str, dataset: str) -> tuple[str, ...]:
    if dataset == "dfd":
        match = _ACTORS.fullmatch(stem)
        ids = match["people"].split("_") if match else [stem]
    else:
        ids = stem.split("_")
    return tuple(f"{dataset}-{person}" for person in ids)


def _faceforensics_original(stem: str, dataset: str, quality_folder: str) -> str:
    """Name the video whose face was replaced: the first of the two, in the same quality."""
    source, name = "youtube", stem.split("_", maxsplit=1)[0]
    if dataset == "dfd":
        match = _ACTORS.fullmatch(stem)
        if match is None:
            return ""
        source, name = "actors", f"{match['people'].split('_')[0]}__{match['scene']}"
    return f"original_sequences/{source}/{quality_folder}/videos/{name}.mp4"


def _faceforensics_splits(folder: Path) -> dict[str, Split]:
    """Read `splits/*.json`: lists of pairs of ids, by person."""
    of: dict[str, Split] = {}
    for name, split in _OFFICIAL_PARTS.items():
        path = folder / "splits" / f"{name}.json"
        if not path.is_file():
            continue
        pairs = _json(path)
        if not (isinstance(pairs, list) and all(isinstance(pair, list) for pair in pairs)):
            raise BadDataset(f"want a list of pairs of ids in {path}; restore the file")
        of |= {f"ffpp-{person}": split for pair in pairs for person in pair}
    return of


# DFDC: parts, each a folder with a `metadata.json`.


def _is_dfdc(folder: Path) -> bool:
    return bool(_dfdc_parts(folder))


def _dfdc_parts(folder: Path) -> list[Path]:
    found = (*folder.glob("metadata.json"), *folder.glob("*/metadata.json"))
    return sorted(path.parent for path in found)


def _read_dfdc(folder: Path) -> Contents:
    parts = _dfdc_parts(folder)
    items = []
    for part in parts:
        path = part / "metadata.json"
        metadata = _json(path)
        if not isinstance(metadata, dict):
            raise BadDataset(f"want an object of videos in {path}; restore the file")
        for name, facts in metadata.items():
            words = facts if isinstance(facts, dict) else {}
            label = str(words.get("label", "")).lower()
            if label not in ("real", "fake"):
                raise BadDataset(
                    f"{path} gives {name} the label {words.get('label')!r}, want REAL or FAKE"
                )
            original = str(words.get("original") or "") if label == "fake" else ""
            people = [f"dfdc-{Path(original or name).stem}"]
            if len(parts) > 1:
                people.append(f"dfdc-{part.name}")
            place = part.relative_to(folder)
            items.append(
                Item(
                    path=(place / name).as_posix(),
                    kind="video",
                    label="fake" if label == "fake" else "real",
                    method="dfdc",
                    family=FAMILY_OF["dfdc"] if label == "fake" else "real",
                    people=tuple(people),
                    dataset="dfdc",
                    pair=(place / original).as_posix() if original else "",
                )
            )
    # Nobody is named, and the same actors are in many videos of a part, hardly in another part.
    remark = (
        "a group is a whole part: the actors of a part recur in it, and are not named"
        if len(parts) > 1
        else "groups are source videos; actors may recur in several of one part. Index several "
        "parts at once to split by part"
    )
    return Contents(items=tuple(items), remarks=(remark,))


# Celeb-DF v2.

_CELEB_REAL, _CELEB_YOUTUBE, _CELEB_FAKE = "Celeb-real", "YouTube-real", "Celeb-synthesis"
_CELEB_TESTS = "List_of_testing_videos.txt"
_CELEB_FAKE_NAME = re.compile(r"(?P<target>id\d+)_(?P<source>id\d+)_(?P<number>\d+)")


def _is_celebdf(folder: Path) -> bool:
    return (folder / _CELEB_FAKE).is_dir() or (folder / _CELEB_REAL).is_dir()


def _read_celebdf(folder: Path) -> Contents:
    tests: set[str] = set()
    remarks: list[str] = []
    if (folder / _CELEB_TESTS).is_file():
        lines = (folder / _CELEB_TESTS).read_text(encoding="utf-8").splitlines()
        tests = {line.split(maxsplit=1)[1].strip() for line in lines if len(line.split()) > 1}
        remarks.append(
            f"{_CELEB_TESTS} is followed: the {len(tests)} videos that it names are in the test "
            "split, and so is every other video of their people"
        )
    items = []
    for top in (_CELEB_REAL, _CELEB_YOUTUBE, _CELEB_FAKE):
        for path in _videos(folder, top):
            stem = Path(path).stem
            pair = ""
            if top == _CELEB_YOUTUBE:
                people = [f"celebdf-youtube-{stem}"]
            elif fake := _CELEB_FAKE_NAME.fullmatch(stem):
                people = [f"celebdf-{fake['target']}", f"celebdf-{fake['source']}"]
                pair = f"{_CELEB_REAL}/{fake['target']}_{fake['number']}{Path(path).suffix}"
            else:
                people = [f"celebdf-{stem.split('_')[0]}"]
            is_fake = top == _CELEB_FAKE
            items.append(
                Item(
                    path=path,
                    kind="video",
                    label="fake" if is_fake else "real",
                    method="celebdf",
                    family=FAMILY_OF["celebdf"] if is_fake else "real",
                    people=tuple(people),
                    dataset="celebdf",
                    pair=pair,
                    official="test" if path in tests else None,
                )
            )
    return Contents(items=tuple(items), remarks=tuple(remarks))


# A plain table of videos, with tables and folders of pictures beside it.

_TABLE, _CROPS, _STILLS = "videos.csv", "crops.csv", "stills"
_NEEDED = ("file", "label", "group")
_CROP_NUMBER = re.compile(r"__\d+$")


def _is_table(folder: Path) -> bool:
    return (folder / _TABLE).is_file()


def _read_table(folder: Path) -> Contents:
    items = [_item_of(cells, "video") for cells in _lines(folder / _TABLE)]
    if (folder / _CROPS).is_file():
        items += [_item_of(cells, "picture") for cells in _lines(folder / _CROPS)]
    for place in sorted((folder / _STILLS).glob("*/")):
        items += [
            Item(
                path=path,
                kind="picture",
                label="real",
                method=place.name,
                family="real",
                people=(path,),
                dataset=place.name,
            )
            for path in _files(folder, f"{_STILLS}/{place.name}", PICTURE_SUFFIXES)
        ]
    return Contents(items=tuple(items))


def _item_of(cells: Mapping[str, str], kind: Kind) -> Item:
    path, group = cells["file"], cells["group"]
    label: Label
    match cells["label"]:
        case "real" | "fake" | "no_face" as label:
            pass
        case other:
            raise BadDataset(f"{path} has the label {other!r}, want real, fake or no_face")
    dataset = cells.get("dataset") or group.split("-", maxsplit=1)[0]
    method = cells.get("method") or dataset
    unnamed = "real" if label == "real" else FAMILY_OF.get(method, "unknown")
    clip = _CROP_NUMBER.sub("", str(Path(path).with_suffix("").as_posix()))
    return Item(
        path=path,
        kind=kind,
        label=label,
        method=method,
        family=cells.get("family") or unnamed,
        people=(group,),
        dataset=dataset,
        clip=clip if kind == "picture" else "",
        quality=cells.get("quality", ""),
        pair=cells.get("pair", ""),
        mask=cells.get("mask", ""),
        time_s=_seconds(cells.get("time_s", ""), path),
        sha256=cells.get("sha256", ""),
        official="test" if label == "no_face" else None,
    )


def _seconds(words: str, path: str) -> float | None:
    try:
        return float(words) if words else None
    except ValueError as wrong:
        raise BadDataset(f"{path} has the time {words!r}, want seconds; mend it") from wrong


def _lines(path: Path) -> Iterator[dict[str, str]]:
    """Read a table whose first line names its columns; raises BadDataset where some lack."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if lacking:
                raise BadDataset(f"{path} has no column {', '.join(lacking)}; add it")
            yield from reader
    except (OSError, UnicodeDecodeError, csv.Error) as wrong:
        raise BadDataset(f"{path} cannot be read: {wrong}") from wrong


def _videos(folder: Path, pattern: str) -> list[str]:
    return _files(folder, pattern, VIDEO_SUFFIXES)


def _files(folder: Path, pattern: str, suffixes: frozenset[str]) -> list[str]:
    """List the files of the folders that match, under `folder` and in order."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.glob(f"{pattern}/*")
        if path.suffix.lower() in suffixes
    )


def _json(path: Path) -> Any:  # noqa: ANN401 - whatever a stranger wrote; callers look at it
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise BadDataset(f"{path} cannot be read: {wrong}; restore the file") from wrong


_KNOWN: Sequence[Layout] = (
    Layout(
        name="faceforensics",
        looks_like="original_sequences/{youtube,actors}/{raw,c0,c23,c40}/videos and "
        "manipulated_sequences/METHOD/... of FaceForensics++ or DFD",
        is_here=_is_faceforensics,
        read=_read_faceforensics,
    ),
    Layout(
        name="dfdc",
        looks_like="a metadata.json in the folder, or in each of its part folders",
        is_here=_is_dfdc,
        read=_read_dfdc,
    ),
    Layout(
        name="celebdf",
        looks_like="Celeb-real, YouTube-real and Celeb-synthesis of Celeb-DF v2",
        is_here=_is_celebdf,
        read=_read_celebdf,
    ),
    Layout(
        name="csv",
        looks_like="a videos.csv with the columns file, label and group; crops.csv and "
        "stills/NAME/ beside it are read too",
        is_here=_is_table,
        read=_read_table,
    ),
)
LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in _KNOWN}
