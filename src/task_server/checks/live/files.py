"""This machine as its user finds it: folders to write in, and names of user and group."""

import grp
import os
import pwd
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from task_server.checks.facts import Case
from task_server.errors import ConfigError, Finding
from task_server.health.folder import heartbeat_folder, prepare_folder
from task_server.launch import folders


def code(case: Case, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look for files of the project's code that this user cannot read."""
    # Where nothing is named the code is part of the environment.
    named = case.config.code or environ.get("PYTHONPATH", "").split(":")[0]
    if named and Path(named).is_dir():
        yield folders.unreadable_code(Path(named))


def media(case: Case) -> Iterator[Finding]:
    """Try to write in MEDIA_ROOT, if the project is a Django project that has one."""
    from django.conf import settings  # noqa: PLC0415 - not every project uses Django

    if not settings.configured:
        return
    folder = str(settings.MEDIA_ROOT)
    if not folder:
        yield Finding("info", "MEDIA_ROOT", "not set, so there is no folder to look at")
        return
    yield folders.usable(case.config, "MEDIA_ROOT", Path(folder))


def names(case: Case) -> Iterator[Finding]:
    """Tell whether the user and the group have names, which Celery and libraries look up."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        yield Finding(
            "warning",
            "user",
            f"uid {uid} has no entry in /etc/passwd: libraries that ask for the user's name or "
            "home fail",
            f"add one, such as worker:x:{uid}:{gid}::/:/usr/sbin/nologin",
        )
    else:
        if uid == 0:
            yield Finding(
                "warning",
                "user",
                "root: whoever makes a task misbehave owns the machine or the container",
                "run as another user",
            )
        else:
            yield Finding("ok", "user", f"{user} ({uid})")
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        pickle = "pickle" in ((case.facts.values.get("accept_content") if case.facts else ()) or ())
        yield Finding(
            "error" if pickle and not case.force_root else "warning",
            "group",
            f"gid {gid} has no entry in /etc/group, so Celery assumes that it runs as root"
            + (" and refuses to start, since it accepts pickle" if pickle else ""),
            f"add one, such as workers:x:{gid}:",
        )
    else:
        yield Finding("ok", "group", f"{group} ({gid})")


def places(case: Case, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look for a place for temporary files, and for the heartbeats."""
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:
        yield Finding(
            "error",
            "temporary files",
            "no folder is writable (TMPDIR, /tmp, /var/tmp): a prefork worker does not start",
            "mount a tmpfs at /tmp",
        )
    else:
        yield Finding("ok", "temporary files", f"{temporary} is writable")
    folder = heartbeat_folder(case.config, environ, os.getuid())
    if folder.is_dir() or folder.is_symlink():
        try:
            prepare_folder(folder, os.getuid())
        except ConfigError as error:
            for problem in error.problems:
                yield Finding("error", problem.setting, problem.message)
            return
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        yield Finding("ok", "runtime_dir", f"{folder} is for heartbeats")
    else:
        yield Finding(
            "error",
            "runtime_dir",
            f"{folder} cannot be written by {folders.user()}{folders.owner(existing)}",
            "name a writable folder, or mount a tmpfs there",
        )
