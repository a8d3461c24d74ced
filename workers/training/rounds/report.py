"""How is the end of a loop told to whoever answers for it? In a table, and in minutes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workers.training.checkpoints import replace_file
from workers.training.evaluate.report import NOTHING, write_json
from workers.training.rounds.gate import Decision, Judged
from workers.training.rounds.stages import Done, minutes

REPORT_JSON, REPORT_MD = "report.json", "report.md"
COLUMNS = ("measure", "in use", "candidate", "difference", "95 %", "asked for", "")
PROMOTED, REJECTED = "PROMOTED", "REJECTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that a loop did."""

    decision: Decision
    stages: Sequence[Done]
    facts: Sequence[str]  # sentences, in the order of the work
    candidate: Path
    versions: Mapping[str, str]  # network -> "1.0 -> 1.1"

    @property
    def word(self) -> str:
        """The decision in one word."""
        return PROMOTED if self.decision.promoted else REJECTED


def write_report(out: Path, story: Story) -> None:
    """Write `report.json` and `report.md`."""
    write_json(out / REPORT_JSON, as_document(story))
    replace_file(out / REPORT_MD, markdown(story).encode())


def as_document(story: Story) -> dict[str, Any]:
    """Give all of it as plain values."""
    return {
        "promote": story.decision.promoted,
        "reasons": list(story.decision.reasons),
        "measures": [
            {
                **asdict(row.measure),
                "bound": row.bound,
                "passed": row.passed,
                "reason": row.reason,
            }
            for row in story.decision.rows
        ],
        "stages": [{"name": done.name, "seconds": done.seconds} for done in story.stages],
        "seconds": sum(done.seconds for done in story.stages),
        "facts": list(story.facts),
        "candidate": str(story.candidate),
        "versions": dict(story.versions),
    }


def show(story: Story, console: Console) -> None:
    """Print the decision, its table, and the minutes."""
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
        title=f"\nCandidate {', '.join(story.versions.values())}",
        caption="Difference: candidate less the networks in use, on the same clips; its interval "
        "by bootstrap over groups. Lines without a word are shown and decide nothing.",
    )
    for at, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if at in (0, 5, 6) else "right")
    for row in story.decision.rows:
        cells = _cells(row)
        style = "bold" if row.measure.role == "primary" else None
        colour = {"yes": "green", "no": "red"}.get(cells[-1])
        last = f"[{colour}]{cells[-1]}[/{colour}]" if colour else ""
        table.add_row(*map(escape, cells[:-1]), last, style=style)
    console.print(table)
    for name, seconds in by_stage(story.stages).items():
        console.print(f"  {name}: {minutes(seconds)}", highlight=False)
    colour = "green" if story.decision.promoted else "red"
    console.print(f"\n[{colour} bold]{story.word}[/]", highlight=False)
    for reason in story.decision.reasons:
        console.print(f"  {reason}", highlight=False, markup=False, soft_wrap=True)


def markdown(story: Story) -> str:
    """Write it all down for a person who did not watch."""
    verdict = (
        "The candidate is better, and nothing that is guarded is worse than allowed."
        if story.decision.promoted
        else "The candidate is not put in use. The networks in use stay as they are."
    )
    lines = [
        "# A round of the loop",
        "",
        f"**{story.word}.** {verdict}",
        "",
        *(f"- {reason}" for reason in story.decision.reasons),
        "",
        "## What was done",
        "",
        *(f"- {fact}" for fact in story.facts),
        *(f"- {name}: {change}." for name, change in story.versions.items()),
        "",
        "## What was measured",
        "",
        _line([*COLUMNS[:-1], "holds"]),
        _line(["---"] * len(COLUMNS)),
        *(_line(_cells(row)) for row in story.decision.rows),
        "",
        "Difference: candidate less the networks in use, on the same clips, none of which, and "
        "nobody in which, was learned from. The interval is that of 2,000 draws of groups of "
        "people. A line without a word under *holds* is shown and decides nothing.",
        "",
        "## What it took",
        "",
        _line(["stage", "time"]),
        _line(["---", "---"]),
        *(_line([name, minutes(s)]) for name, s in by_stage(story.stages).items()),
        _line(["all", minutes(sum(done.seconds for done in story.stages))]),
        "",
        f"The candidate lies in `{story.candidate}`."
        + (
            f" `deepverdict models promote {story.candidate}` puts it in use."
            if story.decision.promoted
            else ""
        ),
        "",
    ]
    return "\n".join(lines)


def by_stage(stages: Sequence[Done]) -> dict[str, float]:
    """Add up the seconds of a stage's parts, such as those of each forger."""
    seconds: dict[str, float] = {}
    for done in stages:
        name = done.name.split("/")[0]
        seconds[name] = seconds.get(name, 0.0) + done.seconds
    return seconds


def _cells(row: Judged) -> list[str]:
    measure, d = row.measure, row.measure.difference
    interval = NOTHING
    if math.isfinite(d.low) and math.isfinite(d.high):
        interval = f"{d.low:+.3f} to {d.high:+.3f}"
    return [
        measure.name,
        _number(measure.current),
        _number(measure.candidate),
        _number(d.value, sign=True),
        interval,
        row.bound,
        {True: "yes", False: "no", None: ""}[row.passed],
    ]


def _number(value: float, *, sign: bool = False) -> str:
    if not math.isfinite(value):
        return NOTHING
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
