"""How does a third-party weight get from its authors into the folder that workers read?"""

import hashlib
import io
import os
import ssl
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from app.errors import ModelUnavailable
from models.convert import convert
from models.download import download
from models.manifest import Original
from models.registry import Presence, Registry

Progress = Callable[[str, int, int], None]
"""Told what is being fetched, how many bytes have come, and how many are expected."""


def pull(
    name: str,
    *,
    registry: Registry,
    mirror: Path | None,
    progress: Progress | None = None,
    tls: ssl.SSLContext | None = None,
) -> Path:
    """
    Put a network of the manifest in place: fetch, verify, convert, verify, rename.

    Showing `registry.entry(name).licence` to a person is the caller's part.

    Args:
        name: in the manifest.
        registry: says what is wanted and where it goes, its `pulled_dir`.
        mirror: a folder to take the originals from, itself or any folder in it. Nothing is
            downloaded where one is given.
        progress: told of the bytes as they come; never called where the network is in place.
        tls: whom to trust; the system's authorities unless given.

    Returns:
        The verified file.

    Raises:
        ModelUnavailable: an original cannot be had or is not the one that was pinned, or the
            converted file is not; nothing is put in place then. Or the network is one of our own,
            which is nowhere to be pulled from.
    """
    entry = registry.entry(name)
    status = registry.status(name)
    if status.word is Presence.VERIFIED and status.path is not None:
        return status.path
    if entry.is_shipped:
        raise ModelUnavailable(f"{name} is not pulled but comes with this program; {status.detail}")
    tell = progress or (lambda _what, _done, _total: None)
    originals: list[bytes] = []
    for original in entry.originals:
        content, source = _fetch(original, mirror=mirror, tell=tell, tls=tls)
        _check(content, original.sha256, what=source)
        originals.append(content)
    if entry.converter is None:
        (served,) = originals
    else:
        served = convert(entry.converter, originals)
        _check(
            served,
            entry.sha256,
            what=f"{entry.file}, made by the converter {entry.converter!r}",
            advice="the converter or the `onnx` package differs from those the manifest was made "
            "with; install the versions of constraints.txt",
        )
    return put(served, registry.pulled_dir / entry.file)


def _fetch(
    original: Original, *, mirror: Path | None, tell: Progress, tls: ssl.SSLContext | None
) -> tuple[bytes, str]:
    if mirror is not None:
        path = _in_mirror(original.mirror, mirror)
        with path.open("rb") as file:
            content = file.read(original.size_bytes + 1)
        tell(original.mirror, len(content), original.size_bytes)
        return content, str(path)
    is_archive = original.archive_member is not None
    limit = (original.archive_bytes if is_archive else None) or original.size_bytes
    content = download(
        original.url,
        max_bytes=limit,
        on_bytes=lambda done: tell(original.mirror, done, limit),
        tls=tls,
    )
    if original.archive_member is not None:
        content = _unzip(content, original.archive_member, max_bytes=original.size_bytes)
    return content, original.url


def _in_mirror(name: str, mirror: Path) -> Path:
    if not mirror.is_dir():
        raise ModelUnavailable(f"the mirror {mirror} is not a folder")
    for path in (mirror / name, *sorted(mirror.rglob(name))):
        if path.is_file():
            return path
    raise ModelUnavailable(f"the mirror {mirror} has no {name}")


def _unzip(archive: bytes, member: str, *, max_bytes: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            found = [n for n in file.namelist() if n.rsplit("/", 1)[-1] == member]
            if len(found) != 1:
                raise ModelUnavailable(f"want one {member} in the archive, found {found}")
            with file.open(found[0]) as inner:
                return inner.read(max_bytes + 1)
    except zipfile.BadZipFile as error:
        raise ModelUnavailable(f"the archive around {member} is not a zip: {error}") from error


def _check(
    content: bytes,
    sha256: str,
    *,
    what: str,
    advice: str = "the file was changed or cut off; fetch it again, and if it stays so, do not "
    "use it: upstream is no longer what was reviewed",
) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelUnavailable(f"{what} is sha256:{found}, want sha256:{sha256}; {advice}")


def put(content: bytes, path: Path) -> Path:
    """Write so that a reader sees the whole file or none, whenever the machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path
