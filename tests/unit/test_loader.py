"""TOML, environment and secret files become one frozen configuration."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from task_server.config.loader import find, load, resolve
from task_server.config.model import Config
from task_server.errors import ConfigError

Write = Callable[[str], Path]


def problems(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return [str(problem) for problem in caught.value.problems]


def test_without_a_file_and_variables_the_defaults_count() -> None:
    """
    The built-in workers exist without a line of configuration.
    """
    config = load(None, {})

    assert Config() == config
    assert {
        "prefork": ("prefork", ("celery",)),
        "gevent": ("gevent", ("io_bound",)),
        "all": ("prefork", ("celery", "io_bound")),
    } == {name: (worker.pool, worker.queues) for name, worker in config.workers.items()}


def test_a_built_in_worker_is_changed_and_another_added(write: Write) -> None:
    """
    A row of the table changes what it names; a new name is a new worker.
    """
    config = load(
        write(
            """
            [workers.gevent]
            concurrency = 64

            [workers.bulk]
            queues = ["batch1", "batch2", "iauploads"]
            prefetch_multiplier = 5
            memory_limit = "2GB"
            """
        ),
        {},
    )

    assert (
        config.workers["gevent"].concurrency,
        config.workers["gevent"].pool,
        config.workers["gevent"].queues,
    ) == (64, "gevent", ("io_bound",))
    assert (
        config.workers["bulk"].queues,
        config.workers["bulk"].prefetch_multiplier,
        config.workers["bulk"].memory_limit,
    ) == (("batch1", "batch2", "iauploads"), 5, 2_000_000_000)


def test_a_variable_overrides_the_file_and_both_are_named(write: Write) -> None:
    """
    The origin of each value that something gave is known; a default has none.
    """
    resolved = resolve(
        write('app = "cl"\n[workers.bulk-2]\nconcurrency = 3'),
        {"TASK_SERVER_WORKERS_BULK_2_CONCURRENCY": "5"},
    )

    assert 5 == resolved.config.workers["bulk-2"].concurrency
    assert {
        "app": "task-server.toml",
        "workers.bulk-2.concurrency": "TASK_SERVER_WORKERS_BULK_2_CONCURRENCY",
    } == resolved.origins


def test_the_former_name_of_kombus_transport_is_still_taken(write: Write) -> None:
    """
    `stock` was its name before `kombu`; what is loaded, and shown, has the new one.
    """
    path = write("[workers.gevent]\ntransport = 'stock'\n[workers.all]\ntransport = 'kombu'\n")

    config = load(path, {"TASK_SERVER_WORKERS_PREFORK_TRANSPORT": "stock"})

    assert dict.fromkeys(("prefork", "gevent", "all"), "kombu") == {
        name: worker.transport for name, worker in config.workers.items()
    }


def test_a_variable_for_the_queues_makes_a_worker() -> None:
    """
    In a container, where there is no file, a worker is described by variables alone.
    """
    config = load(
        None,
        {
            "TASK_SERVER_WORKERS_BULK_QUEUES": "batch1,batch2,iauploads",
            "TASK_SERVER_WORKERS_BULK_PREFETCH_MULTIPLIER": "5",
        },
    )

    bulk = config.workers["bulk"]
    assert (("batch1", "batch2", "iauploads"), 5) == (bulk.queues, bulk.prefetch_multiplier)


def test_a_variable_of_a_worker_without_queues_is_a_mistake() -> None:
    """
    A mistyped name makes no worker.
    """
    (problem,) = problems(None, {"TASK_SERVER_WORKERS_PREFROK_CONCURRENCY": "4"})

    assert problem.startswith("TASK_SERVER_WORKERS_PREFROK_CONCURRENCY: is the variable of no")


def test_a_variable_belongs_to_the_worker_of_the_file(write: Write) -> None:
    """
    A name with a dash has the variable with the underscore; no second worker comes of it.
    """
    config = load(
        write('[workers.bulk-2]\nqueues = ["a"]'), {"TASK_SERVER_WORKERS_BULK_2_QUEUES": "b"}
    )

    assert {"prefork", "gevent", "all", "bulk-2"} == set(config.workers)
    assert ("b",) == config.workers["bulk-2"].queues


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    """
    TASK_SERVER_…_FILE and systemd's credentials hold secrets; the line's end is not part of them.
    """
    (tmp_path / "broker").write_text("redis://:hunter2@db\n")
    (tmp_path / "result_backend").write_text("redis://db/1")

    config = load(
        None,
        {
            "TASK_SERVER_BROKER_URL_FILE": str(tmp_path / "broker"),
            "CREDENTIALS_DIRECTORY": str(tmp_path),
        },
    )

    assert ("redis://:hunter2@db", "redis://db/1") == (config.broker_url, config.result_backend)


def test_the_broker_password_is_not_in_the_repr(write: Write) -> None:
    """
    A logged configuration does not contain the password of the broker.
    """
    config = load(write('app = "docket"'), {"TASK_SERVER_BROKER_URL": "redis://:hunter2@db"})

    assert "hunter2" not in repr(config)


def test_a_wrong_secret_is_not_in_the_error() -> None:
    """
    The error of a secret that is wrong does not show it.
    """
    found = problems(None, {"TASK_SERVER_FLOWER_BASIC_AUTH": "hunter2"})

    assert [
        "flower.basic_auth: must be user:password (from TASK_SERVER_FLOWER_BASIC_AUTH)"
    ] == found


def test_every_problem_is_reported_at_once(write: Write) -> None:
    """
    One run reports every problem with its setting.
    """
    found = problems(
        write(
            """
            ap = "cl"
            [workers.mail]
            pool = "threads"
            concurrency = 0
            [workers.gevent]
            queues = []
            max_memory_per_child = "64M"
            """
        ),
        {"TASK_SERVER_WORKERS_PREFRK_CONCURRENCY": "4"},
    )

    assert [
        "workers.gevent.queues",
        "workers.gevent.max_memory_per_child",
        "workers.mail.pool",
        "workers.mail.concurrency",
        "ap",
        "TASK_SERVER_WORKERS_PREFRK_CONCURRENCY",
    ] == [line.split(":")[0] for line in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workers.x.pool = 'threads'", "'threads' is not a pool; use 'prefork'"),
        ("workers.x.concurrency = 0", "0 is not in the range x>=1"),
        ("workers.x.concurrency = true", "True is not a whole number"),
        ("workers.x.pool = 'gevent'\nworkers.x.concurrency = 'auto'", "'auto' counts processors"),
        ("workers.x.memory_limit = '4 parsecs'", "'4 parsecs' is not a size"),
        ("workers.x.queues = ['a', 'a']", "a is named twice"),
        ("workers.x.queues = ['']", "it has an empty name"),
        ("workers.x.queues = '*'", "'*' is not a queue's name; write 'all' for every queue"),
        ("workers.x.queues = ['batch*']", "'batch*' is not a queue's name; write 'all' for"),
        ("workers.x.queues = ['a,b']", "'a,b' is not a queue's name; write each name separately"),
        ('workers.x.queues = ["a\\u0001"]', "has a control character"),
        ("workers.x.queues = [7]", "is not a list of names"),
        ("workers.x.drain_seconds = -1", "-1 is not in the range x>=0"),
        ("workers.x.time_limit = 5\nworkers.x.soft_time_limit = 9", "9 is not below time_limit"),
        ("workers.x.extra_args = ['-c4']", "-c4 contradicts workers.x.concurrency"),
        ("workers.x.extra_args = ['--pool=solo']", "--pool=solo contradicts workers.x.pool"),
        ("workers.'a b'.concurrency = 1", "'a b' is not a worker's name"),
        ("workers.x = 3", "3 is not a table; write [workers.x]"),
        ("workers.a-b = {}\nworkers.a_b = {}", "has the same variables as workers.a-b"),
        ("workers.flower = {}", "is the name of Flower; rename it"),
        ("app = ''", "it is empty"),
        ("app = 'cl", "is not TOML"),
        ("flower.port = 70000", "70000 is not in the range 0<=x<=65535"),
    ],
)
def test_a_mistake_is_named_with_its_cure(write: Write, text: str, expected: str) -> None:
    """
    Each mistake is one line that says what is wrong and what to do.
    """
    (found,) = problems(write(text))

    assert expected in found


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    """
    A secret file that cannot be read is a problem with its path, not an empty secret.
    """
    found = problems(None, {"TASK_SERVER_BROKER_URL_FILE": str(tmp_path / "absent")})

    (line,) = found
    assert f"broker_url: {tmp_path}/absent cannot be read (No such file or directory)" in line
    assert "TASK_SERVER_BROKER_URL_FILE" in line


def test_a_variable_beside_its_file_is_ambiguous(tmp_path: Path) -> None:
    """
    A secret that is given twice is rejected, since it is ambiguous.
    """
    found = problems(
        None, {"TASK_SERVER_BROKER_URL": "redis://a", "TASK_SERVER_BROKER_URL_FILE": "/b"}
    )

    assert [
        "broker_url: TASK_SERVER_BROKER_URL and TASK_SERVER_BROKER_URL_FILE are both set; keep one"
    ] == found


def test_the_table_may_lie_in_the_projects_own_file(tmp_path: Path) -> None:
    """
    [tool.task-server] of pyproject.toml counts where there is no task-server.toml.
    """
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\nname = "cl"\n')
    assert find(tmp_path) is None

    project.write_text('[tool.task-server]\napp = "cl"\n')
    assert project == find(tmp_path)
    assert "cl" == load(project, {}).app

    own = tmp_path / "task-server.toml"
    own.touch()
    assert own == find(tmp_path)


def test_the_configuration_is_frozen() -> None:
    """
    Nothing changes a decision afterwards.
    """
    config = load(None, {})

    with pytest.raises(FrozenInstanceError):
        config.app = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.workers["x"] = config.workers["all"]  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        'broker_url = ["redis://:hunter2@db"]',
        'broker_url = "redis://:hunter2/x@db"',
        'result_backend = "redis://:12/hunter2@db"',
        'broker_url = "redis://:hunter2\\u0007@db"',
        'flower = "basic_auth=me:hunter2"',
        'flower = ["me:hunter2"]',
        'flower.basic_auth = "hunter2"',
        'flower.basic_auth = ["me:hunter2"]',
        'workers = "redis://:hunter2@db"',
        'workers.x = "redis://:hunter2@db"',
        'workers.x.extra_args = ["--broker=redis://:hunter2@db"]',
        'workers.x.extra_args = ["-b", "redis://:hunter2@db"]',
        'workers.x.extra_args = ["-bredis://:hunter2@db"]',
        'workers.x.extra_args = ["--result-backend", "redis://:hunter2@db"]',
    ],
)
def test_a_mistake_with_a_secret_is_reported_without_it(write: Write, text: str) -> None:
    """
    Also where it stands in the wrong place, or is of the wrong kind.
    """
    found = problems(write(text))

    assert found
    assert not [one for one in found if "hunter2" in one]


def test_a_broker_is_no_argument(write: Write) -> None:
    """
    Arguments are shown to every user by `ps`; the line names the setting.
    """
    (found,) = problems(write('workers.x.extra_args = ["--broker=redis://:hunter2@db"]'))

    assert "workers.x.extra_args: --broker contradicts broker_url; set that" == found
