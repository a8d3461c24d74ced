"""In which forms is a report read, and how is each written?"""

from collections.abc import Mapping
from enum import StrEnum

from app.report.content import ReportView


class ReportFormat(StrEnum):
    """Wire spelling, and the ending of a file's name."""

    JSON = "json"
    HTML = "html"
    PDF = "pdf"

    @property
    def media_type(self) -> str:
        """What HTTP calls it."""
        return MEDIA_TYPES[self]

    @property
    def shows_pictures(self) -> bool:
        """Whether pictures are inside it."""
        return self is not ReportFormat.JSON


MEDIA_TYPES: Mapping[ReportFormat, str] = {
    ReportFormat.JSON: "application/json",
    ReportFormat.HTML: "text/html",
    ReportFormat.PDF: "application/pdf",
}


def written(report: ReportView, form: ReportFormat, pictures: Mapping[str, bytes]) -> bytes:
    """
    Write a report.

    Args:
        pictures: the PNG of each of the report's pictures, by id; JSON has none.
    """
    match form:
        case ReportFormat.JSON:
            return report.to_json().encode()
        case ReportFormat.HTML:
            from app.report.html import to_html  # noqa: PLC0415  most calls want no page

            return to_html(report, pictures).encode()
        case ReportFormat.PDF:
            # Not at the top: it brings a library of pictures, which no gateway loads at its start.
            from app.report.pdf import to_pdf  # noqa: PLC0415

            return to_pdf(report, pictures)
