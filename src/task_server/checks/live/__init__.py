"""The checks that ask Redis, PostgreSQL and this machine."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from celery import Celery

from task_server.checks.facts import Context
from task_server.checks.live import delayed, files, postgres, queues, redis, rights, stopped
from task_server.errors import Finding
from task_server.launch import folders


def live(
    context: Context, app: Any | None, environ: Mapping[str, str], timeout: float
) -> Iterator[Finding]:
    """
    Ask Redis, PostgreSQL and this machine.

    Args:
        app: The project's Celery app; without one, only the configured broker
            and the folder DJANGO_MEDIA_ROOT are checked.

        timeout: Seconds for each answer.
    """
    rules: list[Callable[[], Iterator[Finding]]] = []
    if app is not None:
        rules = [
            lambda: named("redis-server", redis.broker(context, app, timeout)),
            lambda: named("redis-rights", rights.rights(context, app, timeout)),
            lambda: named("queues-in-redis", queues.queues(context, app, timeout)),
            lambda: named("delayed-messages", delayed.delayed(context, app, timeout)),
            lambda: named("stopped-by-hand", stopped.stopped(context, app, timeout)),
            lambda: named("postgres-server", postgres.postgres(context, timeout)),
            lambda: named("media-folder", files.media(context)),
        ]
    else:
        if context.config.broker_url is not None:
            alone = Celery("check", broker=context.config.broker_url, set_as_current=False)
            rules.append(lambda: named("redis-server", redis.broker(context, alone, timeout)))
        rules.append(lambda: named("media-folder", folders.check_media(context.config, environ)))
    rules += [
        lambda: named("user-and-group", files.names(context)),
        lambda: named("code-folder", files.code(context, environ)),
        lambda: named("writable-folders", files.writable_folders(context, environ)),
    ]
    yield from run_concurrently(rules)


def run_concurrently(rules: Sequence[Callable[[], Iterator[Finding]]]) -> Iterator[Finding]:
    """Run all *rules* at once, each in its own thread; return what they find, in order."""
    with ThreadPoolExecutor(len(rules)) as pool:
        for found in [pool.submit(list, rule()) for rule in rules]:
            yield from found.result()


def named(rule: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Return *findings*, each with the name of its rule."""
    for finding in findings:
        yield replace(finding, rule=rule)
