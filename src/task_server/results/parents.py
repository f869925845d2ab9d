"""
Whoever waits for a result reads its parents in one command.

Celery looks at each parent, again and again, for an error to raise in its place: one command for
each result before it in a chain, or in the header of its chord, at each message that arrives and at
each second. For a chord of 1,000 that were some 500,000.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from celery import states
from celery.backends import redis as celerys
from celery.result import AsyncResult, ResultSet

#: Results read by one command.
MOST: Final = 500

#: With more parents than this that have not ended, they are read so many seconds apart.
MANY: Final = 10
APART: Final = 0.1

_celerys: list[Callable[[Any], None]] = []


def install() -> None:
    """Replace what each AsyncResult of this process does."""
    result: Any = AsyncResult
    if not _celerys:
        _celerys.append(result._maybe_reraise_parent_error)  # noqa: SLF001
        result._maybe_reraise_parent_error = raise_error_of_parent  # noqa: SLF001


def uninstall() -> None:
    """Undo `install`."""
    result: Any = AsyncResult
    if _celerys:
        result._maybe_reraise_parent_error = _celerys.pop()  # noqa: SLF001


def raise_error_of_parent(self: Any) -> None:
    """Raise the error of the first parent of an AsyncResult that has failed, if one has."""
    now = time.monotonic()
    if now < getattr(self, "_parents_read_from", now):
        # Celery calls this a thousand times a second, and to look at a thousand takes as long.
        return
    parents = list(self._parents())[::-1]
    leaves = [leaf for parent in parents for leaf in _leaves(parent)]
    waiting = [leaf for leaf in leaves if is_unread(leaf)]
    read(waiting)
    if len(waiting) > MANY:
        self._parents_read_from = now + APART
    unread = set(map(id, waiting))
    for leaf in leaves:
        # What has been read and has not ended has nothing to raise.
        if id(leaf) not in unread or leaf._cache is not None:  # noqa: SLF001
            leaf.maybe_throw()


def _leaves(result: Any) -> Iterator[Any]:
    """Yield the results of tasks in *result*: itself, or those of a group."""
    if isinstance(result, ResultSet):
        for each in result.results or ():
            yield from _leaves(each)
    else:
        yield result


def is_unread(leaf: Any) -> bool:
    """Whether the result *leaf* would have to be read, from Redis."""
    is_result = isinstance(leaf, AsyncResult)
    return (
        is_result
        and leaf._cache is None  # noqa: SLF001
        and isinstance(leaf.backend, celerys.RedisBackend)
        and not leaf.app.conf.task_always_eager
    )


def read(results: Iterable[Any]) -> None:
    """Let those of *results* that have ended know their outcome."""
    kept: dict[int, tuple[Any, dict[str, list[Any]]]] = {}
    for one in results:
        _, by_id = kept.setdefault(id(one.backend), (one.backend, {}))
        by_id.setdefault(one.id, []).append(one)
    for backend, by_id in kept.values():
        for task_id, meta in _metas(backend, list(by_id)):
            for one in by_id[task_id]:
                one._maybe_set_cache(dict(meta))  # noqa: SLF001


def _metas(backend: Any, ids: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield those of the tasks *ids* that have a result, with it."""
    unknown = []
    for task_id in ids:
        try:
            yield task_id, backend._cache[task_id]  # noqa: SLF001
        except KeyError:
            unknown.append(task_id)
    # Celery 5.6 retries one result, and not several.
    retried = getattr(backend, "_ensure_retryable", lambda function, *words: function(*words))
    for start in range(0, len(unknown), MOST):
        some = unknown[start : start + MOST]
        values = retried(backend.mget, [backend.get_key_for_task(each) for each in some])
        for task_id, value in zip(some, values, strict=True):
            if value:
                meta = backend.decode_result(value)
                if meta["status"] == states.SUCCESS:
                    backend._cache[task_id] = meta  # noqa: SLF001
                yield task_id, meta
