"""How is a file judged on the spot, with no database and no broker? The same analysis, in here."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.clock import utc_now
from app.domain.evidence import ArtifactKind
from app.domain.job import Actor, JobError
from app.domain.job import Progress as JobProgress
from app.domain.policy import CURRENT, PointName
from app.domain.report import ArtifactFacts, Judged
from app.domain.verdict import decide
from app.domain.words import Language
from app.errors import RejectedMedia
from app.report.content import Subject, report_on
from app.report.formats import ReportFormat, written
from app.settings import Settings
from app.views import ScanView
from workers.detection.analyze import Examined
from workers.kit import build_analyzer


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What came of one file."""

    view: ScanView
    pictures: Path | None  # the folder they were written to
    judged: Judged | None = None  # None for a file that was rejected
    pngs: Mapping[str, bytes] = field(default_factory=dict)  # of its pictures, by id

    def write_report(self, path: Path, *, language: Language) -> None:
        """Write what was found to a file, in the form that its name ends with."""
        assert self.judged is not None, "a file that was rejected has no report"
        subject = Subject(file_name=Path(self.view.file).name, made_at=utc_now())
        report = report_on(subject, self.judged, language=language, link=_nowhere)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(report, form_of(path), self.pngs))


class Scanner:
    """
    Judges files one after the other with networks that are loaded once.

    Args:
        console: where a progress bar is drawn; None draws none.
        operating_point: by whose lines; the policy's own where None.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        console: Console | None,
        operating_point: PointName | None = None,
    ) -> None:
        self._analyzer = build_analyzer(settings)
        self._operating_point = operating_point
        self._console = console
        self._folders: set[Path] = set()

    def scan(self, file: Path, out: Path | None) -> Scanned:
        """Judge `file`; write its masks and an overview picture into a folder under `out`."""
        try:
            examined = self._examine(file, with_sheet=out is not None)
        except RejectedMedia as why:
            error = JobError(code=why.code.value, detail=str(why), actor=Actor.CLIENT)
            return Scanned(view=ScanView.of_rejected(str(file), error), pictures=None)
        analysis = examined.analysis
        verdict = decide(
            analysis.persons,
            analysis.video,
            analysis.abstentions,
            CURRENT,
            self._operating_point,
        )
        judged = Judged.of(analysis, verdict)
        pngs = {a.id: a.png for a in analysis.artifacts}
        if out is None:
            return Scanned(
                view=ScanView.of_judged(str(file), judged), pictures=None, judged=judged, pngs=pngs
            )
        folder = self._fresh(out, file.stem)
        masks = _write_pictures(folder, examined)
        return Scanned(
            view=ScanView.of_judged(str(file), judged, masks),
            pictures=folder,
            judged=judged,
            pngs=pngs,
        )

    def _examine(self, file: Path, *, with_sheet: bool) -> Examined:
        path = file.resolve()  # a link of the user's own is his to follow
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, console=self._console, transient=True, disable=self._console is None
        ) as bar:
            task = bar.add_task(file.name, total=1.0, stage="")

            def report(progress: JobProgress) -> None:
                stage = progress.stage.value.replace("_", " ")
                bar.update(task, completed=progress.fraction, stage=stage)

            sha256, size_bytes = digest.hexdigest(), path.stat().st_size
            if with_sheet:
                return self._analyzer.analyze_with_sheet(
                    path, sha256=sha256, size_bytes=size_bytes, report=report
                )
            analysis = self._analyzer.analyze(
                path, sha256=sha256, size_bytes=size_bytes, report=report
            )
            return Examined(analysis=analysis, sheet_png=None)

    def _fresh(self, out: Path, stem: str) -> Path:
        """Choose a folder that no other file of this run uses, whatever the files are called."""
        folder, number = out / stem, 1
        while folder in self._folders:
            number += 1
            folder = out / f"{stem}-{number}"
        self._folders.add(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def form_of(path: Path) -> ReportFormat:
    """
    Tell the form of a report by the end of its file's name.

    Raises:
        ValueError: it is none of those that there are.
    """
    return ReportFormat(path.suffix.lower().removeprefix("."))


def report_paths(path: Path, count: int) -> list[Path]:
    """Name the reports of so many files: as it was said for one, with numbers for several."""
    if count == 1:
        return [path]
    return [path.with_stem(f"{path.stem}-{n}") for n in range(1, count + 1)]


def _nowhere(_: ArtifactFacts) -> None:
    """Pictures of a scan are inside its report, and have no address."""


def _write_pictures(folder: Path, examined: Examined) -> list[str]:
    """Write every picture; return the paths of the masks."""
    masks = []
    for artifact in examined.analysis.artifacts:
        path = folder / f"{artifact.kind.value}-{artifact.id}.png"
        path.write_bytes(artifact.png)
        if artifact.kind is ArtifactKind.MASK:
            masks.append(str(path))
    if examined.sheet_png is not None:
        (folder / "overview.png").write_bytes(examined.sheet_png)
    return masks
