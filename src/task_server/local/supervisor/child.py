"""What the supervisor starts."""

import enum
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final


class Notify(enum.Enum):
    """The child reports its readiness (sd_notify)."""

    NOTIFY = enum.auto()


NOTIFY: Final = Notify.NOTIFY

RunJob = Callable[["Child"], None]


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
    #: It ends by design, as with systemd's Type=oneshot; `Supervisor.wait` returns its exit code.
    oneshot: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    #: Sent at the user's second signal; SIGKILL to the group follows.
    force_signal: signal.Signals = signal.SIGKILL
    #: Sent by the kernel when the supervisor dies (Linux).
    death_signal: signal.Signals = signal.SIGKILL
    #: The user it becomes, in the forms of `spawn.py`; "same" changes nothing.
    run_as: str = "same"
    #: Receive the lines of a stream; it is not logged then.
    on_stdout: Callable[[str], None] | None = None
    on_stderr: Callable[[str], None] | None = None
    #: Log nothing; the last lines are kept for error messages.
    quiet: bool = False
    #: Called before the start (initdb) and when ready (create the database), with
    #: what runs another child to its end (`Supervisor.run_job`).
    before: Callable[[RunJob], None] | None = None
    after: Callable[[RunJob], None] | None = None
    #: Where clients reach it, for people.
    address: str | None = None
    #: Whether it runs the project's code, so that a change of that restarts it.
    reloads: bool = False
    #: Turns the last lines of a start that failed into the child to start instead, or None:
    #: the same on another port, for example.
    instead: Callable[[Sequence[str]], "Child | None"] | None = None
    #: Turns the last lines of a failed start into a message, or None.
    explain: Callable[[Sequence[str]], str | None] | None = None
