"""
Which sentences may the product say, and in which languages?

Every sentence that a person reads in a verdict or a report stands in one catalogue a language,
`app/words/*.toml`, under a key; code names the key and the values. So a translator sees them all
together, and nobody can add one that is said in one language only: the tests hold the catalogues
to the same keys and the same values.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files

FOLDER = "words"
ONE, MANY = "one", "many"


class Language(StrEnum):
    """Languages with a catalogue of their own."""

    ENGLISH = "en"
    GERMAN = "de"


DECIMAL_COMMA = frozenset({Language.GERMAN})


class _Comma(float):
    """A number that is written with a comma where others write a point."""

    def __format__(self, how: str) -> str:
        return super().__format__(how).replace(".", ",")


def _with_comma(value: str | int | float) -> str | int | float:
    return _Comma(value) if isinstance(value, float) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence before it is said in a language."""

    key: str  # "verdict.manipulated"
    values: Mapping[str, str | int | float] = field(default_factory=dict)


def say(sentence: Sentence, language: Language = Language.ENGLISH) -> str:
    """
    Say a sentence in a language.

    Of a key with the forms `one` and `many` the value `count` chooses.

    Raises:
        KeyError: the catalogue has no such key, or the sentence lacks a value; both are bugs.
    """
    entry = catalogue(language)[sentence.key]
    if isinstance(entry, Mapping):
        entry = entry[ONE if sentence.values["count"] == 1 else MANY]
    if language in DECIMAL_COMMA:
        return entry.format_map({k: _with_comma(v) for k, v in sentence.values.items()})
    return entry.format_map(sentence.values)


@cache
def catalogue(language: Language) -> Mapping[str, str | Mapping[str, str]]:
    """Return a language's sentences by key, forms of one sentence together."""
    text = files("app").joinpath(FOLDER, f"{language.value}.toml").read_text(encoding="utf-8")
    found: dict[str, str | Mapping[str, str]] = {}
    for section, sentences in tomllib.loads(text).items():
        for name, sentence in sentences.items():
            found[f"{section}.{name}"] = sentence
    return found
