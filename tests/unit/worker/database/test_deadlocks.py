"""
What greenlets wait for, read off their stacks: without a server, with the locks of gevent.
"""

import subprocess
import sys

#: In a process of its own, for gevent patches it.
SCRIPT = """
from gevent import monkey
monkey.patch_all()
import queue, threading
import gevent
from gevent.lock import RLock, Semaphore
from task_server.worker.database.deadlocks import wait_graph

def parked(wait):
    one = gevent.spawn(wait)
    gevent.sleep(0)
    return one

def taken(lock):
    lock.acquire()
    return lock

def entered(lock):
    def wait():
        with lock:
            pass
    return wait

greenlets = {
    "threading.RLock": parked(entered(taken(threading.RLock()))),
    "gevent RLock": parked(entered(taken(RLock()))),
    "threading.Lock": parked(entered(taken(threading.Lock()))),
    "threading.Semaphore": parked(threading.Semaphore(0).acquire),
    "gevent Semaphore": parked(entered(Semaphore(0))),
    "event": parked(threading.Event().wait),
    "queue": parked(queue.Queue().get),
    "sleep": parked(lambda: gevent.sleep(60)),
}
gevent.sleep(0.02)
me = id(gevent.getcurrent())
known = {id(one): one for one in greenlets.values()}
graph = wait_graph(known, {me}, known.get, search=True)
for name, one in greenlets.items():
    wait = graph.waits[id(one)]
    print(name, wait.kind, wait.owner == me, sep=", ")
print(sorted(graph.lock_owners) == [me], graph.is_deadlock, graph.is_likely_deadlock)
only = {id(greenlets["threading.RLock"]): greenlets["threading.RLock"]}
print(wait_graph(only, {me}, only.get).is_deadlock)
print(wait_graph(only, set(), only.get).is_deadlock)
"""


def test_a_lock_names_its_owner_and_an_event_is_no_lock() -> None:
    """
    Both kinds of RLock name who owns them; locks and semaphores differ from other waits.
    """
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True
    )

    assert [
        "threading.RLock, owned, True",
        "gevent RLock, owned, True",
        "threading.Lock, lock, False",
        "threading.Semaphore, lock, False",
        "gevent Semaphore, lock, False",
        "event, other, False",
        "queue, other, False",
        "sleep, other, False",
        "True False False",
        "True",
        "False",
    ] == done.stdout.splitlines(), done.stderr
