"""What a jailed process can do is tried, from inside, on this very kernel."""

import pytest

from workers.detection.decode import check_sandbox, try_to_escape
from workers.detection.escape import Attempts


@pytest.fixture(scope="module")
def attempts() -> Attempts:
    return try_to_escape()


def test_the_network_is_out_of_reach(attempts: Attempts) -> None:
    if "WITH network" in attempts.words:
        pytest.skip(f"this kernel: {attempts.words}")

    assert not attempts.connected


def test_files_can_neither_be_read_nor_written(attempts: Attempts) -> None:
    if "Landlock" not in attempts.words or "refused" in attempts.words:
        pytest.skip(f"this kernel: {attempts.words}")

    assert (attempts.read_secret, attempts.wrote_file) == (False, False)


def test_no_process_can_be_started_or_signalled(attempts: Attempts) -> None:
    if "seccomp" not in attempts.words or "refused" in attempts.words:
        pytest.skip(f"this kernel: {attempts.words}")

    assert (attempts.started_process, attempts.signalled_parent) == (False, False)


def test_it_inherits_no_environment(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPVERDICT_DATABASE_URL", "postgresql://deepverdict:secret@db/deepverdict")

    # Python itself sets LC_CTYPE where nobody says otherwise.
    assert set(attempts.environment) | set(try_to_escape().environment) <= {"LC_CTYPE"}


def test_the_check_says_what_it_measured() -> None:
    sandbox = check_sandbox()

    assert sandbox.is_network_removed == sandbox.words.startswith("no network")
