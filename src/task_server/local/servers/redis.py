"""
Redis, or Valkey, for development: on a Unix socket in the state folder, with an
append-only file; when memory is full it refuses writes and evicts nothing.
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

#: Seconds that a server on this machine has to accept a connection, and to answer.
_ANSWER_SECONDS = 5.0


def find(state: State, environ: Mapping[str, str], port: int | None = None) -> Server:
    """
    Find a Redis: REDIS_URL, the one that runs in *state*, or a program to start.

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
            name="redis",
            url=given,
            client_url=given,
            environ=variables,
            where="REDIS_URL",
            is_given=True,
        )
    path = state.socket_folder() / "redis.sock"
    running = _ask(path)
    if running is not None:
        return _server(path, _port_of(running), _describe(running), None)
    if port is not None:
        check_free(port, "Redis")
    binary = binaries.redis(environ)
    data = state.folder("redis")
    child = Child(
        name="redis",
        argv=[str(binary.path), *_options(path, data, port)],
        environ=environ,
        ready=r"[Rr]eady to accept connections",
        # A write reaches the kernel before its answer, so a killed server loses nothing
        # and, unlike one that is asked to stop, is gone at once.
        death_signal=signal.SIGKILL,
        force_signal=signal.SIGTERM,
        explain=lambda lines: _explain(lines, data, binary),
    )
    return _server(path, port, str(binary), child)


def socket_path(state: State) -> str:
    """Return the path of the socket of the Redis of *state*, which need not run or be installed."""
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
        # The append-only file has everything; a snapshot is a second copy, and
        # stops writes when it fails.
        "save": "",
        # A broker that evicts keys loses messages.
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _ask(path: Path) -> dict[str, str] | None:
    """
    Return the INFO of the server on the socket *path*; None when none listens.

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
            # The answer, or the lack of one, is judged below.
            pass
    if answer.startswith(b"-LOADING"):
        raise LocalServerError(f"Redis on {path} is still loading its data; try again in a moment.")
    if not answer.startswith(b"+PONG"):
        raise LocalServerError(
            f"The socket {path} is in use by a program other than Redis; "
            "stop it or choose another folder for the state."
        )
    return dict(re.findall(r"^(\w+):(.*?)\r?$", answer.decode("utf-8", "replace"), re.MULTILINE))


def _port_of(running: Mapping[str, str]) -> int | None:
    return int(running.get("tcp_port", "0")) or None


def _describe(running: Mapping[str, str]) -> str:
    valkey = running.get("valkey_version")
    product = f"Valkey {valkey}" if valkey else f"Redis {running.get('redis_version', '?')}"
    since = int(running.get("uptime_in_seconds", "0"))
    return f"{product}, running for {since} s (pid {running.get('process_id', '?')})"


def _explain(lines: Sequence[str], data: Path, binary: binaries.Binary) -> str | None:
    """Return what the last *lines* of a Redis that did not start mean."""
    text = "\n".join(lines)
    folder = data / "appendonlydir"
    if "No space left on device" in text:
        return f"Redis cannot write to {data}: the disk is full; free some space."
    if "Read-only file system" in text:
        return f"Redis cannot write to {data}: the disk is read-only; choose another folder."
    if "Address already in use" in text:
        return "Redis cannot listen: its port is in use; free it, or choose another."
    if "Bad file format reading the append only file" in text or "AOF" in text:
        check = binary.path.with_name(binary.path.name.replace("-server", "-check-aof"))
        repair = f"`{check} --fix` on its manifest" if check.exists() else "redis-check-aof --fix"
        return (
            f"Redis cannot read its append-only files in {folder}. Repair them with {repair} "
            f"(everything after the damage is lost), or move {data} away to start empty."
        )
    if "Can't handle RDB format version" in text:
        return (
            f"The data in {data} was written by a newer Redis than {binary}; "
            f"install that version, or move {data} away to start empty."
        )
    return None
