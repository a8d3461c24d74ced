"""
What may a process still do once it has jailed itself? Put up by the process, from inside.

FFmpeg parses bytes that anybody may have written, and its parsers have had holes. So the decoder
gives up what it does not need before it looks at the first byte: the network, other files,
writing, starting programs, signals to others, memory and time without end. Whoever takes the
process over can lie about pixels and little else.

Not every kernel and container allows every wall. Each is tried, and what was achieved is told in
words; only the network is a condition, and whether it is gone is tried, not believed.

Sources: namespaces(7), landlock(7), seccomp(2), capabilities(7), linux/audit.h, linux/bpf_common.h
"""

import ctypes
import os
import platform
import resource
import signal
import socket
import struct
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

MAX_OPEN_FILES = 64

CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

CAPABILITY_VERSION_3 = 0x20080522

SYS_LANDLOCK_CREATE_RULESET = 444  # alike on every architecture
SYS_LANDLOCK_ADD_RULE = 445
SYS_LANDLOCK_RESTRICT_SELF = 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1
LANDLOCK_READ_FILE = 1 << 2
LANDLOCK_READ_DIR = 1 << 3
LANDLOCK_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""By the version that brought them, how many rights over files a kernel knows; all are withheld."""
LANDLOCK_NET_SINCE = 4
LANDLOCK_SCOPE_SINCE = 6

DENIED_SYSCALLS = {  # name: (x86_64, aarch64); -1 where the architecture has none
    "socket": (41, 198),
    "socketpair": (53, 199),
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "acct": (163, 89),
}
"""A list of what is denied: one of what is needed would break with every new libc."""

ARCHITECTURES = {  # machine: (column above, AUDIT_ARCH_*, clone, clone3)
    "x86_64": (0, 0xC000003E, 56, 435),
    "aarch64": (1, 0xC00000B7, 220, 435),
}
X32_SYSCALL_BIT = 0x40000000
CLONE_THREAD = 0x00010000
SECCOMP_MODE_FILTER = 2
SECCOMP_ALLOW = 0x7FFF0000
SECCOMP_KILL_PROCESS = 0x80000000
SECCOMP_ERRNO = 0x00050000
EPERM = 1
ENOSYS = 38
BPF_LOAD_WORD = 0x20
BPF_JUMP_EQUAL = 0x15
BPF_JUMP_AT_LEAST = 0x35
BPF_JUMP_ANY_BIT = 0x45
BPF_RETURN = 0x06
OFFSET_NUMBER = 0  # of struct seccomp_data
OFFSET_ARCHITECTURE = 4
OFFSET_FIRST_ARGUMENT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Jail:
    """What was achieved."""

    is_network_removed: bool
    words: str
    _mapped: BinaryIO  # /proc/self/statm, opened while that could be done

    def limit_memory(self, extra_bytes: int) -> None:
        """Let the process map so much more than it has mapped now."""
        _limit(resource.RLIMIT_AS, self._mapped_bytes() + extra_bytes)

    def memory_left_bytes(self) -> int:
        """Return how much more may be mapped."""
        return resource.getrlimit(resource.RLIMIT_AS)[0] - self._mapped_bytes()

    def _mapped_bytes(self) -> int:
        self._mapped.seek(0)
        return int(self._mapped.read().split()[0]) * resource.getpagesize()


def enter(*, parent_pid: int, readable: Iterable[Path], cpu_s: int) -> Jail:
    """
    Give up everything but computing and reading `readable`; folders include what is in them.

    Call it before the process has a second thread: the kernel takes the network from the caller's
    thread alone, and its later children.

    Raises:
        ProcessLookupError: the parent is gone already.
    """
    _end_with(parent_pid)
    mapped = Path("/proc/self/statm").open("rb", buffering=0)  # noqa: SIM115 - kept for the process's life
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_CPU, cpu_s)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    walls = {
        "a network namespace of its own": _leave_network(),
        "no capabilities": _drop_capabilities(),
        "files confined by Landlock": _confine_files(readable),
        "system calls filtered by seccomp": _filter_system_calls(),
    }
    has_network = _reaches_network()
    up = [words for words, is_up in walls.items() if is_up]
    down = [words for words, is_up in walls.items() if not is_up]
    return Jail(
        is_network_removed=not has_network,
        words="; ".join(
            [
                "WITH network" if has_network else "no network",
                *up,
                "limits on memory, CPU time and files",
                *([f"the kernel refused: {', '.join(down)}"] if down else []),
            ]
        ),
        _mapped=mapped,
    )


def interpreter_folders() -> tuple[Path, ...]:
    """Return where Python, its packages, this one and the system's shared libraries lie."""
    paths = {
        Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    paths |= {Path(__file__).parent, Path(sys.base_prefix) / "lib"}  # there lies libpython
    paths |= {Path(p) for p in ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")}
    return tuple(sorted(p for p in paths if p.exists()))


def _end_with(parent_pid: int) -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the kernel was asked
        raise ProcessLookupError(f"the parent {parent_pid} is gone")


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


def _leave_network() -> bool:
    """A user of its own may make a network of its own, which has no way out."""
    flags = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC
    return bool(_libc.unshare(flags) == 0 or _libc.unshare(CLONE_NEWNET) == 0)


def _drop_capabilities() -> bool:
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    return bool(_libc.capset(header, bytes(24)) == 0)


def _confine_files(readable: Iterable[Path]) -> bool:
    version = _syscall(SYS_LANDLOCK_CREATE_RULESET, 0, 0, LANDLOCK_CREATE_RULESET_VERSION)
    if version < 1:
        return False
    rights = (1 << max(n for since, n in LANDLOCK_RIGHTS.items() if since <= version)) - 1
    ruleset = struct.pack("Q", rights)
    if version >= LANDLOCK_NET_SINCE:
        ruleset += struct.pack("Q", 0b11)  # neither bind nor connect over TCP
    if version >= LANDLOCK_SCOPE_SINCE:
        ruleset += struct.pack("Q", 0b11)  # neither abstract sockets nor signals to others
    rules = _syscall(SYS_LANDLOCK_CREATE_RULESET, _address(ruleset), len(ruleset), 0)
    if rules < 0:
        return False
    try:
        for path in readable:
            allowed = LANDLOCK_READ_FILE | (LANDLOCK_READ_DIR if path.is_dir() else 0)
            target = os.open(path, os.O_PATH)
            try:
                rule = struct.pack("=Qi", allowed, target)
                _syscall(
                    SYS_LANDLOCK_ADD_RULE, rules, LANDLOCK_RULE_PATH_BENEATH, _address(rule), 0
                )
            finally:
                os.close(target)
        return _syscall(SYS_LANDLOCK_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def _filter_system_calls() -> bool:
    machine = ARCHITECTURES.get(platform.machine())
    if machine is None:
        return False
    column, architecture, clone, clone3 = machine
    program = [
        (BPF_LOAD_WORD, 0, 0, OFFSET_ARCHITECTURE),
        (BPF_JUMP_EQUAL, 1, 0, architecture),
        (BPF_RETURN, 0, 0, SECCOMP_KILL_PROCESS),
        (BPF_LOAD_WORD, 0, 0, OFFSET_NUMBER),
        (BPF_JUMP_AT_LEAST, 0, 1, X32_SYSCALL_BIT),  # the same calls under other numbers
        (BPF_RETURN, 0, 0, SECCOMP_ERRNO | ENOSYS),
        # The flags of clone3 lie in memory, out of a filter's sight; libc falls back to clone.
        (BPF_JUMP_EQUAL, 0, 1, clone3),
        (BPF_RETURN, 0, 0, SECCOMP_ERRNO | ENOSYS),
    ]
    for numbers in DENIED_SYSCALLS.values():
        if numbers[column] >= 0:
            program += [
                (BPF_JUMP_EQUAL, 0, 1, numbers[column]),
                (BPF_RETURN, 0, 0, SECCOMP_ERRNO | EPERM),
            ]
    program += [
        (BPF_JUMP_EQUAL, 0, 3, clone),
        (BPF_LOAD_WORD, 0, 0, OFFSET_FIRST_ARGUMENT),
        (BPF_JUMP_ANY_BIT, 1, 0, CLONE_THREAD),  # threads, but no processes
        (BPF_RETURN, 0, 0, SECCOMP_ERRNO | EPERM),
        (BPF_RETURN, 0, 0, SECCOMP_ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    filter_ = struct.pack("HxxxxxxQ", len(program), _address(code))
    return bool(_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, _address(filter_)) == 0)


def _reaches_network() -> bool:
    """Try. Connecting a datagram socket sends nothing, and wants a route all the same."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
            anything.connect(("127.0.0.1", 9))
    except OSError:
        return False
    return True


def _prctl(option: int, *arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return int(_libc.prctl(option, *(ctypes.c_ulong(a) for a in padded)))


def _syscall(number: int, *arguments: int) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments)))


def _address(data: bytes) -> int:
    """Where `data` lies, for as long as the caller holds it."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
