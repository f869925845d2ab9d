"""
Who wins, for every setting of ours that is one of Celery's: the operator, then the project.

A worker is built, up to its start, for a project that sets all of them itself; what
is in force is looked up in Celery's own objects.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from task_server.config.loader import load, variable
from task_server.config.model import Config, WorkerConfig
from task_server.config.tables import BeatConfig, FlowerConfig, MetricsConfig
from task_server.launch.command import worker_command
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine

PROJECT = """
import json, os
from celery import Celery
from celery.apps.worker import Worker

app = Celery("contrary")
app.conf.update(
    worker_pool=os.environ["POOL"],
    worker_concurrency=7,
    worker_prefetch_multiplier=9,
    worker_max_memory_per_child=700_000,
    worker_max_tasks_per_child=800,
    worker_send_task_events=True,
    task_time_limit=700,
    task_soft_time_limit=600,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_queues={"theirs": {}},
    visibility_timeout=21600,
    broker_url="redis://theirs/0",
    broker_read_url="redis://theirs/1",
    broker_write_url="redis://theirs/2",
    broker_transport_options={
        "visibility_timeout": 21600, "poison_limit": 70, "lease_seconds": 70,
        "prefetch_bytes": 70, "delay_seconds": 70,
        "global_keyprefix": "cl:"
    },
    result_backend="redis://theirs/3",
    result_backend_transport_options={"visibility_timeout": 21600, "global_keyprefix": "cl:"},
)


@app.task(name="contrary.task")
def task():
    pass


app.tasks  # binds them, as `register_task` does


class Probe(Worker):
    def start(self):
        names = {"worker": self, "app": app, "task": app.tasks["contrary.task"]}
        print(json.dumps({
            name: eval(words, names) for name, words in json.loads(os.environ["LOOK"]).items()
        }))


Probe.app = app
app.Worker = Probe
"""


@dataclass(frozen=True)
class Same:
    """
    A setting of ours that is one, or several, of Celery's.

    Attributes:
        said: What the operator writes.

        expression: Of Python, for what is in force, in the worker that was built.

        ours: What that is when the operator writes *said*.

        theirs: What it is when the operator is silent and the project is not.
    """

    said: str
    expression: str
    ours: Any
    theirs: Any


#: "Celery has nothing like it, or only the operator can say it", with the reason.
OURS = {
    "name": "the node's name, which is an argument",
    "memory_limit": "of the whole worker; Celery has limits of children alone",
    "database_connections": "Celery knows nothing of databases",
    "monitor": "Celery has events in its place",
    "database_max_age": "Celery keeps no connection; Django's CONN_MAX_AGE is each alias's",
    "database_max_idle": "neither has anything like it",
    "asyncio": "Celery knows nothing of asyncio",
    "resolver_threads": "Celery knows nothing of names",
    "drain_seconds": "the drain is ours",
    "task_unready_seconds": "the health check is ours",
    "task_dead_seconds": "the health check is ours",
    "transport": "of this process; a project names none",
    "fetch": "Celery's main process fetches for its children, always",
    "result_store": "of this process; a project names none, or a class of its own",
    "log_level": "Celery has an argument and no setting",
    "log_format": "Celery has no such setting",
    "extra_args": "arguments win over the project's settings in Celery itself",
    "app": "it names the project",
    "code": "it names the project",
    "settings_module": "it names the project's settings",
    "setup": "Celery calls nothing before an app's import",
    "runtime_dir": "heartbeats are ours",
    "import_seconds": "Celery waits for ever",
    "machine": "Celery knows nothing of machines",
    "no_new_privileges": "of the process",
    "secrets_in_environment": "of the process",
    "producer": "of processes that send tasks; Celery has no such thing",
    "media": "whether a folder is tried at the start",
    "workers": "a table",
    "flower": "a table",
    "beat": "a table",
    "metrics": "a table",
    "check": "a table",
    "failures": "a table",
    "kubernetes": "a table, which no process reads",
    "pods": "tables, which no process reads",
    "origins": "no setting",
}

SAME = {
    "pool": Same("", "worker.pool_cls.__module__.rpartition('.')[2]", None, None),
    "queues": Same("a,b", "sorted(app.amqp.queues.consume_from)", ["a", "b"], ["celery"]),
    "concurrency": Same("3", "worker.concurrency", 3, 7),
    "prefetch_multiplier": Same("5", "worker.prefetch_multiplier", 5, 9),
    "max_memory_per_child": Same("512MiB", "worker.max_memory_per_child", 512 * 1024, 700_000),
    "max_tasks_per_child": Same("50", "worker.max_tasks_per_child", 50, 800),
    "time_limit": Same(
        "90", "[worker.time_limit, task.time_limit or worker.time_limit]", [90, 90], [700, 700]
    ),
    "soft_time_limit": Same(
        "60",
        "[worker.soft_time_limit, task.soft_time_limit or worker.soft_time_limit]",
        [60, 60],
        [600, 600],
    ),
    "delivery": Same(
        "at-most-once",
        "[app.conf.task_acks_late, app.conf.task_reject_on_worker_lost,"
        " task.acks_late, task.reject_on_worker_lost]",
        [False] * 4,
        [True] * 4,
    ),
    "lease_seconds": Same("40", "app.conf.broker_transport_options['lease_seconds']", 40, 70),
    "prefetch_bytes": Same("4KiB", "app.conf.broker_transport_options['prefetch_bytes']", 4096, 70),
    "delay_seconds": Same("6", "app.conf.broker_transport_options['delay_seconds']", 6, 70),
    "poison_limit": Same("4", "app.conf.broker_transport_options['poison_limit']", 4, 70),
    "events": Same("no", "bool(worker.task_events)", False, True),
    "broker_url": Same(
        "redis://ours:6379/0",
        "[one.as_uri().replace(':**@', '') for one in"
        " (app.connection_for_read(), app.connection_for_write())]",
        ["redis://ours:6379/0"] * 2,
        ["redis://theirs:6379/1", "redis://theirs:6379/2"],
    ),
    "result_backend": Same(
        "redis://ours:6379/1", "app.conf.result_backend", "redis://ours:6379/1", "redis://theirs/3"
    ),
    "visibility_timeout": Same(
        "15",
        "[app.conf.visibility_timeout, app.conf.broker_transport_options['visibility_timeout'],"
        " app.conf.result_backend_transport_options['visibility_timeout'],"
        " app.connection_for_read().transport_options['visibility_timeout']]",
        [15] * 4,
        [21600] * 4,
    ),
}

#: What the gevent pool cannot enforce, so that the loader refuses it.
PREFORK_ALONE = {"max_memory_per_child", "max_tasks_per_child", "soft_time_limit"}

TOP = {field.name for field in fields(Config)}

NAMES = [*TOP, *(field.name for field in fields(WorkerConfig))]


def in_force(pool: str, *, said: bool, folder: Path, project_pool: str | None = None) -> Any:
    """Return what is in force of each setting in a worker of *pool*."""
    environ = {"TASK_SERVER_APP": "contrary", "TASK_SERVER_CODE": str(folder)}
    for name, one in SAME.items() if said else ():
        if name != "pool" and not (pool == "gevent" and name in PREFORK_ALONE):
            environ[variable(name if name in TOP else f"workers.{pool}.{name}")] = one.said
    if not said:
        environ[variable(f"workers.{pool}.queues")] = "celery"
    config = load(None, environ)
    command = worker_command(
        config,
        worker_spec(config, pool, Machine(cores=2, memory=2**31), runtime_dir=str(folder)),
        python=sys.executable,
        environ={},
    )
    (folder / "contrary.py").write_text(PROJECT)
    done = subprocess.run(
        command.argv,
        env={
            **os.environ,
            **command.environ,
            "POOL": project_pool or pool,
            "LOOK": json.dumps({name: one.expression for name, one in SAME.items()}),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what is in force in a worker of a pool; each is built once."""

    @cache
    def of(pool: str, *, said: bool) -> Any:
        return in_force(pool, said=said, folder=tmp_path_factory.mktemp("contrary"))

    return of


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_setting_has_its_place_here(name: str) -> None:
    """
    A new setting says whether it is one of Celery's, and is then covered by the tests below.
    """
    assert (name in SAME) != (name in OURS), f"add {name} to SAME or to OURS"


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        (pool, name)
        for pool in ("prefork", "gevent")
        for name in SAME
        if name != "pool" and not (pool == "gevent" and name in PREFORK_ALONE)
    ],
)
def test_what_the_operator_says_is_in_force(worker: Any, pool: str, name: str) -> None:
    """
    A project that sets it itself does not change it, not even for tasks that it binds early.
    """
    assert SAME[name].ours == worker(pool, said=True)[name]


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
@pytest.mark.parametrize("name", [name for name in SAME if name != "pool"])
def test_what_the_project_says_wins_over_our_default(worker: Any, pool: str, name: str) -> None:
    """
    Where the operator says nothing the project's own settings count, numbers of the pool too.
    """
    assert SAME[name].theirs == worker(pool, said=False)[name]


@pytest.mark.parametrize(("pool", "other"), [("prefork", "gevent"), ("gevent", "prefork")])
def test_numbers_of_another_pool_do_not_count(pool: str, other: str, tmp_path: Path) -> None:
    """
    Seven processes that the project wants are not seven greenlets; the pool is the worker's own.
    """
    found = in_force(pool, said=False, folder=tmp_path, project_pool=other)

    assert {"prefork": (2, 1), "gevent": (512, 4)}[pool] == (
        found["concurrency"],
        found["prefetch_multiplier"],
    )


def test_flower_has_nothing_that_a_project_sets() -> None:
    """
    A new setting of Flower must say what takes precedence over it.
    """
    assert {"address", "port", "basic_auth", "url_prefix", "read_only"} == {
        field.name for field in fields(FlowerConfig)
    }


def test_metrics_have_nothing_that_a_project_sets() -> None:
    """
    A new setting of the metrics must say what takes precedence over it.
    """
    assert {"address", "port"} == {field.name for field in fields(MetricsConfig)}


def test_beats_settings_and_the_projects() -> None:
    """
    A new setting of beat must say what takes precedence over it.
    """
    celerys = {"scheduler": "beat_scheduler", "max_interval": "beat_max_loop_interval"}
    ours = {"folder", "lock_seconds", "lock_name", "log_level", "log_format"}

    assert ours | set(celerys) == {field.name for field in fields(BeatConfig)}
