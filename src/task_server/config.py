"""
The configuration, frozen: the only place of defaults.

Each field carries its one-line description in the metadata; the
documentation, `task-server config show` and the loader read it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

Pool = Literal["prefork", "gevent"]
Delivery = Literal["at-least-once", "at-most-once"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

POOLS: tuple[Pool, ...] = get_args(Pool)

#: "as many as the CPU quota of the cgroup allows"; written `auto` in TOML.
AUTO: Literal["auto"] = "auto"


def setting(doc: str, default: Any = ..., *, secret: bool = False, unit: str = "") -> Any:
    """Declare one field of the configuration: its description, default and unit."""
    metadata = {"doc": doc, "secret": secret, "unit": unit}
    if default is ...:
        return field(metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """
    One worker: a row of the table `workers`.

    Sizes are bytes, times are seconds. `None` means that the pool's profile
    chooses (see `task_server.profiles`).
    """

    name: str = setting("Name of the worker; its node name is NAME@HOST.")
    pool: Pool = setting("Execution pool: prefork (CPU-bound) or gevent (network-bound).", "prefork")
    queues: tuple[str, ...] = setting("Queues the worker takes tasks from.", ("celery",))
    concurrency: int | Literal["auto"] | None = setting(
        "Tasks at once: a number, or auto (the CPU quota; prefork only).", None
    )
    prefetch_multiplier: int | None = setting(
        "Messages reserved for each place of the pool; 0 is no limit.", None
    )
    memory_limit: int | None = setting(
        "Memory of the whole worker; unset, the cgroup's limit counts.", None, unit="bytes"
    )
    max_memory_per_child: int | None = setting(
        "Memory at which a prefork child is replaced; unset, derived from the limit.",
        None,
        unit="bytes",
    )
    database_connections: int = setting("Most connections to PostgreSQL under gevent.", 20)
    time_limit: float | None = setting("A task is killed after this.", None, unit="seconds")
    soft_time_limit: float | None = setting(
        "A task is told to stop after this (prefork only).", None, unit="seconds"
    )
    drain_seconds: float = setting(
        "How long running tasks may go on after SIGTERM.", 30.0, unit="seconds"
    )
    delivery: Delivery = setting(
        "at-least-once: a task is acknowledged when it has run; at-most-once: before.",
        "at-least-once",
    )
    events: bool = setting("Send task events from the start (Flower can switch them on).", False)
    log_level: LogLevel = setting("Least severe messages that are logged.", "info")
    log_format: LogFormat = setting("text, or json with one object a line.", "text")
    extra_args: tuple[str, ...] = setting("More arguments for `celery worker`, as they are.", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowerConfig:
    """Where Flower listens and who may look."""

    address: str = setting("Address that Flower listens on.", "127.0.0.1")
    port: int = setting("TCP port of Flower; 0 is any free one.", 5555)
    basic_auth: str | None = setting("user:password that Flower asks for.", None, secret=True)
    url_prefix: str = setting("Path under which a reverse proxy shows Flower.", "")
    read_only: bool = setting("Flower only shows; it cannot stop workers or tasks.", True)


#: The workers that exist without a line of configuration.
BUILT_IN_WORKERS: Mapping[str, WorkerConfig] = MappingProxyType(
    {
        "prefork": WorkerConfig(name="prefork", pool="prefork", queues=("celery",)),
        "gevent": WorkerConfig(name="gevent", pool="gevent", queues=("io_bound",)),
        "all": WorkerConfig(name="all", pool="prefork", queues=("celery", "io_bound")),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that is decided before a process starts."""

    app: str = setting("The project's Celery app, as `celery --app` takes it.", "docket")
    code: str | None = setting("Folder of the project's code, put first on PYTHONPATH.", None)
    settings_module: str | None = setting("DJANGO_SETTINGS_MODULE of the project.", None)
    broker_url: str | None = setting(
        "URL of Redis; unset, the project's own setting counts.", None, secret=True
    )
    result_backend: str | None = setting(
        "URL of the result backend; unset, the project's own setting counts.", None, secret=True
    )
    runtime_dir: str | None = setting(
        "Folder for heartbeats; unset, the first of RUNTIME_DIRECTORY and a private one in /tmp.",
        None,
    )
    workers: Mapping[str, WorkerConfig] = setting("The workers, by name.", BUILT_IN_WORKERS)
    flower: FlowerConfig = setting("Flower.", FlowerConfig())
