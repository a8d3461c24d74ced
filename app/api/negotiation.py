"""Which of the forms on offer does a caller like best? By `Accept`, RFC 9110 section 12.5.1."""

import re
from collections.abc import Sequence

RANGE = re.compile(r"([\w!#$&^.+*-]+)/([\w!#$&^.+*-]+)", re.ASCII)
QUALITY = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)", re.IGNORECASE | re.ASCII)
MOST_RANGES = 32
"""Media ranges read of one header; browsers send eight."""


def preferred(accept: Sequence[str], offered: Sequence[str]) -> str | None:
    """
    Return the media type that suits best; of equals the one offered first.

    Args:
        accept: the values of every `Accept` header; without any, all suits.

    Returns:
        None where nothing on offer suits. What cannot be read is passed over.
    """
    ranges = [r for r in ",".join(accept).split(",") if r.strip()][:MOST_RANGES]
    if not ranges:
        return offered[0]
    wishes = {}
    for wish in ranges:
        if named := RANGE.match(wish.strip()):
            quality = QUALITY.search(wish)
            wishes[named[0].lower()] = float(quality[1]) if quality else 1.0
    liked = {o: _quality(o, wishes) for o in offered}
    best = max(offered, key=liked.__getitem__)
    return best if liked[best] > 0 else None


def _quality(media_type: str, wishes: dict[str, float]) -> float:
    """Take the closest range that fits."""
    group = media_type.partition("/")[0]
    for closest in (media_type, f"{group}/*", "*/*"):
        if closest in wishes:
            return wishes[closest]
    return 0.0
