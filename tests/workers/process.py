"""
A real worker process around a double of the analyzer, set up by its environment alone.

    python -m tests.workers.process ANALYZER [FILE]

runs one, and at the end writes to FILE what it had imported.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from app.settings import Settings
from tests.servers import die_with_parent
from workers.run import run

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
SHORT = {
    "DEEPVERDICT_WORKER__LEASE_S": "3",
    "DEEPVERDICT_WORKER__RECONCILE_INTERVAL_S": "1",
    "DEEPVERDICT_WORKER__POLL_INTERVAL_S": "0.2",
    "DEEPVERDICT_WORKER__REPUBLISH_AFTER_S": "2",
    "DEEPVERDICT_WORKER__RETRY_DELAY_S": "0",
    "DEEPVERDICT_WORKER__DRAIN_GRACE_S": "0",
    "DEEPVERDICT_LOG_FORMAT": "json",
}
"""Settings of a service that is in a hurry."""


class WorkerProcess:
    """One worker; killed at the end of the block if it still runs."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        log: Path,
        analyzer: str = "as_told",
        program: Sequence[str] | None = None,
        modules: Path | None = None,
    ) -> None:
        self.log = log
        judges = ("tests.workers.process", f"tests.workers.analyzers:{analyzer}")
        command = [sys.executable, "-m", *(program or judges)]
        if modules is not None:
            command.append(str(modules))
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**without_settings(os.environ), **SHORT, **environment},
                stdout=file,
                stderr=file,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call
            )

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        if self.is_running:
            self.kill()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def words(self) -> str:
        """Return all that it and its predecessors logged."""
        return self.log.read_text()

    def until_logged(self, event: str) -> None:
        """Wait until it has said so."""
        deadline = time.monotonic() + PATIENCE_S
        while event not in self.words():
            assert self.is_running, self.words()
            assert time.monotonic() < deadline, f"never {event}:\n{self.words()}"
            time.sleep(0.02)

    def terminate(self) -> int:
        """Ask it to end, as an orchestrator would; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what a developer may have set."""
    return {k: v for k, v in environment.items() if not k.startswith("DEEPVERDICT_")}


def main() -> int:
    analyzer, *files = sys.argv[1:]
    status = run(Settings(), analyzer)
    for file in files:
        Path(file).write_text("\n".join(sys.modules))
    return status


if __name__ == "__main__":
    sys.exit(main())
