"""
What is known from before? Answers that take minutes and depend on nothing that changed.

Every answer is kept under a name and a digest of all that it depends on.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Answer = TypeVar("Answer", dict[str, float], dict[str, float | None], dict[str, dict[str, Any]])


def kept(folder: Path, name: str, depends_on: Sequence[str], make: Callable[[], Answer]) -> Answer:
    """Return the kept answer; make and keep it where there is none yet."""
    digest = hashlib.sha256("\n".join(depends_on).encode()).hexdigest()[:16]
    words = "".join(c if c.isalnum() else "-" for c in name)
    path = folder / f"{words}-{digest}.json"
    if path.is_file():
        found: Answer = json.loads(path.read_text(encoding="utf-8"))
        return found
    made = make()
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(made), encoding="utf-8")
    partial.replace(path)
    return made
