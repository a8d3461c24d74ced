"""
How is the timeline drawn? Laid out once, in lines, dots and words; page and print have a pen each.

Lengths are in units of which the drawing is WIDTH wide; `y` grows downwards. Each person has a
strip: the bar of the time in which they were followed, below it the probability of single frames,
below that a triangle for each frame with marked pixels. Shapes and words tell everything apart,
colour nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.report.content import FrameView, PersonReport, ReportView
from app.report.tongue import Tongue

WIDTH = 680.0
LEFT, RIGHT = 110.0, 14.0
"""Room for the names, and beside the last moment."""
STRIP = 80.0
BAR_Y, BAR_HEIGHT = 18.0, 3.0
TOP_Y, BOTTOM_Y = 28.0, 64.0
"""Of a strip: where a probability of 1 and of 0 lie."""
MARK_Y = 69.0
AXIS = 34.0
MOST_STRIPS = 9
"""Persons in one drawing, so that it fits a page; more persons have more drawings."""
MOST_TICKS = 8
TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
NAME_CHARACTERS = 14


class Ink(StrEnum):
    """Colours, by what they are for; each has a contrast of 4.5 on white where it writes words."""

    TEXT = "#1d1f23"
    FAINT = "#5d636d"
    RULE = "#d5d8dd"
    DATA = "#0b4f80"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A broken line through points."""

    points: tuple[tuple[float, float], ...]
    ink: Ink
    thickness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A filled polygon."""

    points: tuple[tuple[float, float], ...]
    ink: Ink


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    ink: Ink


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A line of words; `anchor` is where `x` lies in it: 0 at its beginning, 1 at its end."""

    x: float
    y: float  # of the base line
    text: str
    size: float
    ink: Ink
    anchor: float = 0.0
    is_bold: bool = False


Mark = Line | Shape | Dot | Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A drawing, and the words that stand for it where it cannot be seen."""

    height: float
    marks: tuple[Mark, ...]
    title: str
    words: tuple[str, ...]


def timelines(report: ReportView) -> tuple[Drawing, ...]:
    """Draw the timeline of everybody, so many strips a drawing as fit on a page."""
    persons = report.persons
    return tuple(
        _Timeline(report).draw(persons[at : at + MOST_STRIPS])
        for at in range(0, len(persons), MOST_STRIPS)
    )


class _Timeline:
    """Draws the strips of some persons over a common axis."""

    def __init__(self, report: ReportView) -> None:
        self._tongue = Tongue(language=report.language)
        self._frames = report.frames
        last_s = max((p.last_s for p in report.persons), default=0.0)
        self._until_s = max(report.video.duration_s, last_s, TICKS_S[0])

    def draw(self, persons: Sequence[PersonReport]) -> Drawing:
        height = len(persons) * STRIP + AXIS
        marks = list(self._axis(height))
        for n, person in enumerate(persons):
            marks += self._strip(person, n * STRIP)
        return Drawing(
            height=height,
            marks=tuple(marks),
            title=self._tongue.say("report.timeline_title"),
            words=tuple(p.in_time for p in persons),
        )

    def _x(self, pts_s: float) -> float:
        share = min(max(pts_s / self._until_s, 0.0), 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def _axis(self, height: float) -> Iterator[Mark]:
        base = height - AXIS + 8
        yield Line(points=((LEFT, base), (WIDTH - RIGHT, base)), ink=Ink.FAINT, thickness=0.8)
        step = next((t for t in TICKS_S if self._until_s / t <= MOST_TICKS), TICKS_S[-1])
        for n in range(math.floor(self._until_s / step + 1e-6) + 1):
            x = self._x(n * step)
            yield Line(points=((x, base), (x, base + 3)), ink=Ink.FAINT, thickness=0.8)
            yield Words(
                x=x, y=base + 15, text=self._tick(n * step), size=11, ink=Ink.FAINT, anchor=0.5
            )
        yield Words(
            x=0,
            y=base + 15,
            text=self._tongue.say("report.timeline_axis"),
            size=11,
            ink=Ink.FAINT,
        )

    def _tick(self, seconds: float) -> str:
        clock = self._tongue.clock(seconds)
        return clock if seconds % 1 else clock[:-2]

    def _strip(self, person: PersonReport, top: float) -> Iterator[Mark]:
        yield from self._names(person, top)
        yield from self._scale(top)
        first, last = self._x(person.first_s), self._x(person.last_s)
        y = top + BAR_Y
        yield _box(first, y, max(last - first, 1.0), BAR_HEIGHT, Ink.TEXT)
        judged = [
            (self._x(p.pts_s), top + BOTTOM_Y - p.fake_probability * (BOTTOM_Y - TOP_Y))
            for p in person.points
            if p.fake_probability is not None
        ]
        if len(judged) > 1:
            yield Line(points=tuple(judged), ink=Ink.DATA, thickness=0.9)
        for x, at in judged:
            yield Dot(x=x, y=at, radius=2.4, ink=Ink.DATA)
        for point in person.points:
            if point.fake_area:
                yield _triangle(self._x(point.pts_s), top + MARK_Y)
        yield from self._letters([f for f in self._frames if f.picture.person_id == person.id], top)

    def _names(self, person: PersonReport, top: float) -> Iterator[Mark]:
        name = person.name
        if len(name) > NAME_CHARACTERS:
            name = name[: NAME_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
        yield Words(x=0, y=top + 42, text=name, size=12.5, ink=Ink.TEXT, is_bold=True)
        if person.fake_probability is not None:
            value = self._tongue.decimal(person.fake_probability, 2)
            yield Words(x=0, y=top + 57, text=value, size=11, ink=Ink.FAINT)

    def _scale(self, top: float) -> Iterator[Mark]:
        for value in (0.0, 0.5, 1.0):
            y = top + BOTTOM_Y - value * (BOTTOM_Y - TOP_Y)
            yield Line(points=((LEFT, y), (WIDTH - RIGHT, y)), ink=Ink.RULE, thickness=0.5)
        for value in (0, 1):
            y = top + BOTTOM_Y - value * (BOTTOM_Y - TOP_Y) + 3.3
            yield Words(x=LEFT - 4, y=y, text=str(value), size=9.5, ink=Ink.FAINT, anchor=1.0)

    def _letters(self, frames: Sequence[FrameView], top: float) -> Iterator[Mark]:
        for frame in frames:
            x = self._x(frame.picture.pts_s)
            yield Line(
                points=((x, top + BAR_Y - 3), (x, top + BOTTOM_Y)), ink=Ink.FAINT, thickness=0.5
            )
            yield Words(
                x=x,
                y=top + BAR_Y - 4.5,
                text=frame.letter,
                size=12,
                ink=Ink.TEXT,
                anchor=0.5,
                is_bold=True,
            )


def _box(x: float, y: float, width: float, height: float, ink: Ink) -> Shape:
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return Shape(points=corners, ink=ink)


def _triangle(x: float, y: float) -> Shape:
    return Shape(points=((x - 2.6, y + 4.5), (x + 2.6, y + 4.5), (x, y)), ink=Ink.TEXT)
