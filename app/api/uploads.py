"""
How does a video get from a socket into the store, whole or not at all?

Bytes are read as they come, gathered to batches, and handed to a thread that counts, sniffs,
hashes and writes them. At no time is more than a batch held in memory, and nothing is stored
before the first bytes have shown a video container.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from anyio import CancelScope
from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from app.api.errors import InvalidFields
from app.api.multipart import MAX_OVERHEAD_BYTES, VideoForm
from app.api.schemas import FieldProblem, SubmitQuery
from app.domain.container import SNIFF_BYTES, sniff
from app.errors import (
    DISK_FULL,
    BadRequest,
    EmptyBody,
    InsufficientStorage,
    UnsupportedEncoding,
    UnsupportedMedia,
    UploadInterrupted,
    UploadTooLarge,
    UploadTooSlow,
)
from app.settings import UploadLimits
from app.storage import BlobStore, BlobWriter

BATCH_BYTES = 1024 * 1024
"""Bytes a thread is given at once; handing over costs about as much as hashing 50 kB."""
LENGTH_DIGITS = 19
MULTIPART = b"multipart/form-data"
OCTETS = b"application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A video that came whole; `writer` is not committed yet."""

    writer: BlobWriter
    file_name: str | None
    fields: Mapping[str, str]


@asynccontextmanager
async def receive(
    request: Request, *, store: BlobStore, limits: UploadLimits
) -> AsyncIterator[Upload]:
    """
    Take the video out of the body of `request`.

    Whatever was not committed when the block ends is removed, however it ends.

    Raises:
        ClientMustAct: the body is not one video within the limits, or did not come whole.
        InsufficientStorage: the disk has no room to spare.
    """
    content_type = request.headers.get("Content-Type", "")
    kind = parse_options_header(content_type)[0]
    is_form = kind == MULTIPART
    _check_head(request, kind, limits)
    intake = Intake(store, limits)
    form = VideoForm(content_type, intake.take) if is_form else None
    try:
        await run_in_threadpool(intake.check_room, _content_length(request) or 0)
        await _pour(request, form.feed if form else intake.take, limits)
        if form:
            form.finish()
        writer = await run_in_threadpool(intake.finish)
        yield Upload(
            writer=writer,
            file_name=form.file_name if form else None,
            fields=_unique(form.fields) if form else {},
        )
    finally:
        with CancelScope(shield=True):
            await run_in_threadpool(intake.abort)


def options(query: SubmitQuery, fields: Mapping[str, str]) -> SubmitQuery:
    """
    Join what was said in the query and in the fields of a form.

    Raises:
        InvalidFields: a field is unknown or not as documented, or said in both places.
    """
    if twice := query.model_fields_set & fields.keys():
        raise InvalidFields(
            [FieldProblem(where=["body", n], what="is in the query, too") for n in sorted(twice)]
        )
    try:
        in_form = SubmitQuery.model_validate(fields)
    except ValidationError as wrong:
        raise InvalidFields(
            [
                FieldProblem(where=["body", *map(str, e["loc"])], what=e["msg"])
                for e in wrong.errors()
            ]
        ) from wrong
    return query.model_copy(update=in_form.model_dump(exclude_unset=True))


class Intake:
    """
    Takes the bytes of one video: counts, sniffs, then stores. Called from worker threads.

    `take` raises the first reason not to go on; `abort` may be called at any time after.
    """

    def __init__(self, store: BlobStore, limits: UploadLimits) -> None:
        self._store = store
        self._limits = limits
        self._head = bytearray()
        self._writer: BlobWriter | None = None
        self._size_bytes = 0

    def check_room(self, wanted_bytes: int) -> None:
        """Raise InsufficientStorage if storing so much would eat into the reserve."""
        if self._store.free_bytes() - wanted_bytes < self._limits.min_free_bytes:
            raise InsufficientStorage("too little free disk to take another video now")

    def take(self, chunk: bytes) -> None:
        """Take the next bytes of the video."""
        self._size_bytes += len(chunk)
        if self._size_bytes > self._limits.max_bytes:
            raise _too_large(self._limits)
        if self._writer is not None:
            self._store_bytes(self._writer, chunk)
            return
        self._head += chunk
        if len(self._head) >= SNIFF_BYTES:
            self._open()

    def finish(self) -> BlobWriter:
        """Return the whole video, ready to be committed."""
        if self._size_bytes == 0:
            raise EmptyBody("want a video, found no byte")
        return self._writer or self._open()

    def abort(self) -> None:
        """Remove what was stored; harmless once that was committed."""
        if self._writer is not None:
            self._writer.abort()

    def _open(self) -> BlobWriter:
        if sniff(bytes(self._head[:SNIFF_BYTES])) is None:
            raise UnsupportedMedia("want an MP4, MOV, Matroska, WebM, AVI or MPEG-TS video")
        self._writer = self._store.begin()
        self._store_bytes(self._writer, bytes(self._head))
        self._head.clear()
        return self._writer

    def _store_bytes(self, writer: BlobWriter, chunk: bytes) -> None:
        self.check_room(len(chunk))
        try:
            writer.write(chunk)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise InsufficientStorage("the disk filled up while the video came") from error


class Pace:
    """Holds the client to a least rate. Time that we spend on the bytes does not count."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        self._bytes = 0
        self._waited_s = 0.0

    def record(self, size_bytes: int, *, waited_s: float) -> None:
        """Note that so much came after so long; raise UploadTooSlow at a window's end."""
        self._bytes += size_bytes
        self._waited_s += waited_s
        if self._waited_s < self._limits.stall_s:
            return
        if self._bytes < self._limits.min_bytes_per_s * self._waited_s:
            raise UploadTooSlow(
                f"want {self._limits.min_bytes_per_s} bytes a second, "
                f"found {self._bytes / self._waited_s:.0f}"
            )
        self._bytes, self._waited_s = 0, 0.0


async def _pour(request: Request, feed: Callable[[bytes], None], limits: UploadLimits) -> None:
    """Feed the body to `feed` in batches, in a thread: writing and hashing never stall others."""
    pace = Pace(limits)
    most = limits.max_bytes + MAX_OVERHEAD_BYTES
    batch: list[bytes] = []
    batched = received = 0
    enough = SNIFF_BYTES  # the first batch is small, so that a refusal comes soon
    stream = request.stream()
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(limits.stall_s):
                chunk = await anext(stream)
        except StopAsyncIteration:
            break
        except TimeoutError:  # the stream is void from here on
            raise UploadTooSlow(f"no byte came for {limits.stall_s:g} s") from None
        except ClientDisconnect:
            raise UploadInterrupted("the connection ended before the body") from None
        pace.record(len(chunk), waited_s=time.monotonic() - began)
        received += len(chunk)
        if received > most:
            raise _too_large(limits)
        batch.append(chunk)
        batched += len(chunk)
        if batched >= enough:
            await run_in_threadpool(feed, b"".join(batch))
            batch.clear()
            batched, enough = 0, BATCH_BYTES
    await run_in_threadpool(feed, b"".join(batch))


def _check_head(request: Request, kind: bytes, limits: UploadLimits) -> None:
    """Refuse by the headers alone what needs no body to be refused."""
    headers = request.headers
    if headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise UnsupportedEncoding("want the video's own bytes, without Content-Encoding")
    if not (kind.startswith(b"video/") or kind in (OCTETS, MULTIPART)):
        raise UnsupportedMedia(
            "want Content-Type video/*, application/octet-stream or multipart/form-data"
        )
    if "Content-Length" in headers and "Transfer-Encoding" in headers:
        raise BadRequest("Content-Length and Transfer-Encoding contradict each other")
    length = _content_length(request)
    if length == 0:
        raise EmptyBody("want a video, found no byte")
    overhead = MAX_OVERHEAD_BYTES if kind == MULTIPART else 0
    if length is not None and length > limits.max_bytes + overhead:
        raise _too_large(limits)


def _content_length(request: Request) -> int | None:
    given = request.headers.get("Content-Length")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= LENGTH_DIGITS):
        raise BadRequest("Content-Length is not a number of bytes")
    return int(given)


def _unique(fields: list[tuple[str, str]]) -> Mapping[str, str]:
    named = dict(fields)
    if len(named) < len(fields):
        raise InvalidFields([FieldProblem(where=["body"], what="a field was given twice")])
    return named


def _too_large(limits: UploadLimits) -> UploadTooLarge:
    return UploadTooLarge(f"a video may have {limits.max_bytes} bytes")
