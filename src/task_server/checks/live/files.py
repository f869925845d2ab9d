"""This machine: readable code, writable folders, and the names of user and group."""

import grp
import os
import pwd
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from task_server.checks.facts import Context
from task_server.errors import ConfigError, Finding
from task_server.health.folder import heartbeat_folder, prepare_folder
from task_server.launch import folders


def code(context: Context, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Find files of the project's code that this user cannot read."""
    # Without a setting the code is installed in the environment.
    named = context.config.code or environ.get("PYTHONPATH", "").split(":")[0]
    if named and Path(named).is_dir():
        yield folders.check_code_readable(Path(named))


def media(context: Context) -> Iterator[Finding]:
    """Try to write to MEDIA_ROOT, if the project uses Django and sets it."""
    from django.conf import settings  # noqa: PLC0415 - not every project uses Django

    if not settings.configured:
        return
    folder = str(settings.MEDIA_ROOT)
    if not folder:
        yield Finding("info", "MEDIA_ROOT", "not set, so no folder is checked")
        return
    yield folders.check_usable(context.config, "MEDIA_ROOT", Path(folder))


def names(context: Context) -> Iterator[Finding]:
    """Check that user and group have names, which Celery and libraries look up."""
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
                "root: anyone who exploits a task controls the machine or the container",
                "run as another user",
            )
        else:
            yield Finding("ok", "user", f"{user} ({uid})")
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        pickle = "pickle" in (
            (context.facts.values.get("accept_content") if context.facts else ()) or ()
        )
        yield Finding(
            "error" if pickle and not context.force_root else "warning",
            "group",
            f"gid {gid} has no entry in /etc/group, so Celery assumes that it runs as root"
            + (" and refuses to start, since it accepts pickle" if pickle else ""),
            f"add one, such as workers:x:{gid}:",
        )
    else:
        yield Finding("ok", "group", f"{group} ({gid})")


def writable_folders(context: Context, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check the folders for temporary files and for heartbeats."""
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
    folder = heartbeat_folder(context.config, environ, os.getuid())
    if folder.is_dir() or folder.is_symlink():
        try:
            prepare_folder(folder, os.getuid())
        except ConfigError as error:
            for problem in error.problems:
                yield Finding("error", problem.setting, problem.message)
            return
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        yield Finding("ok", "runtime_dir", f"{folder} is writable")
    else:
        yield Finding(
            "error",
            "runtime_dir",
            f"{folder} cannot be written by {folders.user()}{folders.owner(existing)}",
            "choose a writable folder, or mount a tmpfs there",
        )
