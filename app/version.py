"""Which code is this? Stored with every verdict."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

COMMIT_DIGITS = 7


@cache
def code_version() -> str:
    """Return the release, with the commit where it runs from a checkout: "0.1.0+9f1a722"."""
    try:
        release = version("deepverdict")
    except PackageNotFoundError:
        release = "0"
    commit = _commit(Path(__file__).resolve().parent.parent / ".git")
    return f"{release}+{commit[:COMMIT_DIGITS]}" if commit else release


def _commit(git: Path) -> str | None:
    """Read the commit that is checked out; git itself is not asked, it may not be there."""
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
