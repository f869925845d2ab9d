"""
The configuration, frozen: the only place of defaults.

Each field carries its one-line description and the kind of its value in its
metadata; the loader and `task-server config show` read them there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Literal, cast, get_args

from task_server.config import pools, values
from task_server.config.kubernetes import KubernetesConfig, PodsConfig
from task_server.config.services import SERVICES
from task_server.config.setting import LogFormat, LogLevel, setting
from task_server.config.tables import (
    BeatConfig,
    CheckConfig,
    FailuresConfig,
    FlowerConfig,
    MetricsConfig,
)

Delivery = Literal["at-least-once", "at-most-once"]
Transport = Literal["atomic", "kombu"]
ResultStore = Literal["atomic", "celery"]
Fetch = Literal["central", "direct"]
EventLoops = Literal["per-task", "shared"]
Media = Literal["writable", "read-only"]

#: "as many as the CPU quota of the cgroup allows"; written `auto` in TOML.
AUTO: Literal["auto"] = "auto"


#: The table of the pods of a worker.
PODS_TABLE = "workers.{}.kubernetes"

#: What a stop may take beyond `drain_seconds`, to requeue and to disconnect. Docker's stop
#: grace and systemd's TimeoutStopSec must leave a worker this much.
STOP_MARGIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """
    One worker: a row of the table `workers`.

    Sizes are bytes, times are seconds. `None` means that the profile of the
    pool chooses (see `task_server.launch.profiles`).
    """

    name: str = field(metadata={"doc": "Name of the worker; its node name is NAME@HOST."})
    pool: str = setting(
        "Execution pool: prefork (CPU-bound) or gevent (network-bound).",
        values.choice(*pools.POOLS, noun="a pool"),
        pools.DEFAULT,
    )
    queues: tuple[str, ...] = setting(
        "Queues the worker takes tasks from; all is every queue of the project.",
        values.queues,
        ("celery",),
    )
    concurrency: int | Literal["auto"] | None = setting(
        "Tasks at once: a number, or auto (the CPU quota; prefork only).",
        values.int_or(AUTO, 1),
        None,
    )
    prefetch_multiplier: int | None = setting(
        "Messages reserved for each place of the pool.", values.integer(1), None
    )
    prefetch_bytes: int = setting(
        "No more messages are fetched while those that run or wait here have so many bytes, those "
        "with an ETA not counted; 0 is no bound (atomic transport).",
        values.size(0),
        256 * 2**20,
    )
    memory_limit: int | None = setting(
        "Memory of the whole worker; unset, the cgroup's limit.",
        values.size(32 * 2**20),
        None,
    )
    max_memory_per_child: int | None = setting(
        "Memory at which a prefork child is replaced; unset, derived from the limit.",
        values.size(16 * 2**20),
        None,
    )
    max_tasks_per_child: int | None = setting(
        "Tasks after which a prefork child is replaced, against leaks of the project; unset, the "
        "project's setting, or none.",
        values.integer(1),
        None,
    )
    database_connections: int = setting(
        "Most connections to PostgreSQL under gevent; a quarter is reserved for tasks with a lock "
        "that others wait for.",
        values.integer(1),
        20,
    )
    database_max_age: float = setting(
        "Seconds for which a connection to PostgreSQL is kept from task to task; under prefork "
        "each child keeps one an alias. 0: each task connects, as in Celery.",
        values.seconds(0, 7 * values.DAY),
        1800.0,
    )
    database_max_idle: float = setting(
        "Seconds after which a connection to PostgreSQL that no task has is closed.",
        values.seconds(1, 7 * values.DAY),
        60.0,
    )
    asyncio: EventLoops = setting(
        "asyncio under gevent: per-task, each task has its own running loop; shared, as in gevent.",
        values.choice(*get_args(EventLoops)),
        "per-task",
    )
    resolver_threads: int = setting(
        "Names that are resolved at once under gevent, at most one a task; 10 is gevent's own.",
        values.integer(1),
        256,
    )
    time_limit: float | None = setting(
        "Hard time limit: a task is stopped after this; under gevent only where it yields.",
        values.seconds(1),
        None,
    )
    soft_time_limit: float | None = setting(
        "Soft time limit: a task gets SoftTimeLimitExceeded; under gevent only where it yields.",
        values.seconds(1),
        None,
    )
    task_unready_seconds: float = setting(
        "A task that has run for longer makes the worker not ready; 0: none does.",
        values.zero_or_seconds(1, 7 * values.DAY),
        0.0,
    )
    task_dead_seconds: float = setting(
        "A task that has run for longer makes the worker count as dead, to be restarted by who "
        "watches its health; 0: none does.",
        values.zero_or_seconds(1, 7 * values.DAY),
        0.0,
    )
    drain_seconds: float = setting(
        "How long running tasks may go on after SIGTERM.", values.seconds(0, 7 * values.DAY), 30.0
    )
    delivery: Delivery = setting(
        "at-least-once: a task is acknowledged when it has run; at-most-once: before.",
        values.choice(*get_args(Delivery)),
        "at-least-once",
    )
    transport: Transport = setting(
        "atomic: a message is fetched and registered in one step; kombu: in two, as in Kombu.",
        values.choice(*get_args(Transport), aliases={"stock": "kombu"}),
        "atomic",
    )
    fetch: Fetch = setting(
        "central: the main process fetches for its children, as in Celery; direct: a prefork child "
        "that has ended a task fetches the next one itself, where it can (atomic transport).",
        values.choice(*get_args(Fetch)),
        "central",
    )
    result_store: ResultStore = setting(
        "atomic: a result is looked up, stored and counted for its chord in one step; celery: in "
        "three, by Celery's own (results in Redis).",
        values.choice(*get_args(ResultStore)),
        "atomic",
    )
    poison_limit: int = setting(
        "Crashes of a worker or child after which the task that caused them becomes a dead letter; "
        "of several that ran at once, further crashes show which. 0 is never (atomic transport).",
        values.integer(0),
        3,
    )
    lease_seconds: float = setting(
        "A worker's messages are redelivered when it has not renewed its lease for this long; a "
        "thread renews it, even while a task blocks the worker (atomic transport).",
        values.seconds(5, 3600),
        30.0,
    )
    delay_seconds: float = setting(
        "A task that is due later than this waits in Redis until then, not in the worker's "
        "memory; 0: in the worker, as with Celery (atomic transport).",
        values.seconds(0, values.DAY),
        5.0,
    )
    monitor: bool = setting(
        "Every few seconds the worker writes to Redis who it is, what it runs and what it has "
        "finished, which `status`, metrics and the admin read.",
        values.boolean,
        True,
    )
    events: bool = setting(
        "Send task events from the start (Flower can switch them on).", values.boolean, False
    )
    log_level: LogLevel = setting(
        "Least severe messages that are logged.", values.choice(*get_args(LogLevel)), "info"
    )
    log_format: LogFormat = setting(
        "text, or json with one object a line.", values.choice(*get_args(LogFormat)), "text"
    )
    extra_args: tuple[str, ...] = setting(
        "More arguments for `celery worker`, as they are.", values.arguments, ()
    )

    @property
    def stop_seconds(self) -> float:
        """How long it has to stop after SIGTERM, in all; whoever stops it must wait so long."""
        return self.drain_seconds + STOP_MARGIN_SECONDS


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

    app: str = setting(
        "The project's Celery app, as `celery --app` takes it; unset, it is discovered.",
        values.text,
        "",
    )
    code: str | None = setting(
        "Folder of the project's code, put first on PYTHONPATH.", values.text, None
    )
    settings_module: str | None = setting(
        "DJANGO_SETTINGS_MODULE of the project; unset, the project's own code sets it.",
        values.text,
        None,
    )
    setup: str | None = setting(
        "A function, module:function, that the project needs called before its app is imported, "
        "such as nautobot:setup.",
        values.function,
        None,
    )
    broker_url: str | None = setting(
        "URL of Redis; unset, the project's own setting applies.", values.url, None, secret=True
    )
    result_backend: str | None = setting(
        "URL of the result backend; unset, the project's own setting applies.",
        values.url,
        None,
        secret=True,
    )
    visibility_timeout: float | None = setting(
        "A message that is not acknowledged returns to its queue after this; unset, an hour or "
        "twice the longest time limit.",
        values.seconds(1),
        None,
    )
    runtime_dir: str | None = setting(
        "Folder for heartbeats; unset, RUNTIME_DIRECTORY or a private one in /tmp.",
        values.text,
        None,
    )
    machine: str | None = setting(
        "Name of the machine that workers run on, which `status` shows beside hosts: the node of "
        "a pod (spec.nodeName), or of a task in Swarm.",
        values.text,
        None,
    )
    import_seconds: float = setting(
        "The import of the project is aborted, and the line named, when it imports no further "
        "module for this long, such as when its own Redis does not answer.",
        values.seconds(1),
        60.0,
    )
    secrets_in_environment: bool = setting(
        "Programs that tasks start inherit broker_url and result_backend, to send tasks.",
        values.boolean,
        False,
    )
    no_new_privileges: bool = setting(
        "No process can gain privileges, such as those of a setuid program.",
        values.boolean,
        False,
    )
    producer: bool = setting(
        "Processes that send tasks, and have the producer installed, keep one client of Redis, "
        "subscribe to results on demand and stamp messages with the time; false: as Celery does.",
        values.boolean,
        True,
    )
    media: Media = setting(
        "Whether tasks write to DJANGO_MEDIA_ROOT, or only read; checked at the start.",
        values.choice(*get_args(Media)),
        "writable",
    )
    workers: Mapping[str, WorkerConfig] = field(
        default_factory=lambda: BUILT_IN_WORKERS, metadata={"doc": "The workers, by name."}
    )
    flower: FlowerConfig = field(
        default_factory=FlowerConfig, metadata={"doc": "Flower, which shows the workers."}
    )
    beat: BeatConfig = field(
        default_factory=BeatConfig, metadata={"doc": "Beat, which sends the periodic tasks."}
    )
    metrics: MetricsConfig = field(
        default_factory=MetricsConfig,
        metadata={"doc": "Metrics, for Prometheus and autoscalers."},
    )
    failures: FailuresConfig = field(
        default_factory=FailuresConfig, metadata={"doc": "What is kept of failed tasks."}
    )
    check: CheckConfig = field(
        default_factory=CheckConfig, metadata={"doc": "What `check` leaves out."}
    )
    kubernetes: KubernetesConfig = field(
        default_factory=KubernetesConfig,
        metadata={"doc": "What `manifests kubernetes` writes."},
    )
    #: Apart from the workers, whose own settings ride in their environment.
    pods: Mapping[str, PodsConfig] = field(
        default_factory=lambda: MappingProxyType({}),
        metadata={
            "doc": "The pods of a worker, where anything is said of them.",
            "table": PODS_TABLE,
        },
    )
    #: Where each value that is no default comes from (a file, a variable), by the dotted
    #: name of its setting: what the operator sets takes precedence over the project.
    origins: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False
    )


#: What has a table of its own, by the name of that.
SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        one.name: cast("type", one.default_factory)
        for one in fields(Config)
        if is_dataclass(one.default_factory)
    }
)

#: Those of services, whose names no worker can have.
SERVICE_TABLES: Mapping[str, type] = MappingProxyType(
    {name: kind for name, kind in SECTIONS.items() if name in SERVICES}
)

#: Settings that are tables.
TABLES = ("workers", *SECTIONS)
