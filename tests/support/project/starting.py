"""Tasks that start processes and end them, each way there is; the outcome is a line in PROJ_LOG."""

import concurrent.futures
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import billiard
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_init
from proj import app, note


@worker_process_init.connect
def let_children_have_children(**_):
    """What people do whose tasks use multiprocessing: a child of the pool is a daemon."""
    multiprocessing.current_process()._config["daemon"] = False


def wait_for_signals():
    """Wait forever; a handler of Python's runs, also for what comes just before the wait."""
    while True:
        signal.sigtimedwait([signal.SIGWINCH], 0.05)


def say_and_wait(writer):
    writer.send("started")
    wait_for_signals()


def terminated(context):
    """Start a process of *context*, terminate it; return whether it lives, and its code."""
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=say_and_wait, args=(writer,))
    process.start()
    reader.recv()
    process.terminate()
    process.join(15)
    outcome = process.is_alive(), process.exitcode
    if outcome[0]:
        os.kill(process.pid, signal.SIGKILL)
        process.join(5)
    return outcome


def pooled(context):
    with context.Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])


def executed(context):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        return list(executor.map(abs, [-1, -2, -3]))


def forked(number):
    """Fork, send *number* to the child; return how it ended."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, b"x")
            wait_for_signals()
        finally:
            os._exit(77)
    os.read(reader, 1)
    os.kill(pid, number)
    status = os.waitpid(pid, 0)[1]
    os.close(reader)
    os.close(writer)
    return os.waitstatus_to_exitcode(status)


def called(number):
    program = "import sys; print('x', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        process.stdout.read(1)
        process.send_signal(number)
        return process.wait(15)


WAYS = {
    **{
        f"{what.__name__} {method}": lambda what=what, method=method: what(
            multiprocessing.get_context(method)
        )
        for what in (terminated, pooled, executed)
        for method in ("fork", "spawn", "forkserver")
    },
    "terminated billiard": lambda: terminated(billiard.get_context("fork")),
    "pooled billiard": lambda: pooled(billiard.get_context("fork")),
    "forked SIGTERM": lambda: forked(signal.SIGTERM),
    "forked SIGQUIT": lambda: forked(signal.SIGQUIT),
    "called SIGTERM": lambda: called(signal.SIGTERM),
    "called SIGHUP": lambda: called(signal.SIGHUP),
}


@app.task(name="proj.begin", soft_time_limit=20)
def begin(way):
    """Start processes in *way*."""
    try:
        outcome = WAYS[way]()
    except TypeError as error:
        outcome = type(error).__name__
    except SoftTimeLimitExceeded:
        note(f"given up {way}")
        return
    note(f"outcome {json.dumps([way, outcome])}")
