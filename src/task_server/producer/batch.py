"""
Many messages in few round trips: those of a group, of chunks, of a chord's header.

    with batching(producer):
        ...  # publish with it, in whatever way

They are sent in order, a hundred at a time or a quarter of a megabyte, and the rest at the end. A
lost answer is no doubt here: the script does not push the messages of one call twice, so a
retry sends nothing that has been sent. Where it cannot run (rights, a list of another type, no
memory), nothing has been pushed, and they are sent one by one, as Celery sends them.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Any, Final
from uuid import uuid4

from celery import signals
from redis.exceptions import NoScriptError, ResponseError

from task_server.producer.kombu_producer import Producer
from task_server.transport.store.keys import Keys

#: Messages of one call.
MOST: Final = 100

#: Characters of one call; a longer message is sent alone.
LARGEST: Final = 2**18

#: Who takes longer for a message than this has nothing to gain, and others wait. In seconds.
SLOW: Final = 0.05

#: A retry comes within this time. In seconds.
MARKED: Final = 600

_TEXT: Final = files(__package__).joinpath("lua", "send.lua").read_text("utf-8")
_SHA: Final = hashlib.sha1(_TEXT.encode(), usedforsecurity=False).hexdigest()


class Batch:
    """The messages of *producer* that wait to be sent."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._entries: list[tuple[str, str]] = []
        self._retry: dict[str, Any] | None = {}
        self._last = time.monotonic()

    def add(self, key: str, text: str) -> None:
        """Take a message for the list *key*; a channel calls this in the place of LPUSH."""
        self._entries.append((key, text))

    def published(self, retry: Any, policy: Any) -> None:
        """Take notice that a message was published, and send them if it is time."""
        self._retry = dict(policy or {}) if retry else None
        now, last = time.monotonic(), self._last
        self._last = now
        length = sum(len(text) for _, text in self._entries)
        if length > LARGEST and len(self._entries) > 1:
            final = self._entries.pop()
            self.flush()
            self._entries.append(final)
            length = len(final[1])
        # Receivers are told of a message when it has been sent.
        told = signals.after_task_publish.receivers or signals.task_sent.receivers
        if told or len(self._entries) >= MOST or length > LARGEST or now - last > SLOW:
            self.flush()

    def flush(self, *, retry: bool = True) -> None:
        """
        Send what waits.

        Raises:
            kombu.exceptions.OperationalError: As a publish does, after as many tries.
        """
        entries, self._entries = self._entries, []
        if not entries:
            return
        with self._producer.connection._reraise_as_library_errors():  # noqa: SLF001 - as Celery
            together = len(entries) > 1
            if together and self._try(self._push, uuid4().hex, entries, retry=retry):
                return
            for key, text in entries:
                self._try(self._push_one, key, text, retry=retry)

    def _try(self, send: Any, *words: Any, retry: bool) -> Any:
        if retry and self._retry is not None:
            connection = self._producer.connection
            send = connection.ensure(self._producer, send, **self._retry)
        return send(*words)

    def _push(self, marker: str, entries: list[tuple[str, str]]) -> bool:
        """Push *entries*; return whether the server could, otherwise nothing was pushed."""
        channel = self._producer.channel
        lists = {
            key: number for number, key in enumerate(dict.fromkeys(key for key, _ in entries), 1)
        }
        keys = [Keys.of(channel).sent(marker), *lists]
        words: list[Any] = [len(keys), *keys, MARKED]
        for key, text in entries:
            words += (lists[key], text)
        try:
            try:
                channel.command("EVALSHA", _SHA, *words)
            except NoScriptError:
                channel.command("EVAL", _TEXT, *words)
        except ResponseError:
            # Kombu would try again.
            return False
        return True

    def _push_one(self, key: str, text: str) -> None:
        self._producer.channel.command("LPUSH", key, text)


@contextmanager
def batching(producer: Any) -> Iterator[None]:
    """
    Let what *producer* publishes in here wait for what follows; see the top.

    One that is not ours, or collects already, is left as it is. When something is raised in
    here, what was published before is sent all the same.
    """
    if not isinstance(producer, Producer) or not producer.collects:
        yield
        return
    batch = producer.batch_of_ours = Batch(producer)
    try:
        yield
    except (Exception, GeneratorExit):
        _stop(producer)
        batch.flush()
        raise
    except BaseException:
        _stop(producer)
        with suppress(Exception):
            batch.flush(retry=False)
        raise
    finally:
        _stop(producer)
    batch.flush()


def _stop(producer: Any) -> None:
    producer.batch_of_ours = None
    with suppress(Exception):
        # A channel that was lost has none, and a new one is not made for this.
        vars(producer).get("_channel").collector = None
