"""
How do forgers become a data set? Their people's real clips, swapped, each beside its own original.

Every forger swaps the clips of its two people, both ways, under several random compositings. The
result is a data manifest like any other: real clips, and fakes with the clip they were made from
and the exact mask of what was changed. A fake was compressed once more than what a camera gave; so
its real clip is written as it was, frame by frame, or compression is what would be learned. All
whom a forger connects have one group, and lie in one split: a swapped face is of both.

Clips are made one by one, and one counts from when all of its files are in place, so that a run
that was killed goes on with the next.
"""

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.errors import RejectedMedia
from models.nets.forger import IDENTITIES, Identity
from workers.training.errors import BadDataset
from workers.training.forging.runs import load_forger, read_record
from workers.training.index import Joins
from workers.training.manifest import (
    AND,
    DataManifest,
    Row,
    Split,
    examine,
    make_manifest,
    people_of,
    read_manifest,
    write_manifest,
)
from workers.training.progress import LINE_EVERY_S
from workers.training.recipe import Positive, Section, Share
from workers.training.swapping.choices import Compositing, draw
from workers.training.swapping.video import (
    MASK_SUFFIX,
    RECORD_SUFFIX,
    copy_video,
    swap_video,
)
from workers.training.swapping.video import read_record as read_swap_record

MANIFEST_FILE = "manifest.csv"
REALS, FAKES, BEGUN = "real", "fake", "begun"
VIDEO_SUFFIX = ".mp4"
_WRITTEN = (MASK_SUFFIX, RECORD_SUFFIX, VIDEO_SUFFIX)
"""Of each fake, in the order in which they are put in place: the video last."""
METHOD = "forger-"
"""What stands before a forger's architecture in the method of its fakes."""
FAMILY = "faceswap"

_DIGITS = 10
"""Of a digest, in names of files."""

Told = Callable[[int, int], None]
"""Told how many clips are done, and of how many."""


class GenerateOptions(Section):
    """How much is made, and by which forgers."""

    seed: int = 0
    compositions: Positive = 2
    """Of each clip, in each direction, each with choices of its own."""
    most_frames: Positive = 150
    """Of a clip, from its start."""
    directions: Annotated[tuple[Identity, ...], Field(min_length=1)] = IDENTITIES
    """To whose face the other's clips are swapped."""
    architectures: tuple[str, ...] = ()
    """Forgers of other architectures are left out; none unless any is named."""
    reals: Literal["recompressed", "original"] = "recompressed"
    """Whether each fake stands beside its source's frames as compressed as it is, or beside the
    source's own bytes."""
    least_identity: Share = 0.5
    """Of the held-out faces a forger swaps, those that must look more like the one than like the
    other; below, it is left out. Not asked where it could not be measured."""
    least_ssim: Share = 0.0
    """Of a held-out face and what the forger makes of it, for the same person."""
    least_swapped: Share = 0.8
    """Of a clip's frames; a fake that is mostly real teaches the wrong thing, and is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forger:
    """A finished forger, and which real clips of the manifest show its two people."""

    folder: Path
    sha256: str  # of its network
    architecture: str
    measures: Mapping[str, float]  # of its last validation; empty where there was none
    people: Mapping[Identity, tuple[Row, ...]]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Real clips of both."""
        return (*self.people["a"], *self.people["b"])

    @property
    def split(self) -> Split:
        """Where both people lie."""
        return self.rows[0].split


class Swap(Protocol):
    """Whatever makes a swapped clip: `swapping.video.swap_video`, or what a test has for it."""

    def __call__(
        self,
        source: Path,
        maker: Any,  # noqa: ANN401 - what `Load` gave
        to: Identity,
        out: Path,
        choices: Any,  # noqa: ANN401 - a `Compositing`
        *,
        seed: int,
        max_frames: int | None,
        console: Console,
    ) -> object:
        """Write `out`, its mask and its record beside it."""
        ...


class Copy(Protocol):
    """Whatever writes a clip with nothing swapped: `swapping.video.copy_video`, or a test's own."""

    def __call__(
        self, source: Path, out: Path, *, crf: int, preset: str, max_frames: int | None
    ) -> None:
        """Write `out`."""
        ...


Load = Callable[[Path], Any]
"""Loads the forger of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What clips are made with."""

    load: Load = load_forger
    swap: Swap = swap_video
    copy: Copy = copy_video


def generate(
    forgers: Sequence[Path],
    manifest: Path,
    out: Path,
    options: GenerateOptions,
    *,
    console: Console,
    root: Path | None = None,
    told: Told | None = None,
    tools: Tools | None = None,
) -> DataManifest:
    """
    Make a data set of the swaps of forgers.

    Args:
        forgers: folders of finished runs of `deepverdict train forger`.
        manifest: of the data that the forgers' people are from; says who lies in which split.
        out: gets `manifest.csv`, the clips with their masks and records, and the real ones.
        root: where the data's clips are; where the manifest says unless given.
        told: of every clip.
        tools: instead of the real ones.

    Returns:
        What was written as `manifest.csv`.

    Raises:
        BadDataset: a forger's people are not in the manifest, lie in two splits, no forger is good
            enough, or no clip could be made.
        BadCheckpoint: a folder holds no finished forger.
    """
    started_s = time.monotonic()
    data = read_manifest(manifest, root=root)
    chosen = _good_enough(
        [forger_of(folder, data, manifest) for folder in forgers], options, console
    )
    _check_sources(chosen, data)
    plan = [
        _Clip(forger=forger, source=source, to=to, number=number, options=options)
        for forger in chosen
        for to in options.directions
        for source in forger.people[_other(to)]
        for number in range(options.compositions)
    ]
    maker = _Maker(data.root, out, tools or Tools())
    group_of = _joined(chosen)
    rows: dict[str, Row] = {}
    left = Counter[str]()
    for clip, reason in maker.made(plan, console, told):
        if reason:
            left[reason] += 1
        else:
            pair = _rows(clip, group_of[clip.source.group], out)
            rows |= {row.path: row for row in pair}
    shutil.rmtree(out / BEGUN, ignore_errors=True)
    for reason, clips in left.most_common():
        console.print(f"{clips} clips were left out: {reason}", highlight=False, soft_wrap=True)
    if not rows:
        raise BadDataset(
            f"none of {len(plan)} clips could be made ({'; '.join(left)}); look at the forgers' "
            "previews and at the clips"
        )
    made = make_manifest(
        rows.values(), root=out, layout="generated", seed=options.seed, shares=data.shares
    )
    write_manifest(out / MANIFEST_FILE, made)
    fakes = sum(row.label == "fake" for row in made.rows)
    console.print(
        f"{fakes} fakes beside {len(made.rows) - fakes} real clips by {len(chosen)} forgers, "
        f"{maker.new} of them new, in {time.monotonic() - started_s:.0f} s: {out / MANIFEST_FILE}",
        highlight=False,
        soft_wrap=True,
    )
    return made


def forger_of(folder: Path, data: DataManifest, manifest: Path) -> Forger:
    """
    Read who a forger's people are, by the bytes that it learned from.

    Raises:
        BadRecipe: the folder holds no finished forger.
        BadDataset: one of them is not in the manifest, or they lie in two splits.
    """
    record = read_record(folder)
    real = {row.sha256: row for row in data.rows if row.label == "real" and row.kind == "video"}
    people: dict[Identity, tuple[Row, ...]] = {}
    for who in IDENTITIES:
        sources = record.a if who == "a" else record.b
        found = {row.sha256: row for s in sources if (row := real.get(s.sha256)) is not None}
        if len(found) < len({source.sha256 for source in sources}):
            strange = [source.name for source in sources if source.sha256 not in found]
            raise BadDataset(
                f"the forger {folder} learned {who} from {', '.join(strange[:3])}, which is no "
                f"real clip of {manifest}: nobody knows in which split {who} lies. Index the data "
                "with it, or train the forger on clips of the manifest"
            )
        people[who] = tuple(found.values())
    forger = Forger(
        folder=folder,
        sha256=record.network_sha256,
        architecture=record.architecture,
        measures=record.measures,
        people=people,
    )
    splits = {row.split for row in forger.rows}
    if len(splits) > 1:
        told = "; ".join(
            f"{who} ({', '.join(sorted({row.group for row in people[who]}))}) in "
            f"{', '.join(sorted({row.split for row in people[who]}))}"
            for who in IDENTITIES
        )
        raise BadDataset(
            f"the people of the forger {folder} lie in different splits: {told}. A swapped face is "
            "of both, so whoever is trained on would be tested on; pair people of one split"
        )
    return forger


def _good_enough(
    forgers: Sequence[Forger], options: GenerateOptions, console: Console
) -> list[Forger]:
    kept, reasons = [], []
    for forger in forgers:
        why = _why_not(forger, options)
        if why:
            reasons.append(f"{forger.folder}: {why}")
            console.print(f"left out: {reasons[-1]}", highlight=False, soft_wrap=True)
        else:
            kept.append(forger)
    if not kept:
        raise BadDataset(
            f"none of {len(forgers)} forgers is good enough to make fakes: {'; '.join(reasons)}. "
            "Train them for longer or on more faces, or lower generate.least_identity and "
            "generate.least_ssim"
        )
    return kept


def _why_not(forger: Forger, options: GenerateOptions) -> str:
    """Say why a forger is not used; nothing where it is."""
    if options.architectures and forger.architecture not in options.architectures:
        return f"its architecture is {forger.architecture}"
    limits = {
        "identity_ab": options.least_identity,
        "identity_ba": options.least_identity,
        "ssim_a": options.least_ssim,
        "ssim_b": options.least_ssim,
    }
    low = [
        f"{name} is {forger.measures[name]:.2f}, below {least:g}"
        for name, least in limits.items()
        # What is not a number is as bad as what is too low.
        if name in forger.measures and not forger.measures[name] >= least
    ]
    return ", ".join(low)


def _joined(forgers: Sequence[Forger]) -> dict[str, str]:
    """Return the new group of each group that a forger has a part of."""
    join = Joins()
    for forger in forgers:
        for row in forger.rows:
            join.one(forger.rows[0].group, row.group)
    together: dict[str, set[str]] = {}
    for group in {row.group for forger in forgers for row in forger.rows}:
        together.setdefault(join.root_of(group), set()).add(group)
    return {
        group: AND.join(sorted(set().union(*map(people_of, groups))))
        for groups in together.values()
        for group in groups
    }


def _check_sources(forgers: Sequence[Forger], data: DataManifest) -> None:
    """Raise BadDataset where a real clip is not the one that was listed."""
    for row in {row.sha256: row for forger in forgers for row in forger.rows}.values():
        found, wrong = examine(data.root / row.path, "video")
        if found != row.sha256:
            raise BadDataset(
                f"{data.root / row.path} is not the file that was indexed "
                f"({wrong or f'sha256:{found}'}); restore it, or index the data anew"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clip:
    """One fake that is to be made."""

    forger: Forger
    source: Row
    to: Identity
    number: int
    options: GenerateOptions

    @property
    def digest(self) -> str:
        """Of all that its pixels depend on: so another one has another name, and another seed."""
        parts = (
            self.forger.sha256,
            self.source.sha256,
            self.to,
            str(self.number),
            str(self.options.seed),
            str(self.options.most_frames),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def seed(self) -> int:
        """Of its compositing."""
        return int(self.digest[:12], 16)

    @property
    def choices(self) -> Compositing:
        """How the face is laid in, and how both clips are compressed."""
        return draw(self.seed)

    @property
    def real_file(self) -> str:
        """Path of the real clip beside it, under the data set's folder."""
        source = Path(self.source.path)
        if self.options.reals == "original":
            return f"{REALS}/{source.stem}-{self.source.sha256[:_DIGITS]}{source.suffix}"
        return f"{REALS}/{source.stem}-{self.digest[:_DIGITS]}{VIDEO_SUFFIX}"

    def file(self, suffix: str) -> str:
        """Name one of its own files, likewise."""
        stem = Path(self.source.path).stem
        return f"{FAKES}/{stem}-to-{self.to}-{self.digest[:_DIGITS]}{suffix}"


class _Maker:
    """Makes clips that are not in place; a forger is loaded when its first clip is."""

    def __init__(self, root: Path, out: Path, tools: Tools) -> None:
        self._root, self._out, self._tools = root, out, tools
        self._loaded: tuple[Path, Any] | None = None
        self.new = 0

    def made(
        self, plan: Sequence[_Clip], console: Console, told: Told | None
    ) -> Iterator[tuple[_Clip, str]]:
        """Make every clip; give each with the reason for which it is left out, or nothing."""
        said_s = time.monotonic()
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        with bar:
            row = bar.add_task("swapping clips", total=len(plan))
            for done, clip in enumerate(plan, 1):
                yield clip, self._make(clip)
                bar.advance(row)
                if told is not None:
                    told(done, len(plan))
                if bar.disable and time.monotonic() - said_s >= LINE_EVERY_S:
                    said_s = time.monotonic()
                    console.print(f"{done} of {len(plan)} clips", highlight=False)

    def _make(self, clip: _Clip) -> str:
        try:
            if not all((self._out / clip.file(suffix)).is_file() for suffix in _WRITTEN):
                self._swap_clip(clip)
                self.new += 1
            record = read_swap_record(self._out / clip.file(VIDEO_SUFFIX))
            least = clip.options.least_swapped
            if len(record.swapped) < least * record.frames:
                return f"the face was swapped in less than {least:.0%} of the frames"
            if not (self._out / clip.real_file).is_file():
                self._copy_real(clip)
        except (RejectedMedia, BadDataset) as why:
            return str(why)
        return ""

    def _swap_clip(self, clip: _Clip) -> None:
        forger = clip.forger.folder
        if self._loaded is None or self._loaded[0] != forger:
            self._loaded = (forger, self._tools.load(forger))
        begun = self._begun()
        self._tools.swap(
            self._root / clip.source.path,
            self._loaded[1],
            clip.to,
            begun / Path(clip.file(VIDEO_SUFFIX)).name,
            clip.choices,
            seed=clip.seed,
            max_frames=clip.options.most_frames,
            console=Console(quiet=True),
        )
        for suffix in _WRITTEN:
            self._put(begun, clip.file(suffix))

    def _copy_real(self, clip: _Clip) -> None:
        begun = self._begun()
        source, target = self._root / clip.source.path, begun / Path(clip.real_file).name
        if clip.options.reals == "original":
            shutil.copyfile(source, target)
        else:
            self._tools.copy(
                source,
                target,
                crf=clip.choices.crf,
                preset=clip.choices.preset,
                max_frames=clip.options.most_frames,
            )
        self._put(begun, clip.real_file)

    def _begun(self) -> Path:
        """Empty the folder that files are in until they are whole."""
        begun = self._out / BEGUN
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        return begun

    def _put(self, begun: Path, file: str) -> None:
        target = self._out / file
        target.parent.mkdir(exist_ok=True)
        (begun / target.name).replace(target)


def _rows(clip: _Clip, group: str, out: Path) -> tuple[Row, Row]:
    """Describe a fake and the real clip beside it."""
    source = clip.source
    real = Row(
        path=clip.real_file,
        sha256=_hashed(out / clip.real_file),
        kind="video",
        clip=clip.real_file,
        label="real",
        method=source.method,
        family=source.family,
        group=group,
        dataset=source.dataset,
        quality=source.quality,
        split=source.split,
    )
    path = clip.file(VIDEO_SUFFIX)
    fake = replace(
        real,
        path=path,
        sha256=_hashed(out / path),
        clip=path,
        label="fake",
        method=METHOD + clip.forger.architecture,
        family=FAMILY,
        pair=real.clip,
        mask=clip.file(MASK_SUFFIX),
    )
    return real, fake


def _hashed(path: Path) -> str:
    sha256, wrong = examine(path, "video")
    if wrong is not None:
        raise BadDataset(f"{path}: {wrong}; remove it, and it is made anew")
    return sha256


def _other(who: Identity) -> Identity:
    return "b" if who == "a" else "a"
