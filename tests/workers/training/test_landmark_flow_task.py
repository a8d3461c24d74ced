"""How the network of moving faces learns: on what, of whom, and what comes out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.make_faces import make_small, make_track
from workers.detection.landmark_flow import CHANNELS, WINDOW
from workers.detection.stage import FaceTrack
from workers.training.errors import BadDataset, BadRecipe
from workers.training.manifest import Row, folds, make_manifest, write_manifest
from workers.training.motion_bank import (
    Followed,
    MotionBank,
    followed,
    open_or_build,
    write_motion_bank,
)
from workers.training.recipe import read_recipe
from workers.training.tasks import make_task
from workers.training.tasks.classifier import FOLD_SEED
from workers.training.tasks.landmark_flow import (
    LandmarkFlowTask,
    MotionPairs,
    ViewOptions,
    mirrored,
    score_clips,
    training_clips,
)

quiet = Console(quiet=True)
GROUPS = 4
FRAMES = 70
STEADY = ViewOptions(mirror=0, slow=0, blur=0, tremble=0, anybody=0)


def a_row(name: str, *, group: int, pair: str = "", split: str = "train") -> Row:
    return Row(
        path=f"{name}.mp4",
        sha256=f"{abs(hash(name)) % 16**8:064x}",
        kind="video",
        clip=f"{name}.mp4",
        label="fake" if pair else "real",
        method="drawn",
        family="faceswap" if pair else "real",
        group=f"g{group}",
        dataset="drawn",
        pair=pair,
        split=split,  # type: ignore[arg-type]
    )


def face(*, tremble_px: float, seed: int, frames: int = FRAMES, rate_hz: float = 30.0) -> FaceTrack:
    track = make_track(frames=frames, rate_hz=rate_hz, samples=0, shot=seed)
    noise = np.random.default_rng(seed).normal(0, tremble_px, track.landmarks_px.shape)
    small = make_small(frames, seed=seed)
    return replace(track, landmarks_px=np.float32(track.landmarks_px + noise), small=small)


def clips() -> list[Followed]:
    """Real faces that move calmly, and fakes of them that tremble."""
    found = []
    for group in range(GROUPS):
        split = "val" if group == GROUPS - 1 else "train"
        real = a_row(f"real{group}", group=group, split=split)
        fake = a_row(f"fake{group}", group=group, pair=real.clip, split=split)
        found.append(Followed(real, [face(tremble_px=0.05, seed=group)]))
        found.append(Followed(fake, [face(tremble_px=2.0, seed=10 + group)]))
    short = a_row("short", group=0)
    found.append(Followed(short, [face(tremble_px=0, seed=20, frames=30)]))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    made = clips()
    manifest = make_manifest([clip.row for clip in made], root=folder)
    write_manifest(folder / "manifest.csv", manifest)
    write_motion_bank(folder / "bank", made, manifest_sha256=manifest.sha256)
    return folder


@pytest.fixture
def bank(folder: Path) -> MotionBank:
    return MotionBank.open(folder / "bank")


def task_of(folder: Path, *overrides: str) -> LandmarkFlowTask:
    raw = read_recipe(
        Path("landmark_flow"),
        [f"data.manifest={folder / 'manifest.csv'}", f"data.bank={folder / 'bank'}", *overrides],
    )
    task = make_task(raw)
    assert isinstance(task, LandmarkFlowTask)
    return task


def test_a_bank_keeps_what_was_measured(bank: MotionBank) -> None:
    assert len(bank.by_clip) == 2 * GROUPS + 1
    (recording,) = bank.by_clip["fake1.mp4"]

    calm = bank.motion(bank.by_clip["real1.mp4"][0])
    trembling = bank.motion(recording)
    blurred = bank.motion(recording, 1)

    assert (recording.label, recording.pair, recording.frames) == ("fake", "real1.mp4", FRAMES)
    assert np.abs(trembling.stray).mean() > 3 * np.abs(calm.stray).mean()
    np.testing.assert_array_equal(trembling.place, blurred.place)
    assert not np.array_equal(trembling.stray, blurred.stray)
    assert trembling.pts_s[1] == pytest.approx(1 / 30)


def test_a_bank_that_is_none_or_was_cut_off_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="no whole bank"):
        MotionBank.open(tmp_path)

    for name in ("pts_s", "place", "stray", "error", "is_whole"):
        array = np.load(folder / "bank" / f"{name}.npy")
        np.save(tmp_path / f"{name}.npy", array[: len(array) // 2])
    (tmp_path / "motion.json").write_bytes((folder / "bank" / "motion.json").read_bytes())

    with pytest.raises(BadDataset, match="do not fit"):
        MotionBank.open(tmp_path)


def test_a_bank_of_these_data_is_not_made_again(folder: Path) -> None:
    manifest = make_manifest([clip.row for clip in clips()], root=folder)

    bank = open_or_build(manifest, folder / "bank", console=quiet)

    assert bank.manifest_sha256 == manifest.sha256


def test_clips_that_are_no_video_are_counted_and_end_the_making(tmp_path: Path) -> None:
    rows = [a_row("one", group=0)]
    (tmp_path / "one.mp4").write_bytes(b"this is no video at all")
    manifest = make_manifest(rows, root=tmp_path)

    with pytest.raises(BadDataset, match="cannot be read"):
        list(followed(manifest, rows))


def test_a_pair_is_a_fake_and_the_clip_that_it_was_made_from(bank: MotionBank) -> None:
    pairs = MotionPairs(bank, ["real1.mp4", "fake1.mp4", "real2.mp4"], STEADY, seed=0)

    shown = [pairs[i] for i in range(20)]

    calm, trembling = (np.stack([s[half] for s in shown]) for half in ("real", "fake"))
    assert calm.shape == (20, WINDOW, CHANNELS)
    assert np.abs(calm).mean() < np.abs(trembling).mean()
    of_one = {s["real"].tobytes() for s in shown}  # type: ignore[union-attr]
    possible = FRAMES - WINDOW
    assert len(of_one) <= possible  # windows of real1 alone, which fake1 was made from


def test_groups_come_up_equally_often_whatever_they_hold(bank: MotionBank) -> None:
    many = [f"real{g}.mp4" for g in range(GROUPS)] + [f"fake{g}.mp4" for g in range(GROUPS)]
    pairs = MotionPairs(bank, many, STEADY.model_copy(update={"anybody": 1.0}), seed=0)

    drawn = [pairs._real_for("fake0.mp4", np.random.default_rng(i)) for i in range(200)]

    counts = [drawn.count(f"real{g}.mp4") for g in range(GROUPS)]
    assert min(counts) > 30


def test_the_same_number_gives_the_same_pair_and_another_seed_another(bank: MotionBank) -> None:
    names = ["real0.mp4", "real1.mp4", "fake0.mp4", "fake1.mp4"]
    first, again, other = (MotionPairs(bank, names, ViewOptions(), seed=s) for s in (0, 0, 1))

    np.testing.assert_array_equal(first[3]["fake"], again[3]["fake"], strict=True)
    assert not np.array_equal(np.asarray(first[3]["fake"]), np.asarray(other[3]["fake"]))


def test_without_a_fake_that_is_long_enough_there_are_no_pairs(bank: MotionBank) -> None:
    with pytest.raises(BadDataset, match="64 frames"):
        MotionPairs(bank, ["real0.mp4", "short.mp4"], STEADY, seed=0)


def test_a_mirror_of_a_mirror_is_the_face_itself(bank: MotionBank) -> None:
    motion = bank.motion(bank.recordings[1])

    twice = mirrored(mirrored(motion))

    np.testing.assert_array_equal(twice.place, motion.place)
    np.testing.assert_array_equal(twice.stray, motion.stray)
    assert not np.array_equal(mirrored(motion).place, motion.place)


def test_no_group_of_the_fold_is_learnt_from(folder: Path, bank: MotionBank) -> None:
    manifest = make_manifest([clip.row for clip in clips()], root=folder)
    fold_of = folds(manifest, 2, FOLD_SEED)
    options = task_of(folder, "data.folds=2", "data.fold=1").recipe.data

    chosen = training_clips(bank, options)

    assert chosen
    assert {fold_of[bank.by_clip[clip][0].group] for clip in chosen} == {0}


def test_without_folds_the_train_split_is_learnt_from_less_methods_left_out(
    folder: Path, bank: MotionBank
) -> None:
    options = task_of(folder, 'data.leave_out=["drawn"]').recipe.data

    chosen = training_clips(bank, options)

    assert chosen == ["real0.mp4", "real1.mp4", "real2.mp4", "short.mp4"]


def test_a_bank_of_other_data_is_refused(folder: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", make_manifest([a_row("other", group=9)], root=tmp_path))
    task = task_of(folder, f"data.manifest={tmp_path / 'm.csv'}")

    with pytest.raises(BadDataset, match="was not made from"):
        _ = task.bank


def test_a_recipe_with_a_word_too_many_is_refused(folder: Path) -> None:
    with pytest.raises(BadRecipe, match=r"views\.shake"):
        task_of(folder, "views.shake=1")


def test_it_learns_to_tell_trembling_faces_and_says_so_of_others(
    folder: Path, bank: MotionBank
) -> None:
    task = task_of(folder, "views.tremble=0")
    network = task.network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    pairs = task.examples()
    losses = []
    for step in range(12):
        shown = [pairs[8 * step + i] for i in range(8)]
        batch = {
            half: torch.from_numpy(np.stack([s[half] for s in shown])) for half in ("real", "fake")
        }
        loss = task.losses(network, batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))

    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert task.validate(network) == {"val_clip_auc": 1.0}
    scores = {s.clip: s for s in score_clips(network, bank, list(bank.by_clip))}
    assert "short.mp4" not in scores  # no window in it
    assert scores["fake3.mp4"].logit > scores["real3.mp4"].logit
    assert scores["fake3.mp4"].pair == "real3.mp4"
    assert task.pictures(network, batch).shape == (2 * CHANNELS, 8 * WINDOW, 3)
