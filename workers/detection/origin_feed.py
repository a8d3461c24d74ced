"""
What does a file say of where it comes from? Read in the jail, told as a few short texts.

The tags of the container come first, then its C2PA Content Credentials, whose library is the one
that may come down over them. Nothing is fetched: credentials that lie elsewhere stay there, and
whether a certificate was revoked is not asked. Texts are cut here already, so that a message fits
in its line; they are cleaned by the parent, which cannot know who speaks.

Sources: C2PA Technical Specification 2.2, sections 15 (validation) and 18.12 (actions); c2pa-rs's
settings `verify` and `trust`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from av.container import InputContainer
from c2pa import C2paError, Context, Reader

from app.errors import RejectedMedia
from workers.detection import wire
from workers.detection.codec import open_file, packets, video_stream
from workers.detection.wire import CredentialsRead, Order, Tag

MEDIA_TYPES = {"mp4": "video/mp4", "avi": "video/avi"}
"""Containers in which the library finds credentials; `app.domain.container.Container` to its type.
For Matroska and MPEG-TS it answers that the type is not supported."""
ENCODER_MARK = re.compile(
    rb"x264 - core \d{1,4}|x265 \(build \d{1,4}\)|Lavc\d{1,3}\.\d{1,3}\.\d{1,3}"
)
"""What software encoders write into the first picture, beside what the container says."""
MARK_BYTES = 4096
GENERATED = re.compile(
    r"/(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia|compositeSynthetic)\s*$"
)
"""IPTC's digital source types of what a model made, wholly or in part."""
UNTRUSTED = "signingCredential.untrusted"
CHANGED = ("assertion.bmffHash.mismatch", "assertion.dataHash.mismatch")
"""Codes of what says that the file is not the one that was signed."""
MOST_CODES = 5
MOST_CHARS = 120
"""Of each text of the credentials."""
JSON = dict[str, Any]
"""Of a stranger's making: whatever is taken out of it is looked at first."""


def deliver(order: Order, *, answers: int) -> None:
    """
    Read tags and credentials and send them.

    Raises:
        MemoryError: it takes more memory than there is.
        BrokenPipeError: the parent has gone.
    """
    try:
        with open_file(order, decoders="none") as container:
            for number, (key, value) in enumerate(_tags(container)):
                if number == wire.MAX_TAGS:
                    break
                wire.send(answers, Tag(key=key, value=value))
    except RejectedMedia:
        pass  # what can be told of the credentials does not depend on it
    wire.send(answers, credentials(order))


def credentials(order: Order) -> CredentialsRead:
    """Read the Content Credentials, whatever state they are in."""
    media_type = MEDIA_TYPES.get(order.container)
    if media_type is None:
        return CredentialsRead(
            state="absent", detail=f"None can be read from a {order.container} file."
        )
    try:
        with Path(order.path).open("rb") as file:
            reader = Reader.try_create(media_type, file, None, _context(order))
            if reader is None:
                return CredentialsRead(state="absent")
            store = json.loads(reader.json())
    except (C2paError, ValueError) as failed:
        return CredentialsRead(state="unreadable", detail=f"The reader says: {failed}"[:MOST_CHARS])
    except RecursionError:
        return CredentialsRead(state="unreadable", detail="They are nested too deep.")
    return _told(store, is_anybody_trusted=bool(order.trust_list))


def _context(order: Order) -> Context:
    trust = {}
    if order.trust_list:
        trust = {"trust_anchors": Path(order.trust_list).read_text(encoding="utf-8")}
    verify = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
    return Context.from_dict({"verify": verify, "trust": trust})


def _told(store: object, *, is_anybody_trusted: bool) -> CredentialsRead:
    """Put into a few words what a manifest store says."""
    body = _mapping(store)
    manifests = _mapping(body.get("manifests"))
    manifest = _mapping(manifests.get(_text(body.get("active_manifest"))))
    if not manifest:
        return CredentialsRead(state="unreadable", detail="They name no manifest as the last.")
    failures = [
        code
        for s in _list(body.get("validation_status"))
        if (code := _text(s, "code")) != UNTRUSTED
    ]
    state, detail = _state(_text(body.get("validation_state")), failures, is_anybody_trusted)
    signature = _mapping(manifest.get("signature_info"))
    signer = ", ".join(t for k in ("common_name", "issuer") if (t := _text(signature, k)))
    return CredentialsRead(
        state=state,
        detail=detail,
        signer=signer[:MOST_CHARS],
        signed_at=_text(signature, "time"),
        made_with=_made_with(manifest),
        actions=tuple(_text(a, "action") for a in _actions(manifest))[: wire.MAX_ACTIONS],
        is_generated=any(
            GENERATED.search(_text(a, "digitalSourceType"))
            for m in manifests.values()
            for a in _actions(_mapping(m))
        ),
    )


def _state(said: str, failures: list[str], is_anybody_trusted: bool) -> tuple[str, str]:
    """Return the state, and why, in words."""
    if said == "Invalid":
        is_changed = any(code.startswith(CHANGED) for code in failures)
        why = "The file was changed after they were made" if is_changed else "They are not in order"
        return "invalid", f"{why} ({', '.join(failures[:MOST_CODES]) or 'no code given'})."
    if said == "Trusted":
        return "valid", "The signer is on the list of trusted signers."
    if said != "Valid":
        return "unreadable", f"The reader's answer is not known: {said!r}."
    if is_anybody_trusted:
        return "untrusted", "Whole, but the signer is not on the list of trusted signers."
    return (
        "untrusted",
        "Whole, but no list of trusted signers is configured: who signed is unproven.",
    )


def _made_with(manifest: JSON) -> str:
    """Return the claim generator: name and version of the program or camera."""
    for info in _list(manifest.get("claim_generator_info")):
        if name := _text(info, "name"):
            return f"{name} {_text(info, 'version')}".strip()[:MOST_CHARS]
    return _text(manifest, "claim_generator")


def _actions(manifest: JSON) -> Iterator[JSON]:
    """Yield what was done, as the manifest lists it."""
    for assertion in _list(manifest.get("assertions")):
        if _text(assertion, "label").startswith("c2pa.actions"):
            yield from map(
                _mapping, _list(_mapping(_mapping(assertion).get("data")).get("actions"))
            )


def _tags(container: InputContainer) -> Iterator[tuple[str, str]]:
    """Yield what the container says of itself, then of its streams, the pictures' first."""
    yield from _cut("", container.metadata)
    video = video_stream(container)
    if mark := _encoder_mark(container):
        yield "video.encoder_mark", mark
    yield from _cut("video.", video.metadata)
    for sound in container.streams.audio[:1]:
        yield from _cut("sound.", sound.metadata)


def _cut(whose: str, tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in tags.items():
        yield f"{whose}{key}"[: wire.MAX_TAG_KEY_CHARS], value[: wire.MAX_METADATA_CHARS]


def _encoder_mark(container: InputContainer) -> str:
    """Look for the name of an encoder in the first picture as it is stored; nothing is decoded."""
    packet = next(packets(container, video_stream(container), damaged=lambda: None))
    if packet is None:
        return ""
    found = ENCODER_MARK.search(bytes(memoryview(packet)[:MARK_BYTES]))
    return found.group().decode("ascii") if found else ""


def _mapping(value: object) -> JSON:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object, key: str | None = None) -> str:
    """Return a text, cut; "" where there is something else. `value[key]` where a key is given."""
    if key is not None:
        value = _mapping(value).get(key)
    return value[:MOST_CHARS] if isinstance(value, str) else ""
