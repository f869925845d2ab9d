"""A small Django project with Celery, whose worker installs the pool as task_server's own does."""

import asyncio
import os
import sys

from asgiref.sync import async_to_sync, sync_to_async
from celery import Celery
from celery.signals import worker_init
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pooled")
if not settings.configured:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "tester",
                "HOST": os.environ["TEST_DATABASE_HOST"],
                "OPTIONS": {"application_name": "tasks"},
            }
        },
        USE_TZ=True,
    )

app = Celery("pooled", broker=os.environ["TEST_BROKER_URL"], backend=os.environ["TEST_BROKER_URL"])
app.conf.broker_transport_options = {"max_connections": 600}
app.conf.result_backend_thread_safe = True


@worker_init.connect(weak=False)
def install(**_: object) -> None:
    """Celery logs and forgets an exception of a signal, but not SystemExit."""
    from task_server.errors import ConfigError  # noqa: PLC0415 only in the worker
    from task_server.worker.database.install import install_pool  # noqa: PLC0415
    from task_server.worker.pools import gevent_asyncio as asyncio_gevent  # noqa: PLC0415

    asyncio_gevent.install()
    try:
        install_pool(20)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None


@app.task
def sleep_in_the_server(seconds: float) -> int:
    """Sleep in PostgreSQL, and return the process of the session."""
    from django.db import connection  # noqa: PLC0415 Django is set up by then

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s), pg_backend_pid()", [seconds])
        return int(cursor.fetchone()[1])


def session() -> int:
    """Ask PostgreSQL, which takes a moment; return the process of the session."""
    return int(sleep_in_the_server.run(0.05))


async def wait(seconds: float) -> None:
    """Wait as a client does."""
    await asyncio.sleep(seconds)


@app.task
def by_run() -> bool:
    """Wait in a loop of one's own."""
    asyncio.run(wait(0.5))
    return True


@app.task
def by_async_to_sync() -> bool:
    """Wait in a loop of another thread."""
    async_to_sync(wait)(0.5)
    return True


@app.task
def orm_in_a_loop() -> bool:
    """Ask thrice at once, which asgiref does in one thread."""

    async def many() -> list[int]:
        return await asyncio.gather(*(sync_to_async(session)() for _ in range(3)))

    return len(set(asyncio.run(many()))) == 1


@app.task
def orm_of_the_caller() -> bool:
    """Ask within async_to_sync: in the task's own session, and so in its transaction."""

    async def ask() -> int:
        return await sync_to_async(session)()

    return session() == async_to_sync(ask)()


@app.task
def orm_around() -> bool:
    """Ask before, within and after a loop: in one session, and so in one transaction."""

    async def ask() -> int:
        return await sync_to_async(session)()

    return session() == asyncio.run(ask()) == asyncio.run(ask()) == session()


@app.task
def orm_in_other_threads() -> bool:
    """Hold a session, and need one more in a thread of the loop's."""

    async def ask() -> int:
        return await asyncio.to_thread(session)

    return session() != asyncio.run(ask())


@app.task
def orm() -> bool:
    """Ask as ever."""
    return session() > 0
