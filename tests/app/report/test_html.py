"""Is the page whole by itself, safe whatever a file is called, and readable without seeing?"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest

from app.domain.verdict import Label
from app.domain.words import Language
from app.report.html import to_html
from tests.app.report.make_reports import (
    HOSTILE,
    LETTERS_OF_THE_WORLD,
    LONG,
    make_full_judged,
    make_nobody,
    make_pictures,
    make_report_view,
)
from tests.make import make_verdict

EMPTY_TAGS = {"meta", "img", "br"}
DRAWN_TAGS = {"polyline", "polygon", "circle"}


@dataclass
class Page(HTMLParser):
    """A page taken apart; fails where tags do not close as they opened."""

    tags: Counter[str] = field(default_factory=Counter)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tables: list[Counter[str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag == "table":
            self.tables.append(Counter())
        if self.tables:
            self.tables[-1][tag] += 1
        if tag not in EMPTY_TAGS:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All words, spaces as one."""
        return " ".join(" ".join(self.words).split())

    def values(self, tag: str, name: str) -> list[str]:
        return [v for t, n, v in self.attributes if (t, n) == (tag, name)]


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page._open == []
    return page


def page_of(language: Language = Language.ENGLISH, **others: object) -> Page:
    report = make_report_view(language=language, **others)  # type: ignore[arg-type]
    return parsed(to_html(report, make_pictures(report)))


PAGES: Mapping[str, Mapping[str, object]] = {
    "full": {},
    "many": {"judged": make_full_judged(persons=12)},
    "nobody": {"judged": make_nobody()},
}


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_is_well_formed_and_can_be_read_aloud(kind: str, language: Language) -> None:
    page = page_of(language, **PAGES[kind])

    assert page.values("html", "lang") == [language.value]
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert len(page.values("img", "alt")) == page.tags["img"]
    assert all(page.values("img", "alt"))
    assert len(page.ids) == len(set(page.ids))
    for name in page.values("section", "aria-labelledby"):
        assert name in page.ids
    for table in page.tables:
        assert table["th"] > 0
    headers = page.tags["th"]
    assert len(page.values("th", "scope")) == headers
    assert page.tags["title"] >= 1
    assert page.tags["main"] == 1


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_needs_nothing_from_outside_and_runs_nothing(kind: str) -> None:
    report = make_report_view(**PAGES[kind])  # type: ignore[arg-type]
    html = to_html(report, make_pictures(report))
    page = parsed(html)

    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    assert all(v.startswith("data:image/png;base64,") for v in page.values("img", "src"))
    assert [n for _, n, _ in page.attributes if n.startswith("on")] == []
    assert page.values("a", "href") == []


def test_the_verdict_and_its_caveat_stand_in_one_block() -> None:
    report = make_report_view()
    html = to_html(report, {})
    (block,) = re.findall(r"<blockquote.*?</blockquote>", html, re.DOTALL)

    assert report.quote.statement in block
    assert report.quote.caveat in block


@pytest.mark.parametrize("name", [HOSTILE, LETTERS_OF_THE_WORLD, LONG, "\u202e\u2066\u200b\n\x00"])
def test_whatever_a_file_or_a_reference_is_called_it_stays_text(name: str) -> None:
    tags = {name: name, "encoder": HOSTILE}
    report = make_report_view(make_full_judged(tags=tags), file_name=name, ref_id=name)
    html = to_html(report, make_pictures(report))
    page = parsed(html)

    assert page.tags["script"] == 0
    assert page.headings.count(1) == 1
    assert not any(c in html for c in "\u202e\u2066\u200b\x00")
    assert report.heading in page.text or name.count("\n")
    assert "49" not in report.heading


def test_hidden_characters_are_shown_by_their_code() -> None:
    assert "[U+202E]gpj.4pm" in page_of(file_name=HOSTILE).text


def test_a_picture_that_is_missing_is_told_in_words() -> None:
    report = make_report_view()
    page = parsed(to_html(report, {}))

    assert page.tags["img"] == 0
    for picture in report.pictures:
        assert picture.alt in page.text


def test_an_old_verdict_is_marked_as_english_in_a_german_report() -> None:
    html = to_html(make_report_view(language=Language.GERMAN), {})

    assert '<blockquote lang="en">' in html
    assert "auf Englisch gespeichert" in html


def test_only_a_manipulated_verdict_has_the_colour_of_one() -> None:
    colours = {
        label: re.findall(r'<figure class="quote (\w+)"', to_html(report, {}))
        for label in Label
        for report in [make_report_view(make_full_judged(make_verdict(label)))]
    }

    assert colours == {label: [label.value] for label in Label}


def test_the_drawing_has_a_title_and_says_in_words_what_it_shows() -> None:
    page = page_of()

    assert page.tags["svg"] == 1
    assert page.values("svg", "role") == ["img"]
    for names in page.values("svg", "aria-labelledby"):
        assert all(name in page.ids for name in names.split())
    assert "Frames judged: 8, from 0.78 to 0.92, the highest at 0:03.0" in page.text
    assert all(page.tags[tag] for tag in DRAWN_TAGS)


@pytest.mark.parametrize(
    ("ink", "paper"),
    [("ink", "tint"), ("faint", "tint"), ("accent", "white"), ("grave", "white")],
)
def test_words_stand_out_from_their_paper_as_wcag_aa_wants(ink: str, paper: str) -> None:
    html = to_html(make_report_view(make_nobody()), {})
    colours = dict(re.findall(r"--(\w+): (#\w{6})", html)) | {"white": "#ffffff"}

    assert contrast(colours[ink], colours[paper]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, as WCAG 2.2 defines it."""
    dark, light = sorted(luminance(c) for c in (one, other))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
