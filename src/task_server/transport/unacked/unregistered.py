"""
Messages of tasks that no code of this worker registers: dead letters, until one does.

Such a message is no failure of its task: it came to a worker whose code is older,
or another's. It is kept as it was, byte for byte, and goes back to where it came
from, once, when a worker of that queue registers its task.
"""

import hashlib
from collections.abc import Callable, Collection, Container
from time import time
from typing import Final

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from task_server.transport.started.analysis import CrashAnalysis
from task_server.transport.store import dead_letters
from task_server.transport.store.client import Store
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.entry import original_of
from task_server.transport.store.portions import BYTES, SCANNED_FIRST
from task_server.transport.store.scripts import RESTORE
from task_server.transport.unacked.redeliver import Redelivery

#: Calls of one scan.
MAX_CALLS: Final = 50


class Unregistered:
    """
    The dead letters of tasks that are not registered, of the queues of one channel.

    A worker that does not consume their queue leaves them: its consumers might not
    register their tasks, and they would go back and forth.

    Args:
        queues: Returns the queues that are consumed.

        registered: Returns the names of the tasks that this process registers.
    """

    def __init__(
        self,
        store: Store,
        redelivery: Redelivery,
        queues: Callable[[], Collection[str]],
        registered: Callable[[], Container[str]],
    ) -> None:
        self._store = store
        self._redelivery = redelivery
        self._queues = queues
        self._registered = registered
        self._cursor = 0

    def add(self, tag: str, task_and_id: tuple[str, str]) -> bool:
        """
        Make the unacked message of *tag* a dead letter; return whether it was there.

        If it cannot be kept there it stays unacked, and is tried again later.

        Raises:
            One of the connection's errors.
        """
        store, keys = self._store, self._store.keys
        entry = store.client.hget(keys.unacked, tag)
        if entry is None:
            return False
        original = original_of(entry)
        if original and original.list_key:
            lists, text = [original.list_key], bytes_to_str(original.payload)
        else:
            steps = self._redelivery.steps(tag, entry, None, CrashAnalysis(store))
            lists = [step.list_key for step in steps if step.list_key]
            text = steps[0].text if steps else ""
        if not lists:
            return False
        record = dead_letters.record_of(
            loads(text),
            lists,
            keys.queues_by_list(self._queues()).get(lists[0], lists[0]),
            text,
            time(),
            reason=dead_letters.NOT_REGISTERED,
            task_and_id=task_and_id,
        )
        sha = hashlib.sha1(entry, usedforsecurity=False).hexdigest()
        _, problems, dead = RESTORE.run(
            store.client,
            keys.unacked_and_times,
            [keys.dead_letters, "RPUSH", "", tag, sha, "dead", "", record],
        )
        if problems:
            store.problems.of_restore(problems)
        return bool(dead)

    def requeue(self) -> list[DeadLetter]:
        """
        Deliver those whose tasks are registered by now; return them.

        It scans a bounded number, and continues from there the next time.

        Raises:
            One of the connection's errors.
        """
        client, key = self._store.client, self._store.keys.dead_letters
        tasks, lists = self._registered(), self._store.keys.queues_by_list(self._queues())
        if not (tasks and lists and client.hlen(key)):
            return []
        back: list[DeadLetter] = []
        left = BYTES
        for _ in range(MAX_CALLS):
            self._cursor, records = client.hscan(key, self._cursor, count=SCANNED_FIRST)
            left -= sum(map(len, records.values()))
            for tag, record in records.items():
                one = DeadLetter.read(bytes_to_str(tag), record)
                ours = one.reason == dead_letters.NOT_REGISTERED and one.task in tasks
                if ours and one.is_whole and lists.keys() >= set(one.lists):
                    # One that another worker was faster with is that worker's.
                    back.extend([one] * dead_letters.retry(client, key, [one]))
            if not self._cursor or left < 0:
                break
        return back
