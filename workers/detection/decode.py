"""
How does the worker get at the frames of a video? From a jailed process of its own, one a video.

Frames travel through shared memory, a few ahead of whoever takes them, so that decoding and
looking go on at the same time. What the decoder says is checked against what it was told: one
that was taken over can lie about pixels, not about how many there are.
"""

import json
import math
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from app import log
from app.domain.container import SNIFF_BYTES, sniff
from app.domain.media import VideoFacts
from app.errors import IntegrityFailed, RejectCode, RejectedMedia, SandboxUnavailable
from app.settings import AnalysisSettings, MediaLimits
from workers.detection import decoder_process, wire
from workers.detection.decoder_process import DecoderProcess
from workers.detection.escape import Attempts, Target
from workers.detection.formats import DECODERS
from workers.detection.sampling import words
from workers.detection.stage import Frame, Image

DECODER = "workers.detection.decoder:main"
ESCAPE = "workers.detection.escape:main"
SLOTS = 4
"""Pictures in the shared memory: how far decoding may be ahead."""
MAX_THREADS = 9
"""More are no faster than one worker can look, and each holds frames of its own."""
TURNS = frozenset(
    {(a, 0, 0, d) for a in (-1, 1) for d in (-1, 1)}
    | {(0, b, c, 0) for b in (-1, 1) for c in (-1, 1)}
)
RATE_SLACK = 1.02  # a hair over the decoder's own
CHECK_TIMEOUT_S = 30.0

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What is known of a video once its first frame is decoded."""

    container: str
    codec: str
    width: int  # as displayed, after rotation
    height: int
    rotation_deg: int  # clockwise; frames are already turned
    rate_hz: float  # by the container, or a guess where it does not say
    duration_s: float | None  # by the container, which may lie
    frames_expected: int | None  # likewise
    keep_every: int  # one in so many frames is kept
    metadata: Mapping[str, str]  # what it says of itself, of `wire.METADATA_KEYS`; anybody's words


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """How the decoder is jailed, tried out."""

    is_network_removed: bool
    words: str


class VideoStream:
    """A video that is being decoded. Made by `open_video`; can be gone over once."""

    def __init__(
        self,
        process: DecoderProcess,
        *,
        jailed: wire.Jailed,
        opened: wire.Opened,
        limits: MediaLimits,
        max_kept_frames: int,
    ) -> None:
        self.sandbox = decoder_process.printable(jailed.words)
        self.decoder = decoder_process.printable(opened.decoder)
        is_upended = opened.turn[0] == 0
        self.probe = Probe(
            container=opened.container,
            codec=opened.codec,
            width=opened.height if is_upended else opened.width,
            height=opened.width if is_upended else opened.height,
            rotation_deg=_rotation_deg(opened.turn),
            rate_hz=opened.rate_hz,
            duration_s=opened.duration_s,
            frames_expected=opened.frames_expected,
            keep_every=opened.keep_every,
            metadata={key: decoder_process.printable(words) for key, words in opened.metadata},
        )
        self._process = process
        self._limits = limits
        self._max_kept_frames = max_kept_frames
        self._opened = opened
        self._is_begun = False
        self._kept: list[int] = []
        self._last_pts_s = -math.inf
        self._done: wire.Done | None = None

    def __iter__(self) -> Iterator[Frame]:
        """
        Yield the kept frames in order: upright, RGB, scaled to the working size.

        Raises:
            RejectedMedia: the video turned out bad on the way.
            RuntimeError: it was gone over before.
        """
        if self._is_begun:
            raise RuntimeError("a video can be gone over once")
        self._is_begun = True
        opened = self._opened
        slots = self._process.share(
            wire.slot_bytes(opened.work_width, opened.work_height), slots=SLOTS
        )
        scale = max(opened.work_width, opened.work_height) / max(opened.width, opened.height)
        while not isinstance(message := self._next(), wire.Done):
            rgb = _upright(slots[message.slot], message.row_bytes, opened)
            self._process.free(1)
            yield Frame(
                index=message.index,
                pts_s=message.pts_s,
                rgb=rgb,
                scale=scale,
                is_keyframe=message.is_keyframe,
            )

    @property
    def kept_words(self) -> str:
        """Which frames were kept, for provenance. Known when the iteration has ended."""
        return words(self._kept, frames_decoded=self._outcome.frames_decoded)

    def facts(self, *, sha256: str, size_bytes: int) -> VideoFacts:
        """Return what was measured. Known when the iteration has ended; RuntimeError before."""
        done, probe = self._outcome, self.probe
        return VideoFacts(
            sha256=sha256,
            size_bytes=size_bytes,
            container=probe.container,
            codec=probe.codec,
            width=probe.width,
            height=probe.height,
            rotation_deg=probe.rotation_deg,
            duration_s=done.duration_s,
            fps=done.rate_hz,
            frames_expected=probe.frames_expected,
            frames_decoded=done.frames_decoded,
            frames_kept=len(self._kept),
            warnings=done.warnings,
        )

    @property
    def _outcome(self) -> wire.Done:
        if self._done is None:
            raise RuntimeError("the video has not been decoded to its end")
        return self._done

    def _next(self) -> wire.Picture | wire.Done:
        message = self._process.receive(wire.Picture, wire.Done)
        last = self._kept[-1] if self._kept else -1
        if isinstance(message, wire.Done):
            is_plausible = (
                last < message.frames_decoded <= self._limits.max_frames
                and _is_positive(message.duration_s)
                and _is_positive(message.rate_hz)
                and set(message.warnings) <= set(wire.WARNINGS)
            )
            self._done = message
        else:
            padding_bytes = message.row_bytes - self._opened.work_width * wire.RGB
            is_plausible = (
                last < message.index < self._limits.max_frames
                and self._last_pts_s < message.pts_s <= self._limits.max_duration_s
                and message.slot == len(self._kept) % SLOTS
                and 0 <= padding_bytes <= wire.MAX_PADDING_BYTES
                and len(self._kept) < self._max_kept_frames
            )
            self._kept.append(message.index)
            self._last_pts_s = message.pts_s
        if not is_plausible:
            raise self._process.broken(f"{message} after frame {last}")
        return message


@contextmanager
def open_video(
    path: Path,
    *,
    limits: MediaLimits,
    sampling: AnalysisSettings,
    allow_unsandboxed: bool,
    decoder: str = DECODER,
) -> Iterator[VideoStream]:
    """
    Decode a video in a jail for as long as the context lasts.

    The decoder ends with the thread that entered the context, should that be earlier.

    Args:
        decoder: the program that does it; tests put liars in its place.

    Raises:
        RejectedMedia: it is no video that can be judged; here, or while the stream is gone over.
        SandboxUnavailable: the kernel leaves the decoder the network, and nobody allowed that.
        IntegrityFailed: the path is no regular file.
    """
    order = order_for(path, limits=limits, sampling=sampling, allow_unsandboxed=allow_unsandboxed)
    with DecoderProcess(decoder, timeout_s=limits.decode_timeout_s) as process:
        jailed = put_to_work(process, order)
        opened = process.receive(wire.Opened)
        if not _is_plausible(opened, order.container, limits, sampling):
            raise process.broken(f"it claims to have opened {opened}")
        yield VideoStream(
            process,
            jailed=jailed,
            opened=opened,
            limits=limits,
            max_kept_frames=sampling.max_kept_frames,
        )


def order_for(
    path: Path, *, limits: MediaLimits, sampling: AnalysisSettings, allow_unsandboxed: bool
) -> wire.Order:
    """
    Say what a decoder is to do, but for the memory that it is to share.

    Raises:
        RejectedMedia: the file is none of the containers that are let in.
        IntegrityFailed: the path is no regular file.
    """
    threads = min(len(os.sched_getaffinity(0)) + 1, MAX_THREADS)
    return wire.Order(
        path=str(path.resolve()),
        container=_container(path),
        parent_pid=os.getpid(),
        shared_memory=-1,
        threads=threads,
        cpu_s=math.ceil(limits.decode_timeout_s * threads),
        memory_bytes=limits.decode_memory_bytes,
        allow_unsandboxed=allow_unsandboxed,
        max_streams=limits.max_streams,
        min_side_px=limits.min_side_px,
        max_side_px=limits.max_side_px,
        max_frame_px=limits.max_frame_px,
        max_rate_hz=limits.max_rate_hz,
        max_duration_s=limits.max_duration_s,
        max_frames=limits.max_frames,
        max_kept_frames=sampling.max_kept_frames,
        max_kept_rate_hz=sampling.max_kept_rate_hz,
        max_work_side_px=sampling.max_work_side_px,
    )


def put_to_work(process: DecoderProcess, order: wire.Order) -> wire.Jailed:
    """
    Give a decoder its order, once it is in jail.

    Raises:
        SandboxUnavailable: the kernel leaves it the network, and nobody allowed that.
    """
    process.order(replace(order, shared_memory=process.memory))
    jailed = process.receive(wire.Jailed)
    if not (jailed.is_network_removed or order.allow_unsandboxed):
        raise SandboxUnavailable(
            "The decoder cannot be kept off the network here: "
            f"{decoder_process.printable(jailed.words)}. Allow it user namespaces or seccomp, "
            "or set DEEPVERDICT_WORKER__ALLOW_UNSANDBOXED=true."
        )
    return jailed


def check_sandbox() -> Sandbox:
    """Jail a process as decoders are and let it try to get out."""
    attempts = try_to_escape()
    return Sandbox(is_network_removed=not attempts.connected, words=attempts.words)


def try_to_escape() -> Attempts:
    """
    Return what a jailed process could do when it tried.

    Raises:
        SandboxUnavailable: the process said nothing that makes sense.
    """
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
        secret = Path(folder, "secret")
        secret.write_bytes(b"secret")
        target = Target(
            parent_pid=os.getpid(),
            port=server.getsockname()[1],
            secret=str(secret),
            folder=folder,
        )
        with decoder_process.start(ESCAPE) as process:
            try:
                line = json.dumps(asdict(target)).encode() + b"\n"
                said, errors = process.communicate(line, timeout=CHECK_TIMEOUT_S)
                return TypeAdapter(Attempts).validate_json(said, strict=True)
            except subprocess.TimeoutExpired as stuck:
                process.kill()
                raise SandboxUnavailable("A jailed process does not come to an end.") from stuck
            except ValidationError as garbled:
                _log.error("sandbox.check_failed", status=process.returncode, said=errors.decode())
                raise SandboxUnavailable("A jailed process cannot be started.") from garbled


def _container(path: Path) -> str:
    """Tell the container of a regular file; a pipe in its place is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor, not of a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise IntegrityFailed("The stored video is not a regular file.")
        container = sniff(file.read(SNIFF_BYTES))
    if container is None:
        raise RejectedMedia(
            RejectCode.UNSUPPORTED_CONTAINER,
            "The file is none of MP4, QuickTime, Matroska, WebM, AVI and MPEG-TS.",
        )
    return container


def _is_plausible(
    opened: wire.Opened, container: str, limits: MediaLimits, sampling: AnalysisSettings
) -> bool:
    longer = max(opened.width, opened.height)
    work_longer = max(opened.work_width, opened.work_height)
    return (
        opened.container == container
        and opened.codec in DECODERS
        and min(opened.width, opened.height, opened.work_width, opened.work_height) > 0
        and longer <= limits.max_side_px
        and work_longer == min(longer, sampling.max_work_side_px)
        and opened.turn in TURNS
        and _is_positive(opened.rate_hz)
        and opened.rate_hz <= limits.max_rate_hz * RATE_SLACK
        and (opened.duration_s is None or _is_positive(opened.duration_s))
        and (opened.frames_expected is None or 0 < opened.frames_expected <= limits.max_frames)
        and opened.keep_every > 0
        and {key for key, _ in opened.metadata} <= set(wire.METADATA_KEYS)
    )


def _upright(slot: Image, row_bytes: int, opened: wire.Opened) -> Image:
    """Copy a picture out of its slot, as it is to be seen: turned, and mirrored if so said."""
    width, height = opened.work_width, opened.work_height
    rows = slot[: height * row_bytes].reshape(height, row_bytes)
    pixels = rows[:, : width * wire.RGB].reshape(height, width, wire.RGB)
    a, b, c, d = opened.turn
    if a == 0:
        pixels = pixels.transpose(1, 0, 2)
    return np.array(pixels[:: b + d, :: a + c], order="C")


def _rotation_deg(turn: wire.Turn) -> int:
    """Return the clockwise turn, after a mirroring from left to right if there is one."""
    a, b, c, d = turn
    unmirrored = 1 if a * d - b * c > 0 else -1
    return round(math.degrees(math.atan2(unmirrored * b, unmirrored * a))) % 360


def _is_positive(number: float) -> bool:
    return math.isfinite(number) and number > 0
