"""Do forgers become a data set to be trusted: whole, paired, split by people, gone on with?"""

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.errors import RejectCode, RejectedMedia
from tests.media import make_video
from workers.training.errors import BadCheckpoint, BadDataset
from workers.training.forging.runs import ForgerRecord, Source
from workers.training.generate import GenerateOptions, Tools, generate
from workers.training.manifest import (
    Row,
    check_files,
    make_manifest,
    people_of,
    read_manifest,
    write_manifest,
)
from workers.training.swapping.choices import draw
from workers.training.swapping.video import MASK_SUFFIX, RECORD_SUFFIX, SwapRecord

PEOPLE = {"anna": "train", "bert": "train", "cleo": "train", "dora": "test"}
OPTIONS = GenerateOptions(compositions=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A real clip of each person, two of anna's, and the manifest."""
    root = tmp_path_factory.mktemp("data")
    rows = []
    for number, name in enumerate(["anna", "anna2", "bert", "cleo", "dora"]):
        path = make_video(root / f"{name}.mp4", frames=3, rate_hz=20 + number)
        rows.append(
            Row(
                path=f"{name}.mp4",
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                kind="video",
                clip=f"{name}.mp4",
                label="real",
                method="phone",
                family="real",
                group=name.rstrip("2"),
                dataset="phone",
                split=PEOPLE[name.rstrip("2")],  # type: ignore[arg-type]
            )
        )
    write_manifest(root / "data.csv", make_manifest(rows, root=root))
    return root


def make_forger(folder: Path, data: Path, a: list[str], b: list[str], **changes: object) -> Path:
    """Write what is kept of a finished forger."""
    folder.mkdir(parents=True)

    def sources(names: list[str]) -> tuple[Source, ...]:
        return tuple(
            Source(name=f"{n}.mp4", sha256=hashlib.sha256(_bytes(data, n)).hexdigest())
            for n in names
        )

    record: dict[str, Any] = {
        "architecture": "masked-64",
        "shape": {},
        "network_sha256": hashlib.sha256(folder.name.encode()).hexdigest(),
        "a": sources(a),
        "b": sources(b),
        "faces": {"a": 64, "b": 64},
        "seed": 0,
        "steps": 100,
        "processes": 1,
        "seconds": 1.0,
        "waiting_share": 0.0,
        "code": "0.1.0",
        "recipe_sha256": "1" * 64,
        "machine": "a machine",
        "torch": "2",
        "measures": {"ssim_a": 0.9, "ssim_b": 0.9, "identity_ab": 0.95, "identity_ba": 0.95},
    }
    record |= changes
    (folder / "run.json").write_text(ForgerRecord.model_validate(record).model_dump_json())
    return folder


def _bytes(data: Path, name: str) -> bytes:
    path = data / f"{name}.mp4"
    return path.read_bytes() if path.exists() else name.encode()


class FakeSwap:
    """Writes the files of a swap without looking at a face."""

    def __init__(self, *, swapped: int = 3, stop_at: int = -1, unreadable: str = "") -> None:
        self.calls: list[tuple[str, str, str, int]] = []
        self.copied: list[tuple[str, int, str, int]] = []
        self._swapped, self._stop_at, self._unreadable = swapped, stop_at, unreadable

    def tools(self) -> Tools:
        return Tools(load=lambda folder: folder.name, swap=self.swap, copy=self.copy)

    def swap(self, source, maker, to, out, choices, *, seed, max_frames, console):
        if len(self.calls) == self._stop_at:
            out.write_bytes(b"half of a vid")
            raise KeyboardInterrupt
        if source.stem == self._unreadable:
            raise RejectedMedia(RejectCode.NO_FRAMES, "no frame can be decoded")
        self.calls.append((source.stem, maker, to, seed))
        out.write_bytes(source.read_bytes() + b"%d" % seed)
        out.with_suffix(MASK_SUFFIX).write_bytes(b"mask")
        record = SwapRecord(
            video=out.name,
            video_sha256="0" * 64,
            mask="",
            mask_sha256="0" * 64,
            source=source.name,
            source_sha256="0" * 64,
            first_frame=0,
            frames=3,
            width=160,
            height=120,
            swapped=tuple(range(self._swapped)),
            bridged=(),
            left=(),
            to=to,
            architecture="masked-64",
            forger_sha256="0" * 64,
            seed=seed,
            choices=choices.model_dump(mode="json"),
            sound="",
            code="",
            decoder="",
            opencv="",
            seconds={},
        )
        out.with_suffix(RECORD_SUFFIX).write_text(json.dumps(asdict(record)))

    def copy(self, source, out, *, crf, preset, max_frames):
        self.copied.append((source.stem, crf, preset, max_frames))
        out.write_bytes(source.read_bytes() + b"copied %d %s" % (crf, preset.encode()))


def make(
    forgers: list[Path],
    data: Path,
    out: Path,
    options: GenerateOptions = OPTIONS,
    swap: FakeSwap | None = None,
    **more: Any,
):
    console = Console(file=io.StringIO(), width=300)
    made = generate(
        forgers,
        data / "data.csv",
        out,
        options,
        console=console,
        tools=(swap or FakeSwap()).tools(),
        **more,
    )
    return made, console.file.getvalue()  # type: ignore[attr-defined]


def test_every_clip_is_swapped_both_ways_under_several_compositings(tmp_path, data):
    swap = FakeSwap()
    forger = make_forger(tmp_path / "ab", data, ["anna", "anna2"], ["bert"])

    made, said = make([forger], data, tmp_path / "out", swap=swap)

    assert sorted(call[:3] for call in swap.calls) == [
        ("anna", "ab", "b"),
        ("anna", "ab", "b"),
        ("anna2", "ab", "b"),
        ("anna2", "ab", "b"),
        ("bert", "ab", "a"),
        ("bert", "ab", "a"),
    ]
    assert len({call[3] for call in swap.calls}) == 6
    assert sum(row.label == "fake" for row in made.rows) == 6
    assert "6 fakes beside 6 real clips by 1 forgers, 6 of them new" in said


def test_a_fake_stands_beside_the_same_frames_as_compressed_as_it_is(tmp_path, data):
    swap = FakeSwap()
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])

    made, _ = make([forger], data, tmp_path / "out", swap=swap)

    choices = [draw(seed) for *_, seed in swap.calls]
    assert swap.copied == [
        (call[0], chosen.crf, chosen.preset, OPTIONS.most_frames)
        for call, chosen in zip(swap.calls, choices, strict=True)
    ]
    fakes = [row for row in made.rows if row.label == "fake"]
    assert len({row.pair for row in fakes}) == len(fakes)


def test_a_fake_may_stand_beside_its_source_as_it_was(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])
    options = GenerateOptions(compositions=2, reals="original")

    made, said = make([forger], data, tmp_path / "out", options)

    listed = {row.sha256 for row in read_manifest(data / "data.csv").rows}
    assert {row.sha256 for row in made.rows if row.label == "real"} < listed
    assert "4 fakes beside 2 real clips" in said


def test_what_is_made_is_a_manifest_like_any_other(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])

    make([forger], data, tmp_path / "out")

    read = read_manifest(tmp_path / "out" / "manifest.csv")
    check_files(read)
    for row in read.rows:
        assert row.split == "train"
        assert row.group == "anna+bert"
        if row.label == "fake":
            pair = next(r for r in read.rows if r.path == row.pair)
            assert (pair.label, pair.dataset) == ("real", row.dataset)
            assert (row.method, row.family) == ("forger-masked-64", "faceswap")
            assert (read.root / row.mask).read_bytes() == b"mask"


def test_all_whom_forgers_connect_have_one_group(tmp_path, data):
    forgers = [
        make_forger(tmp_path / "ab", data, ["anna"], ["bert"]),
        make_forger(tmp_path / "bc", data, ["bert"], ["cleo"]),
    ]

    made, _ = make(forgers, data, tmp_path / "out")

    assert {row.group for row in made.rows} == {"anna+bert+cleo"}
    assert people_of("anna+bert+cleo") == {"anna", "bert", "cleo"}


def test_people_of_two_splits_are_refused_by_name(tmp_path, data):
    forger = make_forger(tmp_path / "ad", data, ["anna"], ["dora"])

    with pytest.raises(BadDataset, match=r"different splits: a \(anna\) in train; b \(dora\) in"):
        make([forger], data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_people_who_are_not_in_the_manifest_are_refused(tmp_path, data):
    forger = make_forger(tmp_path / "az", data, ["anna"], ["zoe"])

    with pytest.raises(BadDataset, match=r"learned b from zoe.mp4, which is no real clip"):
        make([forger], data, tmp_path / "out")


def test_a_folder_without_a_finished_forger_is_refused(tmp_path, data):
    with pytest.raises(BadCheckpoint, match="no finished forger"):
        make([tmp_path], data, tmp_path / "out")


def test_a_run_that_was_stopped_goes_on_with_the_next_clip(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make([forger], data, out, swap=FakeSwap(stop_at=2))
    assert not (out / "manifest.csv").exists()

    swap = FakeSwap()
    made, said = make([forger], data, out, swap=swap)
    whole, _ = make([forger], data, tmp_path / "whole")

    assert len(swap.calls) == 2
    assert "4 fakes beside 4 real clips by 1 forgers, 2 of them new" in said
    assert [row.path for row in made.rows] == [row.path for row in whole.rows]


def test_other_options_make_other_clips(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])
    first, _ = make([forger], data, tmp_path / "out")

    other, _ = make([forger], data, tmp_path / "out", GenerateOptions(compositions=2, seed=1))

    assert not {r.path for r in first.rows if r.label == "fake"} & {
        r.path for r in other.rows if r.label == "fake"
    }


def test_a_forger_that_is_not_good_enough_is_left_out_with_the_reason(tmp_path, data):
    bad = {"measures": {"ssim_a": 0.9, "ssim_b": 0.9, "identity_ab": 0.2, "identity_ba": 0.9}}
    forgers = [
        make_forger(tmp_path / "ab", data, ["anna"], ["bert"]),
        make_forger(tmp_path / "bc", data, ["bert"], ["cleo"], **bad),
    ]

    made, said = make(forgers, data, tmp_path / "out")

    assert {row.group for row in made.rows} == {"anna+bert"}
    assert "bc: identity_ab is 0.20, below 0.5" in said
    with pytest.raises(BadDataset, match=r"none of 1 forgers is good enough.*identity_ab is 0.20"):
        make(forgers[1:], data, tmp_path / "none")


def test_a_forger_whose_identity_was_not_measured_is_used(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"], measures={"ssim_a": 0.9})

    made, said = make([forger], data, tmp_path / "out")

    assert made.rows
    assert "left out" not in said


def test_forgers_are_chosen_by_architecture(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])

    with pytest.raises(BadDataset, match="its architecture is masked-64"):
        make([forger], data, tmp_path / "out", GenerateOptions(architectures=("plain-64",)))


def test_a_clip_that_is_mostly_real_is_left_out_and_so_is_one_that_cannot_be_read(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])

    with pytest.raises(BadDataset, match="swapped in less than 80% of the frames"):
        make([forger], data, tmp_path / "few", swap=FakeSwap(swapped=1))
    made, said = make([forger], data, tmp_path / "out", swap=FakeSwap(unreadable="bert"))

    assert sum(row.label == "fake" for row in made.rows) == 2
    assert "2 clips were left out: no frame can be decoded" in said


def test_a_real_clip_that_changed_since_it_was_indexed_is_refused(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("anna", "bert"):
        (elsewhere / f"{name}.mp4").write_bytes((data / "cleo.mp4").read_bytes())

    with pytest.raises(BadDataset, match="is not the file that was indexed"):
        make([forger], data, tmp_path / "out", root=elsewhere)


def test_whoever_watches_is_told_of_every_clip(tmp_path, data):
    forger = make_forger(tmp_path / "ab", data, ["anna"], ["bert"])
    told: list[tuple[int, int]] = []

    make([forger], data, tmp_path / "out", told=lambda done, of: told.append((done, of)))

    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
