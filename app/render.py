"""How does a verdict look on a terminal? Tables that a person can read, from the wire's shape."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.domain.verdict import Label
from app.views import AnalysisView, EvidenceView

COLOUR = {
    Label.MANIPULATED: "bold red",
    Label.NO_MANIPULATION_FOUND: "bold green",
    Label.INCONCLUSIVE: "bold yellow",
}


def verdict_tables(view: AnalysisView, *, title: str) -> RenderableType:
    """Show what was decided, on what evidence, and who abstained for which reason."""
    if view.error is not None:
        words = Text.assemble(
            (view.state.value, "bold red"), f": {view.error.code}\n{view.error.detail}"
        )
        return Panel(words, title=title, title_align="left")
    if view.verdict is None:
        return Panel(Text(view.state.value), title=title, title_align="left")
    parts: list[RenderableType] = [_headline(view)]
    if view.persons:
        parts.append(_evidence(view))
    elif view.abstentions:
        parts.append(_silence(view))
    parts.append(Text(_facts(view), style="dim"))
    return Panel(Group(*parts), title=title, title_align="left")


def _headline(view: AnalysisView) -> Text:
    assert view.verdict is not None
    label = view.verdict.label
    probability = view.verdict.fake_probability
    words = Text.assemble(
        (label.value.replace("_", " ").upper(), COLOUR[label]),
        "   fake probability " + ("unknown" if probability is None else f"{probability:.2f}"),
        f"\n{view.verdict.statement}\n",
    )
    if label is Label.INCONCLUSIVE:
        words.append("".join(f"  - {reason}\n" for reason in view.verdict.reasons))
    if view.verdict.caveat:
        words.append(f"Caveat: {view.verdict.caveat}\n", style="italic")
    return words


def _evidence(view: AnalysisView) -> Table:
    table = Table("person", "seen", "detector", "fake", "rests on, or why it abstained")
    table.columns[3].justify = "right"
    for person in view.persons:
        seen = f"{person.first_s:.1f} to {person.last_s:.1f} s, {person.frames} frames"
        for row, evidence in enumerate(person.evidence):
            who = (person.id, seen) if row == 0 else ("", "")
            table.add_row(*who, evidence.detector.value, *_said(evidence))
        table.add_section()
    return table


def _silence(view: AnalysisView) -> Table:
    table = Table("detector", "why it abstained")
    for abstention in view.abstentions:
        table.add_row(abstention.detector.value, _said(abstention)[1])
    return table


def _said(evidence: EvidenceView) -> tuple[str, str]:
    if evidence.finding is not None:
        finding = evidence.finding
        measured = ", ".join(f"{k} {v:.3g}" for k, v in finding.measurements.items())
        model = f", {evidence.model}" if evidence.model else ""
        return (
            f"{finding.fake_probability:.2f}",
            f"{finding.frames} frames{model}" + (f"\n{measured}" if measured else ""),
        )
    assert evidence.abstention is not None
    why = evidence.abstention.reason.value
    for more in (evidence.abstention.detail, evidence.abstention.needs):
        why += f"; {more}" if more else ""
    return "-", why


def _facts(view: AnalysisView) -> str:
    if view.video is None:
        return ""
    video = view.video
    facts = (
        f"{video.width}x{video.height} {video.codec}, {video.duration_s:.2f} s at "
        f"{video.fps:.2f} fps, {video.frames_decoded} frames decoded, {video.frames_kept} followed"
    )
    if video.warnings:
        facts += f"; {', '.join(video.warnings)}"
    if view.timings:
        facts += f"; took {view.timings.get('total_s', 0):.1f} s"
    return facts
