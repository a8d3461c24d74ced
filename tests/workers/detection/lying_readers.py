"""Readers of a file's origin that were taken over, each in its own way. Run as programs."""

from dataclasses import replace

from workers.detection import wire
from workers.detection.wire import CredentialsRead, Jailed, Tag

JAILED = Jailed(is_network_removed=True, words="no network")
READ = CredentialsRead(state="absent")


def _say(*messages: wire.Message) -> int:
    wire.read_line(0)
    for message in (JAILED, *messages):
        wire.send(1, message)
    return 0


def dies_over_the_credentials() -> int:
    return _say(Tag(key="encoder", value="Lavf"))


def says_an_unknown_state() -> int:
    return _say(Tag(key="encoder", value="Lavf"), replace(READ, state="certainly genuine"))


def says_tags_without_end() -> int:
    return _say(Tag(key="encoder", value="Lavf"), *(Tag(key=f"{n}", value="x") for n in range(999)))


def says_another_message() -> int:
    return _say(Tag(key="encoder", value="Lavf"), wire.NoSound())


def says_what_is_no_print() -> int:
    dirty = "\x1b[31m" + "x" * 900
    return _say(
        Tag(key="a\nb", value=dirty),
        replace(READ, detail=dirty, signer=dirty, actions=(dirty, "\n") * 100),
    )


def keeps_the_network() -> int:
    wire.read_line(0)
    wire.send(1, Jailed(is_network_removed=False, words="WITH network"))
    return 0


def dies_before_it_is_jailed() -> int:
    return 1
