"""How is an evaluation told to a person in a terminal, and to a program?"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    table = Table(
        "score", "clips", "AUC", "95 %", "judged", "AUC of judged", "EER", "found at 5 %",
        "found at 10 %", "AP at 10 %", "Brier", "ECE", "ahead by", "95 % ",
        title=f"Telling {document['fakes']} fakes from {document['reals']} real clips, "
        f"{document['groups']} groups, split {document['split']}",
        caption="Interval: 95 % by bootstrap over groups. Found: share of fakes at that share of "
        "false positives. Ahead by: AUC of the first model less this one's, same clips.",
    )  # fmt: skip
    for name, figures in document["scored"].items():
        auc = figures["auc"]
        ahead = document["ahead"].get(name)
        rates = {
            rate["wanted_false_positive_rate"]: rate["found"]
            for rate in figures["detection_rates"]
            if rate is not None
        }
        style = "bold" if name in document["models"] else None
        table.add_row(
            name,
            str(figures["clips"]),
            _number(auc["value"]),
            _interval(auc),
            f"{figures['coverage']:.0%}",
            _number(figures["auc_of_judged"]["value"]),
            _number(figures["equal_error_rate"]["value"]),
            _share(rates.get(0.05)),
            _share(rates.get(0.10)),
            _number(figures["average_precision"]["0.1"]["value"]),
            _number(figures["brier"]["value"]),
            f"{_number(figures['calibration_error']['value'])} "
            f"(chance {_number(figures['calibration_error_of_chance'])})",
            _number(ahead["value"], sign=True) if ahead else NOTHING,
            _interval(ahead, sign=True) if ahead else NOTHING,
            style=style,
        )
    return table


def _kinds(title: str, kinds: Figures) -> Table:
    table = Table("fakes", "family", "n", "AUC", "95 %", "", title=title)
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
    table = Table(
        "score", "fakes", "n", "AUC", "95 %", "AUC of pairs", "95 % ", "pairs ordered", "95 %  ",
        title=f"{name}: fakes sharper and softer than their source",
        caption="AUC: against all real clips; of pairs: against the clips they were made from.",
    )  # fmt: skip
    others = [n for n in document["scored"] if n not in document["models"]]
    for scored in (name, *others):
        for kind, row in document["scored"][scored]["sharpness"].items():
            table.add_row(
                scored,
                kind,
                str(row["fakes"]),
                _number(row["auc"]["value"]),
                _interval(row["auc"]),
                _number(row["auc_of_pairs"]["value"]),
                _interval(row["auc_of_pairs"]),
                _number(row["pairs_ordered"]["value"]),
                _interval(row["pairs_ordered"]),
            )
    return table


def _qualities(name: str, qualities: Figures) -> Table:
    table = Table("quality", "fakes", "real", "AUC", "95 %", title=f"{name}: by quality")
    for quality, row in qualities.items():
        table.add_row(
            quality, str(row["n_fake"]), str(row["n_real"]), _number(row["value"]), _interval(row)
        )
    return table


def _sources(name: str, sources: Figures) -> Table:
    table = Table(
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
    table = Table(
        "log odds", "ECE before", "after", "chance", "manipulated from", "real clips there",
        "fakes there", "clear below", "fakes there ", "outside of the band",
        title=f"{name}: were it calibrated on these clips",
        caption="ECE after: by lines that were fitted on other groups.",
    )  # fmt: skip
    table.add_row(
        f"{fitted['slope']:.3f} x + {fitted['intercept']:.3f}",
        _number(fitted["ece_before"]),
        _number(fitted["ece_after"]),
        _number(fitted["ece_of_chance"]),
        _number(fitted["manipulated_from"]),
        f"{fitted['false_positives']} of {fitted['real_clips']}",
        f"{fitted['found']} of {fitted['fake_clips']}",
        _number(fitted["clear_below"]),
        f"{fitted['missed']} of {fitted['fake_clips']}",
        f"{fitted['coverage']:.0%}",
    )
    return table


def _controls(name: str, controls: Figures) -> Table:
    table = Table("control", "AUC", "95 %", "", "what", title=f"{name}: each must be near 0.5")
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
    table = Table(
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
    table = Table(
        "mask", "IoU", "95 %", "F1", "95 % ", "area on real faces", "95 %  ", "real looks marked",
        title=f"Masks of {figures['fake_looks']} fake and {figures['real_looks']} real looks",
        caption=f"Truth: {figures['truth']}, not exact.",
    )  # fmt: skip
    for name, row in figures["by_marker"].items():
        table.add_row(
            name,
            _number(row["iou"]["value"]),
            _interval(row["iou"]),
            _number(row["f1"]["value"]),
            _interval(row["f1"]),
            _number(row["false_positive_area"]["value"]),
            _interval(row["false_positive_area"]),
            _number(row["real_looks_marked"]["value"]),
        )
    return table


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def _interval(row: Figures, *, sign: bool = False) -> str:
    low, high = _number(row["low"], sign=sign), _number(row["high"], sign=sign)
    return NOTHING if low == NOTHING else f"{low} to {high}"


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
