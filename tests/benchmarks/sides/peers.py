"""Other task servers on Redis, each as its documentation starts it."""

import shlex
import sys
from collections.abc import Callable, Sequence

from tests.benchmarks.sides.celery import PROJECT
from tests.benchmarks.sides.side import Place, Setup, Side

FOLDER = PROJECT / "peers"


def _huey(setup: Setup, _place: Place) -> Sequence[str]:
    kind = {"prefork": "process", "gevent": "greenlet"}[setup.pool]
    command = (sys.executable, "-m", "huey.bin.huey_consumer", "huey_app.huey")
    return [*command, "-k", kind, "-w", str(setup.concurrency)]


def _dramatiq(setup: Setup, _place: Place) -> Sequence[str]:
    if setup.pool == "gevent":
        start = "from gevent import monkey; monkey.patch_all()\n"
        start += "import sys; sys.argv[0] = 'dramatiq'\n"
        start += "from dramatiq.__main__ import main; main()"
        command = [sys.executable, "-c", start, "-p", "1", "-t", str(setup.concurrency)]
    else:
        processes = str(setup.concurrency)
        command = [sys.executable, "-m", "dramatiq", "-p", processes, "-t", "1"]
    return [*command, "dramatiq_app"]


def _taskiq(setup: Setup, _place: Place) -> Sequence[str]:
    processes, tasks = (1, setup.concurrency) if setup.pool == "gevent" else (setup.concurrency, 1)
    command = (sys.executable, "-m", "taskiq", "worker", "taskiq_app:broker")
    return [*command, "--workers", str(processes), "--max-async-tasks", str(tasks)]


def _arq(setup: Setup, _place: Place) -> Sequence[str]:
    # It has no processes of its own: as many workers.
    processes, tasks = (1, setup.concurrency) if setup.pool == "gevent" else (setup.concurrency, 1)
    worker = shlex.join([sys.executable, "-m", "arq", "arq_app.WorkerSettings"])
    return ["sh", "-c", f"export BENCH_CONCURRENCY={tasks}; {f'{worker} & ' * processes} wait"]


def _rq(setup: Setup, place: Place) -> Sequence[str]:
    command = (sys.executable, "-m", "rq.cli", "worker-pool", "--url", place.broker)
    return [*command, "--num-workers", str(setup.concurrency), "default"]


def _peer(
    name: str,
    command: Callable[[Setup, Place], Sequence[str]],
    packages: tuple[str, ...],
    *kinds: str,
) -> Side:
    return Side(
        name=name,
        words=name,
        command=command,
        app=f"{name}_app",
        packages=packages,
        kinds=frozenset({"noop", "send", *kinds}),
        own_store=True,
        sources=FOLDER,
    )


PEERS = (
    _peer("huey", _huey, ("huey",), "noop-green", "results"),
    _peer("dramatiq", _dramatiq, ("dramatiq",), "noop-green", "results"),
    _peer("taskiq", _taskiq, ("taskiq", "taskiq-redis"), "noop-green"),
    _peer("rq", _rq, ("rq",), "results"),
    _peer("arq", _arq, ("arq",), "noop-green", "results"),
)
