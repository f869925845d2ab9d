"""Redis stops, is killed, or cuts its connections, under load."""

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

import pytest
import redis
from lab import POOLS, Marks, Redis, Worker, drain, send, until

#: Messages a second, and seconds without a server.
RATE, DOWN = 100, 3.0


class Sender(Thread):
    """Sends RATE messages a second; what a fault hits in its sending is not counted."""

    def __init__(self, broker: Redis) -> None:
        super().__init__(daemon=True)
        self.broker = broker
        self.sent: set[int] = set()
        self.number = 0
        self.ended = Event()

    def run(self) -> None:
        while not self.ended.wait(10 / RATE):
            numbers = range(self.number, self.number + 10)
            self.number += 10
            with suppress(redis.RedisError):
                send(self.broker, numbers)
                self.sent.update(numbers)


def restart(broker: Redis) -> None:
    broker.stop()
    Event().wait(DOWN)
    broker.start()


def kill(broker: Redis) -> None:
    broker.kill()
    Event().wait(DOWN)
    broker.start()


def cut(broker: Redis) -> None:
    for _ in range(10):
        for kind in ("normal", "pubsub"):
            broker.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        Event().wait(0.3)


FAULTS = {"SHUTDOWN and restart": restart, "kill -9 and restart": kill, "CLIENT KILL x 10": cut}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("transport", ["atomic", "stock"])
def test_redis_goes_and_comes_back(  # noqa: PLR0917 - fixtures
    transport: str, fault: str, pool: str, broker: Redis, marks: Marks, row: Callable[..., None]
) -> None:
    """
    The worker goes on by itself, and nothing is lost.

    Stock is shown beside it; whether it ends depends on the moment.
    """
    with Worker(transport, pool, broker, marks).ready() as worker:
        sender = Sender(broker)
        sender.start()
        until(lambda: len(marks.runs()) > RATE // 2, "messages before the fault")
        FAULTS[fault](broker)
        back, before = time.monotonic(), len(marks.runs())
        resumed = "never"
        with suppress(AssertionError):
            until(lambda: len(marks.runs()) > before + 20, "messages after the fault", 30)
            resumed = f"{time.monotonic() - back:.1f} s"
        sender.ended.set()
        sender.join(30)
        alive = worker.alive()
        if alive and transport == "atomic":
            until(lambda: broker.waiting() == 0, "the rest")
    drain(broker, marks, 120)
    runs = marks.runs()
    lost = sender.sent - set(runs)
    extra = sum(runs.values()) - len(runs)
    row(fault, f"{transport} {pool}", len(sender.sent), len(lost), extra, resumed, alive)

    if transport == "atomic":
        assert set() == lost
        assert alive
        assert "never" != resumed
