"""Cases for the offline rules: projects and workers, as few words as they need."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from task_server.checks import Context, ProjectFacts, TaskFacts
from task_server.config.model import BUILT_IN_WORKERS, Config, WorkerConfig
from task_server.errors import Finding
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine

MACHINE = Machine(cores=2.0, memory=None)
Rule = Callable[[Context], Iterator[Finding]]


def own(tasks: tuple[TaskFacts, ...] = (), **values: Any) -> ProjectFacts:
    """Return what is known of a project that sets *values*; `__` stands for a dot."""
    dotted = {name.replace("__", "."): value for name, value in values.items()}
    named = {str(values.get("task_default_queue", "celery")): ["task_default_queue"]}
    for task in tasks:
        if task.queue is not None:
            named.setdefault(task.queue, []).append(f"the task {task.name}")
    return ProjectFacts(
        values={"task_default_queue": "celery", **dotted},
        own={name: f"CELERY_{name.upper()}" for name in dotted},
        origin=lambda _: "cl/settings/10-public.py",
        tasks=tasks,
        named=named,
    )


def context(
    facts: ProjectFacts | None = None,
    *,
    workers: Mapping[str, Mapping[str, Any]] | None = None,
    config: Mapping[str, Any] | None = None,
    transport: str = "atomic",
    said: Sequence[str] = (),
    **more: Any,
) -> Context:
    """
    Return the built-in prefork and gevent workers, or *workers*, changed as given.

    Args:
        said: The settings that the operator gave in task-server.toml.
    """
    chosen: dict[str, WorkerConfig] = {}
    for name, changes in (workers or {"prefork": {}, "gevent": {}}).items():
        base = BUILT_IN_WORKERS.get(name) or WorkerConfig(name=name)
        chosen[name] = replace(base, **{"transport": transport, **changes})
    written = Config(
        workers=chosen, origins=dict.fromkeys(said, "task-server.toml"), **(config or {})
    )
    return Context(
        config=written,
        workers={name: worker_spec(written, name, MACHINE) for name in chosen},
        counts=dict.fromkeys(chosen, 1),
        facts=facts,
        **more,
    )


BACKOFF = TaskFacts(name="feeds.poll", longest_retry=7200)
SLOW = TaskFacts(name="bulk.read", time_limit=7200, queue="celery")
SOFT = TaskFacts(name="docket.fetch", soft_time_limit=30, queue="io_bound")
PREFORK = {"prefork": {}}
GEVENT = {"gevent": {}}

#: The fact, the rule, the context, and level, setting and words of its only line.
Row = tuple[str, Rule, Context, str, str, str]


def says_one_line(rule: Rule, given: Context, level: str, setting: str, words: str) -> None:
    """Assert that *rule* says that of *given*, and nothing else."""
    found = list(rule(given))

    assert [(level, setting)] == [(finding.level, finding.setting) for finding in found]
    assert words in found[0].text
    assert "hunter2" not in str(found[0])
