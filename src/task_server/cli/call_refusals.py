"""What `call` refuses to send: what nobody would run, and what nobody could wait for."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from task_server.config.model import Config
from task_server.config.values import shown
from task_server.errors import ConfigError, Problem, TaskServerError
from task_server.project.asked import Answers, queues_of_workers, tasks_of_workers
from task_server.project.calls import near_names, queue_of_call, takers, tasks_of


def need_task(project: Any, task: str, seconds: float) -> None:
    """
    Check that the *project* registers *task*, or a worker that answers within *seconds*.

    Raises:
        TaskServerError: Neither does; with the near names.
    """
    if task in project.tasks:
        return
    answers = tasks_of_workers(project, task, seconds)
    worker = answers.of(task)
    if worker is not None:
        click.echo(f"the project does not register {task}; {worker} does", err=True)
        return
    own = tasks_of(project)
    theirs = [name for names in answers.names.values() for name in names]
    near = near_names(task, dict.fromkeys([*own, *theirs]))
    hint = f"; did you mean {', '.join(near)}?" if near else f"; it has {len(own)} tasks"
    raise TaskServerError(
        f"no worker has the task {shown(task)}: the project does not register it"
        f"{_asked(answers, seconds, 'does')}{hint} (--force sends it all the same)"
    )


def queue_of(
    project: Any, task: str, arguments: Iterable[Any], named: Mapping[str, Any], queue: str | None
) -> str:
    """
    Return the queue that the call goes to.

    Raises:
        TaskServerError: It cannot be routed.
    """
    try:
        return queue_of_call(project, task, arguments, named, queue)
    except Exception as error:
        # With task_create_missing_queues off, or from a router of the project's own.
        raise TaskServerError(
            f"the task cannot be routed ({type(error).__name__}: {error}); give --queue"
        ) from error


def need_taker(project: Any, config: Config, queue: str, seconds: float) -> None:
    """
    Check that a worker of *config* takes from *queue*, or one that answers within *seconds*.

    Raises:
        TaskServerError: None does.
    """
    if takers(config, queue):
        return
    answers = queues_of_workers(project, queue, seconds)
    if answers.of(queue) is None:
        raise TaskServerError(
            f"no worker of the configuration takes from the queue {shown(queue)}"
            f"{_asked(answers, seconds, 'does')}; name it in a table [workers.NAME], give another "
            "--queue, or --force where other workers take it"
        )


def need_results(project: Any) -> None:
    """
    Check that the *project* stores results.

    Raises:
        ConfigError: It does not.
    """
    from celery.backends.base import DisabledBackend  # noqa: PLC0415 - imports Celery

    if isinstance(project.backend, DisabledBackend):
        message = "the project stores no results, so there is nothing to wait for; set it, or leave"
        raise ConfigError([Problem("result_backend", f"{message} --wait and --timeout out")])


def _asked(answers: Answers, seconds: float, verb: str) -> str:
    """Return what workers have said, behind what the project says."""
    if answers.trouble:
        return f", and no worker could be asked ({answers.trouble})"
    if not seconds:
        return ""
    count = len(answers.names)
    if not count:
        return f", and no worker answered within {seconds:g} s"
    workers = "the worker that answered" if count == 1 else f"any of the {count} that answered"
    return f", nor {verb} {workers}"
