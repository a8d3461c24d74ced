"""
How are arms compared on the same clips, and told to a person?

An arm's figure is the mean over its runs, a difference the mean over both arms' runs of the same
clips, with an interval by bootstrap over groups of people; or over source clips, each with what was
made of it, where groups are too few, which says nothing of other people. How much runs differ that
should not is not in the interval: the figure of every run stands beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from workers.training.evaluate.metrics import Array, Bools, Estimate, auc_of_runs
from workers.training.evaluate.scores import LEAST_CLIPS, ClipScore, columns

Drawn = Literal["group", "source"]
"""What the bootstrap draws: all clips of some people, or a real clip and what was made of it."""

EVERYTHING = "all"
LEAST_UNITS = 2
"""Of what is drawn; of one alone every draw is the same, which is no interval."""
_NOTHING = "-"

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Some clips of a test."""

    chosen: Bools  # [N] of all clips
    is_fake: Bools  # [chosen]
    groups: Sequence[str]  # [chosen]
    units: Sequence[str]  # [chosen], what the bootstrap draws

    def auc(self, runs: Sequence[Array], against: Sequence[Array] | None = None) -> Estimate:
        """Return the mean AUC of runs `[N]` each, less that of others where there are any."""
        less = None if against is None else np.stack(against)[:, self.chosen]
        mine = np.stack(runs)[:, self.chosen]
        estimate = auc_of_runs(mine, self.is_fake, self.units, against=less)
        if len(set(self.units)) < LEAST_UNITS:
            return replace(estimate, low=float("nan"), high=float("nan"))
        return estimate


def compared(
    clips: Sequence[ClipScore],
    by_arm: Mapping[str, Sequence[Array]],
    baselines: Mapping[str, Array],
    *,
    by_family: bool,
    drawn: Drawn = "group",
) -> dict[str, Any]:
    """
    Return the AUC of every arm, every two arms' difference, and the AUC of every baseline.

    Args:
        clips: what they are; their scores do not count.
        by_arm: log odds `[N]` of each run of each arm, in the order of their seeds.
        baselines: scores `[N]`.
        by_family: whether each family of fakes is looked at too, against the same real clips.
        drawn: over what intervals are.

    Returns:
        By `EVERYTHING`, and by family.
    """
    return {
        name: {
            "fakes": int(part.is_fake.sum()),
            "reals": int((~part.is_fake).sum()),
            "groups": len(set(part.groups)),
            "units": len(set(part.units)),
            "auc": {
                arm: asdict(part.auc(runs)) | {"by_run": [part.auc([run]).value for run in runs]}
                for arm, runs in by_arm.items()
            },
            "differences": {
                f"{better}-{other}": asdict(part.auc(by_arm[better], by_arm[other]))
                | {
                    "by_run": [
                        part.auc([first], [second]).value
                        for first, second in zip(by_arm[better], by_arm[other], strict=True)
                    ]
                }
                for other, better in combinations(by_arm, 2)
            },
            "baselines": {
                baseline: asdict(part.auc([scores])) for baseline, scores in baselines.items()
            },
        }
        for name, part in _parts(clips, by_family=by_family, drawn=drawn).items()
    }


def _parts(clips: Sequence[ClipScore], *, by_family: bool, drawn: Drawn) -> dict[str, _Part]:
    _, is_fake, groups = columns(clips)
    units = groups if drawn == "group" else [clip.pair or clip.clip for clip in clips]
    family_of = np.array([clip.family for clip in clips])
    chosen = {EVERYTHING: np.ones(len(clips), bool)}
    for family in sorted(set(family_of[is_fake])) if by_family else ():
        is_of_it = is_fake & (family_of == family)
        if is_of_it.sum() >= LEAST_CLIPS:
            chosen[str(family)] = is_of_it | ~is_fake
    return {
        name: _Part(
            chosen=where,
            is_fake=is_fake[where],
            groups=[group for group, is_in in zip(groups, where, strict=True) if is_in],
            units=[unit for unit, is_in in zip(units, where, strict=True) if is_in],
        )
        for name, where in chosen.items()
    }


def tables(document: Figures) -> str:
    """Tell the figures in Markdown, in columns that line up as plain text too."""
    recipe, runs = document["recipe"], list(document["runs"].values())
    steps = " or ".join(str(n) for n in sorted({run["steps"] for run in runs}))
    minutes = sum(run["seconds"] for run in runs) / 60
    lines = [
        "# What forgers' fakes add to blends",
        "",
        f"{len(document['arms'])} arms of {len(recipe['arms']['seeds'])} seeds, {steps} steps "
        f"each, {minutes:.0f} minutes of training in all; recipe `{recipe['arms']['recipe']}`, "
        f"code {document['code']}. AUC of clips, the mean over seeds; intervals are 95 % by "
        "bootstrap over groups of people unless a table says otherwise, paired in differences. How "
        "much seeds differ is not in them: the column beside them has every seed.",
        "",
        *_lined_up(
            ("arm", *_pair_kinds(document), "people", "looks at fakes"),
            [_arm_row(arm, figures) for arm, figures in document["arms"].items()],
        ),
    ]
    for test in document["tests"].values():
        for name, figures in test["of"].items():
            is_whole = name == EVERYTHING
            expected = test["expected"] if is_whole else {}
            lines += [
                "",
                f"## {test['words']}" if is_whole else f"### {name}",
                "",
                f"{figures['fakes']} fakes, {figures['reals']} real clips, {figures['groups']} "
                "groups"
                + (f"; {', '.join(test['methods'])}." if is_whole else ".")
                + _drawn_words(test["drawn"], figures["units"]),
                "",
                *_lined_up(
                    ("score", "AUC", "95 %", "by seed", "expected"),
                    [
                        *(_row(n, row, expected.get(n)) for n, row in figures["auc"].items()),
                        *(
                            _row(n.replace("-", " less "), row, expected.get(n), sign="+")
                            for n, row in figures["differences"].items()
                        ),
                        *(_row(n, row, None) for n, row in figures["baselines"].items()),
                    ],
                ),
            ]
    return "\n".join(lines) + "\n"


def _drawn_words(drawn: Drawn, units: int) -> str:
    if units < LEAST_UNITS:
        return " Too few of them for an interval."
    if drawn == "group":
        return ""
    return f" Intervals are over {units} source clips: they hold for these people alone."


def _pair_kinds(document: Figures) -> list[str]:
    first = next(iter(document["arms"].values()))
    return [kind.replace("_", " ") for kind in first["pairs"]]


def _arm_row(arm: str, figures: Figures) -> tuple[str, ...]:
    trained_on = figures["trained_on"]
    fakes = ", ".join(f"{looks} {method}" for method, looks in trained_on["fake_looks"].items())
    shares = (f"{share:.0%}" for share in figures["pairs"].values())
    return (arm, *shares, str(trained_on["people"]), fakes or _NOTHING)


def _row(name: str, row: Figures, expected: str | None, *, sign: str = "") -> tuple[str, ...]:
    value, low, high = (_spelt(row[end], sign) for end in ("value", "low", "high"))
    between = _NOTHING if low == _NOTHING else f"{low} to {high}"
    by_seed = ", ".join(_spelt(each, sign) for each in row.get("by_run", ()))
    return (name, value, between, by_seed or _NOTHING, expected or _NOTHING)


def _spelt(value: float, sign: str) -> str:
    return f"{value:{sign}.3f}" if math.isfinite(value) else _NOTHING


def _lined_up(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a Markdown table whose columns are as wide as what is in them."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return [line(heading), line(["-" * width for width in widths]), *map(line, rows)]
