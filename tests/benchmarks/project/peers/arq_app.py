"""The same tasks for arq."""

import asyncio
import os
from typing import Any

from arq import create_pool, func
from arq.connections import RedisSettings
from recorded import record

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_BROKER"])


async def noop(_context: Any, number: int) -> None:
    """Do nothing."""
    record(number)


async def kept(_context: Any, number: int) -> int:
    """Do nothing, and keep the result."""
    record(number)
    return number


class WorkerSettings:
    """What `arq` runs."""

    functions = (func(noop, keep_result=0), func(kept, keep_result=3600))
    redis_settings = SETTINGS
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "10"))


def send(name: str, count: int) -> None:
    """Send *count* messages, one after the other, as a coroutine of a web server does."""
    asyncio.run(_send(name, count))


async def _send(name: str, count: int) -> None:
    pool = await create_pool(SETTINGS)
    for number in range(count):
        await pool.enqueue_job(name, number)
    await pool.close()
