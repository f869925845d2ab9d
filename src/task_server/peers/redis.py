"""A server that cannot be reached -> the line that says why, and what to do."""

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from redis import exceptions

from task_server.config.urls import fault, without_password
from task_server.errors import Finding

#: What redis-py and a server say when one of them speaks TLS and the other does not.
_CLOSED = ("closed by server", "reset by peer", "protocol error")


def address(url: str) -> str:
    """Return host:port of *url* (or its socket), each if there are several; never the password."""
    return ", ".join(_address(part) for part in url.split(";"))


def _address(url: str) -> str:
    if fault(url):
        return "(not a URL)"
    try:
        parts = urlsplit(url)
        port = parts.port or (26379 if parts.scheme == "sentinel" else 6379)
    except ValueError:
        return "(not a URL)"
    if "socket" in parts.scheme or parts.scheme == "unix":
        return unquote(f"{parts.hostname or ''}{parts.path}")
    return f"{parts.hostname or '127.0.0.1'}:{port}"


def causes(error: BaseException) -> Iterator[BaseException]:
    """Return *error* and what it came from, each once."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def refuses_redis(error: BaseException) -> bool:
    """Whether a Redis answered, and refused the user or the password."""
    return any(isinstance(one, exceptions.AuthenticationError) for one in causes(error))


def redis_trouble(setting: str, url: str, error: BaseException) -> Finding:
    """Return the line for *error*, which a client of the Redis at *url* raised."""
    where = address(url)
    wrong = fault(url)
    if wrong is not None:
        return Finding("error", setting, wrong, "correct the URL")
    for one in causes(error):
        found = _configuration(setting, where, one) or _absence(setting, where, one)
        if found is not None:
            late = isinstance(one, TimeoutError | exceptions.TimeoutError)
            # A Redis without TLS waits for the rest of what it takes for a command.
            if late and url.startswith("rediss:"):
                return replace(found, repair=f"use redis:// if it has no TLS; {found.repair}")
            return found
    text = without_password(str(error), url).strip().splitlines()
    return _absent(
        setting,
        f"Redis at {where} cannot be used: {type(error).__name__}: {text[0] if text else '-'}",
        "see its log",
    )


def _configuration(setting: str, where: str, error: BaseException) -> Finding | None:
    """Return what is wrong with the URL or the server, which answered."""
    text = str(error)
    match error:
        case exceptions.AuthenticationError() if "NOAUTH" in text or "required" in text.lower():
            message, repair = "wants a password, and the URL has none", "add it to the URL"
        case exceptions.AuthenticationError() if "without any password" in text:
            message = "has no password, and the URL has one"
            repair = "remove it, or set requirepass in Redis"
        case exceptions.AuthenticationError():
            message = "refuses the user or the password of the URL"
            repair = "compare it with requirepass or the ACL of Redis"
        case exceptions.NoPermissionError():
            message = f"does not let this user look ({text.splitlines()[0]})"
            repair = "grant the commands that its ACL lacks"
        case ssl.SSLCertVerificationError():
            message = f"shows a certificate that is not trusted ({error.verify_message})"
            repair = "name its authority with ssl_ca_certs in the URL, or renew the certificate"
        case ssl.SSLError():
            message = f"does not speak TLS as the URL wants it ({error.reason or text})"
            repair = "use redis:// if it has no TLS"
        case exceptions.ResponseError() if "DB index" in text:
            message = "has no database of the number in the URL"
            repair = "use a smaller number, or raise `databases` in Redis"
        case exceptions.InvalidResponse():
            message = "does not answer as Redis does"
            repair = "use rediss:// if it wants TLS, or correct the port"
        case PermissionError():
            message = "may not be opened by this user"
            repair = "give it the socket's group, or change unixsocketperm"
        case _:
            return None
    return Finding("error", setting, f"Redis at {where} {message}", repair)


def _absence(setting: str, where: str, error: BaseException) -> Finding | None:
    """Return why nobody answers."""
    text = str(error).lower()
    match error:
        case socket.gaierror():
            message, repair = f"the name of {where} does not resolve", "correct it, or repair DNS"
        case ConnectionRefusedError():
            message = f"nothing listens at {where} (connection refused)"
            repair = "start Redis, or correct the URL"
        case FileNotFoundError():
            message = f"there is no socket {where}"
            repair = "start Redis, or correct the URL"
        case TimeoutError() | exceptions.TimeoutError():
            message = f"no answer from {where} in time"
            repair = "look at the network, a firewall, or a Redis that is overloaded"
        case exceptions.BusyLoadingError():
            message = f"the Redis at {where} still loads its data"
            repair = "try again when it has finished"
        case exceptions.ConnectionError() if "max number of clients" in text:
            message = f"the Redis at {where} has as many clients as maxclients allows"
            repair = "raise maxclients, or stop some of them"
        case exceptions.ConnectionError() | OSError() if any(word in text for word in _CLOSED):
            message = f"the server at {where} closed the connection"
            repair = "use rediss:// if it wants TLS; otherwise see its log"
        case OSError():
            message = f"{where} cannot be reached ({error.strerror or error})"
            repair = "look at the network, or correct the URL"
        case _:
            return None
    return _absent(setting, message, repair)


def _absent(setting: str, message: str, repair: str) -> Finding:
    return Finding("error", setting, message, repair, peer=True)


#: What libpq or PostgreSQL says, in the order in which it is looked for: words,
#: what it means, the repair, and whether nobody answered.
_POSTGRES = (
    (
        ("password authentication failed", "no password supplied"),
        "refuses the user or the password",
        "correct PASSWORD",
        False,
    ),
    (
        ("authentication failed",),
        "does not let the user in",
        "correct USER, or pg_hba.conf",
        False,
    ),
    (("no pg_hba.conf entry",), "has no entry for this user", "add one to pg_hba.conf", False),
    (("does not exist",), "has no such database or user", "create it, or correct NAME", False),
    (
        ("too many clients", "remaining connection slots", "too many connections"),
        "has no connection left",
        "raise max_connections, or lower the workers' bounds",
        True,
    ),
    (("starting up", "shutting down", "recovery mode"), "is not ready", "try again soon", True),
    (
        ("could not translate host name", "failed to resolve host", "name or service not known"),
        "has a name that does not resolve",
        "correct HOST, or repair DNS",
        True,
    ),
    (("connection refused",), "refuses the connection", "start it, or correct HOST and PORT", True),
    (("no such file or directory",), "has no socket there", "start it, or correct HOST", True),
    (
        ("timeout expired", "timed out", "no answer within"),
        "does not answer in time",
        "look at the network or a firewall",
        True,
    ),
    (("ssl", "certificate"), "and this client disagree on TLS", "correct OPTIONS.sslmode", False),
)


#: What the server does not have, in its own words, and the setting that names it.
_UNKNOWN = re.compile(r'(?P<kind>role|database) "(?P<name>[^"]+)" does not exist')
_NAMED_BY = MappingProxyType({"role": "USER", "database": "NAME"})

#: Where libpq looked.
_SOCKET = re.compile(r'on socket "(?P<socket>[^"]+)"')


def _no_socket(setting: str, where: str, folder: Path) -> Finding:
    """Return the line for a socket that is absent: a server that is not there, or its mount."""
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
    return _absent(setting, f"PostgreSQL at {where} {message}", repair)


def refuses_postgres(error: BaseException) -> bool:
    """Whether a PostgreSQL answered, and refused the user or the password."""
    text = str(error).lower()
    return any(words in text for words in ("authentication failed", "no password supplied"))


def postgres_trouble(setting: str, where: str, error: BaseException) -> Finding:
    """Return the line for *error*, raised while connecting to the PostgreSQL at *where*."""
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
