"""Is every sentence said in every language, with the same values, and never more than is known?"""

import re
from collections.abc import Iterator
from string import Formatter

import pytest

from app.domain.evidence import AbstainReason
from app.domain.verdict import BLOCKED_BY, Inconclusive
from app.domain.words import Language, Sentence, catalogue, say
from tests.conftest import ROOT

KEY = re.compile(r"""Sentence\(\s*key=(f?)"([^"]+)\"""")
FROM_CODES = {
    "no_verdict.{obstacles[0].code}": [f"no_verdict.{c}" for c in Inconclusive],
    "obstacle.{code}": [f"obstacle.{c}" for c in BLOCKED_BY.values()],
}
"""What a key that is put together may come to."""


def sentences(language: Language) -> Iterator[tuple[str, str]]:
    """Every sentence with its key, each form by itself."""
    for key, entry in catalogue(language).items():
        if isinstance(entry, str):
            yield key, entry
        else:
            yield from ((f"{key}.{form}", words) for form, words in entry.items())


def values_of(words: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(words) if name is not None}


@pytest.mark.parametrize("language", Language)
def test_every_language_says_every_sentence_with_the_same_values(language: Language):
    english = {key: values_of(words) for key, words in sentences(Language.ENGLISH)}

    assert {key: values_of(words) for key, words in sentences(language)} == english


@pytest.mark.parametrize("language", Language)
def test_a_sentence_with_forms_has_both(language: Language):
    for key, entry in catalogue(language).items():
        assert isinstance(entry, str) or set(entry) == {"one", "many"}, key


def used_keys() -> set[str]:
    found: set[str] = set()
    for folder in ("app", "workers"):
        for file in (ROOT / folder).rglob("*.py"):
            for is_put_together, key in KEY.findall(file.read_text(encoding="utf-8")):
                if is_put_together and "{" in key and key in FROM_CODES:
                    found |= set(FROM_CODES[key])
                elif not is_put_together:
                    found.add(key)
    return found


def test_every_key_that_code_names_has_a_sentence():
    missing = used_keys() - catalogue(Language.ENGLISH).keys()

    assert not missing


def test_no_sentence_of_a_verdict_is_left_over():
    ours = ("verdict.", "no_verdict.", "obstacle.", "reason.", "caveat.")
    kept = {key for key in catalogue(Language.ENGLISH) if key.startswith(ours)}

    assert kept <= used_keys()


def test_every_reason_of_an_abstention_has_a_code_that_is_said():
    for reason in AbstainReason:
        code = BLOCKED_BY.get(reason, Inconclusive.TOO_LITTLE_EVIDENCE)
        assert f"no_verdict.{code}" in catalogue(Language.ENGLISH)


FORBIDDEN = {
    Language.ENGLISH: (r"authentic", r"genuine", r"\breal video\b", r"\bproven\b", r"untouched"),
    # Inflected it may speak of real clips and faces in general, never of the video at hand.
    Language.GERMAN: (
        r"authentisch",
        r"\becht\b",
        r"\bEchtheit",
        r"\becht\w+ (Video|Datei|Aufnahme)",
        r"erwiesen",
        r"unverfälscht",
    ),
}
PROOF = {Language.ENGLISH: "does not prove", Language.GERMAN: "beweist nicht"}


@pytest.mark.parametrize("language", Language)
def test_nothing_is_called_genuine_unless_to_say_that_it_is_not_proven(language: Language):
    for key, words in sentences(language):
        if any(re.search(word, words, re.IGNORECASE) for word in FORBIDDEN[language]):
            assert PROOF[language] in words, f"{key}: {words}"


def test_one_and_many_are_told_apart():
    def nothing_found(count: int) -> str:
        return say(Sentence(key="verdict.nothing_found", values={"count": count}))

    assert "the one person examined" in nothing_found(1)
    assert "the 3 persons examined" in nothing_found(3)


def test_numbers_are_written_as_their_language_does():
    sentence = Sentence(key="reason.person", values={"person": "p1", "probability": 0.5})

    assert say(sentence, Language.ENGLISH) == "person p1: 0.50"
    assert say(sentence, Language.GERMAN) == "Person p1: 0,50"


def test_a_sentence_that_nobody_wrote_is_a_bug_and_says_so():
    with pytest.raises(KeyError, match="nobody"):
        say(Sentence(key="verdict.nobody_wrote_it"))
    with pytest.raises(KeyError, match="last"):
        say(Sentence(key="verdict.manipulated_one", values={"first": "0:01"}))
