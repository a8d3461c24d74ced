"""How is the one video found in a multipart body, without holding more than a piece of it?"""

import unicodedata
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BadMultipart

if TYPE_CHECKING:  # the library has this name for type checkers alone
    from python_multipart.multipart import MultipartCallbacks

MAX_OVERHEAD_BYTES = 64 * 1024
"""All of the body that is not the video: preamble, boundaries, headers, fields, epilogue."""
MAX_FIELDS = 8
MAX_FIELD_BYTES = 4096
MAX_FILE_NAME = 255


class _Part(Enum):
    NONE = auto()
    FIELD = auto()
    FILE = auto()


class VideoForm:
    """
    Feeds the bytes of the only file part to `take`, and keeps the small text fields.

    Raises:
        BadMultipart: the form is malformed, too much besides the video, or not exactly one file.
    """

    def __init__(self, content_type: str, take: Callable[[bytes], None]) -> None:
        self.file_name: str | None = None
        self.fields: list[tuple[str, str]] = []
        self._take = take
        self._part = _Part.NONE
        self._has_file = False
        self._is_over = False
        self._fed_bytes = 0
        self._video_bytes = 0
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._field_name = ""
        self._field_value = bytearray()
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise BadMultipart("the Content-Type names no boundary")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise BadMultipart("the boundary is too long") from error

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        self._fed_bytes += len(data)
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadMultipart("the body does not follow multipart/form-data") from error
        if self._fed_bytes - self._video_bytes > MAX_OVERHEAD_BYTES:
            raise BadMultipart(f"more than {MAX_OVERHEAD_BYTES} bytes besides the video")

    def finish(self) -> None:
        """Check that the body was whole."""
        if not self._is_over:
            raise BadMultipart("the body ends before its closing boundary")
        if not self._has_file:
            raise BadMultipart("want exactly one part with a file name, found none")

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _open_part(self) -> None:
        kind, options = parse_options_header(self._disposition.decode("latin-1"))
        if kind != b"form-data" or b"name" not in options:
            raise BadMultipart("every part needs Content-Disposition: form-data with a name")
        # Some clients send a name beyond ASCII as `filename*` alone, which the parser leaves out.
        if b"filename" in options or b"filename*" in self._disposition.lower():
            if self._has_file:
                raise BadMultipart("want exactly one part with a file name, found two")
            self._has_file = True
            self._part = _Part.FILE
            self.file_name = clean_file_name(options.get(b"filename", b""))
            return
        if len(self.fields) == MAX_FIELDS:
            raise BadMultipart(f"more than {MAX_FIELDS} fields")
        self._part = _Part.FIELD
        self._field_name = _text(options[b"name"])
        self._field_value.clear()

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._part is _Part.FILE:
            self._video_bytes += len(piece)
            self._take(piece)
            return
        self._field_value += piece
        if len(self._field_value) > MAX_FIELD_BYTES:
            raise BadMultipart(f"a field is longer than {MAX_FIELD_BYTES} bytes")

    def _end_part(self) -> None:
        if self._part is _Part.FIELD:
            self.fields.append((self._field_name, _text(bytes(self._field_value))))
        self._part = _Part.NONE

    def _end(self) -> None:
        self._is_over = True


def clean_file_name(raw: bytes) -> str | None:
    """Make a name fit to be shown: no control or direction characters, at most 255 characters."""
    shown = "".join(c for c in raw.decode(errors="replace") if unicodedata.category(c)[0] != "C")
    return shown[:MAX_FILE_NAME].strip() or None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadMultipart("field names and values are UTF-8") from error
