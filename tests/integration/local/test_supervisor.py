"""The supervisor, over children that are small Python programs."""

import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from task_server.errors import ChildDiedError, LocalServerError
from task_server.local import NOTIFY, Child, Supervisor
from task_server.local.supervisor.process import MAX_LINE

#: A child that is ready once its handlers are set, and then waits for a signal.
WAITING = "import signal, sys; print('waiting', flush=True); signal.pause()"

#: One that says which signal ended it.
POLITE = """
import signal, sys
def stop(number, frame):
    print("stopped by", signal.Signals(number).name, flush=True)
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, stop)
print("waiting", flush=True)
while True:
    signal.pause()
"""

#: One that notes the first signal and goes on, as a worker with a task does.
BUSY = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
print("waiting", flush=True)
while True:
    signal.pause()
"""

#: One that takes no signal it can refuse.
STUBBORN = """
import signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
print("waiting", flush=True)
while True:
    signal.pause()
"""

NOTIFYING = """
import os, signal, socket
address = os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"STATUS=nearly\\n", address)
    print("about to be ready", flush=True)
    notify.sendto(b"STATUS=done\\nREADY=1\\n", address)
    signal.pause()
"""


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs pidfd_open")


def child(program: str, name: str = "child", **options: Any) -> Child:
    return Child(name=name, argv=[sys.executable, "-c", program], environ=os.environ, **options)


def waiting(name: str = "child", program: str = WAITING, **options: Any) -> Child:
    return child(program, name, **{"ready": "^waiting$", **options})


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(out: io.StringIO) -> Iterator[Supervisor]:
    with Supervisor(out, width=5) as running:
        yield running


def process_ends(pid: int) -> bool:
    """Return whether the process *pid* is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_child_is_ready_when_its_output_says_so(supervisor, out) -> None:
    """
    start returns when the line has come, and shows the lines up to it.
    """
    supervisor.start(waiting())

    assert "child | waiting\n" == out.getvalue()


def test_a_child_is_ready_when_it_notifies(supervisor) -> None:
    """
    start returns when READY=1 has come on the child's own NOTIFY_SOCKET, not before.
    """
    supervisor.start(child(NOTIFYING, ready=NOTIFY))
    late = child(WAITING, "late", ready=NOTIFY, start_seconds=0.5)

    with pytest.raises(LocalServerError, match=r"late .* was not ready after"):
        supervisor.start(late)


def test_a_child_that_is_not_ready_in_time_is_an_error(supervisor) -> None:
    """
    The deadline of a start is kept; the error has the name, the time and the last lines.
    """
    slow = child(WAITING, "slow", ready="never", start_seconds=0.5)

    with pytest.raises(LocalServerError, match=r"slow \(pid \d+\) was not ready after 0.5 s"):
        supervisor.start(slow)


def test_a_child_that_dies_while_starting_is_reported(supervisor) -> None:
    """
    A child that ends before it is ready gives its name, exit code and last lines.
    """
    with pytest.raises(ChildDiedError) as caught:
        supervisor.start(child("print('no luck'); exit(3)", "frail", ready="never"))

    assert ("frail", 3, ("no luck",)) == (
        caught.value.name,
        caught.value.returncode,
        caught.value.last_lines,
    )


def test_a_child_that_dies_later_ends_the_run(supervisor) -> None:
    """
    run ends with the name, the signal and the last lines of the child that died.
    """
    frail, other = waiting("frail"), waiting("other")
    supervisor.start_all([frail, other])
    os.kill(supervisor.pid(frail), signal.SIGKILL)

    with pytest.raises(ChildDiedError, match=r"frail exited unexpectedly \(signal 9\)") as caught:
        supervisor.run()

    assert ("waiting",) == caught.value.last_lines


def test_only_the_last_lines_are_kept(supervisor) -> None:
    """
    The report of a death has the last twenty lines, also of a quiet child.
    """
    with pytest.raises(ChildDiedError) as caught:
        supervisor.start(child("for n in range(99): print(n)", ready="never", quiet=True))

    assert tuple(str(number) for number in range(79, 99)) == caught.value.last_lines


def test_a_program_that_is_not_there_is_named(supervisor) -> None:
    """
    A child whose program does not exist dies with a line that names it.
    """
    absent = Child(name="ghost", argv=["/no/such/program"], environ=os.environ, ready="never")

    with pytest.raises(ChildDiedError, match="cannot start /no/such/program: No such file"):
        supervisor.start(absent)


def test_an_explanation_takes_the_place_of_the_death(supervisor) -> None:
    """
    A child that can explain its failed start does, and its lines follow.
    """
    frail = child("print('E42')", ready="never", explain=lambda lines: f"it is {lines[-1]}.")

    with pytest.raises(LocalServerError, match=r"it is E42\. Its last lines:\n  E42"):
        supervisor.start(frail)


def test_the_end_of_a_job_is_no_death(supervisor) -> None:
    """
    wait returns the exit code of a job, also of one that ended while others started.
    """
    job = child("exit(7)", "job", oneshot=True)
    supervisor.start(job)
    supervisor.start(waiting("other"))

    assert 7 == supervisor.wait(job)


def test_a_job_does_not_hide_the_death_of_another(supervisor) -> None:
    """
    A child that dies while a job is waited for ends the waiting.
    """
    frail, job = waiting("frail"), child(WAITING, "job", oneshot=True)
    supervisor.start_all([frail, job])
    os.kill(supervisor.pid(frail), signal.SIGKILL)

    with pytest.raises(ChildDiedError, match="frail"):
        supervisor.wait(job)


def test_a_job_has_a_deadline(supervisor) -> None:
    """
    A job that does not end in the seconds it was given is an error.
    """
    job = child(WAITING, "job", oneshot=True)
    supervisor.start(job)

    with pytest.raises(LocalServerError, match=r"job did not end in 0\.2 s"):
        supervisor.wait(job, 0.2)


def test_standard_output_can_be_taken(supervisor, out) -> None:
    """
    Lines of standard output go to the callback, those of standard error to the log.
    """
    lines: list[str] = []
    program = "import sys; print('{}'); print('progress', file=sys.stderr)"
    job = child(program, "job", oneshot=True, on_stdout=lines.append)
    supervisor.start(job)
    supervisor.wait(job)

    assert ["{}"] == lines
    assert "job   | progress\n" == out.getvalue()


def test_bytes_that_are_no_text_survive(supervisor, out) -> None:
    """
    Invalid UTF-8 is shown escaped.
    """
    job = child(r"import os; os.write(1, b'a\xffb\n')", "job", oneshot=True)
    supervisor.start(job)
    supervisor.wait(job)

    assert "job   | a\\xffb\n" == out.getvalue()


def test_a_very_long_line_survives(supervisor) -> None:
    """
    A line of megabytes comes through whole, in pieces.
    """
    pieces: list[str] = []
    size = 20 * MAX_LINE + 7
    job = child(f"print('x' * {size})", "job", oneshot=True, on_stdout=pieces.append)
    supervisor.start(job)
    supervisor.wait(job)

    assert size == sum(map(len, pieces))
    assert MAX_LINE >= max(map(len, pieces))


def test_children_stop_in_reverse_with_their_signals(out) -> None:
    """
    What was started last is stopped first, each child by its own signal.
    """
    with Supervisor(out, width=6) as supervisor:
        supervisor.start(waiting("server", POLITE, stop_signal=signal.SIGINT))
        supervisor.start(waiting("worker", POLITE))

    assert [
        "server | waiting",
        "worker | waiting",
        "worker | stopped by SIGTERM",
        "server | stopped by SIGINT",
    ] == out.getvalue().splitlines()


def test_a_stubborn_child_is_killed_after_its_patience(out) -> None:
    """
    A child that ignores its signal is killed, and those before it still stop cleanly.
    """
    with Supervisor(out, width=6) as supervisor:
        stubborn = waiting("worker", STUBBORN, stop_seconds=0.3)
        supervisor.start(waiting("server", POLITE))
        supervisor.start(stubborn)
        pid = supervisor.pid(stubborn)

    assert process_ends(pid)
    assert "server | stopped by SIGTERM" == out.getvalue().splitlines()[-1]


@linux_only
def test_what_a_dead_child_left_is_killed(supervisor) -> None:
    """
    Processes that a child leaves in its group end with it.
    """
    handles: list[int] = []
    program = (
        "import subprocess, sys\n"
        f"left = subprocess.Popen([sys.executable, '-c', {WAITING!r}], stdout=subprocess.PIPE)\n"
        "left.stdout.readline(); print(left.pid, flush=True)"
    )
    job = child(
        program,
        "job",
        oneshot=True,
        on_stdout=lambda line: handles.append(os.pidfd_open(int(line))),
    )
    supervisor.start(job)
    supervisor.wait(job)
    ended, _, _ = select.select(handles, [], [], 10)
    for handle in handles:
        os.close(handle)

    assert 1 == len(ended)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_ends_a_start(
    supervisor, number: signal.Signals, expected: type[BaseException]
) -> None:
    """
    A signal during a start or a wait raises what ends a program, and SIGTERM its exit code.
    """

    def interrupt(line: str) -> None:
        os.kill(os.getpid(), number)

    with pytest.raises(expected) as caught:
        supervisor.start(waiting(ready="never", on_stdout=interrupt))

    if expected is SystemExit:
        assert 128 + number == caught.value.code


def test_a_signal_ends_the_run(supervisor) -> None:
    """
    run returns the number of the signal.
    """
    supervisor.start(waiting())
    os.kill(os.getpid(), signal.SIGTERM)

    assert signal.SIGTERM == supervisor.run()


def test_a_second_signal_hurries(out) -> None:
    """
    A signal during the stop sends each child its signal of haste instead of waiting.
    """
    stopping = threading.Event()

    def interrupt(line: str) -> None:
        if line == "asked":
            stopping.set()
            os.kill(os.getpid(), signal.SIGINT)

    with Supervisor(out, width=6) as supervisor:
        supervisor.start(waiting("server", POLITE))
        busy = waiting(
            "worker", BUSY, force_signal=signal.SIGQUIT, stop_seconds=60, on_stdout=interrupt
        )
        supervisor.start(busy)

    assert stopping.is_set()
    assert 0 == supervisor.returncode(busy)
    assert "server | stopped by SIGTERM" == out.getvalue().splitlines()[-1]


def test_handlers_are_put_back(out) -> None:
    """
    After the context the signals are handled as before it.
    """
    former: Callable[..., Any] | int | None = signal.getsignal(signal.SIGTERM)
    with Supervisor(out):
        within = signal.getsignal(signal.SIGTERM)

    assert former != within
    assert former == signal.getsignal(signal.SIGTERM)


def test_a_log_without_a_reader_ends_the_run() -> None:
    """
    When the reader of the log is gone, the run ends as a program in a pipe does.
    """
    reader, writer = os.pipe()
    os.close(reader)
    out = os.fdopen(writer, "w")
    with Supervisor(out) as supervisor, pytest.raises(SystemExit) as caught:
        supervisor.start(waiting())

    assert 128 + signal.SIGPIPE == caught.value.code
    with pytest.raises(BrokenPipeError):
        out.close()
