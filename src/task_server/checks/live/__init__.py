"""What only a running server, or this machine, can tell."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery

from task_server.checks.facts import Case
from task_server.checks.live import (
    files as live_files,
)
from task_server.checks.live import (
    postgres as live_postgres,
)
from task_server.checks.live import (
    queues as live_queues,
)
from task_server.checks.live import (
    redis as live_redis,
)
from task_server.checks.live import (
    rights as live_rights,
)
from task_server.errors import Finding
from task_server.launch import folders


def live(
    case: Case, app: Any | None, environ: Mapping[str, str], timeout: float
) -> Iterator[Finding]:
    """
    Ask Redis, PostgreSQL and this machine.

    Args:
        app: The project's Celery app; without one, only the broker of the
            configuration and the folder of DJANGO_MEDIA_ROOT are asked.

        timeout: Seconds for each answer.
    """
    rules: list[Callable[[], Iterator[Finding]]] = []
    if app is not None:
        rules = [
            lambda: live_redis.broker(case, app, timeout),
            lambda: live_rights.rights(case, app, timeout),
            lambda: live_queues.queues(case, app, timeout),
            lambda: live_postgres.postgres(case, timeout),
            lambda: live_files.media(case),
        ]
    else:
        if case.config.broker_url is not None:
            alone = Celery("check", broker=case.config.broker_url, set_as_current=False)
            rules.append(lambda: live_redis.broker(case, alone, timeout))
        rules.append(lambda: folders.media(case.config, environ))
    rules += [
        lambda: live_files.names(case),
        lambda: live_files.code(case, environ),
        lambda: live_files.places(case, environ),
    ]
    yield from together(rules)


def together(rules: Sequence[Callable[[], Iterator[Finding]]]) -> Iterator[Finding]:
    """Ask all *rules* at once, each in a thread of its own; return what they find, in order."""
    with ThreadPoolExecutor(len(rules)) as pool:
        for found in [pool.submit(list, rule()) for rule in rules]:
            yield from found.result()
