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
from task_server.local.supervisor.failures import failed, not_ready, with_lines
from task_server.local.supervisor.output import Log, wants_colour
from task_server.local.supervisor.process import (
    Event,
    Events,
    Exited,
    Line,
    Process,
    Ready,
    Signalled,
)
from task_server.local.supervisor.signals import StopSignals

#: How long a child may take to die of SIGKILL or of its force_signal. Seconds.
_KILL_SECONDS = 5.0


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
        self._signals = StopSignals(self._events, enabled=signals)
        self._requests = 0
        self._number = 0
        self._stopping = False

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
            self._explain(stage, error)
            raise
        for process in stage:
            if not process.ready:
                raise LocalServerError(not_ready(process))
        for child in children:
            if child.after is not None:
                child.after(self.run_job)

    def _explain(self, stage: list[Process], error: ChildDiedError) -> None:
        """Raise the explanation of a child whose start failed, if it has one."""
        for process in stage:
            explain = process.child.explain
            if process.alive or explain is None:
                continue
            text = explain(tuple(process.last_lines))
            if text is not None:
                raise LocalServerError(with_lines(text, process.last_lines)) from error

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

    # The loop

    def _pump(self, done: Callable[[], bool], deadline: float | None) -> None:
        """Handle events until *done*, or until *deadline* (monotonic seconds)."""
        while not done():
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return
            try:
                event = self._events.get(timeout=remaining)
            except queue.Empty:
                return
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Line):
            self._line(event)
        elif isinstance(event, Ready):
            event.process.ready = True
        elif isinstance(event, Exited):
            self._exited(event.process)
        elif isinstance(event, Signalled):
            self._requests += 1
            self._number = self._number or event.number
            if not self._stopping:
                if event.number == signal.SIGINT:
                    raise KeyboardInterrupt
                raise SystemExit(128 + event.number)

    def _line(self, event: Line) -> None:
        process, child = event.process, event.process.child
        process.record(event)
        receive = child.on_stdout if event.stream == "stdout" else child.on_stderr
        if receive is not None:
            receive(event.text)
        elif not child.quiet:
            self.log.write(child.name, event.text)
            if self.log.broken and not self._stopping:
                # Our reader is gone; end as SIGPIPE would end us.
                self._number = signal.SIGPIPE
                raise SystemExit(128 + signal.SIGPIPE)

    def _exited(self, process: Process) -> None:
        returncode = process.reap()
        # A dead main process must not leave children running.
        process.kill_group()
        if self._stopping or (process.child.oneshot and process.ready):
            return
        raise ChildDiedError(process.child.name, returncode, tuple(process.last_lines))

    # Stopping

    def stop(self) -> None:
        """Stop all children, the last stage first; leaving the context calls this."""
        self._stopping = True
        for stage in reversed(self._stages):
            self._stop_stage([process for process in stage if process.alive])
        self._stages.clear()

    def _stop_stage(self, stage: list[Process]) -> None:
        """
        Send each of *stage* its signal, wait for its stop_seconds, and kill what is left.

        A further signal of the user forces this stage alone: the servers, which stop
        after the workers, keep their own time, which is short.
        """
        self._requests = 0
        for process in stage:
            process.send(process.child.stop_signal)
        started = time.monotonic()
        for process in sorted(stage, key=lambda process: process.child.stop_seconds):
            self._await_end(process, started + process.child.stop_seconds)
        alive = [process for process in stage if process.alive]
        if self._is_forced():
            for process in alive:
                process.send(process.child.force_signal)
            self._await_ends(alive)
        for process in alive:
            process.kill_group()
        # A process that survives SIGKILL hangs in the kernel; go on without it.
        self._await_ends(alive)

    def _is_forced(self) -> bool:
        return self._requests > 0

    def _await_end(self, process: Process, deadline: float) -> None:
        self._pump(lambda: not process.alive or self._is_forced(), deadline)

    def _await_ends(self, processes: Sequence[Process]) -> None:
        deadline = time.monotonic() + _KILL_SECONDS
        self._pump(lambda: not any(process.alive for process in processes), deadline)
