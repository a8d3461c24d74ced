"""Does the timeline show when, of whom, and nothing that lies outside it?"""

from dataclasses import replace

import pytest

from app.domain.evidence import Observation
from app.domain.words import Language
from app.report.drawing import (
    LEFT,
    MOST_STRIPS,
    RIGHT,
    WIDTH,
    Dot,
    Drawing,
    Line,
    Shape,
    Words,
    timelines,
)
from tests.app.report.make_reports import make_full_judged, make_nobody, make_report_view
from tests.make import make_analysis, make_finding, make_person, make_video


def words_of(drawing: Drawing) -> list[str]:
    return [m.text for m in drawing.marks if isinstance(m, Words)]


def test_every_judged_frame_is_a_dot_at_its_time_and_height() -> None:
    (drawing,) = timelines(make_report_view())
    dots = [m for m in drawing.marks if isinstance(m, Dot)]

    assert len(dots) == 8
    assert [d.x for d in dots] == sorted(d.x for d in dots)
    assert [d.y for d in dots] == sorted(d.y for d in dots)  # they become less suspect
    share = (dots[0].x - LEFT) / (WIDTH - LEFT - RIGHT)
    assert share * 11.2 == pytest.approx(3.0)


def test_frames_with_marks_have_a_triangle_and_those_shown_a_letter() -> None:
    (drawing,) = timelines(make_report_view())
    triangles = [m for m in drawing.marks if isinstance(m, Shape) and len(m.points) == 3]

    assert len(triangles) == 1
    assert "A" in words_of(drawing)


def test_many_persons_are_spread_over_several_drawings() -> None:
    drawings = timelines(make_report_view(make_full_judged(persons=12)))

    assert [len(d.words) for d in drawings] == [MOST_STRIPS, 3]
    assert drawings[0].height < 900
    assert timelines(make_report_view(make_nobody())) == ()


@pytest.mark.parametrize("duration_s", [0.0, 0.04, 3.0, 59.0, 7200.0])
def test_everything_lies_inside_whatever_the_length(duration_s: float) -> None:
    seen = (
        Observation(pts_s=-1.0, frame_index=0, fake_probability=0.0),
        Observation(pts_s=1e9, frame_index=1, fake_probability=1.0),
    )
    person = make_person(
        make_finding(observations=seen), first_s=0.0, last_s=duration_s, id="p1234567890123"
    )
    judged = make_full_judged()
    made = make_analysis(person, video=replace(make_video(), duration_s=duration_s))
    (drawing,) = timelines(
        make_report_view(replace(judged, persons=made.persons, video=made.video), Language.GERMAN)
    )

    for mark in drawing.marks:
        points = mark.points if isinstance(mark, Line | Shape) else ((mark.x, mark.y),)
        assert all(0 <= x <= WIDTH and 0 <= y <= drawing.height for x, y in points)
    ticks = [w for w in words_of(drawing) if ":" in w]
    assert 1 <= len(ticks) <= 9
    assert len(set(ticks)) == len(ticks)
