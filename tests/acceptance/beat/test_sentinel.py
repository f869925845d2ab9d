"""Two beats of one project behind Sentinel: one sends, before and after a failover."""

import itertools
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.beat import Beat, project
from tests.support.redis import Redis
from tests.support.sentinel import NAME, Cluster, cluster
from tests.support.wait import until

__all__ = ["cluster"]

SCHEDULE = f"""
app.conf.broker_transport_options = {{"master_name": "{NAME}"}}
app.conf.beat_schedule = {{"tick": {{"task": "periodic.tick", "schedule": 1.0}}}}
"""


@contextmanager
def recorded(server: Redis) -> Iterator[list[float]]:
    """
    Have a list of when each run of `tick` was recorded, as *server* heard of it.

    A replica hears what its primary did; a failover ends the connection of who listens.
    """
    runs: list[float] = []
    started, ended = threading.Event(), threading.Event()

    def listen(client: redis.Redis) -> None:
        with client.monitor() as monitor:
            started.set()
            while not ended.is_set():
                words = monitor.next_command()["command"].split()
                if words[:3] == ["HSET", "unacked.beat:periodic:runs", "tick"]:
                    runs.append(int(words[3]) / 1e6)

    def watch() -> None:
        while not ended.is_set():
            with suppress(redis.ConnectionError), redis.Redis(port=server.port) as client:
                listen(client)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert started.wait(60)
    yield runs
    ended.set()
    # It waits for a command.
    until(lambda: server.client.ping() and not thread.is_alive(), "the monitor to end")


def kill(cluster: Cluster) -> None:
    cluster.primary.kill()


def hang(cluster: Cluster) -> None:
    cluster.primary.signal(signal.SIGSTOP)


def ask(cluster: Cluster) -> None:
    assert cluster.sentinel("FAILOVER")


@pytest.mark.parametrize(
    "happens", [hang, *(pytest.param(one, marks=pytest.mark.slow) for one in (kill, ask))]
)
def test_a_failover_leaves_one_that_sends(tmp_path: Path, cluster: Cluster, happens: Any) -> None:
    """
    Whoever has the lock afterwards: no two send in turns, none sends twice, and it goes on.
    """
    code = project(tmp_path / "code", SCHEDULE)
    new = cluster.replica

    with (
        recorded(new) as runs,
        Beat(code, cluster.url) as one,
        Beat(code, cluster.url, "two") as two,
    ):
        until(lambda: len(runs) >= 3, "runs before")
        happens(cluster)
        until(lambda: cluster.names() == new.port, "the failover")
        until(lambda: new.client.info("replication")["role"] == "master")  # type: ignore[index]
        if happens is hang:
            # It wakes up as a primary, until Sentinel tells it otherwise.
            cluster.primary.signal(signal.SIGCONT)
        before = len(senders(new))
        until(lambda: len(senders(new)) >= before + 5, "messages after")
        holder, other = until(lambda: _roles(one, two), "one that sends, and one that waits")
        assert 0 == holder.stop()
        other.sends()
        before = len(senders(new))
        until(lambda: len(senders(new)) >= before + 2, "messages of the other")
        assert 0 == other.stop()
        found = senders(new)
        takeovers = sum(beat.output().count("beat: sends now") for beat in (one, two))
    gaps = [later - earlier for earlier, later in itertools.pairwise(runs)]

    # As many turns as takeovers, at most: two that send at once change with each message.
    assert len(list(itertools.groupby(found))) <= takeovers
    # Celery looks ten milliseconds early.
    assert min(gaps) >= 1 - 0.02


def _roles(*beats: Beat) -> tuple[Beat, Beat] | None:
    """Return who sends and who waits, once both are ready for it."""
    said = {beat.health("--ready")[1]: beat for beat in beats}
    sending = [beat for text, beat in said.items() if "holder:" in text]
    waiting = [beat for text, beat in said.items() if "standby:" in text]
    return (sending[0], waiting[0]) if len(sending) == len(waiting) == 1 else None


def senders(server: Redis) -> list[str]:
    """Return which process sent each message that waits, oldest first."""
    found: Any = server.client.lrange("celery", 0, -1)
    return [json.loads(text)["headers"]["origin"] for text in reversed(found)]
