"""
The child's side of a start: what must happen between fork and exec.

Run as ``python -I -S spawn.py PARENT SIGNAL USER PROGRAM [ARGUMENT …]``.
It changes the user, asks the kernel to end the process when the
supervisor dies, and becomes PROGRAM; so the process keeps its pid. A
``preexec_fn`` would do this after a fork of a process with threads, which may
deadlock; a fresh interpreter cannot, and costs about 20 ms.

PARENT is the pid of the supervisor, SIGNAL the number of the signal sent when
it dies (0: none), USER one of

``same``                 change nothing;
``namespace:UID:GID``    seem to be UID inside a new user namespace, while files
                         are made and read as who we really are (Linux);
``drop:UID:GID``         really become UID, and keep only the capability to pass
                         closed folders, because the data lies wherever the
                         user works, /root for example (Linux).

PROGRAM ``-`` ends with 0 instead: it shows whether USER works here.

Everything in this file is of the standard library and of this file, because
``-I -S`` leaves nothing else to import.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

#: Exit code when USER is not possible, and when PROGRAM could not
#: be executed, as a shell has it.
NO_USER = 126
NO_PROGRAM = 127

# linux/prctl.h, linux/sched.h and linux/capability.h
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CLONE_NEWUSER = 0x10000000
_CAP_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1


def _check(result: int, what: str) -> None:
    """Raise OSError with errno of libc unless *result* is 0."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def enter_namespace(uid: int, gid: int) -> None:
    """
    Seem to be *uid* and *gid* to ourselves, in a new user namespace.

    Raises:
        OSError: Where unshare is not allowed (the default seccomp profile of
            Docker, some distributions' kernel settings).
    """
    real_uid, real_gid = os.getuid(), os.getgid()
    maps = (
        # Without "deny" only a privileged process may write gid_map.
        ("/proc/self/setgroups", b"deny"),
        ("/proc/self/uid_map", b"%d %d 1" % (uid, real_uid)),
        ("/proc/self/gid_map", b"%d %d 1" % (gid, real_gid)),
    )
    _check(_libc().unshare(_CLONE_NEWUSER), "unshare")
    # Bytes, because text may need a codec, and its module may be out of reach now.
    for path, text in maps:
        Path(path).write_bytes(text)


def drop_to(uid: int, gid: int) -> None:
    """
    Become *uid* and *gid*, and keep CAP_DAC_OVERRIDE as our only capability.

    Raises:
        OSError: Where we may not change user, or lack the capability.
    """
    libc = _libc()
    os.setgroups([])
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "PR_SET_KEEPCAPS")
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    mask = 1 << _CAP_DAC_OVERRIDE
    # effective, permitted, inheritable of capabilities 0-31, then of 32-63.
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    _check(libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")
    _check(
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0),
        "PR_CAP_AMBIENT",
    )


def switch_user(user: str) -> None:
    """Become *user*, in one of the forms at the top of the file."""
    kind, *numbers = user.split(":")
    if kind == "namespace":
        enter_namespace(*map(int, numbers))
    elif kind == "drop":
        drop_to(*map(int, numbers))


def main(argv: list[str]) -> int:
    """Run the program as described at the top of the file; return only on failure."""
    parent, death_signal, user, program, *arguments = argv
    try:
        switch_user(user)
    except OSError as error:
        sys.stderr.write(f"cannot become user {user}: {error}\n")
        return NO_USER
    if program == "-":
        return 0
    if sys.platform == "linux" and death_signal != "0":
        # After the change of user, which clears it.
        _libc().prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(parent):
        # It died before the signal was set, which will never come now.
        return NO_USER
    # The interpreter ignores these, and what is ignored stays so over exec.
    for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ"):
        number = getattr(signal, name, None)
        if number is not None:
            with contextlib.suppress(OSError):
                signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(program, [program, *arguments])  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"cannot start {program}: {error.strerror}\n")
    return NO_PROGRAM


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
