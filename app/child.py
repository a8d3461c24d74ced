"""
How does a process of ours start another that cannot outlive it?

A child is a fresh interpreter, never a fork: a network runtime that was forked after it made its
threads crashes or hangs. It leads a session of its own, so that it and all that it starts can be
killed in one call, and so that a terminal's Ctrl-C reaches the parent alone.
"""

import ctypes
import os
import pickle
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
SETTINGS_PREFIX = "DEEPVERDICT_"


def start(target: str, *arguments: object, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """
    Run `target(*arguments)` in a new process that is killed when the calling thread ends.

    Args:
        target: `package.module:function`; what it returns becomes the exit status.
        arguments: anything that can be pickled. Settings travel here: the environment variables
            that name them, passwords and all, are not handed down.
        pass_fds: descriptors that the child finds open under the same numbers.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS_PREFIX)}
    # The child runs the very code that its parent runs, whatever the working directory holds.
    code = str(Path(__file__).resolve().parent.parent)
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([code, inherited] if inherited else [code])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "app.child", target],
        stdin=subprocess.PIPE,
        pass_fds=pass_fds,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        with process.stdin as pipe:
            pipe.write(pickle.dumps((os.getpid(), arguments)))
    except BrokenPipeError:
        pass  # it is dead already, and whoever waits for it will see that
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and its whole group. Call it before the child is reaped, never after."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()  # it has not yet become the leader of its group


def words(status: int) -> str:
    """Say how a process ended, by its return code as `subprocess` gives it."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)


def _main(target: str) -> None:
    with sys.stdin.buffer as pipe:
        parent, arguments = pickle.load(pipe)  # noqa: S301 - written by our own parent, above
    _end_with(parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != 0:
        os.dup2(nothing, 0)
        os.close(nothing)
    run: Callable[..., object] = pkgutil.resolve_name(target)
    sys.exit(run(*arguments))  # type: ignore[arg-type]  # an exit status, or None


if __name__ == "__main__":
    _main(sys.argv[1])
