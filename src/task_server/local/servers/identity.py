"""
The user that PostgreSQL runs as. It refuses root, and initdb refuses a user without a name.

An ordinary user is fine. Root, and a user without a name, become `nobody` inside a
user namespace; outside it the files stay theirs. Where such a namespace is not
allowed, root becomes `nobody` itself and keeps the capability to pass closed folders;
then the files of the cluster belong to nobody.
"""

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from task_server.errors import LocalServerError
from task_server.local.supervisor.process import SPAWN


@dataclass(frozen=True, slots=True)
class Identity:
    """*spec* is an argument of `spawn.py`; *uid* and *gid* own the files."""

    spec: str
    uid: int
    gid: int


def choose_user(*, as_nobody: bool = False) -> Identity:
    """
    Choose the user that PostgreSQL can run as here.

    Raises:
        LocalServerError: There is none.
    """
    uid, gid = os.getuid(), os.getgid()
    if uid != 0 and _has_name(uid):
        return Identity("same", uid, gid)
    who = "root" if uid == 0 else f"user {uid}, who has no name in /etc/passwd"
    nobody = _nobody()
    if sys.platform == "linux" and nobody is not None:
        numbers = f"{nobody.pw_uid}:{nobody.pw_gid}"
        if not as_nobody and _works(f"namespace:{numbers}"):
            return Identity(f"namespace:{numbers}", uid, gid)
        if uid == 0 and _works(f"drop:{numbers}"):
            return Identity(f"drop:{numbers}", nobody.pw_uid, nobody.pw_gid)
    raise LocalServerError(
        f"PostgreSQL refuses to run as {who}, and neither a user namespace nor a change of user "
        "is allowed here. Run as an ordinary user with a name, or set DATABASE_URL."
    )


def chown_tree(path: Path, who: Identity) -> None:
    """Give the tree at *path*, a part of our state folder, to *who*."""
    there = path.lstat()
    if there.st_uid == who.uid or os.getuid() != 0:
        return
    for folder, names, files in os.walk(path):
        for name in (".", *names, *files):
            os.chown(Path(folder) / name, who.uid, who.gid, follow_symlinks=False)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _nobody() -> pwd.struct_passwd | None:
    """Return the user nobody, or else the first that is not root."""
    users = [user for user in pwd.getpwall() if user.pw_uid != 0]
    return next((user for user in users if user.pw_name == "nobody"), next(iter(users), None))


def _works(spec: str) -> bool:
    """Return whether `spawn.py` can become *spec* here; it tries."""
    command = [sys.executable, "-I", "-S", SPAWN, str(os.getpid()), "0", spec, "-"]
    tried = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return tried.returncode == 0
