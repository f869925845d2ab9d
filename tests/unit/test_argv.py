"""A spec becomes the arguments of Celery, and only them."""

from dataclasses import replace
from types import NoneType
from typing import get_args, get_type_hints

from task_server.config.model import Config, WorkerConfig
from task_server.config.tables import FlowerConfig
from task_server.launch.command import flower_command, worker_command
from task_server.launch.precedence import visibility_timeout, worker_spec
from task_server.launch.profiles import Machine
from task_server.launch.spec import WorkerSpec

MACHINE = Machine(cores=4, memory=8 * 2**30)


def command(config: Config, name: str, machine: Machine = MACHINE):  # type: ignore[no-untyped-def]
    return worker_command(
        config,
        worker_spec(config, name, machine, runtime_dir="/run/task-server"),
        python="python3",
        environ={"PYTHONPATH": "/lib/python"},
    )


def test_the_prefork_worker() -> None:
    """
    The built-in prefork worker takes `celery`; its numbers may be the project's: no arguments.
    """
    argv = command(Config(), "prefork", replace(MACHINE, memory=None)).argv

    assert (
        *("python3", "-m", "task_server.celeryd"),
        "--pool=prefork",
        "--hostname=prefork@%h",
        "--queues=celery",
        "--loglevel=info",
        "--without-gossip",
        "--without-mingle",
    ) == argv


def test_the_gevent_worker() -> None:
    """
    The built-in gevent worker takes `io_bound`.
    """
    argv = command(Config(), "gevent").argv

    assert {"--pool=gevent", "--queues=io_bound"} <= set(argv)


def test_every_setting_of_a_worker_reaches_celery() -> None:
    """
    No setting is read and then forgotten.
    """
    worker = WorkerConfig(
        name="bulk",
        queues=("batch1", "batch2"),
        concurrency=3,
        prefetch_multiplier=5,
        max_memory_per_child=512 * 2**20,
        time_limit=90,
        soft_time_limit=60.5,
        events=True,
        log_level="warning",
        log_format="json",
        extra_args=("--purge",),
    )

    argv = command(Config(workers={"bulk": worker}), "bulk").argv

    assert (
        "--queues=batch1,batch2",
        "--concurrency=3",
        "--prefetch-multiplier=5",
        "--loglevel=warning",
        "--without-gossip",
        "--without-mingle",
        "--quiet",
        "--task-events",
        "--max-memory-per-child=524288",
        "--time-limit=90",
        "--soft-time-limit=60.5",
        "--purge",
    ) == argv[5:]


def test_the_project_is_found_and_reached_by_variables() -> None:
    """
    Code, settings and secrets go by the environment; no secret is an argument.
    """
    config = Config(
        app="cl",
        code="/opt/celery",
        settings_module="cl.settings",
        broker_url="redis://:hunter2@db/0",
        result_backend="redis://:hunter2@db/1",
    )

    chosen = command(config, "gevent")

    found = {name: value for name, value in chosen.environ.items() if name != "TASK_SERVER_WORKER"}
    assert {
        "TASK_SERVER_APP": "cl",
        "PYTHONPATH": "/opt/celery:/lib/python",
        "DJANGO_SETTINGS_MODULE": "cl.settings",
        "CELERY_BROKER_URL": "redis://:hunter2@db/0",
        "CELERY_RESULT_BACKEND": "redis://:hunter2@db/1",
    } == found
    assert "hunter2" not in " ".join([*chosen.argv, chosen.environ["TASK_SERVER_WORKER"]])


def test_the_worker_reads_the_spec_of_the_launcher() -> None:
    """
    The worker knows the numbers that were decided, not only those that were given.
    """
    chosen = command(Config(), "gevent")

    spec = WorkerSpec.from_json(chosen.environ["TASK_SERVER_WORKER"])

    assert (
        spec.concurrency,
        spec.prefetch_multiplier,
        spec.queues,
        spec.runtime_dir,
        spec.visibility_timeout,
    ) == (512, 4, ("io_bound",), "/run/task-server", 3600.0)


def test_the_visibility_timeout_is_above_the_longest_time_limit() -> None:
    """
    A task that is allowed to run for two hours is not given to a second worker after one.
    """
    long = WorkerConfig(name="long", time_limit=7200)

    assert 3600 == visibility_timeout(Config())
    assert 14400 == visibility_timeout(Config(workers={"long": long}))
    assert 60 == visibility_timeout(Config(visibility_timeout=60))


def test_flower_never_shows_its_password() -> None:
    """
    Flower's password is in the environment, not in the arguments that `ps` shows.
    """
    config = Config(flower=FlowerConfig(basic_auth="me:hunter2", port=0, url_prefix="flower"))

    chosen = flower_command(config, python="python3", environ={})

    assert (
        *("python3", "-m", "task_server.contrib.flower"),
        "--address=127.0.0.1",
        "--port=0",
        "--url-prefix=flower",
        "--read-only",
    ) == chosen.argv
    assert "me:hunter2" == chosen.environ["FLOWER_BASIC_AUTH"]


def test_a_service_called_flower_does_not_end_flower() -> None:
    """
    Kubernetes writes FLOWER_PORT=tcp://… for such a service, which Flower takes for its own.
    """
    environ = {"FLOWER_PORT": "tcp://10.0.0.7:5555"}

    chosen = flower_command(Config(), python="python3", environ=environ)

    assert "5555" == chosen.environ["FLOWER_PORT"]


def test_a_spec_leaves_no_number_open() -> None:
    """
    What a worker reads is decided: 0 stands for "none", and no field may be None.
    """
    assert [] == [
        name for name, kind in get_type_hints(WorkerSpec).items() if NoneType in get_args(kind)
    ]
