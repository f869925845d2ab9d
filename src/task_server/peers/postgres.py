"""A PostgreSQL that cannot be used -> the line that explains why, and how to fix it."""

import re
from pathlib import Path
from types import MappingProxyType

from task_server.errors import Finding, no_answer

#: What libpq or PostgreSQL reports, in the order of the search: words, their
#: meaning, the repair, and whether there was no answer.
_POSTGRES = (
    (
        ("password authentication failed", "no password supplied"),
        "refuses the user or the password",
        "correct PASSWORD",
        False,
    ),
    (
        ("authentication failed",),
        "rejects the user",
        "correct USER, or pg_hba.conf",
        False,
    ),
    (("no pg_hba.conf entry",), "has no entry for this user", "add one to pg_hba.conf", False),
    (("does not exist",), "has no such database or user", "create it, or correct NAME", False),
    (
        ("too many clients", "remaining connection slots", "too many connections"),
        "has no connection left",
        "raise max_connections, or lower database_connections of the workers",
        True,
    ),
    (("starting up", "shutting down", "recovery mode"), "is not ready", "try again soon", True),
    (
        ("could not translate host name", "failed to resolve host", "name or service not known"),
        "has a name that does not resolve",
        "correct HOST, or fix DNS",
        True,
    ),
    (("connection refused",), "refuses the connection", "start it, or correct HOST and PORT", True),
    (("no such file or directory",), "has no socket there", "start it, or correct HOST", True),
    (
        ("timeout expired", "timed out", "no answer within"),
        "does not answer in time",
        "check the network and the firewall",
        True,
    ),
    (("ssl", "certificate"), "and this client disagree on TLS", "correct OPTIONS.sslmode", False),
)


#: What the server reports as missing, and the setting that names it.
_UNKNOWN = re.compile(r'(?P<kind>role|database) "(?P<name>[^"]+)" does not exist')
_NAMED_BY = MappingProxyType({"role": "USER", "database": "NAME"})

#: The socket that libpq tried.
_SOCKET = re.compile(r'on socket "(?P<socket>[^"]+)"')


def _no_socket(setting: str, where: str, folder: Path) -> Finding:
    """Return the finding for a missing socket: the server is down, or its folder not mounted."""
    try:
        absent = next(folder.iterdir(), None) is None
    except OSError:
        absent = True
    if absent:
        state = "is empty" if folder.exists() else "does not exist"
        repair = f"mount it there (--volume {folder}:{folder}), or correct HOST"
        message = f"has no socket there: the folder {folder} {state}"
    else:
        message, repair = "has no socket there", "start it, or correct HOST and PORT"
    return no_answer(setting, f"PostgreSQL at {where} {message}", repair)


def is_postgres_auth_error(error: BaseException) -> bool:
    """Whether PostgreSQL answered, and rejected the user or the password."""
    text = str(error).lower()
    return any(words in text for words in ("authentication failed", "no password supplied"))


def explain_postgres_error(setting: str, where: str, error: BaseException) -> Finding:
    """Return the finding for *error*, raised while connecting to the PostgreSQL at *where*."""
    text = " ".join(str(error).split())
    found = _SOCKET.search(text)
    if found and "no such file or directory" in text.lower():
        return _no_socket(setting, where, Path(found["socket"]).parent)
    if unknown := _UNKNOWN.search(text):
        kind, name = unknown["kind"], unknown["name"]
        message = f"PostgreSQL at {where} has no {kind} {name!r}"
        return Finding("error", setting, message, f"create it, or correct {_NAMED_BY[kind]}")
    for words, message, repair, peer in _POSTGRES:
        if any(word in text.lower() for word in words):
            return Finding("error", setting, f"PostgreSQL at {where} {message}", repair, peer=peer)
    return Finding(
        "error", setting, f"PostgreSQL at {where} cannot be used: {text}", "see its log", peer=True
    )
