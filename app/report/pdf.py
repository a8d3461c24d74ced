"""
How does a report look on paper? A PDF with its letters inside it, for whoever prints or archives.

The same content in the same order as on the page. Text can be selected, the outline leads to every
section, pictures carry their words, and a character that no letter was brought along for is shown
by its code: nothing that a file may be called keeps a report from being written.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Literal

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos
from fpdf.fonts import TTFFont

from app.domain.verdict import Label
from app.domain.words import Language
from app.report.content import (
    AbstentionRow,
    FactView,
    FindingRow,
    PersonReport,
    PictureView,
    ReportView,
    alike,
)
from app.report.drawing import WIDTH, Dot, Drawing, Ink, Line, Shape, Words, timelines
from app.report.tongue import Tongue

SERIF: Literal["serif"] = "serif"
SANS: Literal["sans"] = "sans"
FONTS: Mapping[tuple[str, str], tuple[str, str]] = {
    (SERIF, ""): ("fontpkg_ibm_plex_serif", "IBMPlexSerif-Regular.ttf"),
    (SERIF, "B"): ("fontpkg_ibm_plex_serif", "IBMPlexSerif-SemiBold.ttf"),
    (SANS, ""): ("fontpkg_fira_sans", "FiraSans-Regular.ttf"),
    (SANS, "B"): ("fontpkg_fira_sans", "FiraSans-SemiBold.ttf"),
    (SANS, "I"): ("fontpkg_fira_sans", "FiraSans-Italic.ttf"),
}
MARGIN_MM, BOTTOM_MM = 18.0, 20.0
POINT_MM = 25.4 / 72
LEADING = 1.4
"""Height of a line over the size of its letters."""
TEXT_PT, SMALL_PT, TABLE_PT = 10.0, 8.0, 8.5
CROP_MM, FACE_GAP_MM = 26.0, 5.0
CELL_GAP_MM, ROW_GAP_MM = 3.0, 1.4
KEEP_MM = 26.0
"""Room that a heading wants below it."""
TALLEST_MM = 46.0
"""Of a picture: as high as frames of most videos are where they are as wide as the page."""
BLANK = "\N{EN DASH}"

Colour = tuple[int, int, int]
Family = Literal["serif", "sans"]
Style = Literal["", "B", "I"]

TINT: Colour = (245, 245, 242)
EDGE: Mapping[Label, Colour] = {
    Label.MANIPULATED: (143, 50, 8),
    Label.NO_MANIPULATION_FOUND: (11, 79, 128),
    Label.INCONCLUSIVE: (93, 99, 109),
}


def to_pdf(report: ReportView, pictures: Mapping[str, bytes]) -> bytes:
    """
    Write a PDF.

    Args:
        pictures: the PNG of each of the report's pictures, by id. One that is missing is told in
            the words that stand for it.
    """
    return _Printer(report, pictures).print()


class _Paper(FPDF):
    """A4 with a line at the foot of every page."""

    def __init__(self, *, foot: str, page_words: str) -> None:
        super().__init__(format="A4")
        self._foot, self._page_words = foot, page_words
        self.set_margin(MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=BOTTOM_MM)
        for (family, style), (package, name) in FONTS.items():
            path = Path(str(files(package).joinpath("files", name)))
            self.add_font(family, style, path)
        self.set_fallback_fonts([SANS])
        self.c_margin = 0

    def footer(self) -> None:
        """Write the number of the page, and by what it was made."""
        self.set_y(-BOTTOM_MM + 6)
        self.set_font(SANS, "", 7.5)
        self.set_text_color(*_rgb(Ink.FAINT))
        self.cell(self.epw * 0.8, 4, self._foot)
        page = self._page_words.format(page=self.page_no(), pages="{nb}")
        self.cell(0, 4, page, align="R")


class _Printer:
    """Prints one report."""

    def __init__(self, report: ReportView, pictures: Mapping[str, bytes]) -> None:
        self._report = report
        self._pictures = pictures
        self._say = Tongue(language=report.language).say
        page_words = self._say("report.page", page="{page}", pages="{pages}")
        self._pdf = _Paper(
            foot=self._say("report.footer", policy=report.policy), page_words=page_words
        )
        fonts = self._pdf.fonts.values()
        self._letters = frozenset(c for f in fonts if isinstance(f, TTFFont) for c in f.cmap)

    def print(self) -> bytes:
        report, pdf = self._report, self._pdf
        pdf.set_lang(report.language.value)
        pdf.set_title(f"{report.title}: {report.heading}")
        pdf.set_creator(f"deepverdict {report.provenance.code}")
        pdf.set_creation_date(report.made_at)
        pdf.add_page()
        self._head()
        self._verdict()
        self._when()
        self._frames()
        self._persons()
        self._origin()
        self._file()
        self._checking()
        return bytes(pdf.output())

    # Sections

    def _head(self) -> None:
        report = self._report
        self._text(report.title.upper(), SANS, size=8, ink=Ink.FAINT, after=1.5)
        self._text(report.heading, SERIF, "B", size=18, leading=1.2, after=2)
        self._text("   ".join(report.about), SANS, size=SMALL_PT + 0.5, ink=Ink.FAINT, after=4)

    def _verdict(self) -> None:
        report = self._report
        self._heading("report.verdict")
        self._text(report.label_words, SANS, "B", size=TEXT_PT, after=2)
        self._quote()
        self._text(report.meaning, after=3)
        if report.reasons:
            self._subheading(self._say("report.why"))
            self._bullets(report.reasons)
        self._facts(
            [
                FactView(name=self._say("report.probability"), value=report.probability),
                FactView(
                    name=self._say("report.operating_point"),
                    value=" ".join(report.operating_point),
                ),
                FactView(name=self._say("report.policy"), value=report.policy),
            ]
        )

    def _quote(self) -> None:
        """Both sentences in one block, which is never torn apart by the end of a page."""
        pdf, quote = self._pdf, self._report.quote
        no_caveat = self._say("report.no_caveat")
        about = f"{self._say('report.quote_label')}." if quote.caveat else no_caveat
        if quote.language != self._report.language:
            about = f"{about} {self._say('report.language_note')}"
        lines: list[tuple[str, Family, Style, float, Ink]] = [
            (quote.statement, SERIF, "", 13.5, Ink.TEXT),
            (quote.caveat, SERIF, "", TEXT_PT, Ink.TEXT),
            (about, SANS, "", SMALL_PT, Ink.FAINT),
        ]
        lines = [line for line in lines if line[0]]
        inset, width = 6.0, pdf.epw - 12.0
        heights = [
            self._height(text, width, family, style, size) for text, family, style, size, _ in lines
        ]
        height = sum(heights) + 2.2 * (len(lines) - 1) + 2 * 4.5
        self._keep(height)
        top = pdf.get_y()
        pdf.set_fill_color(*TINT)
        pdf.rect(pdf.l_margin, top, pdf.epw, height, style="F")
        pdf.set_fill_color(*EDGE[self._report.label])
        pdf.rect(pdf.l_margin, top, 1.1, height, style="F")
        pdf.set_y(top + 4.5)
        for text, family, style, size, ink in lines:
            self._text(
                text,
                family,
                style,
                size=size,
                ink=ink,
                x=pdf.l_margin + inset,
                width=width,
                after=2.2,
            )
        pdf.set_y(top + height + 4)

    def _when(self) -> None:
        drawings = timelines(self._report)
        drawn = min((d.height for d in drawings), default=0) * self._pdf.epw / WIDTH
        self._heading("report.timeline", keep=KEEP_MM + drawn)
        if not drawings:
            self._text(self._say("report.timeline_none"))
            return
        self._text(self._say("report.timeline_about"), after=3)
        for drawing in drawings:
            self._draw(drawing)
        for person in self._report.persons:
            self._text(person.in_time, SANS, size=SMALL_PT, ink=Ink.FAINT, after=1)

    def _frames(self) -> None:
        shown = [f.picture for f in self._report.frames]
        first = self._size(shown[0], self._pdf.epw)[1] if shown else 0
        self._heading("report.frames", keep=KEEP_MM + first + 8)
        if not self._report.frames:
            self._text(self._say("report.frames_none"))
            return
        self._text(self._say("report.frames_about"), after=3)
        for frame in self._report.frames:
            it = frame.picture
            self._keep(self._size(it, self._pdf.epw)[1] + 8)
            self._picture(it, width=self._pdf.epw)
            self._text(it.caption, SANS, size=SMALL_PT, ink=Ink.FAINT, after=4)

    def _persons(self) -> None:
        report = self._report
        self._heading("report.persons")
        if not report.persons:
            self._text(self._say("report.persons_none"))
        for person in report.persons:
            self._person(person)
        if report.abstentions:
            self._abstentions(report.abstentions, self._say("report.abstentions_all"))

    def _person(self, person: PersonReport) -> None:
        pdf = self._pdf
        self._keep(CROP_MM + 2 * KEEP_MM)
        pdf.start_section(self._shown(person.name), level=1)
        top = pdf.get_y() + 1
        left = pdf.l_margin
        if person.crop is not None and person.crop.id in self._pictures:
            pdf.set_y(top)
            self._picture(person.crop, width=CROP_MM)
            left += CROP_MM + FACE_GAP_MM
        width = pdf.l_margin + pdf.epw - left
        pdf.set_y(top)
        self._text(person.name, SERIF, "B", size=12, x=left, width=width, after=1)
        self._text(person.seen, x=left, width=width, after=1)
        probability = f"{self._say('report.probability')}: {person.probability}"
        self._text(probability, SERIF, "B", x=left, width=width, after=1)
        if person.is_most_suspect:
            self._text(self._say("report.person_why_first"), x=left, width=width)
        pdf.set_y(max(pdf.get_y(), top + (CROP_MM if left > pdf.l_margin else 0)) + 3)
        if person.findings:
            self._findings(person)
        else:
            self._text(self._say("report.findings_none"), after=2)
        if person.abstentions:
            title = self._say("report.abstentions_of", name=person.name)
            self._abstentions(person.abstentions, title)
        if person.attention:
            self._attention(person.attention)
        pdf.ln(3)

    def _findings(self, person: PersonReport) -> None:
        self._caption(self._say("report.findings_of", name=person.name))
        widths = self._widths(0.2, 0.2, 0.24, 0.22, 0.14)
        head = [
            self._say(f"report.column_{c}")
            for c in ("detector", "value", "comparison", "rests", "role")
        ]
        self._table_head(head, widths)
        for row in person.findings:
            self._finding(row, head, widths)
        self._pdf.ln(2)

    def _finding(self, row: FindingRow, head: Sequence[str], widths: Sequence[float]) -> None:
        pdf = self._pdf
        cells = [
            row.name,
            "\n".join(row.values) or BLANK,
            row.comparison,
            row.rests_on,
            row.role,
        ]
        styles: list[Style] = ["B", "", "", "", "B" if row.is_decisive else ""]
        note = " ".join(filter(None, (row.question, row.caveat, row.reference)))
        left = pdf.l_margin + widths[0] + CELL_GAP_MM
        width = pdf.l_margin + pdf.epw - left
        notes: list[tuple[str, Style]] = [(note, "")]
        if row.own_caveat:
            notes.append((self._original(row.own_caveat), "I"))
        height = self._row_height(cells, widths, styles) + sum(
            self._height(text, width, SANS, style, SMALL_PT) for text, style in notes
        )
        if self._keep(height + 2 * ROW_GAP_MM):
            self._table_head(head, widths)
        self._row(cells, widths, styles, has_rule=True)
        for text, style in notes:
            self._text(
                text, SANS, style, size=SMALL_PT, ink=Ink.FAINT, x=left, width=width, after=0
            )
        pdf.ln(ROW_GAP_MM)

    def _abstentions(self, rows: Sequence[AbstentionRow], title: str) -> None:
        self._caption(title)
        widths = self._widths(0.24, 0.42, 0.34)
        head = [self._say(f"report.column_{c}") for c in ("detector", "reason", "needs")]
        self._table_head(head, widths)
        styles: list[Style] = ["B", "", ""]
        for names, row in alike(rows):
            why = f"{row.reason}\n{self._original(row.detail)}" if row.detail else row.reason
            cells = [names, why, row.needs or BLANK]
            if self._keep(self._row_height(cells, widths, styles) + 2 * ROW_GAP_MM):
                self._table_head(head, widths)
            self._row(cells, widths, styles, has_rule=True)
        about = self._say("report.abstentions_about")
        self._text(about, SANS, size=SMALL_PT, ink=Ink.FAINT, after=3)

    def _attention(self, pictures: Sequence[PictureView]) -> None:
        pdf = self._pdf
        self._keep(CROP_MM + 24)
        self._subheading(self._say("report.attention"))
        self._text(self._say("report.attention_about"), after=2)
        each = CROP_MM + FACE_GAP_MM
        for at in range(0, len(pictures), per_row := max(1, int(pdf.epw // each))):
            self._keep(CROP_MM + 8)
            top = pdf.get_y()
            lowest = top
            for n, it in enumerate(pictures[at : at + per_row]):
                x = pdf.l_margin + n * each
                pdf.set_y(top)
                self._picture(it, width=CROP_MM, x=x)
                self._text(it.caption, SANS, size=7.5, ink=Ink.FAINT, x=x, width=CROP_MM)
                lowest = max(lowest, pdf.get_y())
            pdf.set_y(lowest)

    def _origin(self) -> None:
        origin = self._report.origin
        self._heading("report.origin")
        if origin is None:
            self._text(self._say("report.origin_unknown"))
            return
        self._text(origin.about, after=3)
        self._facts(origin.credentials)
        self._subheading(self._say("report.tags"))
        if origin.tags:
            self._facts(origin.tags)
        else:
            self._text(self._say("report.no_tags"))
        self._subheading(self._say("report.signs"))
        self._bullets(origin.signs or [self._say("report.no_signs")])

    def _file(self) -> None:
        self._heading("report.file")
        self._facts(self._report.file)
        self._subheading(self._say("report.file_warnings"))
        self._bullets(self._report.warnings or [self._say("report.no_warnings")])

    def _checking(self) -> None:
        report = self._report
        self._heading("report.checking")
        self._text(self._say("report.checking_about"), after=2)
        self._code(f"{report.commands[0]}\n{report.video.sha256}")
        self._text(self._say("report.checking_then"), after=2)
        self._code(report.commands[1])
        self._text(self._say("report.checking_versions"), after=3)
        self._facts(report.checking)
        if not report.measurements:
            return
        self._subheading(self._say("report.measurements"))
        self._text(self._say("report.measurements_about"), after=2)
        widths = self._widths(0.36, 0.44, 0.2)
        head = [self._say(f"report.column_{c}") for c in ("detector", "measurement", "value")]
        for block in report.measurements:
            self._caption(block.name)
            self._table_head(head, widths)
            for row in block.rows:
                cells = [row.detector, row.name, row.value]
                if self._keep(self._row_height(cells, widths) + 2 * ROW_GAP_MM):
                    self._table_head(head, widths)
                self._row(cells, widths, has_rule=True)
            self._pdf.ln(2)

    def _original(self, words: str) -> str:
        """Announce the program's own words where the report speaks another language."""
        if self._report.language is Language.ENGLISH:
            return words
        return f"{self._say('report.in_original_words')}: {words}"

    # Parts

    def _heading(self, key: str, *, keep: float = KEEP_MM) -> None:
        """Print a heading, on a new page unless so much of what follows fits below it."""
        pdf, text = self._pdf, self._say(key)
        pdf.ln(3)
        self._keep(keep)
        pdf.set_draw_color(*_rgb(Ink.TEXT))
        pdf.set_line_width(0.4)
        pdf.line(pdf.l_margin, pdf.get_y(), pdf.l_margin + pdf.epw, pdf.get_y())
        pdf.ln(2.2)
        pdf.start_section(text, level=0)
        self._text(text, SERIF, "B", size=13, leading=1.25, after=2.2)

    def _subheading(self, text: str) -> None:
        self._pdf.ln(1)
        self._keep(KEEP_MM / 2)
        self._text(text, SERIF, "B", size=10.5, after=1)

    def _caption(self, text: str) -> None:
        self._keep(KEEP_MM)
        self._text(text, SANS, "B", size=TABLE_PT, after=1)

    def _bullets(self, texts: Sequence[str]) -> None:
        pdf = self._pdf
        for text in texts:
            self._keep(TEXT_PT * POINT_MM * LEADING)
            pdf.set_font(SERIF, "", TEXT_PT)
            pdf.set_text_color(*_rgb(Ink.TEXT))
            top = pdf.get_y()
            pdf.set_x(pdf.l_margin)
            pdf.cell(4, TEXT_PT * POINT_MM * LEADING, "\N{BULLET}")
            pdf.set_y(top)
            self._text(text, x=pdf.l_margin + 4, width=pdf.epw - 4, after=0.6)
        pdf.ln(1.5)

    def _code(self, text: str) -> None:
        pdf = self._pdf
        width = pdf.epw - 6
        height = self._height(text, width, SANS, "", TABLE_PT) + 4
        self._keep(height)
        top = pdf.get_y()
        pdf.set_fill_color(*TINT)
        pdf.rect(pdf.l_margin, top, pdf.epw, height, style="F")
        pdf.set_y(top + 2)
        self._text(text, SANS, size=TABLE_PT, x=pdf.l_margin + 3, width=width)
        pdf.set_y(top + height + 2.5)

    def _facts(self, rows: Sequence[FactView]) -> None:
        widths = self._widths(0.28, 0.72)
        for row in rows:
            cells = [row.name, row.value]
            self._keep(self._row_height(cells, widths) + 2 * ROW_GAP_MM)
            self._row(cells, widths, inks=(Ink.FAINT, Ink.TEXT))
            self._rule(Ink.RULE)
            self._pdf.ln(ROW_GAP_MM)
        self._pdf.ln(2)

    def _widths(self, *shares: float) -> list[float]:
        free = self._pdf.epw - CELL_GAP_MM * (len(shares) - 1)
        return [free * share for share in shares]

    def _table_head(self, cells: Sequence[str], widths: Sequence[float]) -> None:
        self._keep(KEEP_MM / 2)
        self._row(cells, widths, inks=[Ink.FAINT] * len(cells))
        self._rule(Ink.TEXT)
        self._pdf.ln(ROW_GAP_MM)

    def _row(
        self,
        cells: Sequence[str],
        widths: Sequence[float],
        styles: Sequence[Style] = (),
        *,
        inks: Sequence[Ink] = (),
        has_rule: bool = False,
    ) -> None:
        """Print cells side by side; whoever calls made sure that they fit on the page."""
        pdf = self._pdf
        top = pdf.get_y()
        lowest, x = top, pdf.l_margin
        for n, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            pdf.set_y(top)
            self._text(
                cell,
                SANS,
                styles[n] if styles else "",
                size=TABLE_PT,
                ink=inks[n] if inks else Ink.TEXT,
                x=x,
                width=width,
            )
            lowest = max(lowest, pdf.get_y())
            x += width + CELL_GAP_MM
        pdf.set_y(lowest + ROW_GAP_MM)
        if has_rule:
            pdf.set_y(top - ROW_GAP_MM / 2)
            self._rule(Ink.RULE)
            pdf.set_y(lowest + ROW_GAP_MM)

    def _row_height(
        self, cells: Sequence[str], widths: Sequence[float], styles: Sequence[Style] = ()
    ) -> float:
        return max(
            self._height(cell, width, SANS, styles[n] if styles else "", TABLE_PT)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )

    def _rule(self, ink: Ink) -> None:
        pdf = self._pdf
        pdf.set_draw_color(*_rgb(ink))
        pdf.set_line_width(0.2)
        pdf.line(pdf.l_margin, pdf.get_y(), pdf.l_margin + pdf.epw, pdf.get_y())

    def _size(self, it: PictureView, width: float) -> tuple[float, float]:
        """Return the size of a picture of this width, or less where it were too high."""
        height = width * it.height_px / it.width_px
        if height > TALLEST_MM:
            return width * TALLEST_MM / height, TALLEST_MM
        return width, height

    def _picture(self, it: PictureView, *, width: float, x: float | None = None) -> None:
        """Print a picture of this width at most; its words where it is missing."""
        pdf = self._pdf
        png = self._pictures.get(it.id)
        if png is None:
            self._text(it.alt, SANS, size=SMALL_PT, ink=Ink.FAINT, x=x, width=width, after=1)
            return
        width, height = self._size(it, width)
        top = pdf.get_y()
        pdf.image(
            BytesIO(png),
            x=pdf.l_margin if x is None else x,
            y=top,
            w=width,
            h=height,
            alt_text=self._shown(it.alt),
        )
        pdf.set_y(top + height + 1.5)

    def _draw(self, drawing: Drawing) -> None:
        """Draw with a pen for paper."""
        pdf = self._pdf
        scale = pdf.epw / WIDTH
        self._keep(drawing.height * scale)
        left, top = pdf.l_margin, pdf.get_y()

        def placed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
            return [(left + x * scale, top + y * scale) for x, y in points]

        with pdf.local_context():
            for mark in drawing.marks:
                match mark:
                    case Line():
                        pdf.set_draw_color(*_rgb(mark.ink))
                        pdf.set_line_width(mark.thickness * scale)
                        pdf.polyline(placed(mark.points))
                    case Shape():
                        pdf.set_fill_color(*_rgb(mark.ink))
                        pdf.polygon(placed(mark.points), style="F")
                    case Dot():
                        pdf.set_fill_color(*_rgb(mark.ink))
                        ((x, y),) = placed([(mark.x, mark.y)])
                        pdf.circle(x, y, mark.radius * scale, style="F")
                    case Words():
                        pdf.set_text_color(*_rgb(mark.ink))
                        pdf.set_font(
                            SANS, "B" if mark.is_bold else "", mark.size * scale / POINT_MM
                        )
                        ((x, y),) = placed([(mark.x, mark.y)])
                        text = self._shown(mark.text)
                        pdf.text(x - mark.anchor * pdf.get_string_width(text), y, text)
        pdf.set_y(top + drawing.height * scale + 2)

    # Letters

    def _text(
        self,
        text: str,
        family: Family = SERIF,
        style: Style = "",
        *,
        size: float = TEXT_PT,
        ink: Ink = Ink.TEXT,
        leading: float = LEADING,
        x: float | None = None,
        width: float | None = None,
        after: float = 0.0,
    ) -> None:
        """Print text from the current height on, and go below it."""
        pdf = self._pdf
        pdf.set_font(family, style, size)
        pdf.set_text_color(*_rgb(ink))
        pdf.set_x(pdf.l_margin if x is None else x)
        pdf.multi_cell(
            pdf.epw if width is None else width,
            size * POINT_MM * leading,
            self._shown(text),
            align="L",
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        pdf.set_y(pdf.get_y() + after)

    def _height(self, text: str, width: float, family: Family, style: Style, size: float) -> float:
        self._pdf.set_font(family, style, size)
        height = self._pdf.multi_cell(
            width,
            size * POINT_MM * LEADING,
            self._shown(text),
            align="L",
            dry_run=True,
            output=MethodReturnValue.HEIGHT,
        )
        assert isinstance(height, float | int)
        return float(height)

    def _keep(self, height: float) -> bool:
        """Begin a new page unless so much fits below; tell whether one was begun."""
        pdf = self._pdf
        if pdf.get_y() + height <= pdf.page_break_trigger or pdf.get_y() <= pdf.t_margin:
            return False
        pdf.add_page()
        return True

    def _shown(self, text: str) -> str:
        """Show what no letter was brought along for by its code."""
        return "".join(
            c if c == "\n" or ord(c) in self._letters else f"[U+{ord(c):04X}]" for c in text
        )


def _rgb(ink: Ink) -> Colour:
    red, green, blue = bytes.fromhex(ink.value.removeprefix("#"))
    return red, green, blue
