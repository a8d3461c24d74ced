"""
What do the decoder and its parent say to each other? One line a message: its name and JSON.

The parent sends one `Order`, then a byte for every slot of the shared memory that is free. The
decoder answers `Jailed`, `Opened`, any number of `Picture`, then `Done`. Where sound is wanted, it
answers `Jailed`, `SoundOpened`, any number of `Samples`, then `SoundDone`; or `Jailed`, `NoSound`.
Where the origin is wanted, it answers `Jailed`, any number of `Tag`, then `CredentialsRead`. At any
point it may answer `Refused`. Pixels and samples travel through the shared memory. Nothing of what
the decoder says is believed before it has been checked: by then it may be somebody else's program.
"""

import json
import os
from dataclasses import asdict, dataclass

from app.errors import RejectCode

MAX_LINE_BYTES = 16 * 1024
RGB = 3
SLOT_FREE = b"."
WARNINGS = (
    "truncated",  # the container promises clearly more frames than could be decoded
    "damaged",  # some of the data could not be decoded, or only in part
    "timestamps-repaired",
    "variable-frame-rate",
    "duration-mismatch",  # between what the container says and what was decoded
)
"""Codes of what is odd about a video that was decoded all the same."""


METADATA_KEYS = ("comment", "description", "encoder", "creation_time")
"""What is passed on of what a container says about itself."""
MAX_METADATA_CHARS = 200
SOUND_SLOT_BYTES = 256 * 1024
SAMPLE_BYTES = 2
"""Sound is 16 bit integers, the channels of one moment beside one another."""
MAX_CHANNELS = 2
MAX_TAGS = 48
"""Of a container and its streams; what comes after is left where it is."""
MAX_TAG_KEY_CHARS = 64
MAX_ACTIONS = 32
"""Of Content Credentials."""
MAX_ACTION_CHARS = 64
CREDENTIAL_STATES = ("absent", "valid", "untrusted", "invalid", "unreadable")
"""Those of `app.domain.media.CredentialState`, which cannot be read behind the walls."""
MAX_SOUND_RATE_HZ = 192_000

MAX_PADDING_BYTES = 256
"""At the end of each row of pixels; FFmpeg aligns rows for its vector code."""

Turn = tuple[int, int, int, int]
"""How stored pixels become displayed ones: a, b, c, d of x' = a x + c y and y' = b x + d y, y
pointing down, each -1, 0 or 1. One of eight."""


def slot_bytes(work_width: int, work_height: int) -> int:
    """Return the room that a picture takes, padding included."""
    return work_height * (work_width * RGB + MAX_PADDING_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Decode this, within these limits."""

    path: str
    container: str
    parent_pid: int
    shared_memory: int  # descriptor
    threads: int
    cpu_s: int
    memory_bytes: int
    allow_unsandboxed: bool
    max_streams: int
    min_side_px: int
    max_side_px: int
    max_frame_px: int
    max_rate_hz: float
    max_duration_s: float
    max_frames: int
    max_kept_frames: int
    max_kept_rate_hz: float
    max_work_side_px: int
    wants_sound: bool = False
    sound_until_s: float = 0.0  # in the time of the pictures
    max_sound_bytes: int = 0
    wants_origin: bool = False
    trust_list: str = ""  # path of a file of certificates, PEM; "" where nobody is trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Jailed:
    """Sent before the first byte of the video is looked at."""

    is_network_removed: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Sent once the first frame is decoded: only it knows how it wants to be turned."""

    container: str
    codec: str
    decoder: str
    width: int  # with square pixels, not yet turned
    height: int
    work_width: int  # of the pictures that will be sent, not yet turned
    work_height: int
    turn: Turn
    rate_hz: float
    duration_s: float | None
    frames_expected: int | None
    keep_every: int
    metadata: tuple[tuple[str, str], ...] = ()  # of METADATA_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A kept frame lies in `slot`."""

    slot: int
    row_bytes: int  # from one row to the next
    index: int
    pts_s: float
    is_keyframe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Everything was decoded that can be."""

    frames_decoded: int
    duration_s: float
    rate_hz: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSound:
    """The file has no stream of sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundOpened:
    """Sent once the first sound is decoded."""

    codec: str
    decoder: str
    rate_hz: int
    channels: int
    start_s: float  # of the first sample, in the time of the pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Sound lies in `slot`."""

    slot: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundDone:
    """All the sound was decoded that was wanted."""

    is_cut: bool  # there was more than max_sound_bytes
    is_damaged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """The container says something of itself, or of one of its streams. Anybody's words."""

    key: str  # "encoder", "video.handler_name"
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsRead:
    """What became of the file's Content Credentials, and what they say."""

    state: str  # one of CREDENTIAL_STATES
    detail: str = ""
    signer: str = ""
    signed_at: str = ""
    made_with: str = ""
    actions: tuple[str, ...] = ()
    is_generated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The video is turned away."""

    code: RejectCode
    detail: str


Message = (
    Jailed
    | Opened
    | Picture
    | Done
    | NoSound
    | SoundOpened
    | Samples
    | SoundDone
    | Tag
    | CredentialsRead
    | Refused
)


def send(descriptor: int, message: Order | Message) -> None:
    """Write a message as one line."""
    name = type(message).__name__
    data = memoryview(f"{name} {json.dumps(asdict(message))}\n".encode())
    while data:
        data = data[os.write(descriptor, data) :]


def read_line(descriptor: int) -> bytes:
    """Read up to the next line end and not a byte further: what follows has another reader."""
    line = bytearray()
    while (byte := os.read(descriptor, 1)) not in {b"", b"\n"}:
        line += byte
    return bytes(line)


def read_order(line: bytes) -> Order:
    """Read the parent's order; it is trusted."""
    name, _, body = line.partition(b" ")
    if name != Order.__name__.encode():
        raise ValueError(f"want an Order, got {name!r}")
    return Order(**json.loads(body))
