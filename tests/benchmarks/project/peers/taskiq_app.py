"""The same tasks for taskiq."""

import asyncio
import os

from recorded import record
from taskiq_redis import ListQueueBroker

broker = ListQueueBroker(os.environ["BENCH_BROKER"])


@broker.task(task_name="noop")
async def noop(number: int) -> None:
    """Do nothing."""
    record(number)


def send(_name: str, count: int) -> None:
    """Send *count* messages, one after the other, as a coroutine of a web server does."""
    asyncio.run(_send(count))


async def _send(count: int) -> None:
    await broker.startup()
    for number in range(count):
        await noop.kiq(number)
    await broker.shutdown()
