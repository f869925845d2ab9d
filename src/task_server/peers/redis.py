"""A Redis that cannot be used -> the line that explains why, and how to fix it."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from redis import exceptions

from task_server.config.urls import fault, without_password
from task_server.errors import Finding, no_answer

#: What redis-py and servers report when only one side speaks TLS.
_CLOSED = ("closed by server", "reset by peer", "protocol error")


def address(url: str) -> str:
    """Return host:port of *url*, or its socket; of each, if there are several; no password."""
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


def chain(error: BaseException) -> Iterator[BaseException]:
    """Return *error* and its causes and contexts, each once."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def is_redis_auth_error(error: BaseException) -> bool:
    """Whether Redis answered, and rejected the user or the password."""
    return any(isinstance(one, exceptions.AuthenticationError) for one in chain(error))


def explain_redis_error(setting: str, url: str, error: BaseException) -> Finding:
    """Return the finding for *error*, which a client of the Redis at *url* raised."""
    where = address(url)
    wrong = fault(url)
    if wrong is not None:
        return Finding("error", setting, wrong, "correct the URL")
    for one in chain(error):
        found = _configuration(setting, where, one) or _unreachable(setting, where, one)
        if found is not None:
            timed_out = isinstance(one, TimeoutError | exceptions.TimeoutError)
            # A Redis without TLS takes the handshake for a command, and waits for its rest.
            if timed_out and url.startswith("rediss:"):
                return replace(found, repair=f"use redis:// if it has no TLS; {found.repair}")
            return found
    text = without_password(str(error), url).strip().splitlines()
    return no_answer(
        setting,
        f"Redis at {where} cannot be used: {type(error).__name__}: {text[0] if text else '-'}",
        "see its log",
    )


def _configuration(setting: str, where: str, error: BaseException) -> Finding | None:
    """Return what is wrong with the URL or with the server, which did answer."""
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
            message = f"denies this user a command ({text.splitlines()[0]})"
            repair = "grant the missing commands in its ACL"
        case ssl.SSLCertVerificationError():
            message = f"shows a certificate that is not trusted ({error.verify_message})"
            repair = "name its authority with ssl_ca_certs in the URL, or renew the certificate"
        case ssl.SSLError():
            message = f"does not speak TLS as the URL requires ({error.reason or text})"
            repair = "use redis:// if it has no TLS"
        case exceptions.ResponseError() if "DB index" in text:
            message = "has no database with the number in the URL"
            repair = "use a smaller number, or raise `databases` in Redis"
        case exceptions.InvalidResponse():
            message = "does not answer like a Redis"
            repair = "use rediss:// if it requires TLS, or correct the port"
        case PermissionError():
            message = "may not be opened by this user"
            repair = "give it the socket's group, or change unixsocketperm"
        case _:
            return None
    return Finding("error", setting, f"Redis at {where} {message}", repair)


def _unreachable(setting: str, where: str, error: BaseException) -> Finding | None:
    """Return why there is no answer."""
    text = str(error).lower()
    match error:
        case socket.gaierror():
            message, repair = f"the name of {where} does not resolve", "correct it, or fix DNS"
        case ConnectionRefusedError():
            message = f"nothing listens at {where} (connection refused)"
            repair = "start Redis, or correct the URL"
        case FileNotFoundError():
            message = f"there is no socket {where}"
            repair = "start Redis, or correct the URL"
        case TimeoutError() | exceptions.TimeoutError():
            message = f"no answer from {where} in time"
            repair = "check the network, the firewall and the load of Redis"
        case exceptions.BusyLoadingError():
            message = f"the Redis at {where} is still loading its data"
            repair = "try again when it has finished"
        case exceptions.ConnectionError() if "max number of clients" in text:
            message = f"the Redis at {where} has reached maxclients"
            repair = "raise maxclients, or stop some clients"
        case exceptions.ConnectionError() | OSError() if any(word in text for word in _CLOSED):
            message = f"the server at {where} closed the connection"
            repair = "use rediss:// if it requires TLS; otherwise see its log"
        case OSError():
            message = f"{where} cannot be reached ({error.strerror or error})"
            repair = "check the network, or correct the URL"
        case _:
            return None
    return no_answer(setting, message, repair)
