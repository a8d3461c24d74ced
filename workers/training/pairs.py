"""
Which pair of faces does a network see next, and how does it look?

Example `i` is a pure function of the seed and of `i`: what kind of pair, of which face, moved and
mistreated how. Whoever asks, in whichever order, on one process or ten, gets the same pixels.

A face is chosen by what it is of before by what it is: a data set with ten times the clips gets
some three times the examples, and within one every group of people the same, every clip of it
the same, every look at a clip the same. Both halves are drawn from the bank by one warp each:
one more would soften them, and softness is what such networks fall for.

What our own forgers made lies in a bank of its own, with the real faces it was made from and masks
that are exact. It is shown as it is, or blended anew, as `recomposite` has it.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch.utils.data import Dataset

from workers.detection.stage import CROP_SIDE_PX, Floats, Image
from workers.training.bank import BANK_SIDE_PX, Face, FaceBank
from workers.training.degrade import DegradeOptions, degrade
from workers.training.errors import BadDataset
from workers.training.recipe import Section, Share
from workers.training.recomposite import recomposite
from workers.training.synth import (
    FacePair,
    Look,
    SynthOptions,
    about_middle,
    cross_blend,
    detail_ratio,
    drawn,
    self_blend,
    transformed,
    with_detail,
)

KINDS = ("self_blend", "cross_blend", "labelled", "generated", "recomposited")
OF_FORGERS = ("generated", "recomposited")
"""Kinds whose `row` and `other` are rows of the bank of generated faces, not of the other one."""
ENDLESS = 2**31 - 1
_COIN = 0.5
_CANDIDATES = 16
"""Faces among which a cross blend takes the one of the most alike shape and pose."""
_SHAPE = slice(None, None, 6)
"""Of the landmarks, those that faces are compared by."""
_INNER = slice(BANK_SIDE_PX // 5, -BANK_SIDE_PX // 5)
"""Of a bank crop, what surely is face."""
_LEAST_FORGED = 0.01
"""Of a bank crop, the share that a forger must have changed for the look to count as a fake; it
leaves the frames as they are in which it found no face."""

Example = dict[str, NDArray[np.uint8] | int]


class PairOptions(Section):
    """Which pairs are made, and how they are cut."""

    view_px: Annotated[int, Field(ge=32, le=CROP_SIDE_PX)] = 224
    """Side of the middle of the served crop that is shown."""
    side_px: Annotated[int, Field(ge=32, le=512, multiple_of=2)] = 224
    """Side of the pictures that come out; equal to `view_px`, nothing is scaled but by chance."""
    self_blend_share: Share = 0.55
    cross_blend_share: Share = 0.15
    generated_share: Share = 0.0
    """What our own forgers made, as it is, beside the real faces it was made from."""
    recomposited_share: Share = 0.0
    """The same, blended anew. The rest are labelled fakes beside their real faces."""
    unpaired_share: Share = 0.0
    """Of the labelled, fakes beside some real face of their data set; theirs is not at hand."""
    still_share: Share = 0.35
    """Of the real faces, single pictures instead of looks at a clip."""
    dataset_power: Share = 0.5
    """A data set is taken as often as its count of groups to this power; methods likewise."""
    most_shift: Annotated[float, Field(ge=0, le=0.2)] = 0.08
    """Of the served crop's side."""
    most_scaling: Annotated[float, Field(ge=0, le=0.5)] = 0.08
    most_turn_deg: Annotated[float, Field(ge=0, le=45)] = 6.0
    unscaled_share: Share = 0.4
    """Of the pairs that are shifted by whole pixels and mirrored at most, so that the real half
    has every pixel as it will be served."""
    balance_sharpness: Share = 0.5
    """How far the labelled fakes that are sharper than their source are brought up to half of
    the labelled, and the generated to half of the generated; 0 leaves them as rare as they are.
    That of blends is in `synth`."""
    labelled_detail_share: Share = 0.0
    """Of the labelled and generated fakes with a mask, those whose detail is set as that of
    balanced blends."""
    synth: SynthOptions = SynthOptions()
    degrade: DegradeOptions = DegradeOptions()

    @model_validator(mode="after")
    def _shares_fit(self) -> "PairOptions":
        if self.labelled_share < 0:
            raise ValueError(
                f"self_blend_share {self.self_blend_share}, cross_blend_share "
                f"{self.cross_blend_share}, generated_share {self.generated_share} and "
                f"recomposited_share {self.recomposited_share} are shares of one whole; lower one "
                "of them"
            )
        return self

    @property
    def labelled_share(self) -> float:
        """Of the pairs, those of labelled fakes: what the other kinds leave."""
        blends = self.self_blend_share + self.cross_blend_share
        rest = 1 - blends - self.generated_share - self.recomposited_share
        return rest if abs(rest) > _NOTHING else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generated:
    """What our own forgers made, with the real faces that it was made from."""

    bank: FaceBank
    rows: Sequence[int]  # of this bank, those that may be used


class PairExamples(Dataset[Example]):
    """
    Pairs without end.

    Item `i` is `real` and `fake`, uint8 `[side_px, side_px, 3]`; `mask`, uint8
    `[side_px, side_px]`, 255 where a pixel is wholly manipulated; `has_mask`, 0 for a labelled
    fake of which it is not known; `kind`, its place in `KINDS`; and `row` and `other`, the faces
    of the bank that it shows, `other` -1 where that is one. Of the kinds `OF_FORGERS` these are
    rows of the generated bank.

    Args:
        bank: the faces.
        rows: of the bank, those that may be used for anything.
        options: which pairs, and how.
        seed: another one gives other pairs.
        generated: what `generated_share` and `recomposited_share` are taken from.

    Raises:
        BadDataset: the rows lack what the options ask for.
    """

    def __init__(
        self,
        bank: FaceBank,
        rows: Sequence[int],
        options: PairOptions,
        seed: int,
        generated: Generated | None = None,
    ) -> None:
        self._bank = bank
        self._options = options
        self._seed = seed
        faces = [bank.rows[row] for row in rows]
        reals = [f for f in faces if f.label == "real"]
        self._reals = _Lottery(
            reals,
            [_dataset_key(f) for f in reals],
            power=options.dataset_power,
            stills=options.still_share,
        )
        at_hand = {f.row for f in reals}
        fakes = [f for f in faces if f.label == "fake"]
        paired = [f for f in fakes if f.pair in at_hand]
        unpaired = [f for f in fakes if f.pair not in at_hand]
        self._paired = _fakes_lottery(bank, paired, options, is_drawn=options.labelled_share > 0)
        self._unpaired = _Lottery(
            unpaired, [f.method for f in unpaired], power=options.dataset_power
        )
        self._forged_bank = bank if generated is None else generated.bank
        self._forged = _fakes_lottery(
            self._forged_bank,
            [] if generated is None else _forged(generated),
            options,
            is_drawn=options.generated_share + options.recomposited_share > 0,
        )
        self._check(len(faces))
        self._reals_of: dict[str, list[int]] = defaultdict(list)
        for face in reals:
            self._reals_of[face.dataset].append(face.row)

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Example:
        """Make example `index`."""
        random = np.random.Generator(np.random.Philox(key=np.array([self._seed, index], np.uint64)))
        drawn_pair = self._pair(random)
        pair = degrade(drawn_pair.pair, options=self._options.degrade, random=random)
        return {
            "real": pair.real,
            "fake": pair.fake,
            "mask": np.asarray(np.rint(pair.mask * 255), np.uint8),
            "has_mask": int(drawn_pair.has_mask),
            "kind": KINDS.index(pair.kind),
            "row": drawn_pair.row,
            "other": drawn_pair.other,
        }

    def _check(self, rows: int) -> None:
        options = self._options
        labelled = options.labelled_share
        forged = options.generated_share + options.recomposited_share
        blends = options.self_blend_share + options.cross_blend_share
        wants_paired = labelled * (1 - options.unpaired_share) > _NOTHING
        for lottery, is_wanted, what in (
            (self._reals, blends > _NOTHING, "real face, for blends; lower the shares of blends"),
            (
                self._paired,
                wants_paired,
                "fake with its real at hand; let self_blend_share and cross_blend_share make 1, "
                "with the shares of what forgers made",
            ),
            (
                self._unpaired,
                labelled * options.unpaired_share > _NOTHING,
                "fake without its real; set unpaired_share to 0",
            ),
        ):
            if is_wanted and not len(lottery):
                raise BadDataset(f"among {rows} rows of the bank there is no {what}")
        if forged > _NOTHING and not len(self._forged):
            raise BadDataset(
                "there is no generated fake with its real and a mask; let data.generated name a "
                "bank with some in its train split, or set generated_share and recomposited_share "
                "to 0"
            )

    def _pair(self, random: np.random.Generator) -> "_Drawn":
        """Draw a pair that nothing has happened to yet."""
        options = self._options
        kind = random.random()
        out_from_bank = self._cut(random)
        side_px = options.side_px
        if kind < options.self_blend_share:
            row = self._reals.draw(random)
            blend = self_blend(
                self._look(row), out_from_bank, side_px, options=options.synth, random=random
            )
            return _Drawn(pair=blend, row=row)
        if kind < options.self_blend_share + options.cross_blend_share:
            row = self._reals.draw(random)
            other = self._someone_like(row, random)
            blend = cross_blend(
                self._look(row),
                self._look(other),
                out_from_bank,
                side_px,
                options=options.synth,
                random=random,
            )
            return _Drawn(pair=blend, row=row, other=other)
        # Of these two, what is re-composited comes last: a share of nothing is never reached.
        generated = options.self_blend_share + options.cross_blend_share + options.generated_share
        if kind < generated + options.recomposited_share:
            return self._made_by_forger(out_from_bank, random, is_blended_anew=kind >= generated)
        return self._labelled(out_from_bank, random)

    def _made_by_forger(
        self, out_from_bank: Floats, random: np.random.Generator, *, is_blended_anew: bool
    ) -> "_Drawn":
        bank, options = self._forged_bank, self._options
        fake = bank.rows[self._forged.draw(random)]
        pair = _both_halves(bank, fake.pair, fake, out_from_bank, side_px=options.side_px)
        if not is_blended_anew:
            return self._beside(replace(pair, kind="generated"), fake.pair, fake, random)
        landmarks_out = transformed(bank.landmarks[fake.row], out_from_bank)
        pair = recomposite(pair, landmarks_out, options=options.synth, random=random)
        return _Drawn(pair=pair, row=fake.pair, other=fake.row)

    def _labelled(self, out_from_bank: Floats, random: np.random.Generator) -> "_Drawn":
        bank, side_px = self._bank, self._options.side_px
        if random.random() < self._options.unpaired_share:
            fake = bank.rows[self._unpaired.draw(random)]
            # Of the same data set, or it is the camera that is learned.
            reals = self._reals_of.get(fake.dataset)
            real_row = (
                reals[int(random.integers(len(reals)))] if reals else self._reals.draw(random)
            )
        else:
            fake = bank.rows[self._paired.draw(random)]
            real_row = fake.pair
        pair = _both_halves(bank, real_row, fake, out_from_bank, side_px=side_px)
        return self._beside(pair, real_row, fake, random)

    def _beside(
        self, pair: FacePair, real_row: int, fake: Face, random: np.random.Generator
    ) -> "_Drawn":
        """Show a fake that is at hand beside a real face, at times with other detail."""
        options = self._options
        if fake.has_mask and random.random() < options.labelled_detail_share:
            pair = with_detail(pair, options=options.synth, random=random)
        return _Drawn(pair=pair, row=real_row, other=fake.row, has_mask=fake.has_mask)

    def _cut(self, random: np.random.Generator) -> Floats:
        """Draw where in the bank's crop the view lies: `[2, 3]`, bank px -> px of the pair."""
        options = self._options
        mirror = -1.0 if random.random() < _COIN else 1.0
        scale = options.side_px / options.view_px
        shift = options.most_shift * CROP_SIDE_PX * random.uniform(-1, 1, 2)
        zoom = math.exp(math.log1p(options.most_scaling) * random.uniform(-1, 1))
        turn = math.radians(options.most_turn_deg) * random.uniform(-1, 1)
        if random.random() < options.unscaled_share:
            shift, zoom, turn = shift.round(), 1.0, 0.0
        # About the middle of the crop, then so that this falls on the middle of the picture.
        moved = about_middle(BANK_SIDE_PX, scale=zoom, turn_rad=turn, shift_px=(shift[0], shift[1]))
        middle, bank_middle = (options.side_px - 1) / 2, (BANK_SIDE_PX - 1) / 2
        cut = np.array(
            [
                [mirror * scale, 0, middle - mirror * scale * bank_middle],
                [0, scale, middle - scale * bank_middle],
            ],
            np.float32,
        )
        return np.asarray(cut @ moved, np.float32)

    def _look(self, row: int) -> Look:
        return Look(picture=self._bank.faces[row], landmarks_px=self._bank.landmarks[row])

    def _someone_like(self, row: int, random: np.random.Generator) -> int:
        """Choose the real face of another group whose landmarks lie most alike, of a few."""
        group = self._bank.rows[row].group
        drawn_rows = {self._reals.draw(random) for _ in range(_CANDIDATES)}
        others = sorted(r for r in drawn_rows if self._bank.rows[r].group != group)
        if not others:
            others = sorted(drawn_rows)
        shapes = [_shape(self._bank.landmarks[r]) for r in (row, *others)]
        distances = [float(np.square(s - shapes[0]).sum()) for s in shapes[1:]]
        by_distance = sorted(zip(distances, others, strict=True))
        nearest_first = [other for _, other in by_distance]
        whole = (r for r in nearest_first if not _is_cut_off(self._look(r)))
        return next(whole, nearest_first[0])


_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drawn:
    """A pair, and of which faces of the bank it was made."""

    pair: FacePair
    row: int
    other: int = -1
    has_mask: bool = True


class _Lottery:
    """Draws rows by weights that even out data sets, groups and clips."""

    def __init__(
        self,
        faces: Sequence[Face],
        keys: Sequence[str],
        *,
        power: float,
        stills: float | None = None,
    ) -> None:
        self._rows = np.array([f.row for f in faces], np.int64)
        weights = _even_weights(faces, keys, power)
        if stills is not None:
            is_still = np.array([f.kind == "picture" and f.clip == f.path for f in faces], bool)
            weights = _shared_out(weights, is_still, stills)
        self._set(weights)

    def __len__(self) -> int:
        return len(self._rows)

    def draw(self, random: np.random.Generator) -> int:
        """Draw a row of the bank."""
        place = int(np.searchsorted(self._upto, random.random(), side="right"))
        return int(self._rows[min(place, len(self._rows) - 1)])

    def bring_to_half(self, chosen: NDArray[np.bool_], *, by: float) -> None:
        """Move the chances of some rows towards being half of all."""
        share = float(self._weights[chosen].sum())
        self._set(_shared_out(self._weights, chosen, share + by * (0.5 - share)))

    def _set(self, weights: NDArray[np.float64]) -> None:
        self._weights = weights
        self._upto = np.cumsum(weights)


def _fakes_lottery(
    bank: FaceBank, fakes: Sequence[Face], options: PairOptions, *, is_drawn: bool
) -> _Lottery:
    """Even out fakes that have their real at hand; by their detail too, if any will be drawn."""
    lottery = _Lottery(fakes, [f.method for f in fakes], power=options.dataset_power)
    if fakes and is_drawn and options.balance_sharpness > 0:
        is_sharper = np.array([_is_sharper(bank, f) for f in fakes])
        lottery.bring_to_half(is_sharper, by=options.balance_sharpness)
    return lottery


def _forged(generated: Generated) -> list[Face]:
    """Choose the fakes with a mask that says something, and with their real at hand."""
    bank = generated.bank
    faces = [bank.rows[row] for row in generated.rows]
    at_hand = {f.row for f in faces if f.label == "real"}
    fakes = (f for f in faces if f.label == "fake" and f.has_mask and f.pair in at_hand)
    return [f for f in fakes if (bank.masks[f.row] > _HALF).mean() >= _LEAST_FORGED]


_HALF = 127


def _both_halves(
    bank: FaceBank, real_row: int, fake: Face, out_from_bank: Floats, *, side_px: int
) -> FacePair:
    """Draw a real face, a fake and its mask by the same warp; of no mask, an empty one."""
    real_picture, fake_picture = (
        drawn(bank.faces[row], out_from_bank, side_px) for row in (real_row, fake.row)
    )
    mask = np.zeros((side_px, side_px), np.float32)
    if fake.has_mask:
        mask = _floats(drawn(bank.masks[fake.row], out_from_bank, side_px))
    return FacePair(real=real_picture, fake=fake_picture, mask=mask, kind="labelled")


def _even_weights(faces: Sequence[Face], keys: Sequence[str], power: float) -> NDArray[np.float64]:
    """Give every face a chance, all of them together 1."""
    groups: dict[str, set[str]] = defaultdict(set)
    clips: dict[tuple[str, str], set[str]] = defaultdict(set)
    looks: dict[tuple[str, str, str], int] = defaultdict(int)
    for face, key in zip(faces, keys, strict=True):
        groups[key].add(face.group)
        clips[key, face.group].add(face.clip)
        looks[key, face.group, face.clip] += 1
    weights = np.array(
        [
            len(groups[key]) ** (power - 1)
            / len(clips[key, face.group])
            / looks[key, face.group, face.clip]
            for face, key in zip(faces, keys, strict=True)
        ],
        np.float64,
    )
    return weights / weights.sum() if len(weights) else weights


def _shared_out(
    weights: NDArray[np.float64], chosen: NDArray[np.bool_], share: float
) -> NDArray[np.float64]:
    """Scale weights so that the chosen ones make up a share; if all are, or none, leave them."""
    has = float(weights[chosen].sum())
    if has <= 0 or has >= weights.sum() - _NOTHING:
        return weights
    return np.where(chosen, weights * share / has, weights * (1 - share) / (1 - has))


def _dataset_key(face: Face) -> str:
    return face.dataset or face.method


def _is_sharper(bank: FaceBank, fake: Face) -> bool:
    """Tell whether a fake has more detail than the real face that it was made from."""
    real_picture, fake_picture, mask = (
        np.asarray(values[_INNER, _INNER])
        for values in (bank.faces[fake.pair], bank.faces[fake.row], bank.masks[fake.row])
    )
    where = _floats(mask) if fake.has_mask else np.ones(mask.shape, np.float32)
    return detail_ratio(real_picture, fake_picture, where) > 1


def _floats(mask: NDArray[np.uint8]) -> Floats:
    return np.asarray(mask, np.float32) / np.float32(255)


def _shape(landmarks_px: Floats) -> Floats:
    """Return landmarks without where they lie and how large they are."""
    points = landmarks_px[_SHAPE] - landmarks_px[_SHAPE].mean(axis=0)
    return np.asarray(points / max(float(np.linalg.norm(points)), 1e-6), np.float32)


def _is_cut_off(look: Look) -> bool:
    """Tell whether the face lies partly beyond its frame, where the bank is black."""
    at = np.clip(np.rint(look.landmarks_px[_SHAPE]), 0, BANK_SIDE_PX - 1).astype(np.intp)
    is_black = ~look.picture[at[:, 1], at[:, 0]].any(axis=-1)
    return bool(is_black.mean() > _MOST_BLACK)


_MOST_BLACK = 0.02


def start_worker(worker: int) -> None:  # noqa: ARG001 - torch hands it over
    """Keep a loader process to its own core; as `worker_init_fn` of a `DataLoader`."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def sheet(examples: PairExamples, indices: Sequence[int]) -> Image:
    """
    Draw pairs for a person to look at: real, fake, mask, and what differs, five times as strong.

    Returns:
        One example a row, captioned with its kind and with the detail of the fake over the real.
    """
    rows = []
    for index in indices:
        example = examples[index]
        real, fake, mask = (np.asarray(example[n], np.uint8) for n in ("real", "fake", "mask"))
        away = cv2.convertScaleAbs(cv2.absdiff(real, fake), alpha=5)
        ratio = detail_ratio(real, fake, _floats(mask))
        row = np.concatenate([real, fake, cv2.merge([mask] * 3), away], axis=1)
        words = f"{index} {KINDS[int(example['kind'])]} detail x{ratio:.2f}"
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                row, words, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA
            )
        rows.append(row)
    return np.asarray(np.concatenate(rows, axis=0), np.uint8)
