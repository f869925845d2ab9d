"""
Who PostgreSQL runs as. It refuses root, and initdb wants a user with a name.

An ordinary user stays who it is. Root, and a user without a name, seem to be
`nobody` inside a user namespace, where the files stay root's. Where such a
namespace is not allowed, root really becomes `nobody`, which keeps only the
capability to pass closed folders; then the cluster's files are nobody's.
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
    """*shim* is what `spawn.py` takes; *uid* and *gid* own the files, outside."""

    shim: str
    uid: int
    gid: int


def choose(*, as_nobody: bool = False) -> Identity:
    """
    Choose who PostgreSQL can run as here.

    Raises:
        LocalServerError: There is no way; says what to do.
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
        f"PostgreSQL does not run as {who}, and neither a user namespace nor a change of user "
        "is allowed here. Run as an ordinary user with a name, or set DATABASE_URL."
    )


def own(path: Path, who: Identity) -> None:
    """Give the tree at *path*, which is of our state folder, to *who* if it is not theirs."""
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
    """Return the user nobody, or else any that is not root."""
    users = [user for user in pwd.getpwall() if user.pw_uid != 0]
    return next((user for user in users if user.pw_name == "nobody"), next(iter(users), None))


def _works(identity: str) -> bool:
    """Tell whether `spawn.py` can take *identity* here, by letting it try."""
    command = [sys.executable, "-I", "-S", SPAWN, str(os.getpid()), "0", identity, "-"]
    tried = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return tried.returncode == 0
