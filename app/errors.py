"""
Every deliberate failure, by who must act.

ServiceError
├─ ClientMustAct            the caller can mend it; never retried; the message is shown
│  ├─ Unauthenticated         no key, or not a valid one
│  ├─ InsufficientScope       the key may not do this
│  ├─ NotFound                no such thing, or not yours: the two look the same
│  ├─ BadRequest              the request cannot be read
│  │  ├─ EmptyBody
│  │  ├─ BadMultipart
│  │  └─ UploadInterrupted
│  ├─ NotAcceptable           nothing on offer suits the caller
│  ├─ NoVerdict               what is asked for needs a verdict, and the job has none
│  ├─ UploadTooLarge
│  ├─ UploadTooSlow
│  ├─ UnsupportedEncoding
│  ├─ UnsupportedMedia        the bytes are not a video container that we read
│  ├─ RejectedMedia           the video was opened and cannot be judged; carries a `code`
│  └─ PromotionRefused        a network is not to take another's place as it stands
├─ RetryLater               the world hiccuped; the same call may work in a while
│  ├─ DatabaseUnavailable
│  └─ InsufficientStorage
└─ OperatorMustAct          somebody who runs the service must look; never retried
   ├─ ModelUnavailable        a weight is missing, or its bytes are not the ones we pinned
   ├─ SandboxUnavailable      the decoder cannot be jailed and nobody allowed that
   ├─ IntegrityFailed         the stored bytes are not the bytes that were acknowledged
   └─ Misconfigured

Bugs (ValueError, KeyError, AssertionError) are not ServiceErrors and are never caught as such.
How each looks over HTTP is decided in `app.api.errors` alone.
"""

import errno
from enum import StrEnum

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the `OSError`s that say so: no space, no quota, no larger a file than is allowed."""


class RejectCode(StrEnum):
    """Why a video was turned away after it was accepted. Wire and database spelling."""

    UNSUPPORTED_CONTAINER = "unsupported-container"
    UNSUPPORTED_CODEC = "unsupported-codec"
    UNREADABLE_CONTAINER = "unreadable-container"
    NO_VIDEO_STREAM = "no-video-stream"
    NO_FRAMES = "no-frames"
    BAD_DIMENSIONS = "bad-dimensions"
    FRAME_TOO_LARGE = "frame-too-large"
    FRAME_TOO_SMALL = "frame-too-small"
    FRAME_RATE_TOO_HIGH = "frame-rate-too-high"
    TOO_MANY_FRAMES = "too-many-frames"
    TOO_MANY_STREAMS = "too-many-streams"
    TOO_LONG = "too-long"
    RESOLUTION_CHANGE = "resolution-change"
    BAD_TIMESTAMPS = "bad-timestamps"
    ENCRYPTED = "encrypted"
    DECODE_TIMEOUT = "decode-timeout"
    DECODE_MEMORY = "decode-memory"
    DECODER_CRASH = "decoder-crash"


class ServiceError(Exception):
    """A failure that was foreseen. `str(error)` may be shown to whoever must act."""


class ClientMustAct(ServiceError):
    """The caller can mend it."""


class Unauthenticated(ClientMustAct):
    """No API key was given, or it is unknown, expired or revoked."""


class InsufficientScope(ClientMustAct):
    """The key is valid and lacks the scope that this call needs."""


class NotFound(ClientMustAct):
    """No such thing for this tenant. Says the same of what others own and of what never was."""


class BadRequest(ClientMustAct):
    """The request cannot be read as what the route takes."""


class EmptyBody(BadRequest):
    """A video was wanted and no byte came."""


class BadMultipart(BadRequest):
    """The multipart body is malformed, or does not hold exactly one file."""


class UploadInterrupted(BadRequest):
    """The client went away before the body was whole."""


class NotAcceptable(ClientMustAct):
    """None of the forms on offer is one that the caller accepts."""


class NoVerdict(ClientMustAct):
    """What is asked for is made of a verdict, and the job has none, or none yet."""


class UploadTooLarge(ClientMustAct):
    """More bytes than one upload may have."""


class UploadTooSlow(ClientMustAct):
    """The body came slower than the least rate that holds a connection."""


class UnsupportedEncoding(ClientMustAct):
    """The body has a Content-Encoding; we take the video's own bytes only."""


class UnsupportedMedia(ClientMustAct):
    """The first bytes are not those of a video container that we read."""


class RejectedMedia(ClientMustAct):
    """The video was opened and turned away. The same bytes would be turned away again."""

    def __init__(self, code: RejectCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code

    def __reduce__(self) -> tuple[type["RejectedMedia"], tuple[RejectCode, str]]:
        return type(self), (self.code, str(self))


class PromotionRefused(ClientMustAct):
    """A network is not to take another's place: rejected, unknown, or other bytes than before."""


class RetryLater(ServiceError):
    """Nothing is wrong with the request; try again."""


class DatabaseUnavailable(RetryLater):
    """The database did not answer."""


class InsufficientStorage(RetryLater):
    """Too little free disk to take another upload."""


class OperatorMustAct(ServiceError):
    """Somebody who runs the service must look."""


class ModelUnavailable(OperatorMustAct):
    """A weight file is missing, or its bytes are not the ones that the manifest pins."""


class SandboxUnavailable(OperatorMustAct):
    """The kernel refuses to jail the decoder and no setting allows going on without."""


class IntegrityFailed(OperatorMustAct):
    """The stored bytes differ from those that were acknowledged."""


class Misconfigured(OperatorMustAct):
    """A setting is missing or contradicts another."""
