"""Are the layouts of the known data sets told apart, and is everybody in them named?"""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from workers.training.errors import BadDataset
from workers.training.layouts import LAYOUTS, Item, detect, layout_of

MANIPULATED = "manipulated_sequences"
TABLE = "file,label,method,family,group,quality,pair,sha256"


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def make_faceforensics(folder: Path) -> None:
    touch(
        folder,
        "original_sequences/youtube/c23/videos/183.mp4",
        "original_sequences/youtube/c0/videos/183.mp4",
        "original_sequences/youtube/c23/videos/253.mp4",
        "original_sequences/youtube/c23/images/183/0000.png",
        "original_sequences/actors/raw/videos/01__exit_phone_room.mp4",
        f"{MANIPULATED}/Deepfakes/c23/videos/183_253.mp4",
        f"{MANIPULATED}/Deepfakes/c40/videos/253_183.mp4",
        f"{MANIPULATED}/Deepfakes/masks/videos/183_253.mp4",
        f"{MANIPULATED}/NeuralTextures/c23/videos/183_253.mp4",
        f"{MANIPULATED}/DeepFakeDetection/raw/videos/01_02__exit_phone_room__YVGY8LOK.mp4",
    )


def make_dfdc(folder: Path, *parts: str) -> None:
    for part in parts:
        (folder / part).mkdir(parents=True, exist_ok=True)
        name = Path(part).name
        facts = {
            f"real{name}.mp4": {"label": "REAL", "split": "train"},
            f"fake{name}.mp4": {"label": "FAKE", "original": f"real{name}.mp4"},
        }
        (folder / part / "metadata.json").write_text(json.dumps(facts), encoding="utf-8")


def make_celebdf(folder: Path) -> None:
    touch(
        folder,
        "Celeb-real/id0_0000.mp4",
        "Celeb-real/id1_0003.mp4",
        "YouTube-real/00170.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
    )
    tests = "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    (folder / "List_of_testing_videos.txt").write_text(tests, encoding="utf-8")


def make_table(folder: Path, *lines: str, name: str = "videos.csv", heading: str = TABLE) -> None:
    (folder / name).write_text("\n".join([heading, *lines]) + "\n", encoding="utf-8")


def by_path(items: Iterable[Item]) -> dict[str, Item]:
    return {item.path: item for item in items}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_told_by_looking(tmp_path: Path, name: str) -> None:
    make = {
        "faceforensics": make_faceforensics,
        "dfdc": lambda folder: make_dfdc(folder, "dfdc_train_part_0"),
        "celebdf": make_celebdf,
        "csv": make_table,
    }
    make[name](tmp_path)

    assert name == detect(tmp_path).name


def test_a_folder_of_no_layout_is_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadDataset) as refusal:
        detect(tmp_path)

    assert all(name in str(refusal.value) for name in LAYOUTS)


def test_a_folder_of_two_layouts_is_asked_about(tmp_path: Path) -> None:
    make_celebdf(tmp_path)
    make_table(tmp_path)

    with pytest.raises(BadDataset, match="celebdf and csv; say which by --layout"):
        detect(tmp_path)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="not a folder"):
        detect(tmp_path / "none")


def test_a_misspelt_layout_is_told_which_there_are() -> None:
    with pytest.raises(BadDataset, match="no layout 'ffpp'; known are faceforensics, dfdc"):
        layout_of("ffpp")


def test_faceforensics_names_both_people_and_the_original_in_the_same_quality(
    tmp_path: Path,
) -> None:
    make_faceforensics(tmp_path)

    items = by_path(layout_of("faceforensics").read(tmp_path).items)

    assert len(items) == 8, "neither masks nor single frames are clips"
    fake = items[f"{MANIPULATED}/Deepfakes/c23/videos/183_253.mp4"]
    assert (fake.label, fake.method, fake.family) == ("fake", "deepfakes", "faceswap")
    assert fake.people == ("ffpp-183", "ffpp-253")
    assert fake.pair == "original_sequences/youtube/c23/videos/183.mp4"
    assert f"{MANIPULATED}/Deepfakes/masks/videos/183_253.mp4" == fake.mask
    assert items[f"{MANIPULATED}/NeuralTextures/c23/videos/183_253.mp4"].mask == ""
    assert items[f"{MANIPULATED}/NeuralTextures/c23/videos/183_253.mp4"].family == "reenactment"
    real = items["original_sequences/youtube/c0/videos/183.mp4"]
    assert (real.label, real.dataset, real.quality) == ("real", "ffpp", "raw")


def test_dfd_names_its_actors_and_the_scene_they_were_filmed_in(tmp_path: Path) -> None:
    make_faceforensics(tmp_path)

    items = by_path(layout_of("faceforensics").read(tmp_path).items)

    folder = f"{MANIPULATED}/DeepFakeDetection/raw/videos"
    fake = items[f"{folder}/01_02__exit_phone_room__YVGY8LOK.mp4"]
    real = items["original_sequences/actors/raw/videos/01__exit_phone_room.mp4"]
    assert fake.people == ("dfd-01", "dfd-02")
    assert real.path == fake.pair
    assert (real.dataset, fake.dataset, real.people) == ("dfd", "dfd", ("dfd-01",))


def test_the_split_files_of_faceforensics_are_followed(tmp_path: Path) -> None:
    make_faceforensics(tmp_path)
    touch(tmp_path, "splits/test.json")
    (tmp_path / "splits" / "test.json").write_text('[["183", "253"]]', encoding="utf-8")

    contents = layout_of("faceforensics").read(tmp_path)

    assert {"ffpp": {"test"}, "dfd": {None}} == {
        dataset: {item.official for item in contents.items if item.dataset == dataset}
        for dataset in ("ffpp", "dfd")
    }
    assert contents.remarks


@pytest.mark.parametrize("words", ["[1, 2]", "[[", '{"a": 1}'])
def test_a_split_file_that_is_none_is_refused(tmp_path: Path, words: str) -> None:
    make_faceforensics(tmp_path)
    touch(tmp_path, "splits/val.json")
    (tmp_path / "splits" / "val.json").write_text(words, encoding="utf-8")

    with pytest.raises(BadDataset, match=r"val\.json"):
        layout_of("faceforensics").read(tmp_path)


def test_a_fake_of_dfdc_is_in_the_group_of_its_original(tmp_path: Path) -> None:
    make_dfdc(tmp_path, ".")

    items = by_path(layout_of("dfdc").read(tmp_path).items)

    assert ("dfdc-real",) == items["fake.mp4"].people == items["real.mp4"].people
    assert (items["fake.mp4"].label, items["fake.mp4"].pair) == ("fake", "real.mp4")
    assert (items["real.mp4"].label, items["real.mp4"].pair) == ("real", "")


def test_the_actors_of_a_part_of_dfdc_recur_in_it(tmp_path: Path) -> None:
    make_dfdc(tmp_path, "dfdc_train_part_0", "dfdc_train_part_1")

    contents = layout_of("dfdc").read(tmp_path)

    parts = {item.path.split("/")[0]: set(item.people) for item in contents.items}
    assert len(parts) == 2
    assert all(f"dfdc-{part}" in people for part, people in parts.items())
    assert "whole part" in contents.remarks[0]


@pytest.mark.parametrize(
    "words", ['{"a.mp4": {"label": "MAYBE"}}', '{"a.mp4": 1}', '["a.mp4"]', "{"]
)
def test_metadata_of_dfdc_that_is_none_is_refused(tmp_path: Path, words: str) -> None:
    (tmp_path / "metadata.json").write_text(words, encoding="utf-8")

    with pytest.raises(BadDataset, match=r"metadata\.json"):
        layout_of("dfdc").read(tmp_path)


def test_celebdf_names_both_people_and_the_clip_that_was_changed(tmp_path: Path) -> None:
    make_celebdf(tmp_path)

    contents = layout_of("celebdf").read(tmp_path)

    items = by_path(contents.items)
    fake = items["Celeb-synthesis/id0_id1_0000.mp4"]
    assert fake.people == ("celebdf-id0", "celebdf-id1")
    assert (fake.pair, fake.official) == ("Celeb-real/id0_0000.mp4", "test")
    assert items["Celeb-real/id1_0003.mp4"].people == ("celebdf-id1",)
    assert (
        items["YouTube-real/00170.mp4"].label,
        items["YouTube-real/00170.mp4"].official,
    ) == ("real", "test")
    assert "the 2 videos that it names" in contents.remarks[0]


def test_a_table_is_taken_at_its_word(tmp_path: Path) -> None:
    make_table(
        tmp_path,
        "videos/a.mp4,real,phone,real,phone-a,,,abc",
        "videos/b.mp4,fake,deepfakes,faceswap,ffpp-1-2,c23,videos/a.mp4,",
        "videos/c.mp4,no_face,noface,real,noface-c,,,",
    )

    real, fake, nobody = layout_of("csv").read(tmp_path).items

    assert (real.dataset, real.people, real.sha256) == ("phone", ("phone-a",), "abc")
    assert (fake.dataset, fake.quality, fake.pair) == ("ffpp", "c23", "videos/a.mp4")
    assert (nobody.label, nobody.official) == ("no_face", "test")


def test_a_table_needs_only_file_label_and_group(tmp_path: Path) -> None:
    make_table(tmp_path, "a.mp4,real,a", "b.mp4,fake,b", heading="file,label,group")

    real, fake = layout_of("csv").read(tmp_path).items

    assert (real.family, real.method) == ("real", "a")
    assert (fake.family, fake.method) == ("unknown", "b")


def test_numbered_crops_beside_a_table_are_one_clip(tmp_path: Path) -> None:
    make_table(tmp_path)
    crops = ["crops/fake__x__00.jpg,fake,g-1,0.0", "crops/fake__x__01.jpg,fake,g-1,1.067"]
    make_table(tmp_path, *crops, name="crops.csv", heading="file,label,group,time_s")

    first, second = layout_of("csv").read(tmp_path).items

    assert "crops/fake__x" == first.clip == second.clip
    assert (second.kind, second.time_s) == ("picture", 1.067)


def test_lone_stills_beside_a_table_are_each_somebody(tmp_path: Path) -> None:
    make_table(tmp_path)
    touch(tmp_path, "stills/utkface/1.jpg", "stills/utkface/2.jpg", "stills/utkface/readme.txt")

    items = layout_of("csv").read(tmp_path).items

    assert [i.people for i in items] == [("stills/utkface/1.jpg",), ("stills/utkface/2.jpg",)]
    assert {("real", "utkface", "picture")} == {(i.label, i.dataset, i.kind) for i in items}


@pytest.mark.parametrize(
    ("heading", "line", "words"),
    [
        ("file,label", "a.mp4,real", "no column group"),
        ("file,label,group", "a.mp4,authentic,a", "the label 'authentic'"),
        ("file,label,group,time_s", "a.mp4,real,a,soon", "the time 'soon'"),
    ],
)
def test_a_table_that_means_nothing_is_refused(
    tmp_path: Path, heading: str, line: str, words: str
) -> None:
    make_table(tmp_path, line, heading=heading)

    with pytest.raises(BadDataset, match=words):
        layout_of("csv").read(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_bytes("file,label,group\nü".encode("utf-16"))

    with pytest.raises(BadDataset, match="cannot be read"):
        layout_of("csv").read(tmp_path)
