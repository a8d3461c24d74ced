"""
How does a report look on a page? One HTML file that needs nothing else: no script, no network.

Pictures and the drawing are inside it. It prints on A4. Everything that came from outside was made
visible in the content, and is escaped by the template.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from app.report.content import PictureView, ReportView, alike
from app.report.drawing import WIDTH, Dot, Drawing, Line, Mark, Shape, Words, timelines
from app.report.tongue import Tongue

TEMPLATE = "page.html.jinja"


def to_html(report: ReportView, pictures: Mapping[str, bytes]) -> str:
    """
    Write a page.

    Args:
        pictures: the PNG of each of the report's pictures, by id. One that is missing is told in
            the words that stand for it.
    """
    tongue = Tongue(language=report.language)

    def source(picture: PictureView) -> str | None:
        png = pictures.get(picture.id)
        return None if png is None else f"data:image/png;base64,{b64encode(png).decode()}"

    return _template().render(
        report=report,
        say=tongue.say,
        source=source,
        alike=alike,
        drawings=[_svg(d, number=n) for n, d in enumerate(timelines(report), start=1)],
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("app.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)


def _svg(drawing: Drawing, *, number: int) -> Markup:
    """Draw with a pen for pages."""
    title, words = f"drawing-{number}", f"drawing-{number}-words"
    head = Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{} {}">'
        '<title id="{}">{}</title><desc id="{}">{}</desc>'
    ).format(
        _length(WIDTH),
        _length(drawing.height),
        title,
        words,
        title,
        drawing.title,
        words,
        " ".join(drawing.words),
    )
    return head + Markup("").join(_mark(m) for m in drawing.marks) + Markup("</svg>")


def _mark(mark: Mark) -> Markup:
    match mark:
        case Line():
            return Markup(
                '<polyline points="{}" fill="none" stroke="{}" stroke-width="{}"/>'
            ).format(_points(mark.points), mark.ink.value, _length(mark.thickness))
        case Shape():
            return Markup('<polygon points="{}" fill="{}"/>').format(
                _points(mark.points), mark.ink.value
            )
        case Dot():
            return Markup('<circle cx="{}" cy="{}" r="{}" fill="{}"/>').format(
                _length(mark.x), _length(mark.y), _length(mark.radius), mark.ink.value
            )
        case Words():
            anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[mark.anchor]
            return Markup(
                '<text x="{}" y="{}" font-size="{}" fill="{}" text-anchor="{}"{}>{}</text>'
            ).format(
                _length(mark.x),
                _length(mark.y),
                _length(mark.size),
                mark.ink.value,
                anchor,
                Markup(' font-weight="600"') if mark.is_bold else "",
                escape(mark.text),
            )


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_length(x)},{_length(y)}" for x, y in points)


def _length(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
