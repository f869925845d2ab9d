"""
The supervisor for development: starts children in stages, each when the one before
is ready, prints their output, and stops them in reverse.

Everything that happens (a line, a readiness, an end, a signal) is an event in
one queue, on which the main thread blocks; nothing polls. Children die with the
supervisor, even if it is killed: see `spawn.py`.
"""

import contextlib
import queue
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from task_server.errors import ChildDiedError, LocalServerError
from task_server.local.supervisor.child import Child
from task_server.local.supervisor.failures import explain, failed, not_ready, with_lines
from task_server.local.supervisor.output import Log, wants_colour
from task_server.local.supervisor.process import (
    Call,
    Event,
    Events,
    Exited,
    Line,
    Process,
    Ready,
    Signalled,
)
from task_server.local.supervisor.restarts import Done, Restarts
from task_server.local.supervisor.signals import StopSignals
from task_server.local.supervisor.status import Status, status_of
from task_server.local.supervisor.stopping import Stopping


class Supervisor:
    """
    Runs children until the context ends; then stops them in reverse order.

    In the main thread it handles SIGINT, SIGTERM and SIGHUP. The first one ends
    `run`, and makes `start` and `wait` raise KeyboardInterrupt (SIGINT) or
    SystemExit (128 + number); a further one forces the stop.

    Args:
        out: Where the lines are written.

        environ: Has NO_COLOR and FORCE_COLOR.

        width: Columns for the names of the children.

        signals: Whether to handle signals.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        width: int = 10,
        signals: bool = True,
    ) -> None:
        out = sys.stdout if out is None else out
        self.log = Log(out, colour=wants_colour(out, environ or {}), width=width)
        self._events: Events = queue.SimpleQueue()
        self._stages: list[list[Process]] = []
        self._processes: dict[Child, Process] = {}
        self._restarted: dict[Child, int] = {}
        self._signals = StopSignals(self._events, enabled=signals)
        self._number = 0
        self._is_stopping = False
        self._stopping = Stopping(self._pump)
        self._restarts = Restarts(self._replace)
        #: Is called with the name of each child that has ended.
        self.on_end: Callable[[str], None] = lambda _: None

    def __enter__(self) -> Self:
        self._signals.install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._signals.restore()

    # Starting

    def start(self, child: Child) -> None:
        """
        Start *child* and wait until it is ready.

        Raises:
            ChildDiedError: It, or another child, ended meanwhile.
            LocalServerError: It cannot be started, explains its end, or takes too long.
        """
        self.start_all([child])

    def start_all(self, children: Sequence[Child]) -> None:
        """Start *children* as one stage, which is stopped together, too."""
        stage: list[Process] = []
        for child in children:
            # A job of its own (initdb) makes an earlier stage.
            if child.before is not None:
                child.before(self.run_job)
        self._stages.append(stage)
        for child in children:
            try:
                process = Process(child, self._events)
            except OSError as error:
                raise LocalServerError(f"{child.name} could not be started: {error}") from error
            stage.append(process)
            self._processes[child] = process
        deadline = time.monotonic() + max((child.start_seconds for child in children), default=0)
        try:
            self._pump(lambda: all(process.ready for process in stage), deadline)
        except ChildDiedError as error:
            explain(stage, error)
            raise
        for process in stage:
            if not process.ready:
                raise LocalServerError(not_ready(process))
        for child in children:
            if child.after is not None:
                child.after(self.run_job)

    # Waiting

    def wait(self, child: Child, seconds: float | None = None) -> int:
        """
        Wait for the end of *child*, a oneshot; returns its exit code.

        Raises:
            ChildDiedError: Another child ended meanwhile.
            LocalServerError: It did not end within *seconds*.
        """
        process = self._processes[child]
        deadline = None if seconds is None else time.monotonic() + seconds
        self._pump(lambda: not process.alive, deadline)
        if process.returncode is None:
            raise LocalServerError(
                with_lines(f"{child.name} did not end in {seconds:g} s.", process.last_lines)
            )
        return process.returncode

    def run_job(self, child: Child) -> None:
        """
        Run *child*, a oneshot, to its end.

        Raises:
            LocalServerError: It failed; has its explanation or its last lines.
        """
        self.start(child)
        returncode = self.wait(child, child.start_seconds)
        if returncode != 0:
            raise LocalServerError(failed(self._processes[child], returncode))

    def run(self) -> int:
        """
        Print the children's lines until a signal; returns its number.

        Raises:
            ChildDiedError: A child ended.
        """
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            self._pump(lambda: False, None)
        return self._number

    def last_lines(self, child: Child) -> tuple[str, ...]:
        """Return the last lines of *child*."""
        return tuple(self._processes[child].last_lines)

    def returncode(self, child: Child) -> int | None:
        """Return the exit code of *child*, negative for a signal; None while it runs."""
        return self._processes[child].returncode

    def pid(self, child: Child) -> int:
        """Return the pid of *child*, which is the id of its process group."""
        return self._processes[child].pid

    # While they run

    def call(self, run: Callable[[], None]) -> None:
        """Have *run* called in the supervisor's thread; any thread may ask for that."""
        self._events.put(Call(run))

    def children(self) -> list[Child]:
        """Return the children that go on, in the order of their start."""
        return [one.child for stage in self._stages for one in stage if not one.child.oneshot]

    def status(self) -> list[Status]:
        """Return what there is to say of each of `children`."""
        restarted = self._restarted
        return [status_of(self._processes[one], restarted.get(one, 0)) for one in self.children()]

    def restart(self, child: Child, done: Done) -> None:
        """Drain *child* and start it again; *done* is told how that ended, in an event."""
        self._restarts.begin(self._processes[child], done)

    def _replace(self, process: Process, child: Child | None = None) -> Process:
        """Start *child*, or that of *process* again, in the place of *process*."""
        new = Process(child or process.child, self._events)
        for stage in self._stages:
            stage[:] = [new if one is process else one for one in stage]
        del self._processes[process.child]
        self._processes[new.child] = new
        self._restarted[new.child] = self._restarted.pop(process.child, 0) + (child is None)
        return new

    # The loop

    def _pump(self, done: Callable[[], bool], deadline: float | None) -> None:
        """Handle events until *done*, or until *deadline* (monotonic seconds)."""
        while not done():
            limits = [one for one in (deadline, self._restarts.deadline()) if one is not None]
            now = time.monotonic()
            if deadline is not None and deadline <= now:
                return
            try:
                event = self._events.get(timeout=max(0.0, min(limits) - now) if limits else None)
            except queue.Empty:
                self._restarts.expire()
                continue
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Line):
            self._line(event)
        elif isinstance(event, Ready):
            self._became_ready(event.process)
        elif isinstance(event, Exited):
            self._exited(event.process)
        elif isinstance(event, Call):
            event.run()
        elif isinstance(event, Signalled):
            self._stopping.requests += 1
            self._number = self._number or event.number
            if not self._is_stopping:
                if event.number == signal.SIGINT:
                    raise KeyboardInterrupt
                raise SystemExit(128 + event.number)

    def _line(self, event: Line) -> None:
        process, child = event.process, event.process.child
        if process.record(event):
            self._became_ready(process)
        receive = child.on_stdout if event.stream == "stdout" else child.on_stderr
        if receive is not None:
            receive(event.text)
        elif not child.quiet:
            self.log.write(child.name, event.text)
            if self.log.broken and not self._is_stopping:
                # Our reader is gone; end as SIGPIPE would end us.
                self._number = signal.SIGPIPE
                raise SystemExit(128 + signal.SIGPIPE)

    def _became_ready(self, process: Process) -> None:
        process.ready = True
        self._restarts.became_ready(process)

    def _exited(self, process: Process) -> None:
        returncode = process.reap()
        # A dead main process must not leave children running.
        process.kill_group()
        self.on_end(process.child.name)
        if self._is_stopping or (process.child.oneshot and process.ready):
            return
        if self._restarts.exited(process) or self._started_instead(process):
            return
        raise ChildDiedError(process.child.name, returncode, tuple(process.last_lines))

    def _started_instead(self, process: Process) -> bool:
        """Start what stands in for *process* if its start failed; return whether there is one."""
        instead = process.child.instead
        other = None if process.ready or instead is None else instead(tuple(process.last_lines))
        if other is not None:
            self._replace(process, other)
        return other is not None

    # Stopping

    def end(self, number: int) -> None:
        """End as the signal *number* would, from an event's call; an end that goes on goes on."""
        if not self._is_stopping:
            self._handle(Signalled(number))

    def stop(self) -> None:
        """Stop all children, the last stage first; leaving the context calls this."""
        self._is_stopping = True
        self._restarts.cancel()
        for stage in reversed(self._stages):
            self._stopping.stop([process for process in stage if process.alive])
        self._stages.clear()
