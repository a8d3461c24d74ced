"""Does a folder become a manifest in which nobody is in two splits, or nothing at all?"""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from workers.training.errors import BadDataset
from workers.training.index import index
from workers.training.manifest import DataManifest, check_files, read_manifest

VIDEO = b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42"


def put(folder: Path, path: str, content: bytes | None = None) -> None:
    """Put a file there; a video unlike every other unless told what."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(VIDEO + path.encode() if content is None else content)


def make_table(folder: Path, groups: Iterable[str], *, extra: str = "") -> None:
    """Make a data set of one real and one fake clip a group."""
    lines = ["file,label,group,pair,sha256"]
    for group in groups:
        put(folder, f"{group}-real.mp4")
        put(folder, f"{group}-fake.mp4")
        lines += [
            f"{group}-real.mp4,real,{group},,",
            f"{group}-fake.mp4,fake,{group},{group}-real.mp4,",
        ]
    folder.mkdir(exist_ok=True)
    (folder / "videos.csv").write_text("\n".join([*lines, extra]), encoding="utf-8")


def make_celebdf(folder: Path, swaps: Iterable[tuple[int, int]]) -> None:
    for target, source in swaps:
        put(folder, f"Celeb-real/id{target}_0000.mp4")
        put(folder, f"Celeb-real/id{source}_0000.mp4")
        put(folder, f"Celeb-synthesis/id{target}_id{source}_0000.mp4")


def run(folder: Path, out: Path, *, seed: int = 0, said: io.StringIO | None = None) -> DataManifest:
    console = Console(file=said or io.StringIO(), width=200)
    shares = (0.55, 0.08, 0.15, 0.22)
    return index(folder, layout=None, out=out, seed=seed, shares=shares, console=console)


def splits_of(manifest: DataManifest) -> dict[str, str]:
    return {row.path: row.split for row in manifest.rows}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "manifests" / "data.csv"


def test_what_is_written_is_what_is_read_and_what_is_there(data: Path, out: Path) -> None:
    make_table(data, [f"g-{i}" for i in range(20)])
    said = io.StringIO()

    manifest = run(data, out, said=said)

    assert manifest.sha256 == read_manifest(out).sha256
    assert check_files(read_manifest(out)).count == 0
    assert {
        split: list(splits_of(manifest).values()).count(split)
        for split in ("train", "val", "cal", "test")
    } == {"train": 22, "val": 4, "cal": 6, "test": 8}
    assert "layout: csv" in said.getvalue()
    assert manifest.sha256 in said.getvalue()


def test_the_same_folder_and_seed_give_the_same_manifest(data: Path, tmp_path: Path) -> None:
    make_table(data, [f"g-{i}" for i in range(20)])

    one, again, other = (
        run(data, tmp_path / f"{i}.csv", seed=seed) for i, seed in enumerate((3, 3, 4))
    )

    assert one.sha256 == again.sha256
    assert one.sha256 != other.sha256


def test_nobody_moves_when_data_is_added(data: Path, out: Path) -> None:
    make_table(data, [f"g-{i}" for i in range(20)])
    before = splits_of(run(data, out))

    make_table(data, [f"g-{i}" for i in range(60)])
    after = splits_of(run(data, out))

    assert before.items() <= after.items()
    assert len(after) == 60 * 2


def test_people_who_are_swapped_with_one_another_are_one_group(data: Path, out: Path) -> None:
    make_celebdf(data, [(0, 1), (1, 2), (3, 4)])

    manifest = run(data, out)

    assert {
        group: sum(row.group == group for row in manifest.rows)
        for group in {row.group for row in manifest.rows}
    } == {"celebdf-id0": 5, "celebdf-id3": 3}


def test_the_same_bytes_under_two_names_are_one_group(data: Path, out: Path) -> None:
    make_table(data, ["a", "b"], extra="copy.mp4,real,c,,")
    put(data, "copy.mp4", (data / "a-real.mp4").read_bytes())

    groups = {row.path: row.group for row in run(data, out).rows}

    assert groups["a-real.mp4"] == groups["copy.mp4"] != groups["b-real.mp4"]


def test_groups_that_a_person_found_to_be_one_are_joined(data: Path, out: Path) -> None:
    make_table(data, ["a", "b", "c"])
    out.parent.mkdir()
    people = out.with_suffix(".people.csv")
    people.write_text("group,same_as,why\na,c,one man\n", encoding="utf-8")

    groups = {row.path: row.group for row in run(data, out).rows}

    assert groups["a-real.mp4"] == groups["c-fake.mp4"] != groups["b-real.mp4"]

    people.write_text("group,same_as\na,nobody\n", encoding="utf-8")
    with pytest.raises(BadDataset, match=r"people\.csv names groups .*: nobody"):
        run(data, out)


def test_the_official_test_list_takes_everybody_in_it(data: Path, out: Path) -> None:
    make_celebdf(data, [(0, 1), (2, 3)])
    tests = data / "List_of_testing_videos.txt"
    tests.write_text("0 Celeb-synthesis/id0_id1_0000.mp4\n", encoding="utf-8")

    splits = splits_of(run(data, out))

    tested = {path for path in splits if "id0" in path or "id1" in path}
    assert {"test"} == {splits[path] for path in tested}


def test_an_official_validation_part_is_shared_with_calibration(data: Path, out: Path) -> None:
    pairs = [(f"{i:03}", f"{i + 500:03}") for i in range(60)]
    for one, other in pairs:
        put(data, f"original_sequences/youtube/c23/videos/{one}.mp4")
        put(data, f"manipulated_sequences/Deepfakes/c23/videos/{one}_{other}.mp4")
    parts = {"train": pairs[:30], "val": pairs[30:53], "test": pairs[53:]}
    for name, members in parts.items():
        listed = str([list(pair) for pair in members]).replace("'", '"')
        put(data, f"splits/{name}.json", listed.encode())

    splits = splits_of(run(data, out))

    found = [splits[f"original_sequences/youtube/c23/videos/{one}.mp4"] for one, _ in pairs]
    assert {"train"} == set(found[:30])
    assert {"test"} == set(found[53:])
    assert {split: found[30:53].count(split) for split in ("val", "cal")} == {"val": 8, "cal": 15}


def test_a_clip_with_no_face_is_for_testing_only(data: Path, out: Path) -> None:
    make_table(data, [f"g-{i}" for i in range(5)], extra="empty.mp4,no_face,room-1,,")
    put(data, "empty.mp4")

    assert splits_of(run(data, out))["empty.mp4"] == "test"


def test_a_few_damaged_files_are_told_and_left_out(data: Path, out: Path) -> None:
    make_table(data, [f"g-{i}" for i in range(100)])
    put(data, "g-7-real.mp4", b"")
    put(data, "g-8-fake.mp4", b"<html>404</html>")
    said = io.StringIO()

    manifest = run(data, out, said=said)

    rows = {row.path: row for row in manifest.rows}
    assert len(rows) == 198
    assert rows["g-7-fake.mp4"].pair == "", "the real one that it was made from is gone"
    assert all(words in said.getvalue() for words in ("empty file", "no video container"))


def test_more_than_one_in_a_hundred_damaged_leaves_nothing_written(data: Path, out: Path) -> None:
    make_table(data, [f"g-{i}" for i in range(100)])
    for i in range(3):
        put(data, f"g-{i}-real.mp4", b"")
    said = io.StringIO()

    with pytest.raises(BadDataset, match="3 of 200 files cannot be used, more than 1%"):
        run(data, out, said=said)

    assert not out.exists()
    assert "empty file" in said.getvalue()


def test_one_file_that_is_not_the_one_its_table_states_refuses(data: Path, out: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    make_table(data, [f"g-{i}" for i in range(100)], extra=f"x.mp4,real,x,,{other}")
    put(data, "x.mp4")

    with pytest.raises(BadDataset, match=r"1 x hash differs \(such as x.mp4\)"):
        run(data, out)

    assert not out.exists()


def test_a_table_that_leads_out_of_its_folder_is_refused(data: Path, out: Path) -> None:
    make_table(data, ["a"], extra="../secret.mp4,real,x,,")
    put(data, "../secret.mp4")

    with pytest.raises(BadDataset, match="within the data set"):
        run(data, out)


def test_a_layout_without_clips_is_refused(data: Path, out: Path) -> None:
    make_table(data, [])

    with pytest.raises(BadDataset, match="no clip in it"):
        run(data, out)


def test_shares_that_are_not_the_whole_are_refused(data: Path, out: Path) -> None:
    with pytest.raises(BadDataset, match="want 1 in all"):
        index(data, layout=None, out=out, seed=0, shares=(0.5, 0.5, 0.5, 0.5), console=Console())


def test_a_spoilt_manifest_in_the_way_is_not_written_over(data: Path, out: Path) -> None:
    make_table(data, ["a", "b"])
    put(out.parent, out.name, b"something else\n")

    with pytest.raises(BadDataset, match="is in the way"):
        run(data, out)

    assert out.read_bytes() == b"something else\n"


def test_a_data_set_that_is_mostly_one_group_is_told_of(data: Path, out: Path) -> None:
    make_celebdf(data, [(0, 1), (1, 2), (2, 3), (8, 9)])
    said = io.StringIO()

    run(data, out, said=said)

    assert "celebdf: 7 of 10 clips are one group, celebdf-id0" in said.getvalue()


@pytest.mark.shared
def test_the_manifest_in_the_repository_is_of_the_clips_beside_it(shared_media: Path) -> None:
    manifests = Path(__file__).parents[3] / "workers" / "training" / "manifests"

    manifest = read_manifest(manifests / "media-2026-11.csv", root=shared_media)

    sample = replace(manifest, rows=manifest.rows[::20])
    assert check_files(sample).count == 0
