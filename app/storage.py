"""Where do uploaded videos lie? A store of bytes under names of ours."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ulid import ULID

from app.domain.media import StoredBlob

READ_BYTES = 1024 * 1024


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

    def delete(self, key: str) -> None:
        """Remove; harmless where there is none."""
        ...

    def free_bytes(self) -> int:
        """Return the room that is left."""
        ...
