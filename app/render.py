"""How does a verdict look on a terminal? Tables that a person can read, from the wire's shape."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from app.domain.evidence import DetectorName
from app.domain.verdict import Label
from app.views import (
    AnalysisView,
    EvidenceView,
    FindingView,
    IntervalView,
    PersonView,
    VerdictView,
)

COLOUR = {
    Label.MANIPULATED: "bold red",
    Label.NO_MANIPULATION_FOUND: "bold green",
    Label.INCONCLUSIVE: "bold yellow",
}


def verdict_tables(view: AnalysisView, *, title: str) -> RenderableType:
    """Show what was decided, on what evidence, and who abstained for which reason."""
    rule = Rule(Text(title, style="bold"), align="left", style="dim")
    if view.error is not None:
        words = Text.assemble(
            (view.state.value.upper(), "bold red"), f"   {view.error.code}\n{view.error.detail}\n"
        )
        return Group(rule, words)
    if view.verdict is None:
        return Group(rule, Text(view.state.value))
    parts: list[RenderableType] = [rule, _headline(view.verdict)]
    for person in view.persons:
        parts += [_who(person), _evidence(person.evidence)]
    if not view.persons:
        parts.append(_silence(view.abstentions))
    parts.append(Text(_facts(view), style="dim"))
    return Group(*parts)


def _headline(verdict: VerdictView) -> Text:
    words = Text.assemble(
        (verdict.label.value.replace("_", " ").upper(), COLOUR[verdict.label]),
        f"   fake probability {_number(verdict.fake_probability)}{_spread(verdict.interval)}"
        f"   policy {verdict.policy}",
        f"   {verdict.operating_point}" if verdict.operating_point else "",
        f"\n{verdict.statement}\n",
    )
    if verdict.label is Label.INCONCLUSIVE:
        words.append("".join(f"  - {reason}\n" for reason in verdict.reasons))
    if verdict.caveat:
        words.append(f"Caveat: {verdict.caveat}\n", style="italic")
    return words


def _who(person: PersonView) -> Text:
    return Text.assemble(
        (f"person {person.id}", "bold"),
        f"   {person.first_s:.1f} to {person.last_s:.1f} s   {person.frames} frames   "
        f"face {person.median_face_px:.0f} px   fake {_number(person.fake_probability)}"
        f"{_spread(person.interval)}",
    )


def _evidence(evidence: Sequence[EvidenceView]) -> Table:
    """One line a detector, what it measured besides is in JSON and reports; columns line up."""
    table = Table.grid(padding=(0, 2), pad_edge=True)
    table.add_column(min_width=max(len(name) for name in DetectorName), no_wrap=True)
    table.add_column(min_width=len("unknown"), justify="right", no_wrap=True)
    table.add_column()
    for said in evidence:
        table.add_row(said.detector.value, *_said(said))
    table.add_row()
    return table


def _silence(abstentions: Sequence[EvidenceView]) -> RenderableType:
    """Say once what all detectors say alike."""
    if len({_said(a)[1].plain for a in abstentions}) != 1:
        return _evidence(abstentions)
    return Text.assemble("All detectors ", _said(abstentions[0])[1], "\n")


def _said(evidence: EvidenceView) -> tuple[str, Text]:
    if evidence.finding is not None:
        finding = evidence.finding
        words = Text(f"{finding.frames} frames")
        if evidence.model:
            words.append(f", {evidence.model}")
        if finding.cue is not None:
            words.append(f", {finding.cue.value:.3g} {finding.cue.unit}", style="dim")
        return _in_short(finding), words
    assert evidence.abstention is not None
    abstention = evidence.abstention
    words = Text(f"abstained: {abstention.reason.value}", style="yellow")
    if abstention.detail:
        words.append(f", {abstention.detail}", style="dim")
    if abstention.needs:
        words.append(f"; needs {abstention.needs}", style="dim")
    return "-", words


def _in_short(finding: FindingView) -> str:
    """The one thing that a detector says: a probability, deviations from real clips, an answer."""
    if finding.fake_probability is not None:
        return _number(finding.fake_probability)
    if finding.cue is not None and finding.cue.z is not None:
        return f"z {finding.cue.z:+.1f}"
    return finding.answer or "-"


def _spread(interval: IntervalView | None) -> str:
    return "" if interval is None else f" ({interval.low:.2f} to {interval.high:.2f})"


def _number(probability: float | None) -> str:
    return "unknown" if probability is None else f"{probability:.2f}"


def _facts(view: AnalysisView) -> str:
    if view.video is None:
        return ""
    video = view.video
    facts = (
        f"{video.width}x{video.height} {video.codec}, {video.duration_s:.2f} s at "
        f"{video.fps:.2f} fps, {video.frames_decoded} frames decoded, {video.frames_kept} looked at"
    )
    if video.warnings:
        facts += f"; {', '.join(video.warnings)}"
    if view.timings:
        facts += f"; took {view.timings.get('total_s', 0):.1f} s"
    return facts
