"""
Results in Redis that nobody waits for cost nothing.

Celery subscribes to the channel of each result before it sends the task: a command for each
`delay()`, another one when the result object is thrown away, and a connection that Redis
writes all results to. Here the channels are subscribed to when somebody waits, all of them in one
command. What was published before that is not missed: when Redis has confirmed the
subscription, the results are read once more.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Final

import celery.backends.redis
from celery import states
from celery.app.backends import BACKEND_ALIASES
from kombu.utils.imports import symbol_by_name

from task_server.results.unsubscribing import Unsubscribing

#: Its type stubs know only the public names.
stock: Final[Any] = celery.backends.redis

#: What by_url() of Celery finds for the schemes of Redis, when `app.loader.override_backends`
#: has it.
BACKENDS: Final = {
    "redis": "task_server.producer.results:RedisBackend",
    "rediss": "task_server.producer.results:RedisBackend",
    "sentinel": "task_server.producer.results:SentinelBackend",
}


class Waiting:
    """Mixed into Celery's consumer of results: it subscribes to what somebody waits for."""

    _wanted: Any = None
    _unconfirmed: Any = None
    _confirmed: Any = None
    _heard: Any = None

    def consume_from(self: Any, task_id: str) -> None:
        """Remember that the result of *task_id* is wanted, until somebody waits."""
        if self._wanted is None:
            self._forget()
        self._wanted[task_id] = None

    def cancel_for(self: Any, task_id: str) -> None:
        """Take that back; Redis is told if it knows."""
        if self._wanted and self._wanted.pop(task_id, self) is None:
            return
        key = self._get_key_for_task(task_id)
        if key in self.subscribed_to:
            if self._unconfirmed:
                self._unconfirmed.discard(key)
            super().cancel_for(task_id)  # type: ignore[misc]

    def on_wait_for_pending(self: Any, result: Any, **kwargs: Any) -> None:
        """Read what is there, and subscribe to the rest: somebody waits from here on."""
        super().on_wait_for_pending(result, **kwargs)  # type: ignore[misc]
        self._subscribe()

    def drain_events_until(self: Any, p: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Wait for *p*; Celery 5.6 waits a second for one that is ready already."""
        if p.ready:
            return iter(())
        found: Iterator[Any] = super().drain_events_until(p, *args, **kwargs)  # type: ignore[misc]
        return found

    def drain_events(self: Any, timeout: float | None = None) -> None:
        """Receive what was published, and read what was before the subscription."""
        self._subscribe()
        self._hear()
        super().drain_events(timeout)  # type: ignore[misc]
        self._read_confirmed()

    def on_after_fork(self: Any) -> None:
        """Forget what the parent waits for."""
        self._forget()
        super().on_after_fork()  # type: ignore[misc]

    def _forget(self: Any) -> None:
        self._wanted = {}
        self._unconfirmed, self._confirmed = set(), set()
        self._heard = None

    def _subscribe(self: Any) -> None:
        """Subscribe to all that is wanted, in one command."""
        wanted = []
        while self._wanted:
            try:
                wanted.append(self._wanted.popitem()[0])
            except KeyError:  # another thread has taken the last one
                break
        if not wanted:
            return
        # Celery 5.6 has no lock: each thread has a consumer of its own there.
        with getattr(self, "_locked", nullcontext)():
            keys = [self._get_key_for_task(task_id) for task_id in wanted]
            # One that is to be left, and is wanted again, is kept.
            getattr(self, "_pending_unsubscribe", set()).difference_update(keys)
            keys = [key for key in keys if key not in self.subscribed_to]
            if not keys:
                return
            self.subscribed_to.update(keys)
            self._unconfirmed.update(keys)
            with self.reconnect_on_error():
                if self._pubsub is None:
                    self._pubsub = self.backend.client.pubsub(ignore_subscribe_messages=True)
                self._hear()
                self._pubsub.subscribe(*keys)

    def _hear(self: Any) -> None:
        """Let the subscription, which Celery may have replaced, tell what Redis confirms."""
        pubsub = self._pubsub
        if pubsub is None or pubsub is self._heard:
            return
        if self._wanted is None:
            self._forget()
        self._heard = pubsub
        handle = pubsub.handle_message

        def heard(response: Any, *args: Any, **kwargs: Any) -> Any:
            if response and _text(response[0]) == "subscribe":
                self._confirm(response[1])
            return handle(response, *args, **kwargs)

        pubsub.handle_message = heard

    def _confirm(self: Any, channel: Any) -> None:
        key = channel if channel in self.subscribed_to else _other(channel)
        self._unconfirmed.discard(key)
        if key in self.subscribed_to:
            self._confirmed.add(key)

    def _read_confirmed(self: Any) -> None:
        """Read the results whose subscriptions are confirmed, when all are."""
        if self._unconfirmed or not self._confirmed:
            return
        keys = []
        while self._confirmed:
            try:
                keys.append(self._confirmed.pop())
            except KeyError:  # another thread has taken the last one
                break
        keys = [key for key in keys if key in self.subscribed_to]
        if not keys:
            return
        for found in self.backend._ensured_mget(keys):  # noqa: SLF001 - of the class below
            if found:
                meta = self._decode_result(found)
                # One that is pending has no entry; other states are what was missed.
                if meta["status"] in states.READY_STATES or self.on_message:
                    self.on_state_change(meta, None)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _other(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else str(value).encode()


class OnDemand:
    """Mixed into Celery's backend: nothing is subscribed to when a task is sent."""

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Do nothing; see `Waiting`."""

    def __reduce__(self: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pickle it as Celery's: who reads it may not have this package."""
        inherited: Any = super()
        make, (_, *rest) = inherited.__reduce__(args, kwargs)
        return make, (self.celerys, *rest)

    def _ensured_mget(self: Any, keys: list[Any]) -> list[Any]:
        found: list[Any] = self.ensure(self.client.mget, (keys,))
        return found


class ResultConsumer(Waiting, Unsubscribing, stock.ResultConsumer):  # type: ignore[misc]
    """Receives results from Redis."""


def _extended(scheme: str, celerys: Any) -> Any:
    """Return the class that this process uses for *scheme*: Celery's, or one that extends it."""
    kind = symbol_by_name(BACKEND_ALIASES[scheme])
    return kind if issubclass(kind, celerys) and not issubclass(kind, OnDemand) else celerys


_Redis: Any = _extended("redis", stock.RedisBackend)
_Sentinel: Any = _extended("sentinel", stock.SentinelBackend)


class RedisBackend(OnDemand, _Redis):  # type: ignore[misc]
    """Results in Redis."""

    ResultConsumer = ResultConsumer
    celerys = stock.RedisBackend


class SentinelBackend(OnDemand, _Sentinel):  # type: ignore[misc]
    """Results in Redis behind Sentinel."""

    ResultConsumer = ResultConsumer
    celerys = stock.SentinelBackend


#: What takes the place of a backend that an app has already.
_ADOPTED: Final = {
    each.__mro__[2]: (each, ResultConsumer) for each in (RedisBackend, SentinelBackend)
}


def adopt(app: Any) -> None:
    """Let *app* subscribe to results on demand, if its results are in Redis."""
    loader = app.loader
    loader.override_backends = {**BACKENDS, **loader.override_backends}
    backend = app._backend  # noqa: SLF001 - to look whether there is one already
    own = _ADOPTED.get(type(backend))
    if own is not None:
        backend.__class__, backend.result_consumer.__class__ = own
