"""Variables that size a `celery worker` today, for the worker that is launched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from task_server.config.loader import load, resolve
from task_server.errors import ConfigError

Write = Callable[[str], Path]

#: As CourtListener's Deployments have them.
TODAY = {
    "CELERY_QUEUES": "batch1,batch2",
    "CELERY_PREFORK_CONCURRENCY": "6",
    "CELERY_GEVENT_CONCURRENCY": "400",
    "CELERY_PREFETCH_MULTIPLIER": "3",
    "CELERY_MAX_TASKS_PER_CHILD": "100",
}


def problems(environ: dict[str, str], launched: str, path: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ, launched)
    return [str(problem) for problem in caught.value.problems]


def test_they_size_the_worker_that_is_launched() -> None:
    """
    One image serves many Deployments by environment alone; each value knows its variable.
    """
    found = resolve(None, TODAY, "prefork")

    one = found.config.workers["prefork"]
    assert (("batch1", "batch2"), 6, 3, 100) == (
        *(one.queues, one.concurrency),
        *(one.prefetch_multiplier, one.max_tasks_per_child),
    )
    assert {
        "workers.prefork.queues": "CELERY_QUEUES",
        "workers.prefork.concurrency": "CELERY_PREFORK_CONCURRENCY",
        "workers.prefork.prefetch_multiplier": "CELERY_PREFETCH_MULTIPLIER",
        "workers.prefork.max_tasks_per_child": "CELERY_MAX_TASKS_PER_CHILD",
    } == found.origins


def test_a_gevent_worker_takes_the_concurrency_of_its_pool() -> None:
    """
    It has no children to replace, and an environment may have the variables of both pools.
    """
    one = load(None, TODAY, "gevent").workers["gevent"]

    assert (("batch1", "batch2"), 400, 3, None) == (
        *(one.queues, one.concurrency),
        *(one.prefetch_multiplier, one.max_tasks_per_child),
    )


def test_the_pool_may_be_the_files_or_a_variables(write: Write) -> None:
    """
    The concurrency is that of the pool which the launched worker has.
    """
    path = write("[workers.mail]\npool = 'gevent'")

    by_file = load(path, TODAY, "mail").workers["mail"].concurrency
    by_variable = load(path, {**TODAY, "TASK_SERVER_WORKERS_MAIL_POOL": "prefork"}, "mail")

    assert (400, 6) == (by_file, by_variable.workers["mail"].concurrency)


@pytest.mark.parametrize("launched", ["", "all"])
def test_other_workers_are_what_they_were(launched: str) -> None:
    """
    `status`, metrics and `up` know all workers, and launch none.
    """
    config = load(None, TODAY, launched)

    assert load(None, {}).workers["prefork"] == config.workers["prefork"]


def test_they_rank_above_the_file_and_below_our_own_variables(write: Write) -> None:
    """
    A value of CELERY_QUEUES that is none, as another program may have, is not even read then.
    """
    path = write("[workers.prefork]\nqueues = ['one']\nconcurrency = 2\nprefetch_multiplier = 9")
    environ = {
        "CELERY_QUEUES": "[{",
        "CELERY_PREFORK_CONCURRENCY": "6",
        "TASK_SERVER_WORKERS_PREFORK_QUEUES": "two",
    }

    found = resolve(path, environ, "prefork")

    one = found.config.workers["prefork"]
    assert (("two",), 6, 9) == (one.queues, one.concurrency, one.prefetch_multiplier)
    assert "CELERY_PREFORK_CONCURRENCY" == found.origins["workers.prefork.concurrency"]
    assert "task-server.toml" == found.origins["workers.prefork.prefetch_multiplier"]


def test_the_queues_make_a_worker_that_no_file_names() -> None:
    """
    So each Deployment can have a name of its own, in `status` and in the metrics.
    """
    config = load(None, TODAY, "batch")

    assert ("prefork", ("batch1", "batch2")) == (
        config.workers["batch"].pool,
        config.workers["batch"].queues,
    )
    assert "batch" not in load(None, {**TODAY, "CELERY_QUEUES": ""}, "batch").workers


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_one_says_nothing(text: str) -> None:
    """
    As in the shell of their entry points: ${CELERY_PREFORK_CONCURRENCY:-0}.
    """
    assert load(None, {}) == load(None, dict.fromkeys(TODAY, text), "prefork")


def test_0_means_what_it_means_to_celery() -> None:
    """
    As many processes as processors, and no limit of tasks; for greenlets there is no such number.
    """
    environ = dict.fromkeys(
        ("CELERY_PREFORK_CONCURRENCY", "CELERY_GEVENT_CONCURRENCY", "CELERY_MAX_TASKS_PER_CHILD"),
        "0",
    )

    prefork = load(None, environ, "prefork").workers["prefork"]
    gevent = load(None, environ, "gevent").workers["gevent"]

    assert ("auto", None) == (prefork.concurrency, prefork.max_tasks_per_child)
    assert gevent.concurrency is None


def test_each_bad_value_is_an_error_that_names_its_variable(write: Write) -> None:
    """
    All of them at once, also beside a problem of the file.
    """
    path = write("[workers.prefork]\ntime_limit = 'soon'")
    environ = {
        "CELERY_QUEUES": "a,,b",
        "CELERY_PREFORK_CONCURRENCY": "many",
        "CELERY_PREFETCH_MULTIPLIER": "0",
        "CELERY_MAX_TASKS_PER_CHILD": "-1",
    }

    found = problems(environ, "prefork", path)

    named = {name for name in environ for line in found if line.endswith(f"(from {name})")}
    assert (set(environ), 5) == (named, len(found))


def test_a_service_is_no_worker() -> None:
    """
    `config show flower` in such a container asks about Flower.
    """
    assert "flower" not in load(None, TODAY, "flower").workers


def test_the_former_way_to_replace_children_still_works_alone(write: Write) -> None:
    """
    Before it had a setting it stood among the arguments; with both, one is an error.
    """
    path = write("[workers.prefork]\nextra_args = ['--max-tasks-per-child=7']")

    (problem,) = problems({"CELERY_MAX_TASKS_PER_CHILD": "100"}, "prefork", path)

    assert ("--max-tasks-per-child=7",) == load(path, {}).workers["prefork"].extra_args
    assert "--max-tasks-per-child=7 contradicts workers.prefork.max_tasks_per_child" in problem
