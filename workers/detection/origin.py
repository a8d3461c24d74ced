"""
What does a file say of where it comes from?

Its C2PA Content Credentials and the tags of its container, read in a jail of their own and told
beside the verdict. None of it is evidence of what the pictures show: tags can be written and taken
out by anybody, and every platform that passes a video on takes most of them out. A sign is a code
for what a tag says, no more.

Whether a signer is to be trusted is told only against a list of certificates that is given; no list
comes along and none is fetched.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from app import log
from app.domain.media import Credentials, CredentialState, Origin
from app.errors import Misconfigured, RejectedMedia
from app.settings import AnalysisSettings, MediaLimits
from workers.detection import wire
from workers.detection.decode import DECODER, order_for, put_to_work
from workers.detection.decoder_process import DecoderProcess, printable

TIMEOUT_S = 120.0
"""For one file. Credentials of a video of 0.5 GB take 3 s, nearly all of it hashing."""
BROKEN = Credentials(
    state=CredentialState.UNREADABLE, detail="The reader of Content Credentials broke off on it."
)
MUTE = frozenset(
    {
        *("major_brand", "minor_version", "compatible_brands"),
        *("video.language", "sound.language", "video.vendor_id", "sound.vendor_id"),
        *("video.handler_name", "sound.handler_name"),
        *("video.duration", "sound.duration"),
    }
)
"""Tags that nearly every file has: to have these alone is to have none."""
PLACES = re.compile(r"location|gps|xyz", re.IGNORECASE)
"""Tags of where a video was taken. That there is one is told, where it was is not."""

SYNTHETIC = "synthetic-mark"
SYNTHETIC_MARK = "deepverdict synthetic media"
"""What the comment of our own fakes begins with; `workers.training.swapping.marks` writes it."""
TOOL_KEYS = (
    "encoder",
    "encoder_mark",
    "software",
    "tool",
    "handler_name",
    "application",
    "producer",
    "author",  # recordings of an iPhone's screen name their program there
)
"""Ends of the keys under which programs name themselves."""
WORD_KEYS = ("comment", "description")
"""Ends of the keys under which programs, and people, write what they like."""
_WORDS = {
    SYNTHETIC: (
        r"DeepFaceLab|FaceFusion|roop|LivePortrait|SadTalker|Wav2Lip|HeyGen|Synthesia|D-ID|"
        r"Runway(ML)?|Pika Labs|Kling ?AI|Hailuo|Stable Video Diffusion|AnimateDiff|ComfyUI|"
        r"OpenAI|Sora|Veo ?\d"
    ),
    "editor-tag": (
        r"Premiere|After Effects|Final Cut|iMovie|DaVinci Resolve|Blackmagic|Avid|CapCut|JianYing|"
        r"Clipchamp|KineMaster|InShot|Filmora|Wondershare|VEGAS|Camtasia|Movavi|Kdenlive|Shotcut|"
        r"OpenShot|VSDC|Canva|ezgif|PowerDirector|VideoStudio|VideoLeap|Adobe|Photoshop|Blender"
    ),
    "re-encoded": r"Lavf\d*|Lavc\d*|x26[45]|HandBrake|FFmpeg|MEncoder|Format Factory|L-SMASH|GPAC",
    "screen-recording": (
        r"ReplayKit(Recording)?|Screen ?Record(ing|er)|ScreenCapture|OBS( Studio)?|obs-output|"
        r"Bandicam|Fraps|ShareX|ShadowPlay|GameDVR|XSplit|AZ Screen"
    ),
    "messenger": (
        r"WhatsApp|Telegram|WeChat|Messenger|Snapchat|Viber|TikTok|Twitter|Twitter-vork|Instagram|"
        r"Facebook|produced by Google|vid:v[0-9a-z]{10,}"
    ),
    "camera-tag": r"GoPro|DJI|Insta360|Canon|Nikon|Panasonic|Fujifilm|Sony XAVC",
}
_SIGNS = {
    code: re.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", re.IGNORECASE)
    for code, words in _WORDS.items()
}
"""
What a tag of a program says if it has one of these names in it. Names as the programs write them
into their own files, and where they could not be tried, as the makers spell them.
"""
SIGNS = (*_WORDS, "location-tag", "creation-time-missing", "no-metadata")
"""Every code there is."""
CAMERA_KEYS = re.compile(
    r"^(com\.apple\.quicktime\.)?(make|model)$|^com\.android\.(manufacturer|model)$"
)
GENERATED = re.compile(
    r"digitalsourcetype/(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia|"
    r"compositeSynthetic)",
    re.IGNORECASE,
)
"""IPTC's words for what a model made, in whichever tag."""
CALLED_GENERATED = re.compile(r"\bAI[- ]generated\b|\bgenerated (by|with) AI\b", re.IGNORECASE)
LABEL_OF_PLATFORM = re.compile(r'"?aigc_label_type"?\s*[:=]\s*"?[1-9]')
"""TikTok and Douyin write so into a video that its uploader called generated; 0 is not."""
WORKFLOW = re.compile(r'"class_type"')
"""ComfyUI writes the whole of its workflow into a tag."""

MARKS = (GENERATED, CALLED_GENERATED, LABEL_OF_PLATFORM, WORKFLOW)

_log = log.get(__name__)


def read_origin(
    path: Path,
    *,
    limits: MediaLimits,
    sampling: AnalysisSettings,
    allow_unsandboxed: bool,
    decoder: str = DECODER,
) -> Origin | None:
    """
    Read what a video says of itself. Nothing that is wrong with it is an error.

    Args:
        sampling: has the list of whose signatures are trusted, if there is one.
        decoder: the program that does it; tests put liars in its place.

    Returns:
        None where the reader does not start here: then nobody looked.

    Raises:
        SandboxUnavailable: the kernel leaves the reader the network, and nobody allowed that.
        IntegrityFailed: the path is no regular file.
        RejectedMedia: the file is none of the containers that are let in.
    """
    order = replace(
        order_for(path, limits=limits, sampling=sampling, allow_unsandboxed=allow_unsandboxed),
        wants_origin=True,
        trust_list=str(sampling.trust_list.resolve()) if sampling.trust_list else "",
    )
    tags: dict[str, str] = {}
    with DecoderProcess(decoder, timeout_s=min(TIMEOUT_S, limits.decode_timeout_s)) as process:
        try:
            put_to_work(process, order)
            read = _received(process, tags)
        except RejectedMedia as why:
            _log.warning("origin.broke_off", code=why.code, tags=len(tags))
            credentials = BROKEN
        except Misconfigured as why:
            _log.error("origin.not_read", why=str(why), trust_list=order.trust_list)
            return None
        else:
            credentials = _credentials(read)
    signs_ = signs(tags)
    told = {key: value for key, value in tags.items() if not PLACES.search(key)}
    return Origin(credentials=credentials, tags=told, signs=signs_)


def _received(process: DecoderProcess, tags: dict[str, str]) -> wire.CredentialsRead:
    """Take in the tags, cleaned, and return what was read of the credentials."""
    while isinstance(message := process.receive(wire.Tag, wire.CredentialsRead), wire.Tag):
        # Matroska's are in capitals.
        key = printable(message.key, max_chars=wire.MAX_TAG_KEY_CHARS).strip().lower()
        value = printable(message.value, max_chars=wire.MAX_METADATA_CHARS).strip()
        if len(tags) >= wire.MAX_TAGS:
            raise process.broken("more tags than there may be")
        if key and value:
            tags.setdefault(key, value)
    if message.state not in wire.CREDENTIAL_STATES:
        raise process.broken(f"no state: {message.state[: wire.MAX_TAG_KEY_CHARS]!r}")
    return message


def _credentials(read: wire.CredentialsRead) -> Credentials:
    actions = (printable(a, max_chars=wire.MAX_ACTION_CHARS) for a in read.actions)
    return Credentials(
        state=CredentialState(read.state),
        detail=printable(read.detail),
        signer=printable(read.signer),
        signed_at=printable(read.signed_at),
        made_with=printable(read.made_with),
        actions=tuple(a for a in actions if a.strip())[: wire.MAX_ACTIONS],
        is_generated=read.is_generated,
    )


def signs(tags: Mapping[str, str]) -> tuple[str, ...]:
    """
    List as codes what the tags of a file say. docs/api.md explains each.

    Args:
        tags: of the container, and of its streams under "video." and "sound.".
    """
    found: set[str] = set()
    for key, value in tags.items():
        is_of_tool = key.endswith(TOOL_KEYS)
        if is_of_tool or key.endswith(WORD_KEYS):
            found |= {
                code
                for code, names in _SIGNS.items()
                if names.search(value) and (is_of_tool or code != SYNTHETIC)
            }
        if CAMERA_KEYS.search(key):
            found.add("camera-tag")
        if value.startswith(SYNTHETIC_MARK) or any(marked.search(value) for marked in MARKS):
            found.add(SYNTHETIC)
        if PLACES.search(key):
            found.add("location-tag")
    if not set(tags) - MUTE:
        found.add("no-metadata")
    if not any(key.endswith(("creation_time", "creationdate")) for key in tags):
        found.add("creation-time-missing")
    return tuple(sorted(found))
