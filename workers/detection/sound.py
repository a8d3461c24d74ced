"""
What is heard in a video? Its samples, decoded in a jailed process as its pictures are.

Sound is taken in whole: a minute of it is as large as a few pictures. What the decoder says is
checked against what it was told, as with pictures.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.settings import AnalysisSettings, MediaLimits, Settings
from workers.detection import decoder_process, wire
from workers.detection.decode import DECODER, SLOTS, order_for, put_to_work
from workers.detection.decoder_process import DecoderProcess
from workers.detection.formats import SOUND_DECODERS
from workers.detection.stage import Sound

MAX_BYTES = 512 * 2**20
"""46 minutes of two channels at 48 kHz."""


def open_sound(
    path: Path,
    *,
    settings: Settings | None = None,
    until_s: float = math.inf,
    max_bytes: int = MAX_BYTES,
    decoder: str = DECODER,
) -> Sound | None:
    """
    Decode the sound of a video, of several tracks the one that players choose.

    Args:
        path: of a video.
        settings: limits of what is decoded, and whether it may be done without a jail; those of
            the environment unless given.
        until_s: nothing is decoded of what comes later, in the time of the pictures.
        max_bytes: no more of the samples is kept.
        decoder: the program that does it; tests put liars in its place.

    Returns:
        The sound; None where the video has none. More than two channels are mixed down to two.

    Raises:
        RejectedMedia: the file is no video, or its sound is of no kind that is let in.
        SandboxUnavailable: the kernel leaves the decoder the network, and nobody allowed that.
        IntegrityFailed: the path is no regular file.
    """
    settings = settings or Settings()
    return hear(
        path,
        limits=settings.media,
        sampling=settings.analysis,
        allow_unsandboxed=settings.worker.allow_unsandboxed,
        until_s=until_s,
        max_bytes=max_bytes,
        decoder=decoder,
    )


def hear(
    path: Path,
    *,
    limits: MediaLimits,
    sampling: AnalysisSettings,
    allow_unsandboxed: bool,
    until_s: float = math.inf,
    max_bytes: int = MAX_BYTES,
    decoder: str = DECODER,
) -> Sound | None:
    """Do as `open_sound`, for who has the settings in parts."""
    order = replace(
        order_for(path, limits=limits, sampling=sampling, allow_unsandboxed=allow_unsandboxed),
        wants_sound=True,
        sound_until_s=min(until_s, limits.max_duration_s),
        max_sound_bytes=max_bytes,
    )
    with DecoderProcess(decoder, timeout_s=limits.decode_timeout_s) as process:
        put_to_work(process, order)
        opened = process.receive(wire.SoundOpened, wire.NoSound)
        if isinstance(opened, wire.NoSound):
            return None
        if not _is_plausible(opened, limits.max_duration_s):
            raise process.broken(f"it claims to have opened {opened}")
        data, done = _received(process, opened, max_bytes)
    return Sound(
        samples=np.frombuffer(data, np.int16).reshape(-1, opened.channels),
        rate_hz=opened.rate_hz,
        start_s=opened.start_s,
        codec=opened.codec,
        decoder=decoder_process.printable(opened.decoder),
        is_cut=done.is_cut,
        is_damaged=done.is_damaged,
    )


def _received(
    process: DecoderProcess, opened: wire.SoundOpened, max_bytes: int
) -> tuple[bytes, wire.SoundDone]:
    """Take in all samples."""
    slots = process.share(wire.SOUND_SLOT_BYTES, slots=SLOTS)
    data = bytearray()
    blocks = 0
    while not isinstance(message := process.receive(wire.Samples, wire.SoundDone), wire.SoundDone):
        if not (
            message.slot == blocks % SLOTS
            and 0 < message.size_bytes <= wire.SOUND_SLOT_BYTES
            and len(data) + message.size_bytes <= max_bytes
        ):
            raise process.broken(f"{message} after {len(data)} bytes")
        data += slots[message.slot, : message.size_bytes].tobytes()
        blocks += 1
        process.free(1)
    whole = wire.SAMPLE_BYTES * opened.channels
    return bytes(data[: len(data) - len(data) % whole]), message


def _is_plausible(opened: wire.SoundOpened, max_duration_s: float) -> bool:
    return (
        opened.codec in SOUND_DECODERS
        and 0 < opened.rate_hz <= wire.MAX_SOUND_RATE_HZ
        and 0 < opened.channels <= wire.MAX_CHANNELS
        and math.isfinite(opened.start_s)
        and abs(opened.start_s) <= max_duration_s
    )
