"""Takes rights from a process before it opens hostile files: network, programs, memory and time.

The rights are taken from the process that calls a function here, and it cannot get them back. Each
function returns what it achieved in words, or nothing: systems have different means, and a person
should know which of them worked.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # linux/prctl.h, seccomp.h
ALLOW, DENY = 0x7FFF0000, 0x00050000 | 13  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EACCES
# Machine → its audit number, and the calls that reach a network, another program or a process:
# socket, connect, socketpair, fork, vfork, execve, execveat, ptrace, process_vm_writev,
# io_uring_setup (Linux's tables unistd_64.h and asm-generic/unistd.h).
CALLS: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (41, 42, 53, 57, 58, 59, 322, 101, 311, 425)),
    "aarch64": (0xC00000B7, (198, 203, 199, 221, 281, 117, 271, 425)),
}
X32 = 0x40000000  # x86_64 has a second set of calls, with numbers from here on.
REFUSED = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "pty.",
)


def leave_network() -> str:
    """Move into an empty network namespace, where that is allowed."""
    if sys.platform != "linux":
        return ""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0:
        return "a network namespace of its own"
    return ""


def refuse_calls() -> str:
    """Make the kernel refuse sockets and other programs (seccomp). Call it with one thread."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in CALLS:
        return ""
    audit, calls = CALLS[machine]
    program = _filter(audit, calls, x32=machine == "x86_64")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return ""
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    held = ctypes.create_string_buffer(header, len(header))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(held), 0, 0) != 0:
        return ""
    return "sockets and other programs refused by the kernel"


def _filter(audit: int, calls: tuple[int, ...], *, x32: bool) -> bytes:
    """Write a filter in classic BPF over ``struct seccomp_data``.

    The number of the call is at byte 0, and that of the machine at byte 4.
    """

    def load(offset: int) -> bytes:
        return struct.pack("HBBI", 0x20, 0, 0, offset)

    def jump(kind: int, value: int, yes: int, no: int) -> bytes:
        return struct.pack("HBBI", kind, yes, no, value)

    equal, at_least = 0x15, 0x35
    tests = [(at_least, X32)] if x32 else []
    tests += [(equal, call) for call in calls]
    lines = [load(4), jump(equal, audit, 1, 0), struct.pack("HBBI", 0x06, 0, 0, DENY), load(0)]
    for place, (kind, value) in enumerate(tests):
        lines.append(jump(kind, value, len(tests) - place, 0))
    lines += [struct.pack("HBBI", 0x06, 0, 0, verdict) for verdict in (ALLOW, DENY)]
    return b"".join(lines)


def refuse_events(writable: Path) -> str:
    """Make the interpreter refuse sockets, programs, and writing outside of a folder."""
    inside = os.path.realpath(writable) + os.sep
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(REFUSED):
            raise PermissionError(f"{event} is refused while a pickle is open")
        if event == "open":
            path, _, flags = arguments
            outside = not isinstance(path, str) or not os.path.realpath(path).startswith(inside)
            if outside and isinstance(flags, int) and flags & writing:
                raise PermissionError(f"writing {str(path)[:80]} is refused while a pickle is open")

    sys.addaudithook(refuse)
    return "sockets, programs and files elsewhere refused by the interpreter"
