"""The launcher's last act: to become the worker."""

import ctypes
import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from task_server.launch import early_stop, handover
from task_server.launch.command import SECRET_VARIABLES, Command

#: linux/prctl.h
PR_SET_NO_NEW_PRIVS = 38


def exec_command(
    command: Command, environ: Mapping[str, str], *, block_signals: bool = False
) -> NoReturn:
    """
    Replace this process by *command*: one PID, and signals reach Celery itself.

    With *block_signals* those to stop reach it when it has handlers; the program
    must release them (`early_stop`).

    Raises:
        OSError: When the system does not support what the command asks for.
    """
    if command.no_new_privileges:
        set_no_new_privs()
    sys.stdout.flush()
    sys.stderr.flush()
    if block_signals:
        early_stop.block()
    added = dict(command.environ)
    secret = {name: added.pop(name) for name in SECRET_VARIABLES & added.keys()}
    if command.keep_secrets_apart:
        given = handover.environ_without({**environ, **added}, secret)
    else:
        given = {**environ, **added, **secret}
    os.execvpe(command.argv[0], list(command.argv), given)  # noqa: S606 - no shell is meant


def set_no_new_privs() -> None:
    """
    Keep programs that are started from here from gaining privileges (prctl(2), Linux).

    Raises:
        OSError: When the system does not know it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # The numbers are unsigned longs to the system; as ints their upper halves would be noise.
    zero = ctypes.c_ulong(0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privileges: this system does not have it")
