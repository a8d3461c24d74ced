"""Is a data manifest read as it was written, and refused where it cannot be trusted?"""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from workers.training.errors import BadDataset
from workers.training.manifest import (
    SPLITS,
    DamageKind,
    DataManifest,
    Row,
    check_files,
    deal,
    examine,
    folds,
    make_manifest,
    read_manifest,
    write_manifest,
)

VIDEO = b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42"


def digest(content: bytes | str) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()


def make_row(path: str = "a.mp4", **changes: object) -> Row:
    """Make a row of a real video that is in a group of its own."""
    row = Row(
        path=path,
        sha256=digest(path),
        kind="video",
        clip=path,
        label="real",
        method="phone",
        family="real",
        group=f"of {path}",
        dataset="phone",
        split="train",
    )
    return replace(row, **changes)


def make_table(tmp_path: Path, *rows: Row) -> Path:
    path = tmp_path / "manifest.csv"
    write_manifest(path, make_manifest(rows, root=tmp_path / "data", seed=7))
    return path


def picture(value: int = 90, suffix: str = ".jpg") -> bytes:
    noise = np.random.default_rng(value).integers(0, 255, (32, 32, 3), np.uint8)
    return cv2.imencode(suffix, noise)[1].tobytes()


def listed(folder: Path, **contents: bytes) -> DataManifest:
    """List files as they are now; `video0=...` and `picture0=...` tell the kind."""
    folder.mkdir(exist_ok=True)
    rows = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        kind = "video" if name.startswith("video") else "picture"
        rows.append(make_row(name, kind=kind, sha256=digest(content)))
    return make_manifest(rows, root=folder)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [
        make_row("real/a, b.mp4", quality="c23"),
        make_row("fake/ü.mp4", label="fake", pair="real/a, b.mp4", group="of real/a, b.mp4"),
        make_row("c__00.jpg", kind="picture", clip="c", group="c-1", time_s=1.067, split="cal"),
        make_row("still.jpg", kind="picture", group="still.jpg", split="test", mask="m/1.png"),
    ]
    path = make_table(tmp_path, *rows)

    manifest = read_manifest(path)

    assert sorted(rows, key=lambda row: row.path) == list(manifest.rows)
    assert (tmp_path / "data").resolve() == manifest.root.resolve()
    assert manifest.seed == 7
    assert list(tmp_path.iterdir()) == [path], "nothing else is left behind"


def test_pictures_of_one_clip_are_found_together(tmp_path: Path) -> None:
    crops = [make_row(f"c__{i}.jpg", kind="picture", clip="c", group="g") for i in range(3)]

    clips = make_manifest([*crops, make_row("a.mp4")], root=tmp_path).clips()

    assert {clip: len(rows) for clip, rows in clips.items()} == {"c": 3, "a.mp4": 1}


def test_the_hash_is_of_the_rows_and_not_of_their_order_or_place(tmp_path: Path) -> None:
    rows = [make_row("a.mp4"), make_row("b.mp4")]
    here, there = (
        make_manifest(r, root=tmp_path / str(i)) for i, r in enumerate((rows, rows[::-1]))
    )
    moved = make_manifest([rows[0], replace(rows[1], split="test")], root=tmp_path)

    assert here.sha256 == there.sha256
    assert here.sha256 != moved.sha256


def test_the_files_may_lie_elsewhere(tmp_path: Path) -> None:
    path = make_table(tmp_path, make_row())

    assert tmp_path / "elsewhere" == read_manifest(path, root=tmp_path / "elsewhere").root


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("train", "test", "edited or cut off"),
        (",split,", ",part,", r"unknown columns \['part'\] and lacks \['split'\]"),
        ("video", "film", "line 3: want a kind"),
        ("real,phone", "authentic,phone", "line 3: want a label"),
        (",real,of", ",of", "line 3: want 14 cells"),
        ("manifest 1;", "manifest 2;", "no data manifest of format 1"),
        ("a.mp4,", "../a.mp4,", "within the data set"),
        ("a.mp4,", "/etc/a.mp4,", "within the data set"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = make_table(tmp_path, make_row())
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(BadDataset, match=words):
        read_manifest(path)


def test_a_manifest_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="deepverdict data index"):
        read_manifest(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"group": "of a.mp4", "split": "test"}, "of a.mp4 in test, train"),
        ({"sha256": ""}, "no SHA-256"),
        ({"clip": "a.mp4"}, "several groups or labels"),
        ({"pair": "gone.mp4", "label": "fake"}, "not listed"),
        ({"pair": "a.mp4", "label": "fake"}, "of another group"),
        ({"sha256": digest("a.mp4"), "label": "fake"}, "the same bytes"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(BadDataset, match=words):
        make_manifest([make_row("a.mp4"), make_row("b.mp4", **changes)], root=tmp_path)


def test_a_file_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match=r"listed twice: a\.mp4"):
        make_manifest([make_row("a.mp4"), make_row("a.mp4")], root=tmp_path)


def test_files_that_are_as_they_were_pass(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    manifest = listed(tmp_path, video0=VIDEO, picture0=picture(), picture1=picture(1, ".png"))

    damage = check_files(manifest, progress=lambda done, of: seen.append((done, of)))

    assert damage.count == 0
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_one_file_with_other_bytes_is_enough_to_refuse(tmp_path: Path) -> None:
    manifest = listed(tmp_path, **{f"video{i}": VIDEO + bytes([i]) for i in range(200)})
    (tmp_path / "video7").write_bytes(VIDEO + b"other")

    with pytest.raises(BadDataset, match=r"1 x hash differs \(such as video7\)"):
        check_files(manifest)


def test_a_few_files_that_are_gone_are_told_and_many_refused(tmp_path: Path) -> None:
    manifest = listed(tmp_path, **{f"video{i}": VIDEO + bytes([i]) for i in range(200)})
    (tmp_path / "video7").unlink()
    (tmp_path / "video8").unlink()

    assert check_files(manifest).found == {DamageKind.MISSING: ("video7", "video8")}

    (tmp_path / "video9").unlink()
    with pytest.raises(BadDataset, match="3 of 200 files cannot be used, more than 1%"):
        check_files(manifest)


@pytest.mark.parametrize(
    ("kind", "content", "wrong"),
    [
        ("video", VIDEO, None),
        ("video", b"", DamageKind.EMPTY),
        ("video", b"<html>404</html>", DamageKind.NO_CONTAINER),
        ("picture", picture(), None),
        ("picture", picture(suffix=".png"), None),
        ("picture", b"", DamageKind.EMPTY),
        ("picture", VIDEO, DamageKind.NO_PICTURE),
        ("picture", picture()[:-200], DamageKind.NO_PICTURE),
        ("picture", picture(suffix=".png")[:60], DamageKind.NO_PICTURE),
    ],
)
def test_damage_is_told_by_its_kind(
    tmp_path: Path, kind: str, content: bytes, wrong: DamageKind | None
) -> None:
    (tmp_path / "file").write_bytes(content)

    assert (digest(content), wrong) == examine(tmp_path / "file", kind)


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    assert examine(tmp_path, "video")[1] == DamageKind.UNREADABLE


def make_groups(**sizes: int) -> DataManifest:
    rows = [
        make_row(f"{name}-{i}.mp4", dataset=name, group=f"{name}-{i}")
        for name, size in sizes.items()
        for i in range(size)
    ]
    return make_manifest(rows, root=Path("data"))


def test_every_fold_has_its_share_of_every_data_set() -> None:
    manifest = make_groups(ffpp=3, celebdf=10, phone=31)

    fold_of = folds(manifest, 3, seed=1)

    per_fold = Counter((row.dataset, fold_of[row.group]) for row in manifest.rows)
    assert [per_fold["ffpp", k] for k in range(3)] == [1, 1, 1]
    assert {3, 4} == {per_fold["celebdf", k] for k in range(3)}
    assert all(per_fold["phone", k] in (9, 10, 11) for k in range(3))


def test_folds_depend_on_the_seed_and_on_nothing_else() -> None:
    manifest = make_groups(phone=40)
    turned = replace(manifest, rows=manifest.rows[::-1])

    assert folds(manifest, 2, seed=1) == folds(turned, 2, seed=1)
    assert folds(manifest, 2, seed=1) != folds(manifest, 2, seed=2)


def test_one_fold_is_none() -> None:
    with pytest.raises(ValueError, match="2 folds or more"):
        folds(make_groups(phone=4), 1, seed=1)


def test_parts_get_their_shares_and_what_was_dealt_stays() -> None:
    strata = {f"g{i}": ("one data set",) for i in range(100)}
    shares = (0.55, 0.08, 0.15, 0.22)

    before = deal(strata, shares, seed=0)
    more = strata | {f"h{i}": ("one data set",) for i in range(100)}
    after = deal(more, shares, seed=0, dealt=before)

    assert [Counter(before.values())[k] for k in range(len(SPLITS))] == [55, 8, 15, 22]
    assert [Counter(after.values())[k] for k in range(len(SPLITS))] == [110, 16, 30, 44]
    assert before.items() <= after.items()
