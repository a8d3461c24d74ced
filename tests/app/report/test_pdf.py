"""Can the print be read, searched and led through, whatever the file is called?"""

import re
from functools import cache
from io import BytesIO

import pytest
from pypdf import PdfReader
from pypdf.generic import IndirectObject

from app.domain.words import Language
from app.report.pdf import to_pdf
from tests.app.report.make_reports import (
    HOSTILE,
    LETTERS_OF_THE_WORLD,
    LONG,
    make_full_judged,
    make_nobody,
    make_pictures,
    make_report_view,
)


def printed(language: Language = Language.ENGLISH, **others: object) -> PdfReader:
    report = make_report_view(language=language, **others)  # type: ignore[arg-type]
    return PdfReader(BytesIO(to_pdf(report, make_pictures(report))))


@cache
def usual(language: Language) -> PdfReader:
    """The print of a manipulated video, made once."""
    return printed(language)


def text_of(pdf: PdfReader) -> str:
    return " ".join(" ".join(page.extract_text() for page in pdf.pages).split())


def titles(pdf: PdfReader) -> list[str]:
    found: list[str] = []
    waiting = list(pdf.outline)
    while waiting:
        entry = waiting.pop(0)
        if isinstance(entry, list):
            waiting = entry + waiting
        else:
            found.append(str(entry.title))
    return found


@pytest.mark.parametrize("language", Language)
def test_a_print_holds_the_verdict_with_its_caveat_as_text(language: Language) -> None:
    pdf, report = usual(language), make_report_view(language=language)
    text = text_of(pdf)

    assert report.quote.statement in text
    assert report.quote.caveat in text
    assert report.video.sha256 in text.replace(" ", "")
    assert report.persons[0].in_time in text
    for row in report.persons[0].findings:
        assert row.name.split()[0] in text


@pytest.mark.parametrize("language", Language)
def test_a_print_has_title_language_outline_and_numbered_pages(language: Language) -> None:
    pdf, report = usual(language), make_report_view(language=language)

    assert pdf.metadata is not None
    assert pdf.metadata.title == f"{report.title}: clip.mp4"
    catalog = pdf.trailer["/Root"]
    assert not isinstance(catalog, IndirectObject)
    assert catalog["/Lang"] == language.value  # type: ignore[index]
    assert report.persons[0].name in titles(pdf)
    assert len(titles(pdf)) == 8
    count = len(pdf.pages)
    word = {"en": "Page {} of {}", "de": "Seite {} von {}"}[language.value]
    for number, page in enumerate(pdf.pages, start=1):
        assert word.format(number, count) in " ".join(page.extract_text().split())


def test_the_same_report_is_the_same_print() -> None:
    report = make_report_view(make_nobody())

    assert to_pdf(report, {}) == to_pdf(report, {})


def test_whatever_a_file_is_called_it_is_printed() -> None:
    names = (HOSTILE, LETTERS_OF_THE_WORLD, LONG, "\x00\u202e\n", "**b** %()\\")
    judged = make_full_judged(tags={name: name for name in names})
    text = text_of(printed(judged=judged, file_name=HOSTILE, ref_id=LONG)).replace(" ", "")

    for word in re.findall(r"[!-~]+", " ".join(names)):
        assert word in text
    assert "Überprüfung,Москва,Αθήνα,[U+6771][U+4EAC]" in text  # no letter for the last two


def test_pictures_are_in_the_print_or_told_in_words() -> None:
    report = make_report_view()
    without = text_of(PdfReader(BytesIO(to_pdf(report, {}))))

    assert sum(len(page.images) for page in usual(Language.ENGLISH).pages) == 3
    assert report.frames[0].picture.alt in without


def test_nobody_and_a_crowd_are_printed() -> None:
    nobody = text_of(printed(judged=make_nobody()))
    crowd = printed(judged=make_full_judged(persons=11))

    assert make_report_view(make_nobody()).label_words in nobody
    assert "Person p11" in titles(crowd)
    assert 6 < len(crowd.pages) < 20
