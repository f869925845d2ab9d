"""
A group is counted and forgotten in one command, or one for each five hundred of its results.

Celery asks Redis for each result of `completed_count`, and deletes each one of `forget`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from celery.backends import redis as celerys
from celery.result import AsyncResult, ResultSet

from task_server.results.parents import MOST, is_unread, read

_celerys: dict[str, Callable[..., Any]] = {}


def install() -> None:
    """Replace what each group of results of this process does."""
    for function in (completed_count, forget):
        name = function.__name__
        _celerys.setdefault(name, getattr(ResultSet, name))
        setattr(ResultSet, name, function)


def uninstall() -> None:
    """Undo `install`."""
    while _celerys:
        name, function = _celerys.popitem()
        setattr(ResultSet, name, function)


def completed_count(self: Any) -> int:
    """Return how many results of the group *self* are those of tasks that have succeeded."""
    unread = [result for result in self.results if is_unread(result)]
    read(unread)
    # One that was not there just now is not asked for again.
    pending = {id(result) for result in unread if result._cache is None}  # noqa: SLF001
    return sum(int(one.successful()) for one in self.results if id(one) not in pending)


def forget(self: Any) -> None:
    """Delete the results of the group *self*, and of what came before it."""
    together = list(filter(_can_be_forgotten, self.results))
    for backend, results in _by_backend(together):
        for start in range(0, len(results), MOST):
            _delete(backend, [each.id for each in results[start : start + MOST]])
    known = set(map(id, together))
    parents = {}
    for result in self.results:
        if id(result) not in known:
            result.forget()
            continue
        if result.parent:
            parents[id(result.parent)] = result.parent
        _forget_here(result)
    for parent in parents.values():
        parent.forget()


def _can_be_forgotten(result: Any) -> bool:
    """Return whether *result* is in Redis, and Celery's own methods would delete it."""
    if type(result).forget is not AsyncResult.forget:
        return False
    kind: Any = type(result.backend)
    own: Any = celerys.RedisBackend
    return issubclass(kind, own) and all(
        getattr(kind, name) is getattr(own, name) for name in ("forget", "_forget", "delete")
    )


def _by_backend(results: Iterable[Any]) -> Iterator[tuple[Any, list[Any]]]:
    kept: dict[int, tuple[Any, list[Any]]] = {}
    for result in results:
        kept.setdefault(id(result.backend), (result.backend, []))[1].append(result)
    return iter(kept.values())


def _delete(backend: Any, ids: list[str]) -> None:
    keys = [backend.get_key_for_task(each) for each in ids]
    # Celery 5.6 does not retry it.
    retried = getattr(backend, "_ensure_retryable", lambda function, *words: function(*words))
    retried(backend.client.delete, *keys)


def _forget_here(result: Any) -> None:
    """Do what Celery's `forget` does besides the deletion."""
    backend = result.backend
    result._cache = None  # noqa: SLF001
    backend.remove_pending_result(result)
    backend._cache.pop(result.id, None)  # noqa: SLF001
    backend.result_consumer.cancel_for(result.id)
