"""How do the figures of an evaluation look? PNG pictures of what the tables say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workers.detection.detectors import aggregation
from workers.training.evaluate import metrics
from workers.training.evaluate.scores import COVERED, ClipScore, columns

DPI = 110
REAL_COLOUR, FAKE_COLOUR = "#2f6f9f", "#c4532d"
COVERED_COLOUR, NOT_COVERED_COLOUR = "#2f6f9f", "#b0b0b0"


def draw_roc(path: Path, by_name: Mapping[str, Sequence[ClipScore]], *, seed: int = 0) -> None:
    """Draw the ROC of each; the first with the band of its interval."""
    figure, axes = _figure(6.4, 6.0)
    for at, (name, scores) in enumerate(by_name.items()):
        logits, is_fake, groups = columns(scores)
        grid, (value, low, high) = metrics.roc(logits, is_fake, groups, seed=seed)
        words = f"{name}: {metrics.auc(logits, is_fake):.3f}"
        (line,) = axes.plot(grid, value, label=words, linewidth=2.2 if at == 0 else 1.1)
        if at == 0:
            axes.fill_between(grid, low, high, alpha=0.18, color=line.get_color(), linewidth=0)
    axes.plot([0, 1], [0, 1], linestyle=":", color="black", linewidth=1)
    axes.set(xlabel="real clips called manipulated", ylabel="fakes found", xlim=(0, 1),
             ylim=(0, 1.01), title="ROC per clip (AUC; band: 95 % over groups)")  # fmt: skip
    axes.legend(loc="lower right", fontsize=8)
    _save(figure, path)


def draw_reliability(path: Path, by_name: Mapping[str, Sequence[ClipScore]]) -> None:
    """Draw how often clips of a probability are manipulated."""
    figure, axes = _figure(6.0, 6.0)
    axes.plot([0, 1], [0, 1], linestyle=":", color="black", linewidth=1)
    for name, scores in by_name.items():
        logits, is_fake, _ = columns(scores)
        bins = metrics.reliability(aggregation.probability(logits), is_fake)
        if not bins:
            continue
        said, share, low, high = (np.array(each) for each in zip(*bins, strict=True))
        error = np.stack([share - low, high - share]).clip(min=0)
        axes.errorbar(said, share, yerr=error, marker="o", capsize=3, linewidth=1.2, label=name)
    axes.set(
        xlabel="probability that was given",
        ylabel="share of fakes, at even odds",
        xlim=(0, 1),
        ylim=(0, 1),
        title="Reliability (10 bins of equally many clips)",
    )
    axes.legend(loc="upper left", fontsize=8)
    _save(figure, path)


def draw_methods(path: Path, name: str, methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw the AUC of each method with its interval; grey ones are not covered."""
    ordered = sorted(methods, key=lambda m: methods[m]["auc"]["value"])
    figure, axes = _figure(7.4, 1.6 + 0.34 * len(ordered))
    values = np.array([methods[m]["auc"]["value"] for m in ordered])
    low = np.array([methods[m]["auc"]["low"] for m in ordered])
    high = np.array([methods[m]["auc"]["high"] for m in ordered])
    colours = [
        COVERED_COLOUR if methods[m]["coverage"] == COVERED else NOT_COVERED_COLOUR for m in ordered
    ]
    words = [f"{m} ({methods[m]['auc']['n_fake']})" for m in ordered]
    error = np.nan_to_num(np.stack([values - low, high - values])).clip(min=0)
    axes.barh(words, values, xerr=error, color=colours, capsize=3)
    axes.axvline(0.5, linestyle=":", color="black", linewidth=1)
    axes.set(xlim=(0, 1), xlabel="AUC against all real clips (95 % over groups)",
             title=f"{name} by method; grey: not covered, or too few")  # fmt: skip
    _save(figure, path)


def draw_histogram(path: Path, name: str, scores: Sequence[ClipScore]) -> None:
    """Draw how the scores of real clips and of fakes are spread."""
    logits, is_fake, _ = columns(scores)
    figure, axes = _figure(7.0, 4.2)
    edges = np.linspace(min(logits.min(), -1), max(logits.max(), 1), 31)
    for label, chosen, colour in (
        ("real", ~is_fake, REAL_COLOUR),
        ("fake", is_fake, FAKE_COLOUR),
    ):
        axes.hist(logits[chosen], bins=edges.tolist(), alpha=0.6, color=colour,
                  label=f"{label} ({int(chosen.sum())})")  # fmt: skip
    axes.set(xlabel="log odds of the clip", ylabel="clips", title=f"{name}: scores by label")
    axes.legend()
    _save(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    # Not by way of pyplot, which keeps every figure and asks for a screen.
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
