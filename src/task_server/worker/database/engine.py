"""Django's PostgreSQL engine, and all that is derived from it, connects through a pool of ours."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Protocol, TypeVar

from task_server.worker.patching import patch


class Pool(Protocol):
    """What gives a connection to Django."""

    def connect(self, params: Mapping[str, Any]) -> Any:
        """Return a connection for the parameters that Django's `connect` got."""


AnyPool = TypeVar("AnyPool", bound=Pool)


def is_psycopg3() -> bool:
    """Whether Django uses psycopg 3."""
    from django.db.backends.postgresql import (  # noqa: PLC0415 only in a worker with Django
        psycopg_any,
    )

    return bool(psycopg_any.is_psycopg3)


def connect_through(pool_of: Callable[[ModuleType], AnyPool]) -> AnyPool:
    """
    Let Django's PostgreSQL engine connect through the pool that *pool_of* returns.

    Django calls `self.Database.connect(**params)`, with `Database` the driver's
    module (4.2 to 6.0), in the one method that every derived engine calls.
    Replacing that module by one with another `connect` leaves to Django all it
    does before and after, so a connection is configured as ever.

    Args:
        pool_of: Gets the driver's module, whose `connect` may be wrapped at any moment.
    """
    from django.db.backends.postgresql import base  # noqa: PLC0415 only in a worker with Django

    engine: Any = base  # the stubs lack what the driver decides
    real: Any = engine.DatabaseWrapper.Database
    pool = pool_of(real)
    patch(engine.DatabaseWrapper, "Database", _DriverModule(real, pool))
    return pool


class _DriverModule(ModuleType):
    """The driver's module, unchanged, but for our `connect`."""

    def __init__(self, real: ModuleType, pool: Pool) -> None:
        super().__init__(real.__name__, real.__doc__)
        self._real = real
        self._pool = pool

    def connect(self, **params: Any) -> Any:
        """Connect through the pool."""
        return self._pool.connect(params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
