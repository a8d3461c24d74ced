"""
How does a language write sentences, numbers, moments, and what a stranger typed?

Sentences come from the catalogue. What comes from outside, such as a file's name, is made visible
first: a character that would turn the line around, or that nobody sees, is shown by its code.
"""

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from app.domain.words import Language, Sentence, catalogue, say

HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Of Unicode: control, format (what turns a line around is one), not assigned, private, lone
surrogates, breaks of line and paragraph."""
JOINERS = frozenset("\u200c\u200d")
"""Format characters that Persian and composed emoji are spelled with; they turn nothing around."""
SIGNIFICANT_DIGITS = 3
THOUSAND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tongue:
    """Says everything in one language."""

    language: Language

    def say(self, key: str, **values: str | int | float) -> str:
        """Say the sentence of a key; see `app.domain.words.say`."""
        return say(Sentence(key=key, values=values), self.language)

    def knows(self, key: str) -> bool:
        """Whether the catalogue has the key; for codes that an old row or a new tool may have."""
        return key in catalogue(self.language)

    def said_or(self, key: str, otherwise: str) -> str:
        """Say the sentence of a key without values, or what stands in for one it does not have."""
        return self.say(key) if self.knows(key) else otherwise

    def decimal(self, value: float, digits: int) -> str:
        """Write a number with so many digits after the point, or the comma."""
        return self._localized(f"{value:.{digits}f}")

    def number(self, value: float) -> str:
        """Write a number with three significant digits, and never with an exponent."""
        if value == round(value):
            return self.whole(round(value))
        whole_digits = math.floor(math.log10(abs(value))) + 1
        return self.decimal(value, max(0, SIGNIFICANT_DIGITS - whole_digits))

    def whole(self, value: int) -> str:
        """Write a whole number with its thousands apart, by a space that does not break."""
        return f"{value:,}".replace(",", "\u00a0")

    def percent(self, share: float) -> str:
        """Write a share of one in percent."""
        digits = 1 if 0 < share < 0.095 else 0  # noqa: PLR2004 - two digits where there are two
        return self.say("number.percent", value=self.decimal(share * 100, digits))

    def clock(self, seconds: float) -> str:
        """Write a moment of the video as minutes, seconds and tenths."""
        tenths = round(seconds * 10)
        minutes, rest = divmod(tenths, 600)
        whole, tenth = divmod(rest, 10)
        return self._localized(f"{minutes}:{whole:02d}.{tenth}")

    def moment(self, when: datetime) -> str:
        """Write a date and a time of day, in UTC."""
        when = when.astimezone(UTC)
        return self.say(
            "number.moment",
            day=when.day,
            month=self.say(f"month.{when.month}"),
            year=when.year,
            clock=f"{when:%H:%M}",
        )

    def listed(self, items: Iterable[str], *, most: int) -> str:
        """List the first items with commas, and say how many more there are."""
        everything = list(items)
        shown = ", ".join(everything[:most])
        left = len(everything) - most
        return f"{shown} {self.say('report.and_more', count=left)}" if left > 0 else shown

    def _localized(self, number: str) -> str:
        return number.replace(".", ",") if self.language is Language.GERMAN else number


def visible(text: str) -> str:
    """Show what a stranger wrote, with every character that hides or turns the text as a code."""
    return "".join(
        f"[U+{ord(c):04X}]"
        if unicodedata.category(c) in HIDDEN_CATEGORIES and c not in JOINERS
        else c
        for c in text
    )
