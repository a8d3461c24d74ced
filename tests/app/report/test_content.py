"""Is everything that is known of a video told, in words of one language, and nothing besides?"""

import ast
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.domain.evidence import (
    AbstainReason,
    ArtifactKind,
    DetectorName,
    Finding,
    Person,
)
from app.domain.job import JobState
from app.domain.media import CredentialState
from app.domain.policy import CURRENT, PointName
from app.domain.report import Judged
from app.domain.verdict import Label, Verdict, decide
from app.domain.words import Language, catalogue
from app.report.content import NOT_IN_KEYS, ReportView, Subject, alike, report_on
from app.report.tongue import Tongue, visible
from tests.app.report.make_reports import (
    HOSTILE,
    LONG,
    make_cue,
    make_cue_finding,
    make_full_judged,
    make_nobody,
    make_report_view,
    make_seen,
)
from tests.conftest import ROOT
from tests.make import (
    WHEN,
    make_abstention,
    make_analysis,
    make_finding,
    make_job,
    make_person,
    make_verdict,
    make_video,
)

DETECTORS = ROOT / "workers" / "detection" / "detectors"


def decided(*persons: Person, point: PointName | None = None) -> Judged:
    """Judge persons by the policy in force."""
    analysis = make_analysis(*persons)
    verdict = decide(analysis.persons, analysis.video, analysis.abstentions, CURRENT, point)
    return Judged.of(analysis, verdict)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("section", ["detector", "question", "detector_caveat"])
def test_every_detector_is_named_in_every_language(section: str, language: Language) -> None:
    assert {f"{section}.{name}" for name in DetectorName} <= catalogue(language).keys()


@pytest.mark.parametrize("language", Language)
def test_every_code_of_ours_is_said_in_every_language(language: Language) -> None:
    said = catalogue(language).keys()

    assert {f"abstention.{reason}" for reason in AbstainReason} <= said
    assert {f"credential.{state}" for state in CredentialState} <= said
    assert {f"label.{label}" for label in Label} <= said
    assert {f"report.meaning_{label}" for label in Label} <= said
    assert {f"point.{point}" for point in PointName} <= said


def units_of_cues() -> set[str]:
    """Every unit that a detector's code spells out in a call of `Reference.cue`."""
    found: set[str] = set()
    for path in sorted(Path(DETECTORS).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "cue":
                found |= {
                    a.value
                    for a in [*node.args, *(k.value for k in node.keywords)]
                    if isinstance(a, ast.Constant) and isinstance(a.value, str)
                }
    return found


def test_every_unit_of_a_cue_is_translated() -> None:
    keys = {f"unit.{NOT_IN_KEYS.sub('_', unit.lower()).strip('_')}" for unit in units_of_cues()}

    assert keys
    assert keys <= catalogue(Language.GERMAN).keys()


@pytest.mark.parametrize("warning", ["truncated", "sound-unreadable", "faces-not-followed"])
def test_what_was_odd_is_said_in_words(warning: str) -> None:
    judged = replace(make_full_judged(), video=make_video(warnings=(warning, "new-code")))

    said = make_report_view(judged, Language.GERMAN).warnings

    assert said == [catalogue(Language.GERMAN)[f"warning.{warning}"], "new-code"]


def test_a_verdict_is_quoted_in_the_language_that_is_asked_for() -> None:
    judged = decided(make_person(make_finding(fake_probability=0.95)))
    english, german = (make_report_view(judged, language) for language in Language)

    assert english.quote.statement.startswith("Strong signs that the face of one person")
    assert german.quote.language is Language.GERMAN
    assert german.quote.statement.startswith("Deutliche Anzeichen")
    assert german.quote.caveat != english.quote.caveat
    assert german.quote.text == f"{german.quote.statement} {german.quote.caveat}"


def test_a_probability_has_its_interval_where_there_is_one() -> None:
    from app.domain.fusion import Interval

    verdict = replace(make_verdict(), interval=Interval(low=0.81, high=0.98))
    with_one = make_report_view(make_full_judged(verdict), Language.GERMAN).probability
    without = make_report_view(make_full_judged(make_verdict())).probability
    unknown = make_report_view(make_nobody()).probability

    assert "0,94" in with_one
    assert "zwischen 0,81 und 0,98" in with_one
    assert "between" not in without
    assert unknown == "unknown; that is neither 0 nor one half"


def test_the_operating_point_is_told_with_its_lines_and_what_was_counted() -> None:
    judged = decided(make_person(make_finding(fake_probability=0.95)))
    point = CURRENT.point()

    said = " ".join(make_report_view(judged).operating_point)

    assert f"{point.manipulated_from:.2f}" in said
    assert f"{point.clear_below:.2f}" in said
    assert f"{point.false_positives} of {point.real_clips} real clips" in said


def test_lines_of_a_policy_that_is_not_here_are_not_guessed() -> None:
    verdict = replace(make_verdict(), policy="2026-11-21.2+frame_classifier@9.9")

    report = make_report_view(make_full_judged(verdict))

    assert report.operating_point == [
        "The lines between the verdicts are those of policy 2026-11-21.2+frame_classifier@9.9."
    ]
    assert {f.is_decisive for f in report.persons[0].findings} == {None}


def test_each_detector_is_told_with_its_say() -> None:
    findings = make_report_view().persons[0].findings

    assert {f.detector: (f.is_decisive, f.role) for f in findings} == {
        DetectorName.FRAME_CLASSIFIER: (True, "counts"),
        DetectorName.BLINK_RATE: (
            CURRENT.say(DetectorName.BLINK_RATE) > 0,
            "information only",
        ),
    }


@pytest.mark.parametrize(
    ("z", "english", "german"),
    [
        (2.64, "2.6 deviations from real clips, on the suspicious side", "2,6 Abweichungen"),
        (-3.0, "3.0 deviations from real clips, on the unsuspicious side", "unverdächtigen"),
        (1.9, "1.9 deviations from real clips: within their usual range", "im üblichen Bereich"),
        (8.0, "8.0 deviations or more", "8,0 Abweichungen oder mehr"),
        (None, "not compared", "nicht verglichen"),
    ],
)
def test_a_cue_is_set_beside_real_clips_in_words(
    z: float | None, english: str, german: str
) -> None:
    judged = decided(make_person(make_finding(), make_cue_finding(make_cue(z))))

    assert english in make_report_view(judged).persons[0].findings[1].comparison
    row = make_report_view(judged, Language.GERMAN).persons[0].findings[1]
    assert german in row.comparison
    assert row.values == ["4,50 Lidschläge je Minute"]
    assert row.rests_on == "240 Bildern: 0:03,0 bis 0:04,5, 0:08,0 bis 0:11,2"


def test_a_finding_without_a_cue_is_compared_with_nothing() -> None:
    row = make_report_view().persons[0].findings[0]

    assert row.comparison == "\N{EN DASH}"
    assert row.frame_indices == [o.frame_index for o in make_seen()]
    assert row.rests_on == "16 frames: all that was seen of the person"


@pytest.mark.parametrize(("answer", "said"), [("unknown", "unbekannt"), ("x<y>", "x<y>")])
def test_an_answer_is_said_in_words_where_there_are_any(answer: str, said: str) -> None:
    finding = Finding(detector=DetectorName.ATTRIBUTION, answer=answer, frames=3)
    judged = decided(make_person(make_finding(), finding))

    assert make_report_view(judged, Language.GERMAN).persons[0].findings[1].values == [said]


def test_abstentions_have_their_reason_and_what_would_have_been_enough() -> None:
    (row,) = make_report_view().persons[0].abstentions

    assert row.name == "Pulse in the skin"
    assert (row.reason, row.detail) == ("the face is too dark", "8.2 s of track")
    assert row.needs == "30 s of track at 20 fps or more"


def test_detectors_that_abstain_alike_are_named_together() -> None:
    judged = decided(
        make_person(
            make_abstention(DetectorName.PULSE),
            make_abstention(DetectorName.LIP_SYNC),
            make_abstention(DetectorName.BLINK_RATE, detail="another"),
        )
    )

    rows = alike(make_report_view(judged).persons[0].abstentions)

    assert [names for names, _ in rows] == ["Pulse in the skin, Lips and sound", "Blinking"]


def test_why_there_is_no_verdict_is_said_without_the_names_of_code() -> None:
    judged = decided(make_person(make_abstention(DetectorName.FRAME_CLASSIFIER)))
    nobody = make_analysis(abstentions=make_nobody().abstentions)
    of_nobody = Judged.of(
        replace(nobody, persons=()), decide((), nobody.video, nobody.abstentions, CURRENT)
    )

    (english,) = make_report_view(judged).reasons
    (german,) = make_report_view(of_nobody, Language.GERMAN).reasons

    assert "Classifier of single frames abstained" in english
    assert german == "Im Video wurde kein Gesicht gefunden"
    assert make_report_view().reasons == []


def test_the_most_suspect_of_several_persons_is_named() -> None:
    several = make_report_view(make_full_judged(persons=3)).persons

    assert [p.is_most_suspect for p in several] == [True, False, False]
    assert not make_report_view().persons[0].is_most_suspect


def test_frames_have_letters_by_time_and_words_for_who_cannot_see() -> None:
    judged = make_full_judged(persons=3)
    frames = [a for a in judged.artifacts if a.kind is ArtifactKind.FRAME]
    times = dict(zip([f.id for f in frames], (9.0, 2.5, 4.0), strict=True))
    artifacts = tuple(
        replace(a, pts_s=times[a.id]) if a.id in times else a for a in judged.artifacts
    )

    shown = make_report_view(replace(judged, artifacts=artifacts)).frames

    assert [(f.letter, f.picture.person_id) for f in shown] == [
        ("A", "p2"),
        ("B", "p3"),
        ("C", "p1"),
    ]
    assert shown[0].picture.caption == (
        "A. Person p2 at 0:02.5, frame 126. 25 % of the picture of the face is marked."
    )
    assert "with a box around the face of Person p2" in shown[0].picture.alt


def test_the_origin_stands_beside_the_verdict_and_changes_no_word_of_it() -> None:
    told = make_report_view()
    untold = make_report_view(replace(make_full_judged(), origin=None))

    assert told.origin is not None
    assert [f.value for f in told.origin.credentials][:2] == [
        "whole, and signed by somebody unknown",
        "A camera",
    ]
    assert told.origin.signs[0].startswith("names a program that videos are encoded anew with")
    assert untold.origin is None
    assert (told.quote, told.probability, told.label) == (
        untold.quote,
        untold.probability,
        untold.label,
    )


def test_whoever_reads_a_report_can_make_the_analysis_again() -> None:
    judged = make_full_judged(make_verdict())
    report = make_report_view(judged)
    facts = {f.name: f.value for f in report.checking}

    assert report.commands == [
        "sha256sum VIDEO",
        "deepverdict scan VIDEO --report report.html",
    ]
    assert facts["Networks: frame_classifier"].endswith("sha256:" + "0" * 64)
    assert facts["Seed"] == "0"
    assert facts["Device"] == "cpu"
    assert facts["Frames judged one by one"] == "90, 120, 150, 180, 210, 240, 270, 300"
    assert report.measurements[0].rows[0].value == "3"


def test_the_command_asks_for_the_operating_point_that_was_asked_for() -> None:
    other = next(p for p in PointName if p is not CURRENT.default_point)
    verdict = replace(make_verdict(), operating_point=other)

    command = make_report_view(make_full_judged(verdict)).commands[1]

    assert command.endswith(f"--operating-point {other}")


def test_a_long_name_is_whole_among_the_facts_and_short_in_the_heading() -> None:
    report = make_report_view(file_name=LONG)

    assert len(report.heading) < 110
    assert report.heading.endswith(".mp4")
    assert LONG in [f.value for f in report.file]
    assert make_report_view(file_name=None).heading == "Video without a name"


def test_json_holds_the_words_and_what_they_rest_on() -> None:
    body = json.loads(make_report_view(language=Language.GERMAN).to_json())

    assert body["language"] == "de"
    assert body["label"] == "manipulated"
    assert body["verdict"]["policy"] == CURRENT.version
    assert body["evidence"][0]["evidence"][1]["finding"]["cue"]["z"] == 2.6
    assert ReportView.model_validate_json(make_report_view().to_json()) == make_report_view()


def test_a_job_is_named_with_its_id_and_its_reference() -> None:
    job = make_job(JobState.SUCCEEDED, ref_id="desk-4711 \u202e")
    report = report_on(
        Subject.of(job), make_full_judged(), language=Language.GERMAN, link=lambda a: a.id
    )

    assert report.about == [
        "Analyse vom 21. November 2026, 09:00 Uhr UTC",
        f"Auftrag {job.id}",
        "Ihr Zeichen: desk-4711 [U+202E]",
    ]
    assert {p.link for p in report.pictures} == {p.id for p in report.pictures}


@pytest.mark.parametrize("verdict", [make_verdict(label) for label in Label])
def test_no_report_calls_a_video_genuine(verdict: Verdict) -> None:
    for language in Language:
        words = make_report_view(make_full_judged(verdict), language).meaning
        assert not re.search(r"\b(authentic|authentisch)\b", words)
    if verdict.label is Label.NO_MANIPULATION_FOUND:
        assert "does not prove" in make_report_view(make_full_judged(verdict)).meaning


@pytest.mark.parametrize(
    ("value", "english", "german"),
    [
        (0.0, "0", "0"),
        (3.0, "3", "3"),
        (0.123456, "0.123", "0,123"),
        (-12.3456, "-12.3", "-12,3"),
        (1234.56, "1235", "1235"),
        (1e-6 / 3, "0.000000333", "0,000000333"),
    ],
)
def test_numbers_are_written_with_what_is_known_of_them(
    value: float, english: str, german: str
) -> None:
    assert Tongue(language=Language.ENGLISH).number(value) == english
    assert Tongue(language=Language.GERMAN).number(value) == german


@pytest.mark.parametrize(
    ("seconds", "clock"), [(0, "0:00.0"), (59.96, "1:00.0"), (61.23, "1:01.2"), (3600, "60:00.0")]
)
def test_moments_are_written_as_a_player_shows_them(seconds: float, clock: str) -> None:
    assert Tongue(language=Language.ENGLISH).clock(seconds) == clock


def test_a_date_is_written_out_and_in_utc() -> None:
    when = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)

    assert Tongue(language=Language.GERMAN).moment(when) == "1. März 2026, 23:59 Uhr UTC"
    assert Tongue(language=Language.ENGLISH).moment(WHEN) == "21 November 2026, 09:00 UTC"


def test_what_hides_or_turns_text_is_made_visible_and_nothing_else() -> None:
    assert visible(HOSTILE).endswith("[U+202E]gpj.4pm")
    assert visible("a\x00\n\u2028\u200b\ufeff\ud800") == (
        "a[U+0000][U+000A][U+2028][U+200B][U+FEFF][U+D800]"
    )
    plain = "Überprüfung, Москва, 東京, القاهرة, 👩‍💻.mp4"
    assert visible(plain) == plain
