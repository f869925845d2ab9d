"""What only a running server, or this machine, can tell."""

from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery

from task_server import folders
from task_server.checks import live_files, live_postgres, live_redis
from task_server.checks.facts import Case
from task_server.findings import Finding


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
    if app is not None:
        yield from live_redis.broker(case, app, timeout)
        yield from live_postgres.postgres(case, timeout)
        yield from live_files.media(case)
    else:
        if case.config.broker_url is not None:
            alone = Celery("check", broker=case.config.broker_url, set_as_current=False)
            yield from live_redis.broker(case, alone, timeout)
        yield from folders.media(case.config, environ)
    yield from live_files.names(case)
    yield from live_files.code(case, environ)
    yield from live_files.places(case, environ)
