"""Event loops in greenlets, in a process of their own, for gevent patches all of it."""

import subprocess
import sys

PATCHED = """
import gevent.monkey
gevent.monkey.patch_all()
import asyncio, gevent, greenlet, logging, threading, time
# On a busy machine a step may be slow, of which the development mode warns.
logging.getLogger("asyncio").addFilter(lambda record: "took %.3f seconds" not in record.msg)
from task_server.worker.pools import gevent_asyncio as asyncio_gevent
asyncio_gevent.install()

def together(*calls):
    greenlets = [gevent.spawn(call) for call in calls]
    gevent.joinall(greenlets, timeout=60)
    return [one.value for one in greenlets]
"""


def run(code: str) -> str:
    """Run *code* with loops in greenlets, each warning an error; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", PATCHED + code],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "" == done.stderr
    return done.stdout.strip()


def test_a_switch_within_a_step_keeps_loop_and_task() -> None:
    """
    A coroutine that blocks cooperatively finds its loop and its task again; others see none.
    """
    found = run("""
async def step():
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    gevent.sleep(0.02)
    await asyncio.sleep(0.02)
    gevent.sleep(0.01)
    return (asyncio.get_running_loop(), asyncio.current_task()) == (loop, task)

def bystander():
    seen = set()
    for _ in range(10):
        seen.add(asyncio._get_running_loop())
        gevent.sleep(0.005)
    return seen == {None}

print(set(together(*[lambda: asyncio.run(step())] * 20, *[bystander] * 20)), greenlet.gettrace())
""")

    assert "{True} None" == found


def test_a_loop_of_many_is_for_one_after_the_other() -> None:
    """
    As where a process runs one task at a time; a loop within a loop is still refused.
    """
    found = run("""
loop = asyncio.new_event_loop()
async def one():
    await asyncio.sleep(0.02)
    return 1
async def within():
    coroutine = one()
    try:
        asyncio.run(coroutine)
    except RuntimeError as error:
        coroutine.close()
        return "cannot be called" in str(error)
print(sum(together(*[lambda: loop.run_until_complete(one())] * 10)), asyncio.run(within()))
loop.close()
""")

    assert "10 True" == found


def test_what_is_thrown_in_cancels_at_the_next_await() -> None:
    """
    The coroutine tidies up, then the exception leaves asyncio.run as it was thrown.
    """
    found = run("""
said = []
async def long():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)
        said.append("tidied")
def limited():
    with gevent.Timeout(0.1) as limit:
        try:
            asyncio.run(long())
        except gevent.Timeout as error:
            return error is limit
print(together(limited, limited), said)
""")

    assert "[True, True] ['tidied', 'tidied']" == found


def test_a_native_thread_has_its_own_loop() -> None:
    """
    Threads of gevent's pool are as ever.
    """
    found = run("""
async def one():
    await asyncio.sleep(0.01)
    return threading.get_ident()
pool = gevent.get_hub().threadpool
native = lambda: pool.apply(lambda: asyncio._get_running_loop() is None)
async def main():
    return native()
print(asyncio.run(main()), together(lambda: asyncio.run(main()), native))
# A gevent 25.5 has crashed at the exit, its output written, with threads that waited for work.
pool.kill()
""")

    assert "True [True, True]" == found
