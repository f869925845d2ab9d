"""A result is looked up, stored, published and counted for its chord in one round trip."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from celery import exceptions, states
from kombu.utils.encoding import bytes_to_str
from kombu.utils.functional import LRUCache
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from task_server.results.claims import Claims
from task_server.results.scripts import PART, STORE, STORE_AND_PART, DeniedError, Script

#: Its arguments are not in its types.
BackendStoreError: Any = exceptions.BackendStoreError

#: A longer value is stored as Celery does it: Lua would copy it once more. In bytes.
LONGEST: Final = 2**20

#: Attempts of each command with `result_backend_always_retry`: some eight seconds.
ATTEMPTS: Final = 10

#: States other than a result's last one that are remembered, such as STARTED.
REMEMBERED: Final = 1000


@dataclass(slots=True)
class Entry:
    """A result that is to be stored: *value*, for *expires* seconds (0: forever)."""

    task_id: str
    key: Any
    value: Any
    expires: int
    state: str


@dataclass(slots=True)
class Slot:
    """Holds the result of *task_id* until its part of a chord is counted."""

    task_id: str | None
    entry: Entry | None = None

    def take(self) -> Entry | None:
        """Return the result, which the caller stores."""
        entry, self.entry = self.entry, None
        return entry


#: The slot of the task that ends in this thread, or greenlet.
_local = threading.local()


def _slot() -> Slot | None:
    return getattr(_local, "slot", None)


class Storing(Claims):
    """Mixed into Celery's Redis backend."""

    _scripts_denied = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._written: Any = LRUCache(limit=REMEMBERED)
        if STORE_AND_PART is not None:
            self._chord_part_return_script = self._return_part

    def _create_client(self: Any, **parameters: Any) -> Any:
        """
        Return a client; with `result_backend_always_retry` one that tries each command again.

        Celery tries again to store a result, and not to read the results of a chord's header:
        a connection that is lost then makes the chord fail, and its body is never sent.
        """
        client = super()._create_client(**parameters)  # type: ignore[misc]
        if self.always_retry:
            # Of the connections to come, there is none yet; `set_retry` fails with a
            # BlockingConnectionPool, which greenlets share.
            retry = Retry(ExponentialBackoff(cap=1.0, base=0.1), ATTEMPTS)
            client.connection_pool.connection_kwargs["retry"] = retry
        return client

    def mark_as_done(
        self: Any, task_id: str, result: Any, request: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Store the result of a task, and count it."""
        with self._together(task_id, request):
            return super().mark_as_done(task_id, result, request, *args, **kwargs)  # type: ignore[misc]

    def mark_as_failure(
        self: Any,
        task_id: str,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Store the failure of a task, and count it."""
        with self._together(task_id, request):
            return super().mark_as_failure(  # type: ignore[misc]
                task_id, exc, traceback, request, *args, **kwargs
            )

    def mark_as_revoked(
        self: Any, task_id: str, reason: str = "", request: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Store that a task was revoked, and count it."""
        with self._together(task_id, request):
            return super().mark_as_revoked(task_id, reason, request, *args, **kwargs)  # type: ignore[misc]

    @contextmanager
    def _together(self: Any, task_id: str, request: Any) -> Iterator[None]:
        """Let the result of *task_id* wait until it is counted, if it is a part of a chord."""
        if (
            STORE_AND_PART is None
            or self._scripts_denied
            or not (request and request.chord and request.group)
            or request.id != task_id
        ):
            yield
            return
        outer = _slot()
        slot = _local.slot = Slot(task_id)
        try:
            yield
        finally:
            _local.slot = outer
            entry = slot.take()
            if entry is not None:
                # It could not be counted: a value that cannot be encoded, for example.
                self._store(entry)

    def _store_result(
        self: Any,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **_: Any,
    ) -> Any:
        meta = self._get_result_meta(
            result=result, state=state, traceback=traceback, request=request
        )
        meta["task_id"] = bytes_to_str(task_id)
        expires = self.failure_expires if self._fails_sooner(state) else self.expires
        entry = Entry(
            task_id, self.get_key_for_task(task_id), self.encode(meta), int(expires or 0), state
        )
        slot = _slot()
        if slot is not None and slot.task_id == task_id and len(entry.value) <= LONGEST:
            slot.entry, slot.task_id = entry, None
        else:
            self._store(entry)
        return result

    def _fails_sooner(self: Any, state: str) -> bool:
        # Celery 5.6 has no `result_failure_expires`.
        return state == states.FAILURE and hasattr(self, "failure_expires")

    def _store(self: Any, entry: Entry) -> None:
        if self._scripts_denied or len(entry.value) > LONGEST:
            self._store_stepwise(entry)
            return
        try:
            self._call(STORE, entry, (), ())
        except DeniedError:
            self._scripts_denied = True
            self._store_stepwise(entry)

    def _store_stepwise(self: Any, entry: Entry) -> None:
        """Store *entry* as Celery does."""
        if self._get_task_meta_for(entry.task_id)["status"] == states.SUCCESS:
            return
        try:
            self._set_with_state(entry.key, entry.value, entry.state)
        except BackendStoreError as error:
            raise BackendStoreError(str(error), state=entry.state, task_id=entry.task_id) from error

    def _call(
        self: Any, script: Script, entry: Entry, keys: Sequence[Any], arguments: Sequence[Any]
    ) -> Any:
        """
        Return what *script* answers, which stores *entry*; None if a success is there already.

        As with Celery, a task that runs again does not replace its success.
        """
        expected = self._written.pop(entry.task_id, b"")
        while True:
            answer = self._ensured(
                script,
                (*keys, entry.key),
                (*arguments, entry.value, entry.expires, expected),
            )
            if not answer or answer[0] not in (b"held", "held"):
                if entry.state not in states.READY_STATES:
                    self._written[entry.task_id] = entry.value
                return answer
            expected = answer[1]
            if self.decode_result(expected)["status"] == states.SUCCESS:
                return None

    def _ensured(self: Any, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        return self.ensure(script.run, (self.client, keys, arguments))

    def _return_part(
        self: Any,
        keys: Sequence[Any],
        args: Sequence[Any],
        client: Any = None,  # noqa: ARG002 - Celery's shape
    ) -> Any:
        """Count a part of a chord, in the place of Celery's script."""
        return self._part_with_claim(partial(self._count_part, keys), keys, args)

    def _count_part(self: Any, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        slot = _slot()
        entry = slot.take() if slot is not None else None
        if entry is None:
            return self._claimed(self._ensured(PART, keys, args), keys, args)
        # Otherwise Celery's `store_result` does this.
        return self._ensure_retryable(
            *(self._store_and_count, entry, keys, args),
            fallback_exc=partial(BackendStoreError, task_id=entry.task_id, state=entry.state),
            fallback_msg="failed to store result on the backend",
        )

    def _store_and_count(self: Any, entry: Entry, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        try:
            answer = self._call(STORE_AND_PART, entry, keys, args)
        except DeniedError:
            self._scripts_denied = True
            self._store_stepwise(entry)
            answer = None
        if answer is None:
            answer = self._ensured(PART, keys, args)
        return self._claimed(answer, keys, args)

    def _claimed(self: Any, answer: Any, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """
        Return *answer*, with the claim on the chord's body that we have already.

        A connection that is lost before the answer arrives takes the claim with it: the
        second call does not get it, and the body would never be sent.
        """
        ready, difference, size, claimed = answer
        if claimed or not size or int(ready) != int(size) + int(difference or 0):
            return answer
        holder = self.ensure(self.client.get, (keys[-1],))
        return [ready, difference, size, int(bytes_to_str(holder or "") == args[-1])]
