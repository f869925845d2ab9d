"""
What the supervisor starts: a child, and a server that may need one.
"""

import enum
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from task_server.local.supervisor.supervisor import Supervisor


class Notify(enum.Enum):
    """The child tells its readiness itself (sd_notify)."""

    NOTIFY = enum.auto()


NOTIFY: Final = Notify.NOTIFY


@dataclass(frozen=True, kw_only=True, eq=False)
class Child:
    """
    One process to start, and how to know that it is ready and to stop it.

    Times are seconds. *environ* is the whole environment of the process.
    """

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    #: Folder to start in; None is the supervisor's.
    cwd: str | None = None
    #: A regular expression on its output, NOTIFY, or None: ready at once.
    ready: str | re.Pattern[str] | Notify | None = None
    start_seconds: float = 60.0
    #: Its end is expected, and `Supervisor.wait` returns its exit code.
    job: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    #: Sent when the user asks a second time; SIGKILL of the group follows.
    hurry_signal: signal.Signals = signal.SIGKILL
    #: Sent by the kernel when the supervisor dies (Linux).
    death_signal: signal.Signals = signal.SIGKILL
    #: See `spawn.py`; "same" stays who we are.
    identity: str = "same"
    #: Take the lines of a stream instead of logging them.
    on_stdout: Callable[[str], None] | None = None
    on_stderr: Callable[[str], None] | None = None
    #: Keep only the last lines, for reports of errors.
    quiet: bool = False
    #: Called before the start (initdb) and when ready (create the database).
    before: Callable[["Supervisor"], None] | None = None
    after: Callable[["Supervisor"], None] | None = None
    #: Turns the last lines of a failed start into a better message, or None.
    explain: Callable[[Sequence[str]], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """
    A Redis or PostgreSQL that clients can use, now or once *child* is ready.

    *url* is what Celery (Redis) or Django (PostgreSQL) is given, *client_url*
    what redis-py or libpq is given; they differ for a Unix socket. *environ*
    is what clients need in their environment. *where* tells a person in one
    line what was found. *child* is None when there is nothing to start.
    """

    name: str
    url: str = field(repr=False)
    client_url: str = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    where: str
    child: Child | None = None
