"""The classes that take the place of Celery's."""

from typing import Any

from celery.backends import redis as celerys

from task_server.results.storing import Storing
from task_server.results.unsubscribing import Unsubscribing


class _Pickled:
    """A backend is pickled as Celery's: who reads it may not have this package."""

    def __reduce__(self: Any, args: Any = (), kwargs: Any = None) -> Any:
        make, (_, *rest) = self.celerys.__reduce__(self, args, kwargs)
        return make, (self.celerys, *rest)


_ResultConsumer: Any = celerys.RedisBackend.ResultConsumer


class ResultConsumer(Unsubscribing, _ResultConsumer):  # type: ignore[misc]
    """Receives results from Redis."""


class RedisBackend(_Pickled, Storing, celerys.RedisBackend):
    """Results in Redis."""

    ResultConsumer = ResultConsumer
    celerys = celerys.RedisBackend


class SentinelBackend(_Pickled, Storing, celerys.SentinelBackend):
    """Results in Redis behind Sentinel."""

    ResultConsumer = ResultConsumer
    celerys = celerys.SentinelBackend
