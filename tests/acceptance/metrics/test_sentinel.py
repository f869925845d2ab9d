"""The metrics and `status` behind Sentinel: they follow a failover, as the workers do."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import pools

from tests.support.metrics import Metrics
from tests.support.sentinel import NAME, Cluster, cluster
from tests.support.wait import PATIENCE, until
from tests.support.worker import Worker

__all__ = ["cluster"]

PROJECT = """
from celery import Celery

app = Celery("watched", broker="{url}")
app.conf.broker_transport_options = {{"master_name": "{name}"}}
app.conf.task_routes = {{"watched.later": "later"}}


@app.task(name="watched.work")
def work():
    pass
"""


@pytest.fixture
def project(folder: Path, cluster: Cluster) -> Path:
    """Return the folder of a project whose broker is behind Sentinel."""
    (folder / "watched.py").write_text(PROJECT.format(url=cluster.url, name=NAME))
    (folder / "status.toml").write_text(f'app = "watched"\ncode = "{folder}"\n')
    return folder


@pytest.fixture
def send(cluster: Cluster) -> Callable[..., None]:
    """Send a task of the project, each by a connection of its own, to the primary of then."""

    def send_task(name: str, **options: Any) -> None:
        with Celery("sender", broker=cluster.url) as sender:
            sender.conf.broker_transport_options = {"master_name": NAME}
            sender.send_task(name, **options)
        # Kombu keeps it for the next app with this URL.
        pools.reset()

    return send_task


def command(folder: Path, *arguments: str) -> dict[str, Any]:
    """Return how `task-server status` is started for the project."""
    program = [sys.executable, "-m", "task_server", "status", "--config", "status.toml"]
    return {"args": [*program, *arguments], "cwd": folder, "env": dict(os.environ)}


def status(folder: Path) -> dict[str, Any]:
    """Return what `status --json` says; {} if Redis does not answer."""
    done = subprocess.run(
        **command(folder, "--json"), capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode in (0, 1, 69), done.stderr
    found: dict[str, Any] = {} if done.returncode == 69 else json.loads(done.stdout)
    return found


def kill(cluster: Cluster) -> None:
    cluster.primary.kill()


def ask(cluster: Cluster) -> None:
    assert cluster.sentinel("FAILOVER")


@pytest.mark.parametrize("happens", [kill, pytest.param(ask, marks=pytest.mark.slow)])
def test_a_failover_is_followed(
    project: Path, cluster: Cluster, send: Callable[..., None], happens: Callable[[Cluster], None]
) -> None:
    """
    The service, a `status` that watches and one that is called then show the new primary.
    """
    for _ in range(2):
        send("watched.later", queue="later")
    master, slave = pty.openpty()
    seen = bytearray()

    def shows(text: bytes) -> bool:
        with suppress(OSError):
            seen.extend(os.read(master, 1 << 16))
        return text in seen

    with (
        Worker(
            *(project, None, "prefork"),
            app="watched",
            code=project,
            broker_url=None,
            timing={"registration": 0.2},
        ) as worker,
        Metrics(project, None, app="watched", code=project) as metrics,
        subprocess.Popen(
            **command(project, "--watch"), stdin=slave, stdout=slave, stderr=slave
        ) as watching,
    ):
        try:
            os.close(slave)
            os.set_blocking(master, False)
            worker.ready()
            metrics.ready()
            node = worker.heartbeat().node  # type: ignore[union-attr]
            up = ("celery_worker_up", (node.partition("@")[2], node))
            until(lambda: metrics.scrape().get(up) == 1, metrics.output())
            until(lambda: shows(node.encode()), "`status --watch`")
            until(lambda: _waiting(status(project)) == 2, "`status`")
            # What the replica has not got is gone for everybody.
            until(lambda: cluster.primary.client.wait(1, 1000), "the replica")

            happens(cluster)
            until(cluster.has_switched, "the failover")
            send("watched.work")
            send("watched.later", queue="later")

            length = ("celery_queue_length", ("later",))
            ended = ("celery_task_succeeded_total", ("generic", "watched.work", "celery"))
            until(lambda: metrics.scrape().get(length) == 3, metrics.output())
            until(lambda: metrics.scrape().get(ended) == 1, metrics.output())
            until(lambda: metrics.scrape().get(up) == 1, metrics.output())
            assert 3 == metrics.json("/queues/later")["load"]
            found = until(lambda: _registered(status(project)))
            assert 3 == _waiting(found)
            assert "master" == found["broker"]["role"]
            cluster.replica.client.sadd("_kombu.binding.found", "f\x06\x16\x06\x16found-there")
            cluster.replica.client.rpush("found-there", "x")
            until(lambda: shows(b"found-there"), "`status --watch` afterwards")
        finally:
            watching.send_signal(signal.SIGINT)
            until(lambda: (shows(b"never"), watching.poll() is not None)[1], "its end")
            os.close(master)


def _registered(found: dict[str, Any]) -> dict[str, Any]:
    """Return *found* if its worker has registered again."""
    states = [one["state"] for one in found.get("workers", ())]
    return found if states == ["ready"] else {}


def _waiting(found: dict[str, Any]) -> int:
    return sum(one["length"] for one in found.get("queues", ()) if one["name"] == "later")
