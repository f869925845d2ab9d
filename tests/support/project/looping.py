"""A project whose tasks use asyncio, alone and beside others."""

import asyncio
import contextlib
import time
from contextvars import ContextVar

from asgiref.sync import async_to_sync, sync_to_async
from celery import Celery, current_task
from celery.exceptions import SoftTimeLimitExceeded
from django.utils.asyncio import async_unsafe
from proj import ended, note, started

app = Celery("looping")
mark: ContextVar[str] = ContextVar("mark")

#: For all tasks, as some keep theirs.
LOOP = asyncio.new_event_loop()


@async_unsafe("the ORM")
def query() -> int:
    """Wait as Django's cursors do, which refuse where a loop runs."""
    time.sleep(0.05)
    return 1


async def fetch(seconds: float) -> int:
    """Wait as a client does."""
    await asyncio.sleep(seconds)
    return 1


@app.task
def by_async_to_sync() -> int:
    return async_to_sync(fetch)(1)


@app.task
def by_run() -> int:
    return asyncio.run(fetch(1))


@app.task
def by_runner() -> int:
    with asyncio.Runner() as runner:
        return runner.run(fetch(0.5)) * runner.run(fetch(0.5))


@app.task
def by_loop() -> int:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return asyncio.get_event_loop().run_until_complete(fetch(1))
    finally:
        loop.close()


@app.task
def by_one_loop() -> int:
    return LOOP.run_until_complete(fetch(0.05))


@app.task
def orm() -> int:
    return query()


@app.task
def orm_within() -> int:
    async def many() -> list[int]:
        return await asyncio.gather(*(sync_to_async(query)() for _ in range(3)))

    return sum(asyncio.run(many())) // 3


@app.task
def orm_nested() -> int:
    def inner() -> int:
        return query() * async_to_sync(fetch)(0.05)

    async def outer() -> int:
        return await sync_to_async(inner)()

    return async_to_sync(outer)()


@app.task
def in_threads() -> int:
    async def outer() -> int:
        return await asyncio.to_thread(query)

    return asyncio.run(outer())


@app.task(bind=True)
def context(self) -> bool:
    """Whether a coroutine is part of its task."""
    mark.set(self.request.id)
    before = self.request.id

    async def ask() -> bool:
        await asyncio.sleep(0.2)
        return (mark.get(), self.request.id, current_task.request.id) == (before,) * 3

    return asyncio.run(ask())


@app.task
def failing() -> None:
    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise LookupError("in a coroutine")

    asyncio.run(fail())


async def tidy(number: int, seconds: float) -> None:
    """Wait, and need a moment to end."""
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.sleep(0.1)
        note(f"tidied {number}")


@app.task
def deaf(number: int, how: str) -> None:
    """Go on forever, whatever comes."""

    async def hold_out() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    async def in_sync_code() -> None:
        await sync_to_async(time.sleep)(60)

    started(number)
    if how == "async_to_sync":
        async_to_sync(hold_out)()
    else:
        asyncio.run(hold_out() if how == "run" else in_sync_code())


@app.task
def long(number: int, seconds: float, how: str) -> str:
    """Wait in a loop for *seconds*."""
    started(number)
    try:
        if how == "run":
            asyncio.run(tidy(number, seconds))
        elif how == "loop":
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(tidy(number, seconds))
            finally:
                loop.close()
        else:
            async_to_sync(tidy)(number, seconds)
    except SoftTimeLimitExceeded:
        return "in time"
    ended(number)
    return "done"
