"""Where do uploaded videos lie? A store of bytes under names of ours."""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ulid import ULID

from app.clock import utc_now
from app.domain.media import StoredBlob


class BlobWriter(Protocol):
    """An upload under way. Until `commit` nobody else can see it."""

    size_bytes: int

    def write(self, chunk: bytes) -> None:
        """Append; hashes while writing. Raises OSError where the disk is full."""
        ...

    def commit(self) -> StoredBlob:
        """Make it durable and visible: sync, rename, sync the directory."""
        ...

    def abort(self) -> None:
        """Forget it; harmless after `commit` and when called twice."""
        ...


class BlobStore(Protocol):
    """A place for originals. A miss is FileNotFoundError, whatever lies behind."""

    def begin(self) -> BlobWriter:
        """Start an upload under a fresh name."""
        ...

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """Lend the blob as a file to read, for as long as the block lasts."""
        ...

    def has(self, key: str) -> bool:
        """Whether there is a blob."""
        ...

    def delete(self, key: str) -> None:
        """Remove; harmless where there is none."""
        ...

    def free_bytes(self) -> int:
        """Return the room that is left."""
        ...


INCOMING = "incoming"
ABANDONED_AFTER_S = 60.0
"""A new upload holds its lock well before this; see `LocalBlobStore.sweep`."""
BLOB_KEY = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


class LocalBlobStore:
    """
    A directory of files: `<key>` for what is whole, `incoming/<key>` for what is not yet.

    A blob appears by a rename within one file system, so that it is either whole or absent.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / INCOMING
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self) -> BlobWriter:
        """Start an upload under a fresh name."""
        key = str(ULID())
        return LocalBlobWriter(key, incoming=self._incoming / key, final=self._root / key)

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """
        Lend the blob as a file to read, for as long as the block lasts.

        Raises:
            FileNotFoundError: there is none, or what lies there is no plain file of ours.
        """
        path = self._path(key)
        if path is None or not stat.S_ISREG(path.lstat().st_mode):
            raise FileNotFoundError(f"no stored video under {key!r}")
        yield path

    def has(self, key: str) -> bool:
        """Whether there is a blob."""
        path = self._path(key)
        return path is not None and path.is_file()

    def delete(self, key: str) -> None:
        """Remove; harmless where there is none."""
        path = self._path(key)
        if path is not None:
            path.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Return the room that is left."""
        return shutil.disk_usage(self._root).free

    def sweep(self) -> int:
        """
        Remove what uploads left behind whose process died; return how many.

        An upload under way holds a lock on its file, which dies with the process that took it.
        """
        removed = 0
        abandoned_at = utc_now().timestamp() - ABANDONED_AFTER_S
        for path in self._incoming.iterdir():
            try:
                if path.lstat().st_mtime > abandoned_at:
                    continue
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            except (FileNotFoundError, BlockingIOError):
                continue  # it was finished just now, or somebody is writing it
            removed += 1
        return removed

    def _path(self, key: str) -> Path | None:
        return self._root / key if BLOB_KEY.fullmatch(key) else None


class LocalBlobWriter:
    """One file that grows in `incoming`. The lock keeps `abort` off a write in another thread."""

    def __init__(self, key: str, *, incoming: Path, final: Path) -> None:
        self.size_bytes = 0
        self._key = key
        self._incoming = incoming
        self._final = final
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()
        self._is_over = False
        descriptor = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, chunk: bytes) -> None:
        """Append; hashes while writing. Raises OSError where the disk is full."""
        with self._lock:
            rest = memoryview(chunk)
            while rest:
                rest = rest[self._file.write(rest) :]
            self._hash.update(chunk)
            self.size_bytes += len(chunk)

    def commit(self) -> StoredBlob:
        """Make it durable and visible: sync, rename, sync the directory."""
        with self._lock:
            os.fsync(self._file.fileno())
            self._incoming.rename(self._final)
            self._is_over = True
            self._file.close()
            try:
                _sync_directory(self._final.parent)
            except OSError:
                self._final.unlink(missing_ok=True)
                raise
            return StoredBlob(
                key=self._key, size_bytes=self.size_bytes, sha256=self._hash.hexdigest()
            )

    def abort(self) -> None:
        """Forget it; harmless after `commit` and when called twice."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._file.close()
            self._incoming.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
