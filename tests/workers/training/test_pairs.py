"""Are examples the same whoever asks, of the faces that were allowed, in the shares asked for?"""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError
from torch.utils.data import DataLoader, Subset

from tests.workers.training.make_bank import SHARPER_FAKE, make_bank
from workers.training.bank import FaceBank
from workers.training.degrade import DegradeOptions
from workers.training.errors import BadDataset
from workers.training.pairs import KINDS, PairExamples, PairOptions, sheet, start_worker

UNTOUCHED = DegradeOptions.model_validate(
    {name: 0.0 for name in DegradeOptions.model_fields if name.endswith("_share")}
)
EVERY = range(13)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> FaceBank:
    return make_bank(tmp_path_factory.mktemp("bank") / "bank")


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
