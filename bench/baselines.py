"""
How well do the installed networks tell real from manipulated clips, and how often are they wrong?

    python -m bench.baselines MEDIA_DIR [--keep results.jsonl]

MEDIA_DIR holds `videos.csv` with the columns file, label, method, family, group. Each clip goes
through the same code as `deepverdict scan`. Figures are per clip; intervals are 95 % by bootstrap
over groups (people or source videos), since clips of one group are not independent. Clips without
any finding are counted as not covered and left out of the AUC, never scored one half.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from app import log
from app.domain.policy import CURRENT
from app.settings import Settings
from workers.scan import Scanner

REPEATS = 2000
SEED = 0
err = Console(stderr=True)


def main() -> None:
    """Scan every listed clip that was not scanned yet, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("media", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("out/baselines.jsonl"))
    arguments = parser.parse_args()
    log.configure(fmt="console", level="WARNING")
    with (arguments.media / "videos.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    results = _scan_all(arguments.media, listed, arguments.keep)
    rows = [row | results[row["file"]] for row in listed]
    _print(rows)


def _scan_all(
    media: Path, listed: Sequence[dict[str, str]], keep: Path
) -> dict[str, dict[str, object]]:
    keep.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if keep.exists():
        done = {r["file"]: r for r in map(json.loads, keep.read_text().splitlines())}
    todo = [row["file"] for row in listed if row["file"] not in done]
    scanner = Scanner(Settings(), console=None)
    with keep.open("a") as file:
        for name in track(todo, description="scanning", console=err):
            view = json.loads(scanner.scan(media / name, None).view.to_json())
            verdict = view.get("verdict") or {}
            scores: dict[str, float] = {}
            measured: dict[str, float] = {}
            for person in view.get("persons", []):
                for evidence in person["evidence"]:
                    if finding := evidence.get("finding"):
                        detector = evidence["detector"]
                        value = _score(finding)
                        if value is not None:
                            scores[detector] = max(scores.get(detector, value), value)
                        measured.update(finding.get("measurements", {}) | measured)
            done[name] = {
                "file": name,
                "state": view["state"],
                "verdict_label": verdict.get("label"),
                "fake_probability": verdict.get("fake_probability"),
                "reason": (verdict.get("reasons") or [""])[0].split(":")[0],
                "detectors": scores,
                "measurements": measured,  # of the person longest on screen
                "seconds": view.get("timings", {}).get("total_s"),
            }
            file.write(json.dumps(done[name]) + "\n")
            file.flush()
    return done


def _score(finding: dict[str, Any]) -> float | None:
    """Tell what speaks for a manipulation: a probability, or how far a cue is off real clips."""
    cue = finding.get("cue") or {}
    value = finding.get("fake_probability")
    return cue.get("z", cue.get("value")) if value is None else float(value)


def auc(fake: NDArray[np.float64], real: NDArray[np.float64]) -> float:
    """Chance that a manipulated clip scores above a real one; ties count one half."""
    if not len(fake) or not len(real):
        return float("nan")
    above = (fake[:, None] > real[None, :]).mean()
    return float(above + 0.5 * (fake[:, None] == real[None, :]).mean())


def interval(
    values: NDArray[np.float64], is_fake: NDArray[np.bool_], groups: Sequence[str]
) -> tuple[float, float]:
    """Give the middle 95 % of the AUC when groups are drawn with replacement."""
    rng = np.random.default_rng(SEED)
    members = {g: np.flatnonzero(np.array(groups) == g) for g in sorted(set(groups))}
    names = list(members)
    drawn = []
    for _ in range(REPEATS):
        index = np.concatenate([members[names[i]] for i in rng.integers(0, len(names), len(names))])
        drawn.append(auc(values[index][is_fake[index]], values[index][~is_fake[index]]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _print(rows: list[dict[str, object]]) -> None:
    out = Console()
    table = Table("detector", "clips", "AUC", "95 %", title="Telling manipulated from real")
    detectors = sorted({d for r in rows for d in r["detectors"]})  # type: ignore[attr-defined]
    for detector in ["(verdict)", *detectors]:
        chosen = [(value, r) for r in rows if (value := _value(r, detector)) is not None]
        values = np.array([v for v, _ in chosen])
        is_fake = np.array([r["label"] == "fake" for _, r in chosen])
        groups = [str(r["group"]) for _, r in chosen]
        low, high = interval(values, is_fake, groups)
        table.add_row(
            detector,
            f"{len(values)} of {len(rows)}",
            f"{auc(values[is_fake], values[~is_fake]):.3f}",
            f"{low:.3f} to {high:.3f}",
        )
    out.print(table)

    real = [r for r in rows if r["label"] == "real"]
    by_method = Table("method", "clips", "manipulated", "no manipulation found", "inconclusive")
    by_method.title = f"Labels under policy {CURRENT.version}"
    for method in ["real", *sorted({str(r["method"]) for r in rows if r["label"] == "fake"})]:
        chosen_rows = (
            real
            if method == "real"
            else [r for r in rows if r["label"] == "fake" and r["method"] == method]
        )
        counts = [
            sum(r["verdict_label"] == label for r in chosen_rows)
            for label in ("manipulated", "no_manipulation_found", "inconclusive")
        ]
        by_method.add_row(method, str(len(chosen_rows)), *map(str, counts))
    out.print(by_method)
    thresholds = Table("fake probability from", "real clips called fake", "fakes found")
    scored = [(r, v) for r in rows if (v := _value(r, "(verdict)")) is not None]
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99):
        hit = {
            label: sum(v >= threshold for r, v in scored if r["label"] == label)
            for label in ("real", "fake")
        }
        of = {label: sum(r["label"] == label for r, _ in scored) for label in ("real", "fake")}
        thresholds.add_row(
            f"{threshold:.2f}",
            f"{hit['real']} of {of['real']}",
            f"{hit['fake']} of {of['fake']}",
        )
    out.print(thresholds)
    out.print(_references(real))


def _references(real: list[dict[str, object]]) -> Table:
    """List how the jerk of landmarks lies in real clips."""
    table = Table("measurement", "real clips", "median", "log MAD", title="Of real clips")
    names = sorted({n for r in real for n in r["measurements"] if "jerk" in n})  # type: ignore[attr-defined]
    for name in names:
        values = np.array([r["measurements"][name] for r in real if name in r["measurements"]])  # type: ignore[index,operator]
        logs = np.log(values[values > 0])
        spread = np.median(np.abs(logs - np.median(logs)))
        table.add_row(name, str(len(values)), f"{np.median(values):.5f}", f"{spread:.3f}")
    return table


def _value(row: dict[str, object], detector: str) -> float | None:
    value = (
        row["fake_probability"] if detector == "(verdict)" else row["detectors"].get(detector)  # type: ignore[attr-defined]
    )
    return None if value is None else float(value)


if __name__ == "__main__":
    sys.exit(main())
