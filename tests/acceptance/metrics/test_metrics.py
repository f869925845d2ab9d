"""`task-server metrics` beside real workers, and with a Redis that stops, hangs or is absent."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from task_server.metrics.catalogue import METRICS
from tests.support.metrics import Metrics
from tests.support.ports import own_port
from tests.support.redis import Redis
from tests.support.wait import PATIENCE, until
from tests.support.worker import EITHER, Worker

Start = Callable[..., Worker]
Serve = Callable[..., Metrics]
Send = Callable[..., None]


@pytest.mark.parametrize("pool", EITHER)
def test_a_worker_and_what_it_has(
    pool: str, start: Start, serve: Serve, send: Send, broker: Redis
) -> None:
    """
    Queue, load, places and the task that runs; and when it has ended, nothing.
    """
    worker = start(pool, timing={"registration": 0.2}).ready()
    metrics = serve(settings='[workers.w]\nqueues = ["celery", "other"]')
    send("wait_for", 1, broker.url, "go")
    send("work", 3, countdown=3600)
    send("work", 4, queue="other")
    node = worker.heartbeat().node  # type: ignore[union-attr]
    host = node.partition("@")[2]

    def runs() -> bool:
        found = metrics.scrape()
        return found.get(("celery_worker_tasks_active", (host, node))) == 1

    until(runs, metrics.output())
    found = metrics.scrape()
    one, both = metrics.json("/queues/celery"), metrics.json("/workers/w")

    assert 1 == found["task_server_up", ()]
    assert 1 == found["celery_worker_up", (host, node)]
    assert 1 == found["celery_active_worker_count", ("celery",)]
    assert 2 == found["celery_active_process_count", ("celery",)]
    assert 1 == found["task_server_queue_in_flight", ("celery",)]
    assert 0 == found["celery_queue_length", ("celery",)]
    assert 1 == found["celery_queue_length", ("other",)]
    assert (1, 0) == (
        found["task_server_queue_delayed", ("celery",)],
        found["task_server_queue_due_soon", ("celery",)],
    )
    assert (1, 0, 1, 0, 1, 1) == tuple(
        one[name]
        for name in ("load", "waiting", "in_flight", "due_within_a_minute", "delayed", "workers")
    )
    assert (2, ["celery", "other"]) == (both["load"], both["queues"])
    broker.client.rpush("go", "1")
    until(lambda: metrics.scrape()["task_server_queue_in_flight", ("celery",)] == 0)
    task = ("generic", "proj.wait_for", "celery")
    until(lambda: metrics.scrape().get(("celery_task_succeeded_total", task)) == 1)
    last = metrics.scrape()

    assert 1 == last["celery_task_runtime_count", task]
    assert 0 == last["celery_task_failed_total", ("", *task)]
    # The dashboard and the rules ask for what there is. A rate needs minutes; nothing is unread.
    shown = {name for name, _ in last} | {name.removesuffix("_count") for name, _ in last}
    assert {"task_server_unread", "task_server_queue_in_per_minute"} >= set(METRICS) - shown


def test_a_killed_worker_is_down_and_its_task_is_said_to_be_its_own(
    start: Start, serve: Serve, send: Send, broker: Redis
) -> None:
    """
    Until its lease is over nobody else gets it.
    """
    worker = start("prefork", timing={"registration": 0.2}, lease_seconds=3600).ready()
    metrics = serve()
    send("wait_for", 1, broker.url, "go")
    until(lambda: worker.starts()[1])
    node = worker.heartbeat().node  # type: ignore[union-attr]
    label = (node.partition("@")[2], node)
    until(lambda: metrics.scrape().get(("celery_worker_up", label)) == 1)
    worker.kill()
    until(lambda: metrics.scrape()["celery_worker_up", label] == 0)

    assert 1 == metrics.scrape()["task_server_worker_silent_in_flight", label]
    assert 1 == metrics.json("/queues/celery")["load"]
    assert 0 == metrics.json("/queues/celery")["workers"]


def test_a_worker_of_celerys_has_what_it_has(
    stock: Start, serve: Serve, send: Send, broker: Redis
) -> None:
    """
    What it has fetched is in flight and owned by nobody; it is not said to be up or down.
    """
    stock("proj", "--concurrency=1", PROJ_LOG=os.devnull)
    metrics = serve()
    # The first is acknowledged before it runs, as is Celery's way.
    send("wait_for", 1, broker.url, "go")
    send("wait_for", 2, broker.url, "go")
    until(lambda: metrics.scrape()["task_server_unowned_in_flight", ()] == 1)
    found = metrics.scrape()

    assert 1 == metrics.json("/queues/celery")["load"]
    assert not [name for name, _ in found if name == "celery_worker_up"]
    broker.client.rpush("go", "1", "2")


def test_redis_is_absent_at_the_start_and_comes(folder: Path, broker: Redis, serve: Serve) -> None:
    """
    The metrics listen all the same, say so, and need no restart.
    """
    broker.stop()
    metrics = serve()
    absent = metrics.scrape()
    status, body = metrics.get("/workers/prefork")
    health = metrics.json("/healthz")
    broker.start()
    until(lambda: metrics.scrape()["task_server_up", ()] == 1)

    assert {("task_server_up", ()): 0} == absent
    assert 503 == status
    assert "nothing listens at" in json.loads(body)["error"]
    assert (False, "ok") == (health["redis"]["answers"], health["status"])
    assert 200 == metrics.get("/workers/prefork")[0]
    assert 1 == metrics.output().count("nothing listens at")
    assert "metrics: Redis answers again" in metrics.output()


def test_redis_hangs_and_goes_on(broker: Redis, serve: Serve, send: Send) -> None:
    """
    What was known before is not shown; afterwards it is.
    """
    metrics = serve()
    send("work", 1)
    until(lambda: metrics.scrape()["celery_queue_length", ("celery",)] == 1)
    broker.signal(signal.SIGSTOP)
    try:
        until(lambda: metrics.scrape() == {("task_server_up", ()): 0})
        status, _ = metrics.get("/queues/celery")
    finally:
        broker.signal(signal.SIGCONT)
    until(lambda: metrics.scrape().get(("celery_queue_length", ("celery",))) == 1)

    assert 503 == status


PREFIXED = """
from celery import Celery

app = Celery("prefixed", broker="{url}")
app.conf.broker_transport_options = {{"global_keyprefix": "p.", "priority_steps": [0, 5]}}
app.conf.task_queues = None
app.conf.task_routes = {{"prefixed.*": "kept"}}


@app.task(name="prefixed.work")
def work():
    pass
"""


def test_a_project_with_its_broker_a_prefix_and_every_queue(
    folder: Path, broker: Redis, serve: Serve
) -> None:
    """
    The URL is in its settings; a worker that takes from `all` takes from those of the project,
    which are shown also where no worker does.
    """
    (folder / "prefixed.py").write_text(PREFIXED.format(url=broker.database(3).url))
    client = broker.database(3).client
    client.rpush("p.kept", "1", "2")
    client.rpush("p.kept\x06\x165", "3")
    client.rpush("p.celery", "4")
    metrics = serve(
        app="prefixed", code=folder, url=None, settings='[workers.every]\nqueues = ["all"]'
    )
    found = metrics.scrape()

    known = serve(app="prefixed", code=folder, url=None).scrape()

    assert 3 == known["celery_queue_length", ("kept",)]
    assert 3 == found["celery_queue_length", ("kept",)]
    assert 4 == metrics.json("/workers/every")["load"]
    assert {"celery", "kept"} == set(metrics.json("/workers/every")["queues"])


def test_the_end(serve: Serve) -> None:
    """
    SIGTERM and Ctrl-C end it with 0.
    """
    assert [0, 0] == [serve().stop(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_a_port_that_is_in_use(folder: Path, broker: Redis) -> None:
    """
    One line says so, and with which settings to choose another.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Metrics(folder, broker.url, "--port", str(port)) as metrics:
            code = metrics.process.wait(PATIENCE)

    assert 1 == code
    assert f"127.0.0.1:{port}: [Errno 98] Address already in use" in metrics.output()
    assert "metrics.port" in metrics.output()
    assert "Traceback" not in metrics.output()


def test_a_broker_that_is_no_redis(folder: Path) -> None:
    """
    It ends with 78: no restart would help.
    """
    with Metrics(folder, "amqp://guest@127.0.0.1//") as metrics:
        code = metrics.process.wait(PATIENCE)

    assert 78 == code
    assert "broker_url: the broker is no Redis" in metrics.output()


def test_its_health(folder: Path, broker: Redis, serve: Serve) -> None:
    """
    Alive while it answers, ready while Redis does; and systemd is told when it listens.
    """
    port = own_port()

    def health(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [*(sys.executable, "-m", "task_server", "health", "metrics"), *options],
            env={**os.environ, "TASK_SERVER_METRICS_PORT": str(port)},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout

    before = health()
    address = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(PATIENCE)
        serve("--port", str(port), environ={"NOTIFY_SOCKET": str(address)})
        said = systemd.recv(100)
    until(lambda: health("--ready")[0] == 0)
    broker.stop()
    until(lambda: health("--ready")[0] == 1)

    assert b"READY=1" == said
    assert (1, True) == (before[0], "dead: no answer from" in before[1])
    assert 0 == health()[0]
    assert "nothing listens at" in health("--ready")[1]
