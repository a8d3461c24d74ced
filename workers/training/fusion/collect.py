"""
What does the service find in every clip of a data set? It is asked, and what it says is kept.

Nothing of the analysis is done here: the analyzer that serves is run on each file. Where networks
of folds are given, each clip is judged by those that never saw its group.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import track

from app.settings import Settings
from app.version import code_version
from workers.detection import detectors
from workers.kit import __file__ as kit
from workers.training.errors import BadDataset
from workers.training.fusion import examine
from workers.training.fusion.evidence import (
    EVIDENCE,
    ClipEvidence,
    of_row,
    read_begun,
    to_json,
    write_evidence,
)
from workers.training.fusion.examine import Judge, Task
from workers.training.fusion.networks import (
    FoldFiles,
    beside_pulled,
    fold_versions,
    read_folds,
)
from workers.training.manifest import DataManifest, Row, folds, read_manifest

NETWORKS = "networks"
DETECTORS = "detectors"
DIGITS = 12
LOG_LEVEL = "ERROR"


def collect(
    manifest: Path,
    out: Path,
    *,
    classifiers: Path | None,
    splits: Sequence[str],
    processes: int,
    console: Console,
) -> list[ClipEvidence]:
    """
    Examine every labelled video of a manifest, and keep what was found.

    A clip that was examined before, as the same bytes by the same networks and detectors, is not
    examined again.

    Args:
        out: gets `evidence.jsonl`, and the networks of folds.
        classifiers: file that says which network judges which fold; without it those that came
            along judge.
        splits: that are examined; all of them where none is given.

    Returns:
        The evidence on each clip, by path.

    Raises:
        BadDataset: there is nothing to examine, or the file of folds cannot be used.
        ModelUnavailable: a network is missing, or is not what was pinned.
        SandboxUnavailable: the decoder cannot be jailed.
    """
    data = read_manifest(manifest)
    rows = [r for r in data.rows if r.kind == "video" and (not splits or r.split in splits)]
    if not rows:
        raise BadDataset(f"{manifest} lists no video of {', '.join(splits) or 'any split'}")
    files = read_folds(classifiers) if classifiers else {}
    out.mkdir(parents=True, exist_ok=True)
    judges = _judges(files, Settings(), out / NETWORKS)
    examine.prepare(judges)
    tasks = _tasks(data, rows, files, judges)

    begun = {clip.path: clip for clip in read_begun(out)}
    done = [begun[t.about.path] for t in tasks if _is_done(begun.get(t.about.path), t.about)]
    known = {clip.path for clip in done}
    left = [task for task in tasks if task.about.path not in known]
    if done:
        console.print(f"{len(done)} of {len(tasks)} clips were examined before", highlight=False)
    write_evidence(out, done)
    with (out / EVIDENCE).open("a", encoding="utf-8") as file:
        for clip in track(
            _examined(left, judges, processes),
            "examining clips",
            total=len(left),
            console=console,
        ):
            file.write(to_json(clip) + "\n")
            file.flush()
            done.append(clip)
    write_evidence(out, done)
    rejected = [clip for clip in done if clip.rejected]
    nobody = [clip for clip in done if not clip.rejected and not clip.persons]
    console.print(
        f"{len(done)} clips: {len(rejected)} rejected, {len(nobody)} without anybody to examine; "
        f"{out / EVIDENCE}",
        highlight=False,
        soft_wrap=True,
    )
    return sorted(done, key=lambda clip: clip.path)


def _judges(files: FoldFiles, settings: Settings, folder: Path) -> dict[int | None, Judge]:
    if not files:
        return {None: Judge(settings=settings)}
    placed = beside_pulled(settings, folder)
    count = len(next(iter(files.values())))
    return {
        fold: Judge(settings=placed, versions=fold_versions(files, fold, placed, folder))
        for fold in range(count)
    }


def _tasks(
    data: DataManifest,
    rows: Sequence[Row],
    files: FoldFiles,
    judges: Mapping[int | None, Judge],
) -> list[Task]:
    """List what is to be done, fold by fold, so that networks are loaded once."""
    fold_of: Mapping[str, int] = {}
    if files:
        # What the folds of training were dealt by; its module imports torch.
        from workers.training.tasks.classifier import FOLD_SEED  # noqa: PLC0415

        fold_of = folds(data, len(judges), FOLD_SEED)
    heard = {fold: _judged_by(fold) for fold in judges}
    tasks = [
        Task(
            about=of_row(
                row,
                manifest_sha256=data.sha256,
                judged_by=heard[fold_of.get(row.group)],
                code=code_version(),
            ),
            file=data.root / row.path,
            fold=fold_of.get(row.group),
        )
        for row in rows
    ]
    return sorted(tasks, key=lambda task: (-1 if task.fold is None else task.fold, task.about.path))


def _judged_by(fold: int | None) -> dict[str, str]:
    """
    Name what a clip is judged by: each network, and the detectors as they are written.

    The reference of real clips is not in it: what is kept are values, which it does not change.
    """
    condition = examine.analyzer_of(fold).condition()
    sources = sorted(Path(detectors.__path__[0]).glob("*.py"))
    digest = hashlib.sha256()
    for source in (*sources, Path(kit)):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return {**condition.models, DETECTORS: f"sha256:{digest.hexdigest()[:DIGITS]}"}


def _is_done(before: ClipEvidence | None, asked: ClipEvidence) -> bool:
    return (
        before is not None
        and before.sha256 == asked.sha256
        and before.judged_by == asked.judged_by
        and before.manifest_sha256 == asked.manifest_sha256
    )


def _examined(
    tasks: Sequence[Task], judges: Mapping[int | None, Judge], processes: int
) -> Iterator[ClipEvidence]:
    """Examine clips, here or in processes of their own, in the order in which they are done."""
    if processes == 1 or len(tasks) <= 1:
        yield from map(examine.examine, tasks)
        return
    with _pool(judges, processes) as pool:
        for future in as_completed([pool.submit(examine.examine, task) for task in tasks]):
            yield future.result()


@contextmanager
def _pool(judges: Mapping[int | None, Judge], processes: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes that end with this one; what is not begun yet is dropped where it breaks."""
    pool = ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),  # the networks' threads do not survive a fork
        initializer=examine.start,
        initargs=(dict(judges), LOG_LEVEL),
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
