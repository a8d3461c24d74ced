"""How is an evaluation told to a person in a terminal, and to a program?"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Figures = Mapping[str, Any]
NOTHING = "-"


def write_json(path: Path, document: Figures) -> None:
    """Write the figures; what is not a number becomes null, since JSON has no word for it."""
    path.write_text(
        json.dumps(_without_nan(document), indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )


def show(document: Figures, console: Console) -> None:
    """Print every table that the document has figures for."""
    console.print(_overall(document))
    console.print(_decisions(document))
    for name in document["models"]:
        figures = document["scored"][name]
        console.print(_kinds(f"{name}: by method", figures["methods"]))
        console.print(_kinds(f"{name}: by family", figures["families"]))
        console.print(_sharpness(name, document))
        if figures["qualities"]:
            console.print(_qualities(name, figures["qualities"]))
        console.print(_sources(name, document["sources"][name]))
        if document["calibration"][name] is not None:
            console.print(_calibration(name, document["calibration"][name]))
        console.print(_controls(name, document["controls"][name]))
        if name in document["robustness"]:
            console.print(_robustness(name, document["robustness"][name]))
    if document["pixels"] is not None:
        console.print(_pixels(document["pixels"]))


def _overall(document: Figures) -> Table:
    table = _table(
        "score", "clips", "AUC", "95 %", "ahead by", "95 % ",
        title=f"Telling {document['fakes']} fakes from {document['reals']} real clips, "
        f"{document['groups']} groups, split {document['split']}",
        caption="Interval: 95 % by bootstrap over groups. Ahead by: AUC of the first model less "
        "this one's, same clips.",
    )  # fmt: skip
    for name, figures in document["scored"].items():
        auc, ahead = figures["auc"], document["ahead"].get(name)
        table.add_row(
            name,
            str(figures["clips"]),
            _number(auc["value"]),
            _interval(auc),
            _number(ahead["value"], sign=True) if ahead else NOTHING,
            _interval(ahead, sign=True) if ahead else NOTHING,
            style="bold" if name in document["models"] else None,
        )
    return table


def _decisions(document: Figures) -> Table:
    table = _table(
        "score", "EER", "5 %", "10 %", "AP", "Brier", "ECE", "chance", "fit",
        title="As decisions and as probabilities",
        caption="5 and 10 %: fakes found at that share of false positives. AP: at one fake in ten. "
        "Chance: what a perfect forecaster's ECE would be here. Fit: clips from which the "
        "product would not abstain.",
    )  # fmt: skip
    for name, figures in document["scored"].items():
        rates = {
            rate["wanted_false_positive_rate"]: rate["found"]
            for rate in figures["detection_rates"]
            if rate is not None
        }
        table.add_row(
            name,
            _number(figures["equal_error_rate"]["value"], digits=2),
            _share(rates.get(0.05)).replace(" of ", "/"),
            _share(rates.get(0.10)).replace(" of ", "/"),
            _number(figures["average_precision"]["0.1"]["value"], digits=2),
            _number(figures["brier"]["value"], digits=2),
            _number(figures["calibration_error"]["value"], digits=2),
            _number(figures["calibration_error_of_chance"], digits=2),
            f"{figures['coverage']:.0%}",
            style="bold" if name in document["models"] else None,
        )
    return table


def _kinds(title: str, kinds: Figures) -> Table:
    table = _table("fakes", "family", "n", "AUC", "95 %", "", title=title)
    for name, row in sorted(kinds.items(), key=lambda pair: -_sortable(pair[1]["auc"]["value"])):
        table.add_row(
            name,
            row["family"],
            str(row["auc"]["n_fake"]),
            _number(row["auc"]["value"]),
            _interval(row["auc"]),
            row["coverage"],
        )
    return table


def _sharpness(name: str, document: Figures) -> Table:
    table = _table(
        "score", "fakes", "n", "AUC", "of pairs", "95 %", "above",
        title=f"{name}: fakes sharper and softer than their source",
        caption="AUC: against all real clips; of pairs: against the clips they were made from. "
        "Above: fakes scored above their own source.",
    )  # fmt: skip
    others = [n for n in document["scored"] if n not in document["models"]]
    for scored in (name, *others):
        for kind, row in document["scored"][scored]["sharpness"].items():
            table.add_row(
                scored,
                kind,
                str(row["fakes"]),
                _number(row["auc"]["value"]),
                _number(row["auc_of_pairs"]["value"]),
                _interval(row["auc_of_pairs"]),
                _number(row["pairs_ordered"]["value"]),
            )
    return table


def _qualities(name: str, qualities: Figures) -> Table:
    table = _table("quality", "fakes", "real", "AUC", "95 %", title=f"{name}: by quality")
    for quality, row in qualities.items():
        table.add_row(
            quality, str(row["n_fake"]), str(row["n_real"]), _number(row["value"]), _interval(row)
        )
    return table


def _sources(name: str, sources: Figures) -> Table:
    table = _table(
        "real clips of", "n", "called manipulated", "95 %", "median log odds",
        title=f"{name}: real clips by source, from log odds {sources['threshold']:.2f} on",
        caption=sources["words"],
    )  # fmt: skip
    for source, row in sources["by_source"].items():
        alarms = row["false_positives"]
        table.add_row(
            source,
            str(alarms["n"]),
            str(alarms["k"]),
            _interval(alarms),
            _number(row["median_logit"]),
        )
    return table


def _calibration(name: str, fitted: Figures) -> Table:
    table = _table(
        "log odds", "ECE", "after", "chance", "from", "real", "fake", "below", "fake ", "out",
        title=f"{name}: were it calibrated on these clips",
        caption="ECE after: by lines that were fitted on other groups. From: manipulated from "
        "there on, with so many real clips and fakes. Below: clear, with so many fakes. Out: "
        "clips outside of the band between.",
    )  # fmt: skip
    table.add_row(
        f"{fitted['slope']:.2f} x {fitted['intercept']:+.2f}",
        _number(fitted["ece_before"]),
        _number(fitted["ece_after"]),
        _number(fitted["ece_of_chance"]),
        _number(fitted["manipulated_from"]),
        f"{fitted['false_positives']}/{fitted['real_clips']}",
        f"{fitted['found']}/{fitted['fake_clips']}",
        _number(fitted["clear_below"]),
        f"{fitted['missed']}/{fitted['fake_clips']}",
        f"{fitted['coverage']:.0%}",
    )
    return table


def _controls(name: str, controls: Figures) -> Table:
    table = _table("control", "AUC", "95 %", "", "what", title=f"{name}: each must be near 0.5")
    for control, row in controls.items():
        table.add_row(
            control,
            _number(row["auc"]["value"]),
            _interval(row["auc"]),
            "LEAKS" if row["is_leaking"] else "",
            row["words"],
        )
    return table


def _robustness(name: str, figures: Figures) -> Table:
    table = _table(
        "condition", "AUC", "change", "95 %", "false positives", "fakes found",
        title=f"{name}: the same looks of {figures['clips']} clips, changed",
        caption=f"False positives from log odds {figures['threshold']:.2f} on. Faces are cut where "
        "they were found in the untouched clip.",
    )  # fmt: skip
    for condition, row in figures["conditions"].items():
        table.add_row(
            condition,
            _number(row["auc"]["value"]),
            _number(row["change"]["value"], sign=True),
            _interval(row["change"], sign=True),
            _share(row["false_positives"]),
            _share(row["found"]),
        )
    return table


def _pixels(figures: Figures) -> Table:
    table = _table(
        "mask", "IoU", "95 %", "F1", "95 % ", "on reals", "95 %  ", "marked",
        title=f"Masks of {figures['fake_looks']} fake and {figures['real_looks']} real looks",
        caption="On reals: share of real faces that is marked. Marked: real looks with any. "
        f"Truth: {figures['truth']}, not exact.",
    )  # fmt: skip
    for name, row in figures["by_marker"].items():
        table.add_row(
            name,
            _number(row["iou"]["value"], digits=2),
            _interval(row["iou"]),
            _number(row["f1"]["value"], digits=2),
            _interval(row["f1"]),
            _number(row["false_positive_area"]["value"], digits=2),
            _interval(row["false_positive_area"]),
            _number(row["real_looks_marked"]["value"], digits=2),
        )
    return table


def _number(value: float | None, *, sign: bool = False, digits: int = 3) -> str:
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _table(first: str, *columns: str, title: str, caption: str | None = None) -> Table:
    """Lay out a table that keeps names whole and fits a terminal of 80 columns."""
    table = Table(
        box=SIMPLE_HEAD,
        title=f"\n{title}",
        caption=caption,
        title_justify="left",
        caption_justify="left",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, no_wrap=column not in ("", "what"))
    return table


def _interval(row: Figures, *, sign: bool = False) -> str:
    low, high = (_number(row[end], sign=sign, digits=2) for end in ("low", "high"))
    # Without their zeros, so that a row with two intervals fits.
    return NOTHING if low == NOTHING else f"{low} to {high}".replace("0.", ".")


def _share(count: Figures | None) -> str:
    return NOTHING if count is None else f"{count['k']} of {count['n']}"


def _sortable(value: float) -> float:
    return -1.0 if math.isnan(value) else value


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
