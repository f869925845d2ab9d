"""Redis stops, is killed, hangs, or cuts its connections, under load."""

import os
import signal
from collections.abc import Sequence
from threading import Event

import pytest

from tests.support.lab import Lane, Redis, lanes_of
from tests.support.lab.cell import ride
from tests.support.lab.load import Load
from tests.support.lab.table import Table

#: Seconds without a server, and of a server that hangs.
DOWN = float(os.environ.get("FAULTS_DOWN", "3"))
HANGS = float(os.environ.get("FAULTS_HANGS", "3"))


def restart(server: Redis) -> None:
    server.stop()
    Event().wait(DOWN)
    server.start()


def kill(server: Redis) -> None:
    server.kill()
    Event().wait(DOWN)
    server.start()


def cut(server: Redis) -> None:
    for _ in range(10):
        for kind in ("normal", "pubsub"):
            server.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        Event().wait(0.3)


def hang(server: Redis) -> None:
    server.signal(signal.SIGSTOP)
    Event().wait(HANGS)
    server.signal(signal.SIGCONT)


FAULTS = {
    "Redis SHUTDOWN, restart": restart,
    "Redis kill -9, restart": kill,
    "Redis CLIENT KILL x 10": cut,
    f"Redis SIGSTOP {HANGS:g} s": hang,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_redis_goes_and_comes_back(fault: str, broker: Redis, table: Table) -> None:
    """
    The workers go on without help, and nothing is lost.
    """

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        FAULTS[fault](broker)

    with lanes_of(broker) as lanes:
        ride(fault, lanes, happen, table, Load(lanes))
