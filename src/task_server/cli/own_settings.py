"""What `config show NAME` says of the settings that are none of Celery's: what each does."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from task_server.config.model import Config
from task_server.launch.engine import central_reasons
from task_server.launch.spec import WorkerSpec


@dataclass(frozen=True, slots=True)
class Effect:
    """
    What one setting does in a worker.

    Attributes:
        of: Returns the effect of a value in a worker; '' where it has none there, as one
            of gevent has under prefork.
    """

    setting: str
    of: Callable[[Any, WorkerSpec], str]


def _transport(value: str, _: WorkerSpec) -> str:
    return (
        "a message is fetched and registered in one step"
        if value == "atomic"
        else "as in Kombu: without leases, dead letters and delayed tasks in Redis"
    )


def _fetch(value: str, spec: WorkerSpec) -> str:
    if value == "central":
        return "the main process fetches each message, and gives it to a child or a greenlet"
    if reasons := "; ".join(central_reasons(spec)):
        return f"as with central, for this worker: {reasons}"
    return (
        "a child that has ended a task fetches the next one for itself; what that does not serve, "
        "such as an ETA, a rate limit or events, passes through the main process"
    )


def _result_store(value: str, _: WorkerSpec) -> str:
    return (
        "results in Redis are looked up, stored and counted for their chord in one step"
        if value == "atomic"
        else "results are stored by Celery's own, in three steps"
    )


def _database_max_age(value: float, spec: WorkerSpec) -> str:
    if not value:
        return "each task connects to PostgreSQL, as in Celery"
    return f"{_keeper(spec)} keeps its connection to PostgreSQL from task to task for so long"


def _database_max_idle(_: float, spec: WorkerSpec) -> str:
    if not spec.database_max_age:
        return ""
    return "a connection to PostgreSQL that no task has is closed after this"


def _database_connections(_: int, spec: WorkerSpec) -> str:
    return "most connections to PostgreSQL" if spec.pool_row.green else ""


def _resolver_threads(value: int, spec: WorkerSpec) -> str:
    if not spec.pool_row.green:
        return ""
    return f"{min(value, spec.concurrency)} names are resolved at once; gevent's own is 10"


def _producer(value: bool, _: WorkerSpec) -> str:  # noqa: FBT001 - the value of a setting
    return (
        "tasks that send tasks keep one client of Redis and stamp messages with the time"
        if value
        else "tasks send tasks as with Celery"
    )


def _keeper(spec: WorkerSpec) -> str:
    return "gevent's pool" if spec.pool_row.green else "each child"


EFFECTS = (
    Effect("transport", _transport),
    Effect("fetch", _fetch),
    Effect("result_store", _result_store),
    Effect("database_max_age", _database_max_age),
    Effect("database_max_idle", _database_max_idle),
    Effect("database_connections", _database_connections),
    Effect("resolver_threads", _resolver_threads),
    Effect("producer", _producer),
)


def own_rows(config: Config, spec: WorkerSpec) -> Iterator[dict[str, Any]]:
    """Return a row for each setting of ours that has an effect in the worker *spec*."""
    for one in EFFECTS:
        is_shared = hasattr(config, one.setting)
        value = getattr(config if is_shared else spec, one.setting)
        origins: Mapping[str, str] = config.origins if is_shared else spec.origins
        if effect := one.of(value, spec):
            origin = origins.get(one.setting, "default")
            yield {"setting": one.setting, "value": value, "from": origin, "effect": effect}
