"""Which system calls a process may make: a seccomp filter (seccomp(2)), put together here.

By hand: what wraps this for Python needs libseccomp in the image and was last released in 2021. What is forbidden
fails with "Operation not permitted", so a library that tries something is told so and goes on. Forbidden are other
processes (programs, copies of itself, signals to them), the network, every change of the file system, and what could
be a way round. Threads stay: the engine of patterns has one.
"""

import ctypes
import errno
import os
import platform
import sys
from typing import Final

# Names as in the manual; for x86_64 and aarch64. 0: this architecture has none.
_FORBIDDEN: Final = {
    # programs and processes
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, 0), "vfork": (58, 0),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "tkill": (200, 130), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    # network
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206),
    # changes of the file system
    "creat": (85, 0), "truncate": (76, 45), "ftruncate": (77, 46), "fallocate": (285, 47),
    "rename": (82, 0), "renameat": (264, 38), "renameat2": (316, 276),
    "unlink": (87, 0), "unlinkat": (263, 35), "rmdir": (84, 0), "mkdir": (83, 0), "mkdirat": (258, 34),
    "link": (86, 0), "linkat": (265, 37), "symlink": (88, 0), "symlinkat": (266, 36),
    "mknod": (133, 0), "mknodat": (259, 33), "chmod": (90, 0), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, 0), "lchown": (94, 0), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, 0), "utimes": (235, 0), "futimesat": (261, 0), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    # ways round
    "io_uring_setup": (425, 425), "open_by_handle_at": (304, 265), "memfd_create": (319, 279),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
}  # fmt: skip
# What they are asked for lies in memory, where a filter cannot look; without them libraries take the older ones.
_UNKNOWN: Final = {"clone3": (435, 435), "openat2": (437, 437)}
_CLONE, _OPEN, _OPENAT, _PRLIMIT = (56, 220), (2, 0), (257, 56), (302, 261)
_SIGNALS: Final = (
    (62, 129),
    (234, 131),
    (129, 138),
    (297, 240),
)  # kill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # a column, AUDIT_ARCH_…

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # of classic BPF
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in seccomp_data
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_X32: Final = 0x40000000  # a second set of numbers on x86_64
_THREAD: Final = 0x00010000
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_SET_FILTER, _ALL_THREADS = 1, 1
_SECCOMP: Final = (317, 277)

_Step = tuple[int, int, int, int]  # code, steps to skip if true, if false, value


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def forbid() -> None:
    """For all threads, for good. Needs `no_new_privs`. Raises `OSError` where that cannot be done."""
    machine = _MACHINES.get(platform.machine()) if sys.platform == "linux" and sys.maxsize > 2**32 else None
    if machine is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    column, architecture = machine
    steps = _steps(column, architecture, os.getpid())
    code = b"".join(
        each[0].to_bytes(2, sys.byteorder) + bytes(each[1:3]) + each[3].to_bytes(4, sys.byteorder)
        for each in steps
    )
    held = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(steps), ctypes.addressof(held))
    library = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_long(_SECCOMP[column])
    if library.syscall(
        number, ctypes.c_uint(_SET_FILTER), ctypes.c_uint(_ALL_THREADS), ctypes.byref(program)
    ):
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed))


def _steps(column: int, architecture: int, own: int) -> list[_Step]:
    refuse = (_RETURN, 0, 0, _ERROR | errno.EPERM)
    unknown = (_RETURN, 0, 0, _ERROR | errno.ENOSYS)
    allow = (_RETURN, 0, 0, _ALLOW)
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if column == 0:
        steps += [(_AT_LEAST, 0, 1, _X32), unknown]
    for table, answer in ((_FORBIDDEN, refuse), (_UNKNOWN, unknown)):
        steps += [
            step for each in table.values() if each[column] for step in ((_EQUAL, 0, 1, each[column]), answer)
        ]
    steps += _if(_CLONE[column], 0, (_ANY_BIT, 1, 0, _THREAD), refuse, allow)
    for numbers, argument in ((_OPEN, 1), (_OPENAT, 2)):
        if numbers[column]:
            steps += _if(numbers[column], argument, (_ANY_BIT, 0, 1, _WRITES), refuse, allow)
    for numbers in _SIGNALS:
        steps += _if(numbers[column], 0, (_EQUAL, 1, 0, own), refuse, allow)
    # Its own limits only: 0 is oneself.
    steps += [
        (_EQUAL, 0, 5, _PRLIMIT[column]),
        (_LOAD, 0, 0, _ARGUMENTS),
        (_EQUAL, 2, 0, 0),
        (_EQUAL, 1, 0, own),
    ]
    return [*steps, refuse, allow, allow]


def _if(number: int, argument: int, test: _Step, one: _Step, other: _Step) -> list[_Step]:
    """Of this call, by its argument (its lower half: all of these are of 32 bits): `one`, or what `test` skips to."""
    low = _ARGUMENTS + 8 * argument + (0 if sys.byteorder == "little" else 4)
    return [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, low), test, one, other]
