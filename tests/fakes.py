"""Stand-ins for what lies outside: honest, in memory, and telling of what was asked of them."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.domain.media import StoredBlob


class RecordingBell:
    """A bell that remembers for whom it rang; a broken one tells nobody and says so."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_broken = is_broken
        self.rung: list[str] = []

    def ring(self, job_id: str) -> bool:
        """Remember the job."""
        if self.is_broken:
            return False
        self.rung.append(job_id)
        return True


class MemoryStore:
    """A blob store in a dictionary: `blobs` is what others would see."""

    def __init__(self, *, free_bytes: int = 100 * 1024**3) -> None:
        self.blobs: dict[str, bytes] = {}
        self._free_bytes = free_bytes
        self._begun = 0

    def begin(self) -> "MemoryWriter":
        """Start an upload under a fresh name."""
        self._begun += 1
        return MemoryWriter(self.blobs, key=f"blob-{self._begun}")

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """Lend the blob as a file to read."""
        if key not in self.blobs:
            raise FileNotFoundError(key)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "blob"
            path.write_bytes(self.blobs[key])
            yield path

    def has(self, key: str) -> bool:
        """Whether there is a blob."""
        return key in self.blobs

    def delete(self, key: str) -> None:
        """Remove; harmless where there is none."""
        self.blobs.pop(key, None)

    def free_bytes(self) -> int:
        """Return the room that was set."""
        return self._free_bytes

    def put(self, content: bytes) -> StoredBlob:
        """Store `content` at once."""
        writer = self.begin()
        writer.write(content)
        return writer.commit()


class MemoryWriter:
    """An upload into a `MemoryStore`."""

    def __init__(self, blobs: dict[str, bytes], *, key: str) -> None:
        self._blobs = blobs
        self._key = key
        self._content = bytearray()
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        """Append."""
        self._content += chunk
        self.size_bytes += len(chunk)

    def commit(self) -> StoredBlob:
        """Make it visible."""
        self._blobs[self._key] = bytes(self._content)
        return StoredBlob(
            key=self._key,
            size_bytes=self.size_bytes,
            sha256=hashlib.sha256(self._content).hexdigest(),
        )

    def abort(self) -> None:
        """Forget it."""
        self._content.clear()
