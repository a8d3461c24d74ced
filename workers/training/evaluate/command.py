"""
How good are the networks, on a data set, beside everything they must beat?

Puts the parts together: a bank of faces, the networks and the baselines, their figures, the
controls, the changed clips, the masks; then a table, a JSON file and pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from app.settings import Settings
from app.version import code_version
from workers.kit import build_registry
from workers.training.bank import FaceBank, open_or_build
from workers.training.calibrate import calibrate
from workers.training.errors import BadDataset
from workers.training.evaluate import (
    baselines,
    controls,
    lrnet,
    metrics,
    pixels,
    plots,
    report,
    robustness,
)
from workers.training.evaluate.kept import kept
from workers.training.evaluate.scores import (
    ClipScore,
    Network,
    View,
    clip_rows,
    clip_scores,
    columns,
    compare,
    judges,
    load_network,
    look_logits,
    score_record,
    served,
    summary,
    with_sharpness,
)
from workers.training.evaluate.videos import VideoFile, look_at
from workers.training.manifest import DataManifest, read_manifest
from workers.training.teachers import Teacher

SEED = 0
FALSE_POSITIVE_RATE = 0.05
RECOMPRESSED = "H.264 CRF 28"
METADATA, LRNET = "metadata only", "LRNet"
FIGURES, SCORES = "report.json", "scores"


def evaluate(
    manifest: Path,
    *,
    bank: Path | None,
    models: Sequence[str],
    out: Path,
    split: str,
    console: Console,
    weights: Path | None = None,
    grid: bool = False,
) -> dict[str, Any]:
    """
    Evaluate networks and write what was found into a folder.

    Args:
        manifest: of the data.
        bank: folder of its face bank; `out / "bank"` unless given. Made where there is none.
        models: names in the manifest of models, or paths of ONNX files; where none is given, all
            of the manifest that are in place and judge faces. The first is the one that everything
            else is compared with.
        out: gets `report.json`, the scores of each network's clips, and PNG pictures.
        split: of the data manifest, or "all".
        weights: folder with the originals of published networks; those that are in it are
            baselines.
        grid: whether to score changed clips as well, which takes minutes.

    Returns:
        What was written as JSON.

    Raises:
        BadDataset: the data cannot be measured with.
        ModelUnavailable: a network is not there, or is not what was pinned.
    """
    data = read_manifest(manifest)
    folder = bank or out / "bank"
    faces = open_or_build(data, folder, console=console)
    asked = _Asked(faces, clip_rows(faces, split), folder / "answers", data, console)
    registry = build_registry(Settings())
    networks = [load_network(name, registry) for name in models] if models else judges(registry)
    published = baselines.published_networks(weights) if weights else []

    scored: dict[str, list[ClipScore]] = {n.name: asked.scores(n) for n in networks}
    clips = scored[networks[0].name] if networks else asked.scores_of_nothing()
    metadata = baselines.metadata_only(clips, asked.files())
    scored["chance"] = baselines.chance(clips, seed=SEED)
    if metadata:
        scored[METADATA] = metadata
    scored |= baselines.softness(faces, asked.rows)
    scored |= {n.name: asked.scores(n) for n in published}
    if weights and all((weights / file).is_file() for file in (*lrnet.FILES, lrnet.MESH)):
        scored[LRNET] = asked.lrnet_scores(weights, clips)
    sharper = {s.clip: s.sharper_by for s in with_sharpness(faces, clips)}
    scored = {
        name: [replace(s, sharper_by=sharper[s.clip]) for s in scores]
        for name, scores in scored.items()
    }

    changed = asked.changed(networks, robustness.CONDITIONS if grid else (RECOMPRESSED,))
    document = {
        "code": code_version(),
        "seed": SEED,
        "bootstrap_draws": metrics.DRAWS,
        "manifest_sha256": data.sha256,
        "split": split,
        "clips": len(clips),
        "fakes": sum(s.is_fake for s in clips),
        "reals": sum(not s.is_fake for s in clips),
        "groups": len({s.group for s in clips}),
        "models": [n.name for n in networks],
        "sha256": {n.name: n.sha256 for n in (*networks, *published)},
        "scored": {name: summary(scores, seed=SEED) for name, scores in scored.items()},
        "ahead": {
            name: compare(scored[networks[0].name], scores, seed=SEED)
            for name, scores in scored.items()
            if networks and name != networks[0].name and scores
        },
        "calibration": {n.name: _calibration(scored[n.name]) for n in networks},
        "sources": {n.name: real_sources(scored[n.name]) for n in networks},
        "controls": {
            n.name: {
                name: control.record()
                for name, control in asked.controls(n, scored, changed[n.name]).items()
            }
            for n in networks
        },
        "robustness": {n.name: robustness.figures(changed[n.name]) for n in networks}
        if grid
        else {},
        "pixels": _pixels(asked, networks, published),
    }
    _write(out, document, scored)
    report.show(document, console)
    console.print(f"written to {out}", highlight=False)
    return document


def real_sources(scores: Sequence[ClipScore]) -> dict[str, Any]:
    """Return false positives by data set of the real clips, at one threshold for all."""
    logits, is_fake, _ = columns(scores)
    threshold = metrics.threshold_for(logits[~is_fake], FALSE_POSITIVE_RATE)
    by_source: dict[str, list[float]] = {}
    for score in scores:
        if not score.is_fake:
            by_source.setdefault(score.dataset or score.method, []).append(score.logit)
    return {
        "threshold": threshold,
        "words": f"The threshold that gives {FALSE_POSITIVE_RATE:.0%} false positives here.",
        "by_source": {
            source: {
                "false_positives": asdict(metrics.counted(np.array(values) >= threshold)),
                "median_logit": float(np.median(values)),
            }
            for source, values in sorted(by_source.items())
        },
    }


class _Asked:
    """What is asked of one split of one bank, and what is known of it from before."""

    def __init__(
        self,
        bank: FaceBank,
        rows: tuple[int, ...],
        answers: Path,
        data: DataManifest,
        console: Console,
    ) -> None:
        self.bank = bank
        self.rows = rows
        self._answers = answers
        self._data = data
        self._console = console
        self._about = (bank.manifest_sha256, repr(bank.rows), ",".join(map(str, rows)))

    def scores(self, network: Network, view: View = served) -> list[ClipScore]:
        """Score every clip."""

        def ask() -> dict[str, float]:
            self._console.print(f"asking {network.name} ({view.__name__})", highlight=False)
            logits = look_logits(self.bank, network.logits, self.rows, view=view)
            return {str(row): float(x) for row, x in zip(self.rows, logits, strict=True)}

        about = (*self._about, network.sha256, view.__name__)
        by_row = kept(self._answers, f"looks {view.__name__}", about, ask)
        return clip_scores(self.bank, self.rows, np.array([by_row[str(r)] for r in self.rows]))

    def scores_of_nothing(self) -> list[ClipScore]:
        """Give every clip the same score: where there is no network to judge."""
        return clip_scores(self.bank, self.rows, np.zeros(len(self.rows)))

    def files(self) -> dict[str, VideoFile]:
        """Read the header of every video, by clip."""

        def look() -> dict[str, dict[str, Any]]:
            found = {}
            for clip, path in track(
                self._videos().items(), "reading headers", console=self._console
            ):
                file = look_at(path)
                if file is not None:
                    found[clip] = asdict(file)
            return found

        by_clip = kept(self._answers, "files", self._about, look)
        return {clip: VideoFile(**values) for clip, values in by_clip.items()}

    def lrnet_scores(self, weights: Path, clips: Sequence[ClipScore]) -> list[ClipScore]:
        """Score the videos that a face can be followed in for long enough."""

        def follow() -> dict[str, float | None]:
            network = lrnet.LrNet(weights)
            mesh = Teacher((weights / lrnet.MESH).read_bytes())
            return {
                clip: lrnet.clip_probability(network, mesh, self.bank, clip, self._data.root)
                for clip in track(self._videos(), "following faces", console=self._console)
            }

        probabilities = kept(self._answers, LRNET, self._about, follow)
        return [
            replace(score, logit=lrnet.logit(p), frames=lrnet.BLOCK)
            for score in clips
            if (p := probabilities.get(score.clip)) is not None
        ]

    def changed(
        self, networks: Sequence[Network], conditions: Sequence[str]
    ) -> Mapping[str, Mapping[str, Sequence[ClipScore]]]:
        """Score changed clips, by network and condition."""
        return robustness.grid(
            self.bank,
            networks,
            self.rows,
            self._data.root,
            conditions=conditions,
            seed=SEED,
            console=self._console,
        )

    def controls(
        self,
        network: Network,
        scored: Mapping[str, Sequence[ClipScore]],
        changed: Mapping[str, Sequence[ClipScore]],
    ) -> dict[str, controls.Control]:
        """Run every control on one network."""
        found = {
            "face blacked out": controls.of_scores(
                self.scores(network, controls.without_face), "the crop without its face"
            )
        }
        if METADATA in scored:
            found[METADATA] = controls.of_scores(
                scored[METADATA], "size, rate, bitrate, codec and length; no picture at all"
            )
        found["labels shuffled"] = controls.shuffled_labels(scored[network.name], seed=SEED)
        found["reals recompressed"] = controls.recompressed_reals(
            changed[robustness.UNTOUCHED], changed[RECOMPRESSED], seed=SEED
        )
        return found

    def _videos(self) -> dict[str, Path]:
        return {
            face.clip: self._data.root / face.path
            for face in (self.bank.rows[row] for row in self.rows)
            if face.kind == "video"
        }


def _calibration(scores: Sequence[ClipScore]) -> dict[str, Any] | None:
    """Fit a line on these very clips; None where they are too few."""
    try:
        return calibrate(scores, seed=SEED).model_dump()
    except BadDataset:
        return None


def _pixels(
    asked: _Asked, networks: Sequence[Network], published: Sequence[Network]
) -> dict[str, Any] | None:
    """Compare masks, where one of the networks that are judged marks pixels."""
    if not any(n.has_masks for n in networks):
        return None
    markers = {n.name: pixels.by_network(n) for n in (*networks, *published) if n.has_masks}
    return pixels.figures(asked.bank, asked.rows, markers, seed=SEED)


def _write(
    out: Path, document: Mapping[str, Any], scored: Mapping[str, Sequence[ClipScore]]
) -> None:
    (out / SCORES).mkdir(parents=True, exist_ok=True)
    report.write_json(out / FIGURES, document)
    for name, scores in scored.items():
        records = {"name": name, "scores": [score_record(s) for s in scores]}
        report.write_json(out / SCORES / f"{_file_name(name)}.json", records)
    plots.draw_roc(out / "roc.png", scored, seed=SEED)
    judged = {name: scored[name] for name in document["models"]}
    plots.draw_reliability(out / "reliability.png", judged)
    for name, scores in judged.items():
        words = _file_name(name)
        methods = document["scored"][name]["methods"]
        plots.draw_methods(out / f"methods-{words}.png", name, methods)
        plots.draw_histogram(out / f"scores-{words}.png", name, scores)


def _file_name(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name).split())
