"""
Convert weights by hand: `python -m models.convert NAME ORIGINAL... --out FILE`.

Prints the SHA-256 of every original and of the result, for a new entry of the manifest.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from app.errors import ServiceError
from models.convert import CONVERTERS, convert


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m models.convert", description=__doc__)
    parser.add_argument("converter", choices=sorted(CONVERTERS))
    parser.add_argument("originals", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    originals = [path.read_bytes() for path in given.originals]
    try:
        served = convert(given.converter, originals)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    given.out.write_bytes(served)
    for path, content in (*zip(given.originals, originals, strict=True), (given.out, served)):
        digest = hashlib.sha256(content).hexdigest()
        sys.stdout.write(f"{digest}  {path.name}  {len(content)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
