"""Does a terminal show what a verdict rests on, numbers in one column?"""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from app.domain.evidence import Cue, DetectorName, Finding
from app.domain.fusion import Interval
from app.domain.policy import PointName
from app.render import verdict_tables
from app.views import JobView
from tests.make import make_analysis, make_finding, make_judged, make_person, make_report
from tests.make import make_verdict as plain


def test_a_verdict_is_shown_with_its_interval_and_each_detector_by_what_it_says():
    person = make_person(
        make_finding(fake_probability=0.92),
        Finding(
            detector=DetectorName.OVER_BLUR,
            cue=Cue(value=0.61, unit="times", z=2.34),
            frames=16,
        ),
        Finding(detector=DetectorName.ATTRIBUTION, answer="face swap", frames=16),
    )
    interval = Interval(low=0.812, high=0.978)
    verdict = replace(
        plain(),
        interval=interval,
        intervals_by_person={"p1": interval},
        operating_point=PointName.FPR_1,
    )
    report = make_report(judged=make_judged(make_analysis(person), verdict))
    console = Console(width=120, file=StringIO())

    console.print(verdict_tables(JobView.of(report, ""), title="clip.mp4"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]

    assert "fake probability 0.94 (0.81 to 0.98)" in shown
    assert "fpr_1" in shown
    lines = {line.split()[0]: line for line in shown.splitlines() if "16 frames" in line}
    assert "0.92" in lines[DetectorName.FRAME_CLASSIFIER]
    assert "z +2.3" in lines[DetectorName.OVER_BLUR]
    assert "face swap" in lines[DetectorName.ATTRIBUTION]
    assert len({line.index("16 frames") for line in lines.values()}) == 1
