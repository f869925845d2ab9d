"""
Our Redis transport against Kombu's own, side by side.

    uv run python tests/benchmarks/transport.py [TASKS] [ROUNDS]

Tasks that do nothing, without results and events; the best of the rounds.
Then the latency of a single message to an idle worker, and the processor time
of ten idle workers. On a busy machine only the ratios mean anything.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from threading import Event
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "faults"))

from lab import Marks, Redis, Worker, send, until  # noqa: E402

#: What Celery and Kombu have by default, of which the fault tests have less.
DEFAULTS: dict[str, Any] = {"visibility": 3600, "RESTORE": "10"}

POOLS = {"prefork": ("--pool=prefork", "-c2"), "gevent": ("--pool=gevent", "-c512")}
TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Return the seconds of processor time of a process and its children."""
    seconds = 0.0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in [str(pid), *children]:
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICK
    return seconds


def throughput(transport: str, pool: str, tasks: int, broker: Redis) -> tuple[float, float]:
    """Return tasks a second, and microseconds of processor time a task."""
    broker.client.flushall()
    marks = Marks(broker.folder)
    marks.path.write_text("")
    with Worker(
        transport, pool, broker, marks, arguments=POOLS[pool], MARK="no", **DEFAULTS
    ).ready() as worker:
        send(broker, range(500))
        until(lambda: broker.waiting() == 0, "the warm-up")
        # Added at once, so that the producer does not compete for the processor.
        begun = cpu(worker.process.pid)
        send(broker, range(tasks))
        start = time.monotonic()
        until(lambda: broker.waiting() == 0, "all tasks", 300)
        seconds = time.monotonic() - start
        used = cpu(worker.process.pid) - begun
    return tasks / seconds, used / tasks * 1e6


def latency(transport: str, pool: str, broker: Redis) -> float:
    """Return the median of the seconds from sending a message to its run."""
    broker.client.flushall()
    marks = Marks(broker.folder)
    found, pause = [], Event()
    with Worker(
        transport, pool, broker, marks, arguments=POOLS[pool], MARK="time", **DEFAULTS
    ).ready():
        for number in range(42):
            pause.wait(0.1)
            marks.path.write_text("")
            sent = time.time()
            send(broker, [number])
            end = sent + 10
            while not (text := marks.path.read_text()).endswith("\n") and time.time() < end:
                pause.wait(0.002)
            found.append(float(text) - sent)
    return statistics.median(found[2:])


def idle(transport: str, broker: Redis, workers: int, seconds: float) -> tuple[float, float]:
    """Return milliseconds of processor time a second of an idle worker, and of its server."""
    broker.client.flushall()
    marks = Marks(broker.folder)
    started = [
        Worker(
            transport, "gevent", broker, marks, arguments=("--pool=gevent", "-c4"), NUMBER=str(n)
        )
        for n in range(workers)
    ]
    try:
        for each in started:
            each.ready(120)
        Event().wait(5)
        assert broker.process is not None
        pids = [each.process.pid for each in started]
        before, server = sum(map(cpu, pids)), cpu(broker.process.pid)
        Event().wait(seconds)
        used = (sum(map(cpu, pids)) - before) / workers / seconds * 1000
        return used, (cpu(broker.process.pid) - server) / seconds * 1000
    finally:
        for each in started:
            each.kill()


def main() -> None:
    """Print a line for each comparison: stock, ours, and the ratio."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        broker = Redis(Path(folder)).start()
        try:
            for pool in POOLS:
                best = {}
                for transport in ("stock", "atomic"):
                    runs = [throughput(transport, pool, tasks, broker) for _ in range(rounds)]
                    best[transport] = max(rate for rate, _ in runs), min(used for _, used in runs)
                (slow, costly), (fast, cheap) = best["stock"], best["atomic"]
                print(f"{pool}: tasks/s {slow:.0f} -> {fast:.0f}, x {fast / slow:.1f}", flush=True)
                print(f"{pool}: us CPU a task {costly:.0f} -> {cheap:.0f}, x {cheap / costly:.2f}")
                late = [
                    latency(transport, pool, broker) * 1000 for transport in ("stock", "atomic")
                ]
                print(f"{pool}: ms to run one message {late[0]:.1f} -> {late[1]:.1f}", flush=True)
            rest = [idle(transport, broker, 10, 20) for transport in ("stock", "atomic")]
            print(f"10 idle workers: ms CPU a second each {rest[0][0]:.2f} -> {rest[1][0]:.2f}")
            print(f"10 idle workers: ms CPU a second of Redis {rest[0][1]:.2f} -> {rest[1][1]:.2f}")
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
