"""
Redis, or Valkey, for development: on a Unix socket in the state folder, with
an append-only file, and refusing writes rather than dropping messages when
memory is full.
"""

import re
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from task_server.errors import LocalServerError
from task_server.local.servers import binaries
from task_server.local.servers.ports import check_free
from task_server.local.servers.server import Server
from task_server.local.servers.state import State
from task_server.local.supervisor.child import Child

#: Seconds for connecting to, and an answer from, a server on this machine.
_ANSWER_SECONDS = 5.0


def find(state: State, environ: Mapping[str, str], port: int | None = None) -> Server:
    """
    Find a Redis: REDIS_URL, one that runs in *state*, or programs to start one.

    For a socket the environment gets ``REDIS_URL=redis+socket:///…``, which is
    what Celery takes for its broker and its result backend, and Flower, too.
    redis-py takes no such URL and Celery none of redis-py's for a socket, so
    `client_url` (``unix:///…``) is in the environment as REDIS_CLIENT_URL.
    With *port* the server listens on 127.0.0.1 as well, and both are the one
    ``redis://`` URL that everything takes.

    Raises:
        LocalServerError: No program, the socket or *port* is taken, or the
            data is not Redis's.
    """
    given = environ.get("REDIS_URL")
    if given:
        variables = {"REDIS_URL": given}
        return Server(
            name="redis", url=given, client_url=given, environ=variables, where="REDIS_URL"
        )
    path = state.socket_folder() / "redis.sock"
    running = _running(path)
    if running is not None:
        return _server(path, _port_of(running), _tell_running(running), None)
    if port is not None:
        check_free(port, "Redis")
    binary = binaries.redis(environ)
    data = state.folder("redis")
    child = Child(
        name="redis",
        argv=[str(binary.path), *_options(path, data, port)],
        environ=environ,
        ready=r"[Rr]eady to accept connections",
        # What is written lies with the kernel before it is answered, so that a
        # killed server loses nothing and, unlike a stopping one, is gone at once.
        death_signal=signal.SIGKILL,
        hurry_signal=signal.SIGTERM,
        explain=lambda lines: _explain(lines, data, binary),
    )
    return _server(path, port, str(binary), child)


def address(state: State) -> str:
    """Return the socket of the Redis of *state*, which need not run, nor be installed."""
    return str(state.socket_folder() / "redis.sock")


def _server(path: Path, port: int | None, where: str, child: Child | None) -> Server:
    if port is not None:
        url = client_url = f"redis://127.0.0.1:{port}/0"
    else:
        url = f"redis+socket://{path}?virtual_host=0"
        client_url = f"unix://{path}?db=0"
    variables = {"REDIS_URL": url, "REDIS_CLIENT_URL": client_url}
    return Server(
        name="redis", url=url, client_url=client_url, environ=variables, where=where, child=child
    )


def _options(path: Path, data: Path, port: int | None) -> list[str]:
    options = {
        "port": str(port or 0),
        "bind": "127.0.0.1",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(data),
        "daemonize": "no",
        "logfile": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        # The append-only file holds everything; a snapshot beside it is only
        # a second copy, and stops writes when it fails.
        "save": "",
        # A broker that evicts keys loses messages.
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _running(path: Path) -> dict[str, str] | None:
    """
    Ask who answers on the socket *path*; None when nobody does.

    Raises:
        LocalServerError: It is not Redis, or not ready.
    """
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(_ANSWER_SECONDS)
        try:
            peer.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise LocalServerError(
                f"Cannot use the socket {path}: {error.strerror or error}. "
                "Remove it or choose another folder for the state."
            ) from error
        answer = b""
        try:
            peer.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
            while chunk := peer.recv(65536):
                answer += chunk
        except OSError:
            # Whatever it is, it does not answer as Redis does.
            pass
    if answer.startswith(b"-LOADING"):
        raise LocalServerError(
            f"The Redis on {path} still loads its data; try again when it has finished."
        )
    if not answer.startswith(b"+PONG"):
        raise LocalServerError(
            f"The socket {path} is in use by something that does not answer as Redis; "
            "stop it or choose another folder for the state."
        )
    return dict(re.findall(r"^(\w+):(.*?)\r?$", answer.decode("utf-8", "replace"), re.MULTILINE))


def _port_of(running: Mapping[str, str]) -> int | None:
    return int(running.get("tcp_port", "0")) or None


def _tell_running(running: Mapping[str, str]) -> str:
    valkey = running.get("valkey_version")
    product = f"Valkey {valkey}" if valkey else f"Redis {running.get('redis_version', '?')}"
    since = int(running.get("uptime_in_seconds", "0"))
    return f"{product}, running for {since} s (pid {running.get('process_id', '?')})"


def _explain(lines: Sequence[str], data: Path, binary: binaries.Binary) -> str | None:
    """Say what the last *lines* of a Redis that did not start mean."""
    text = "\n".join(lines)
    folder = data / "appendonlydir"
    if "No space left on device" in text:
        return f"Redis cannot write to {data}: the disk is full; free some space."
    if "Read-only file system" in text:
        return f"Redis cannot write to {data}: the disk is read-only; choose another folder."
    if "Address already in use" in text:
        return "Redis cannot listen: its port is in use; choose another or stop who uses it."
    if "Bad file format reading the append only file" in text or "AOF" in text:
        check = binary.path.with_name(binary.path.name.replace("-server", "-check-aof"))
        repair = f"`{check} --fix` on its manifest" if check.exists() else "redis-check-aof --fix"
        return (
            f"Redis cannot read its append-only files in {folder}. Repair them with {repair} "
            f"(what follows the damage is lost), or move {data} away to start empty."
        )
    if "Can't handle RDB format version" in text:
        return (
            f"The data in {data} is of a newer Redis than {binary}; "
            f"use that one, or move {data} away to start empty."
        )
    return None
