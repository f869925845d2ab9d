"""
Messages of tasks that no code of this worker registers: dead letters, until one does.

Such a message is no failure of its task: it came to a worker whose code is older,
or another's. It is kept as it was, byte for byte, and goes back to where it came
from, once, when a worker of that queue registers its task.
"""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

import hashlib
from time import time
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from task_server.transport.started.reporter import Inquest
from task_server.transport.store import dead_letters as dead
from task_server.transport.store.entry import taken
from task_server.transport.store.scripts import RESTORE
from task_server.transport.unacked.redeliver import destinations

#: Dead letters that one call looks at, and calls of one look.
BATCH: Final = 100
MOST_CALLS: Final = 5


def put_aside(channel: Any, tag: str, called: tuple[str, str]) -> bool:
    """
    Put the unacked message of *tag*, *called* task and id, aside; return whether it was there.

    If it cannot be kept among the dead it stays unacked, and is tried again later.

    Raises:
        One of the connection's errors.
    """
    client, keys = channel.bare_client(), channel.unacked_keys()
    entry = client.hget(keys[0], tag)
    if entry is None:
        return False
    message = taken(entry)
    if message and message.list:
        lists, text = [message.list], bytes_to_str(message.text)
    else:
        steps = destinations(channel, tag, entry, None, Inquest(client, keys[0]))
        lists, text = [name for _, name, _ in steps if name], steps[0][2] if steps else ""
    if not lists:
        return False
    record = dead.record_of(
        loads(text),
        lists,
        _queue_of(channel, lists[0]),
        text,
        time(),
        reason=dead.NOT_REGISTERED,
        called=called,
    )
    sha = hashlib.sha1(entry, usedforsecurity=False).hexdigest()
    _, problems, died = RESTORE.run(
        client, keys, [channel.dead_key, "RPUSH", "", tag, sha, "dead", "", record]
    )
    if problems:
        channel.problems.of_restore(problems)
    return bool(died)


def _queue_of(channel: Any, name: str) -> str:
    """Return the queue that the list *name* belongs to."""
    return _lists(channel).get(name, name)


def _lists(channel: Any) -> dict[str, str]:
    """Return the lists of the queues that *channel* consumes, with the queue of each."""
    return {
        channel.prefixed(channel._q_for_pri(queue, priority)): queue
        for queue in channel.active_queues
        for priority in channel.priority_steps
    }


class Awaited:
    """
    The dead letters whose tasks this worker may register, of the queues of *channel*.

    A worker that does not consume their queue leaves them: who does might not
    register their tasks, and they would go to and fro.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._cursor = 0

    def requeue(self) -> list[dead.Dead]:
        """
        Deliver those whose tasks are registered by now; return them.

        It looks at a bounded number, and goes on from there the next time.

        Raises:
            One of the connection's errors.
        """
        channel = self._channel
        client, key = channel.bare_client(), channel.dead_key
        tasks, lists = channel.qos.tasks(), _lists(channel)
        if not (tasks and lists and client.hlen(key)):
            return []
        back: list[dead.Dead] = []
        for _ in range(MOST_CALLS):
            self._cursor, records = client.hscan(key, self._cursor, count=BATCH)
            for tag, record in records.items():
                one = dead.Dead.read(bytes_to_str(tag), record)
                ours = one.reason == dead.NOT_REGISTERED and one.task in tasks
                if ours and one.is_whole and lists.keys() >= set(one.lists):
                    # One that another worker was faster with is its own.
                    back.extend([one] * dead.retry(client, key, [one]))
            if not self._cursor:
                break
        return back
