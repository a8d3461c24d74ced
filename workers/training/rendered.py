"""
How do many runs share the work of making pairs? Rendered once, to memory-mapped files.

Making a pair costs about as much as learning from it. Where many networks learn from the same
faces, as in cross-validation, the pairs are made once, from all of them, and each run takes those
that are made of faces it may see.
"""

import json
import multiprocessing
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch.utils.data import Dataset

from workers.training.bank import FaceBank
from workers.training.errors import BadDataset
from workers.training.pairs import (
    ENDLESS,
    KINDS,
    OF_FORGERS,
    Example,
    Generated,
    PairExamples,
    PairOptions,
    start_worker,
)

_HALVES = ("real", "fake")
_NUMBERS = ("row", "other", "kind", "has_mask")
_FORGERS_KINDS = [KINDS.index(name) for name in OF_FORGERS]
_CHUNK = 32


class RenderedPairs(Dataset[Example]):
    """
    Pairs that were made before, in an order drawn by the seed, over and over.

    Args:
        folder: that `render` wrote.
        rows: of the bank; pairs that show any other face are left out.
        seed: of the order.
        generated_rows: of the bank of what our own forgers made, likewise.

    Raises:
        BadDataset: the folder holds no whole rendering, or none of its pairs may be used.
    """

    def __init__(
        self,
        folder: Path,
        rows: Collection[int],
        seed: int,
        generated_rows: Collection[int] = (),
    ) -> None:
        try:
            document = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as wrong:
            raise BadDataset(f"{folder} holds no rendered pairs ({wrong})") from wrong
        count, side = document["count"], document["side_px"]
        self._halves = {
            name: np.memmap(
                folder / f"{name}.bin", dtype=np.uint8, mode="r", shape=(count, side, side, 3)
            )
            for name in _HALVES
        }
        self._masks = np.memmap(
            folder / "mask.bin", dtype=np.uint8, mode="r", shape=(count, side, side)
        )
        self._numbers: NDArray[np.int64] = np.load(folder / "numbers.npy")
        shown = self._numbers[:, :2]
        usable = np.where(
            np.isin(self._numbers[:, _NUMBERS.index("kind")], _FORGERS_KINDS),
            _shows_only(shown, generated_rows),
            _shows_only(shown, rows),
        )
        if not usable.any():
            raise BadDataset(f"none of the {count} pairs in {folder} shows allowed faces alone")
        self._places = np.flatnonzero(usable)
        self._seed = seed

    @property
    def distinct(self) -> int:
        """How many different pairs there are."""
        return len(self._places)

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Example:
        """Return example `index`: each pair once before any comes again."""
        turn, at = divmod(index, len(self._places))
        order = np.random.default_rng([self._seed, turn]).permutation(len(self._places))
        place = int(self._places[order[at]])
        numbers = {
            name: int(value) for name, value in zip(_NUMBERS, self._numbers[place], strict=True)
        }
        return {
            **{name: np.array(half[place]) for name, half in self._halves.items()},
            "mask": np.array(self._masks[place]),
            **numbers,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSource:
    """What `PairExamples` are made of; unlike them, it can be sent to another process."""

    bank: Path
    rows: Sequence[int]
    options: PairOptions
    seed: int
    generated: Path | None = None  # bank of what our own forgers made
    generated_rows: Sequence[int] = ()

    def examples(self) -> PairExamples:
        """Open the banks and make them."""
        generated = None
        if self.generated is not None:
            generated = Generated(bank=FaceBank.open(self.generated), rows=self.generated_rows)
        bank = FaceBank.open(self.bank)
        return PairExamples(bank, self.rows, self.options, self.seed, generated)


def _shows_only(shown: NDArray[np.int64], rows: Collection[int]) -> NDArray[np.bool_]:
    """Tell of each pair `[N, 2]` whether it shows no other faces than these."""
    allowed = np.array(sorted({*rows, -1}), np.int64)
    return np.asarray(np.isin(shown, allowed).all(axis=1))


def render(
    source: PairSource,
    *,
    count: int,
    folder: Path,
    console: Console,
    processes: int | None = None,
) -> None:
    """Make the first `count` examples and write them down, unless that was done."""
    if (folder / "pairs.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    processes = processes or len(os.sched_getaffinity(0))
    starts = range(0, count, _CHUNK)
    numbers: list[list[int]] = []
    side_px = 0
    with (
        (folder / "real.bin").open("wb") as real,
        (folder / "fake.bin").open("wb") as fake,
        (folder / "mask.bin").open("wb") as mask,
        ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(source,),
        ) as pool,
    ):
        chunks = pool.map(_chunk, ((s, min(s + _CHUNK, count)) for s in starts))
        for chunk in track(chunks, "making pairs", total=len(starts), console=console):
            for example in chunk:
                picture = np.asarray(example["real"], np.uint8)
                side_px = picture.shape[0]
                real.write(picture.tobytes())
                fake.write(np.asarray(example["fake"], np.uint8).tobytes())
                mask.write(np.asarray(example["mask"], np.uint8).tobytes())
                numbers.append([int(example[name]) for name in _NUMBERS])
    np.save(folder / "numbers.npy", np.array(numbers, np.int64))
    partial = folder / "pairs.json.partial"
    partial.write_text(json.dumps({"count": count, "side_px": side_px}), encoding="utf-8")
    partial.replace(folder / "pairs.json")


_examples: PairExamples | None = None


def _start(source: PairSource) -> None:
    global _examples  # noqa: PLW0603 - a process of the pool has one, made when it starts
    start_worker(0)
    _examples = source.examples()


def _chunk(bounds: tuple[int, int]) -> list[Example]:
    assert _examples is not None
    return [_examples[i] for i in range(*bounds)]
