"""Are examples the same whoever asks, of the faces that were allowed, in the shares asked for?"""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console
from torch.utils.data import DataLoader, Subset

from tests.workers.training.in_this_process import InThisProcess
from tests.workers.training.make_bank import SHARPER_FAKE, make_bank
from tests.workers.training.split_bank import make_split_bank
from workers.training import rendered
from workers.training.bank import FaceBank
from workers.training.degrade import DegradeOptions
from workers.training.errors import BadDataset
from workers.training.pairs import (
    KINDS,
    OF_FORGERS,
    Generated,
    PairExamples,
    PairOptions,
    sheet,
    start_worker,
)
from workers.training.recipe import DataOptions
from workers.training.rendered import PairSource, RenderedPairs, render
from workers.training.tasks.classifier import generated_faces
from workers.training.tasks.segmenter import SegmenterTask

UNTOUCHED = DegradeOptions.model_validate(
    {name: 0.0 for name in DegradeOptions.model_fields if name.endswith("_share")}
)
EVERY = range(13)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> FaceBank:
    return make_bank(tmp_path_factory.mktemp("bank") / "bank")


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of what two forgers made; of real faces it has none but those it was made from."""
    folder = tmp_path_factory.mktemp("forged") / "bank"
    make_split_bank(folder, methods=("forger-one", "forger-two"), stills=0)
    return folder


def every_kind(**more: object) -> PairOptions:
    given = {
        "side_px": 32,
        "degrade": UNTOUCHED,
        "self_blend_share": 0.3,
        "cross_blend_share": 0.1,
        "generated_share": 0.25,
        "recomposited_share": 0.2,
        **more,
    }
    return PairOptions.model_validate(given)


def trained_on(forged: Path, bank: Path, **more: object) -> Generated:
    options = DataOptions.model_validate(
        {"manifest": "m.csv", "bank": bank, "generated": forged, **more}
    )
    made = generated_faces(FaceBank.open(bank), options)
    assert made is not None
    return made


def labelled_only(**more: object) -> PairOptions:
    given = {"self_blend_share": 0, "cross_blend_share": 0, "degrade": UNTOUCHED, **more}
    return PairOptions.model_validate(given)


def test_an_example_has_the_promised_shapes(bank: FaceBank) -> None:
    example = PairExamples(bank, EVERY, PairOptions(side_px=160), 0)[3]

    assert (160, 160, 3) == example["real"].shape == example["fake"].shape
    assert example["mask"].shape == (160, 160)
    assert all(np.uint8 == example[name].dtype for name in ("real", "fake", "mask"))


def test_examples_depend_on_the_seed_and_the_index_alone(bank: FaceBank) -> None:
    one, same = (PairExamples(bank, EVERY, PairOptions(), 5) for _ in range(2))
    other = PairExamples(bank, EVERY, PairOptions(), 6)

    backwards = {i: same[i] for i in reversed(range(6))}

    for i in range(6):
        np.testing.assert_array_equal(one[i]["fake"], backwards[i]["fake"])
        assert (one[i]["fake"] != other[i]["fake"]).any()


def test_loader_processes_make_what_one_makes(bank: FaceBank) -> None:
    examples = PairExamples(bank, EVERY, PairOptions(side_px=64), 0)
    loader = DataLoader(
        Subset(examples, range(4)), batch_size=2, num_workers=1, worker_init_fn=start_worker
    )

    batches = list(loader)

    assert [len(batch["kind"]) for batch in batches] == [2, 2]
    np.testing.assert_array_equal(examples[3]["fake"], batches[1]["fake"][1].numpy())


def test_kinds_come_in_their_shares(bank: FaceBank) -> None:
    options = PairOptions(side_px=32, degrade=UNTOUCHED)
    examples = PairExamples(bank, EVERY, options, 0)

    kinds = Counter(KINDS[int(examples[i]["kind"])] for i in range(200))

    assert kinds["self_blend"] / 200 == pytest.approx(0.55, abs=0.1)
    assert kinds["cross_blend"] / 200 == pytest.approx(0.15, abs=0.08)
    assert kinds["labelled"] / 200 == pytest.approx(0.30, abs=0.1)


def test_only_the_given_rows_are_shown(bank: FaceBank) -> None:
    examples = PairExamples(bank, [1, 2, 9], PairOptions(side_px=32, degrade=UNTOUCHED), 0)

    made = [examples[i] for i in range(40)]
    shown = {int(example[name]) for example in made for name in ("row", "other")}

    assert {-1, 1, 2, 9} == shown


def test_a_cross_blend_shows_two_people(bank: FaceBank) -> None:
    options = PairOptions(self_blend_share=0, cross_blend_share=1, side_px=32, degrade=UNTOUCHED)
    examples = PairExamples(bank, EVERY, options, 0)

    for example in (examples[i] for i in range(8)):
        row, other = (bank.rows[int(example[name])] for name in ("row", "other"))
        assert row.group != other.group


def test_single_pictures_are_as_frequent_as_asked_for(bank: FaceBank) -> None:
    options = PairOptions(
        self_blend_share=1, cross_blend_share=0, still_share=0.5, side_px=32, degrade=UNTOUCHED
    )
    examples = PairExamples(bank, EVERY, options, 0)

    stills = np.mean([int(examples[i]["row"]) in (6, 7) for i in range(100)])

    assert stills == pytest.approx(0.5, abs=0.15)


def test_a_labelled_fake_stands_beside_its_own_real_cut_alike(bank: FaceBank) -> None:
    examples = PairExamples(bank, EVERY, labelled_only(), 0)

    for i in range(12):
        example = examples[i]
        away = np.abs(example["real"].astype(int) - example["fake"]).max(axis=-1)
        assert away[example["mask"] == 0].max() <= 1
        assert away[example["mask"] == 255].mean() > 1
        assert bank.rows[int(example["other"])].pair == int(example["row"])


def test_unscaled_pairs_are_pixels_of_the_bank(bank: FaceBank) -> None:
    options = labelled_only(unscaled_share=1.0, most_shift=0.0)
    example = PairExamples(bank, EVERY, options, 0)[0]

    served = bank.served(int(example["row"]))[16:240, 16:240]
    assert (example["real"] == served).all() or (example["real"] == served[:, ::-1]).all()


def test_labelled_fakes_sharper_than_their_source_are_brought_to_half(bank: FaceBank) -> None:
    shares = []
    for by in (0.0, 1.0):
        examples = PairExamples(bank, EVERY, labelled_only(balance_sharpness=by, side_px=32), 0)
        shares.append(np.mean([int(examples[i]["other"]) == SHARPER_FAKE for i in range(150)]))

    assert shares[0] == pytest.approx(0.2, abs=0.1)
    assert shares[1] == pytest.approx(0.5, abs=0.12)


def test_what_is_not_at_hand_is_refused_by_name(bank: FaceBank) -> None:
    with pytest.raises(BadDataset, match="no fake with its real at hand"):
        PairExamples(bank, range(8), PairOptions(), 0)
    with pytest.raises(BadDataset, match="no real face"):
        PairExamples(bank, [8, 9], PairOptions(), 0)
    with pytest.raises(BadDataset, match="no fake without its real"):
        PairExamples(bank, EVERY, labelled_only(unpaired_share=0.5), 0)


def test_a_fake_whose_real_may_not_be_seen_counts_as_unpaired(bank: FaceBank) -> None:
    examples = PairExamples(bank, [2, 3, 8], labelled_only(unpaired_share=1.0), 0)

    assert {8} == {int(examples[i]["other"]) for i in range(8)}
    assert {2, 3} == {int(examples[i]["row"]) for i in range(8)}


def test_shares_of_more_than_one_whole_are_refused() -> None:
    with pytest.raises(ValidationError, match="lower one of them"):
        PairOptions(self_blend_share=0.8, cross_blend_share=0.8)


def test_a_sheet_has_a_row_for_each_pair(bank: FaceBank) -> None:
    drawn = sheet(PairExamples(bank, EVERY, PairOptions(side_px=64), 0), [0, 5])

    assert drawn.shape == (2 * 64, 4 * 64, 3)


def test_what_forgers_made_comes_in_its_shares(bank: FaceBank, forged: Path) -> None:
    made = Generated(bank=FaceBank.open(forged), rows=range(36))
    examples = PairExamples(bank, EVERY, every_kind(), 0, made)

    kinds = Counter(KINDS[int(examples[i]["kind"])] for i in range(200))

    assert kinds["generated"] / 200 == pytest.approx(0.25, abs=0.1)
    assert kinds["recomposited"] / 200 == pytest.approx(0.20, abs=0.1)
    assert kinds["labelled"] / 200 == pytest.approx(0.15, abs=0.1)


def test_a_generated_fake_stands_beside_its_own_real_with_its_exact_mask(
    bank: FaceBank, forged: Path
) -> None:
    made = FaceBank.open(forged)
    options = every_kind(
        self_blend_share=0,
        cross_blend_share=0,
        generated_share=1,
        recomposited_share=0,
        side_px=224,
        unscaled_share=1.0,
        most_shift=0.0,
    )
    examples = PairExamples(bank, EVERY, options, 0, Generated(bank=made, rows=range(36)))

    for example in (examples[i] for i in range(8)):
        fake = made.rows[int(example["other"])]
        assert (fake.label, fake.pair) == ("fake", int(example["row"]))
        assert example["has_mask"] == 1
        wanted = made.served_mask(fake.row)[16:240, 16:240]
        assert any((example["mask"] == w).all() for w in (wanted, wanted[:, ::-1]))
        away = np.abs(example["real"].astype(int) - example["fake"]).max(axis=-1)
        assert away[example["mask"] == 0].max() == 0


def test_without_forgers_nothing_about_the_examples_changes(bank: FaceBank, forged: Path) -> None:
    options = PairOptions(side_px=32)
    made = Generated(bank=FaceBank.open(forged), rows=range(36))
    before, after = (PairExamples(bank, EVERY, options, 3, given) for given in (None, made))

    for i in range(16):
        for name, value in before[i].items():
            np.testing.assert_array_equal(value, after[i][name])


def test_generated_fakes_are_of_the_train_split_and_of_methods_that_are_not_left_out(
    forged: Path,
) -> None:
    made = trained_on(forged, forged, leave_out=["forger-one"])

    faces = [made.bank.rows[row] for row in made.rows]
    assert {face.split for face in faces} == {"train"}
    assert {face.method for face in faces if face.label == "fake"} == {"forger-two"}


def test_people_who_are_kept_from_training_may_not_come_back_as_generated(
    forged: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "forged"
    shutil.copytree(forged, renamed)
    text = (renamed / "bank.json").read_text()
    # Two people whom a forger joined; of one, the other bank knows that he is in its test split.
    (renamed / "bank.json").write_text(text.replace('"g0"', '"g0+g3"'))

    with pytest.raises(BadDataset, match=r"'g3'.*kept from training"):
        trained_on(renamed, forged)


def test_looks_that_a_forger_left_as_they_were_are_no_fakes(
    bank: FaceBank, forged: Path, tmp_path: Path
) -> None:
    shutil.copytree(forged, tmp_path / "forged")
    masks = np.fromfile(forged / "masks.bin", np.uint8).reshape(36, -1)
    masks[[row for row in range(36) if row % 2]] = 0
    masks.tofile(tmp_path / "forged" / "masks.bin")
    made = Generated(bank=FaceBank.open(tmp_path / "forged"), rows=range(36))
    options = every_kind(self_blend_share=0, cross_blend_share=0, generated_share=0.8)
    examples = PairExamples(bank, EVERY, options, 0, made)

    shown = {int(examples[i]["other"]) for i in range(60)}

    assert shown
    assert {row % 2 for row in shown} == {0}


def test_shares_of_what_no_forger_made_are_refused(bank: FaceBank, forged: Path) -> None:
    reals_alone = [f.row for f in FaceBank.open(forged).rows if f.label == "real"]
    for made in (None, Generated(bank=FaceBank.open(forged), rows=reals_alone)):
        with pytest.raises(BadDataset, match=r"no generated fake.*data\.generated"):
            PairExamples(bank, EVERY, every_kind(), 0, made)


def test_rendered_pairs_keep_the_two_banks_apart(
    forged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendered, "ProcessPoolExecutor", InThisProcess)
    own = make_bank(tmp_path / "bank")
    source = PairSource(
        bank=tmp_path / "bank",
        rows=EVERY,
        options=every_kind(),
        seed=0,
        generated=forged,
        generated_rows=range(36),
    )
    render(source, count=80, folder=tmp_path, console=Console(quiet=True))
    # Rows that may be seen of the one bank, and others of the other: none of both.
    reals, made = {0, 1, 2, 8}, {18, 19, 20, 21, 22, 23}
    assert {own.rows[row].label for row in reals} == {"real", "fake"}

    pairs = RenderedPairs(tmp_path, reals, 0, made)

    of_forgers = {KINDS.index(name) for name in OF_FORGERS}
    kinds = set()
    for example in (pairs[i] for i in range(pairs.distinct)):
        is_forged = example["kind"] in of_forgers
        assert {example["row"], example["other"]} <= (made if is_forged else {*reals, -1})
        kinds.add(is_forged)
    assert kinds == {True, False}
    without = RenderedPairs(tmp_path, reals, 0)
    assert not of_forgers & {int(without[i]["kind"]) for i in range(without.distinct)}


def test_the_segmenter_learns_from_forgers_and_is_validated_on_blends(forged: Path) -> None:
    task = SegmenterTask(
        {
            "task": "segmenter",
            "run": {"seed": 0, "steps": 1, "batch": 1, "pictures_every": 0, "validate_every": 1},
            "optimiser": {"rate": 1e-3, "warmup_steps": 1},
            "data": {"manifest": "m.csv", "bank": forged, "generated": forged},
            "network": {"initial": "random"},
            "pairs": every_kind(self_blend_share=0, cross_blend_share=0, generated_share=0.8),
        }
    )

    kinds = {KINDS[int(task.examples()[i]["kind"])] for i in range(8)}

    assert kinds <= {*OF_FORGERS}
    assert "blend_iou" in task.validate(task.network())
