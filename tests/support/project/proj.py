"""A project that knows nothing of task-server; its tasks leave a line in PROJ_LOG."""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

from celery import Celery
from celery.signals import task_failure, worker_before_create_process, worker_ready
from redis import Redis

app = Celery("proj")
app.conf.task_ignore_result = True
app.conf.worker_cancel_long_running_tasks_on_connection_loss = "PROJ_CANCEL" in os.environ


def note(line: str) -> None:
    """Append *line*; lines this short are written whole."""
    handle = os.open(os.environ["PROJ_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def started(number: int) -> None:
    """Say that the task *number* has started in this process."""
    note(f"start {number} {os.getpid()}")


def ended(number: int) -> None:
    """Say that it has run to its end."""
    note(f"done {number} {os.getpid()} {time.monotonic():.3f}")


@app.task
def work(number: int, seconds: float = 0.0) -> None:
    """Take *seconds*, and say so before and after."""
    started(number)
    time.sleep(seconds)
    ended(number)


@app.task
def wait_for(number: int, url: str, key: str) -> None:
    """As `work`, until the Redis at *url* has something in the list *key* for this task."""
    started(number)
    with Redis.from_url(url, socket_timeout=None, client_name=f"waits-{number}") as client:
        client.brpop([key])
    ended(number)


@app.task(ignore_result=False)
def answer(number: int, seconds: float = 0.0) -> int:
    """As `work`, and returns *number* as its result."""
    work.run(number, seconds)
    return number


@app.task(ignore_result=False)
def ask(number: int, seconds: float) -> int:
    """Let `answer` be done, by whichever worker."""
    answer.delay(number, seconds)
    return number


@app.task(acks_late=False)
def early(number: int, seconds: float) -> None:
    """As `work`, but acknowledged before it runs."""
    work.run(number, seconds)


@app.task
def stubborn(number: int, seconds: float) -> None:
    """As `work`, and makes an exception of its own out of being stopped."""
    try:
        work.run(number, seconds)
    except BaseException as error:
        raise ValueError("interrupted") from error


@app.task
def compute(number: int, seconds: float) -> None:
    """As `work`, but never waits: the processor is busy all the time."""
    started(number)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    ended(number)


@app.task
def burn(number: int, seconds: float) -> None:
    """As `compute`, for so many seconds of the processor, however many the clock counts."""
    started(number)
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    ended(number)


@app.task
def die(number: int) -> None:
    """Take its process with it, as the out-of-memory killer does."""
    started(number)
    os.kill(os.getpid(), signal.SIGKILL)


if "PROJ_MORE" in os.environ:

    @app.task(ignore_result=False)
    def more(number: int) -> int:
        """As `answer`; only a newer release has it."""
        work.run(number)
        return number


@app.task
def crash(number: int, how: str) -> None:
    """Take its process with it from inside."""
    started(number)
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(3)


@app.task(ignore_result=False)
def perish(number: int) -> None:
    """As `die`; somebody waits for its result."""
    die.run(number)


@task_failure.connect
def failed(task_id: str, exception: BaseException, **_: object) -> None:
    """Leave a line, as a project that reports failures would."""
    note(f"failed {task_id} {type(exception).__name__}")


@app.task
def kill(number: int) -> None:
    """Take the whole worker with it, the main process."""
    started(number)
    # The leader of the group.
    os.kill(os.getpgrp(), signal.SIGKILL)
    signal.pause()


@app.task
def blocked(number: int) -> None:
    """Note which signals this process, and a program that it starts, hold back."""
    with Path("/proc/self/status").open() as own:
        mask = next(line for line in own if line.startswith("SigBlk")).split()[1]
    started = ["grep", "SigBlk", "/proc/self/status"]
    other = subprocess.run(started, capture_output=True, text=True, check=True).stdout.split()[1]
    note(f"SigBlk own {mask}")
    note(f"SigBlk started {other}")
    work.run(number)


HELD = []


@app.task
def hold(number: int, mebibytes: int) -> None:
    """Keep *mebibytes* forever."""
    HELD.append(b"x" * (mebibytes << 20))
    ended(number)


if os.environ.get("PROJ_STUCK"):

    @worker_ready.connect
    def get_stuck(sender, **_):
        """Take no message any more, as if the count of those in hand were wrong."""
        sender.task_consumer.channel.qos.can_consume = lambda: False


FORKS = []

if os.environ.get("PROJ_FORKING"):

    @worker_before_create_process.connect
    def fork_slowly(**_):
        """Take a moment before the third child."""
        FORKS.append(1)
        if len(FORKS) == int(os.environ["PROJ_FORKING"]):
            note("forking")
            time.sleep(1)
