"""What is deployed, decided: which workers and services, of what size, from which image."""

from dataclasses import dataclass
from math import ceil

from task_server.config.kubernetes import KubernetesConfig, PodsConfig
from task_server.config.model import BUILT_IN_WORKERS, PODS_TABLE, Config, WorkerConfig
from task_server.config.pools import POOLS
from task_server.config.services import WORKER
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine
from task_server.launch.profiles.prefork import MAIN_PROCESS_BYTES, SMALLEST_CHILD_BYTES
from task_server.launch.services import LAUNCHERS
from task_server.launch.spec import WorkerSpec
from task_server.manifests.names import whole_mebibytes

#: The built-in worker that replaces the other two in a single container.
SINGLE = "all"

#: Bytes of a worker's pod where the configuration says nothing.
MEMORY = 2**30

#: Bytes and processors of a service: it loads the project's app, and runs no task.
SERVICE_MEMORY = 512 * 2**20
SERVICE_CPU = 0.1

#: Seconds beyond what a service has after SIGTERM, for the container's own end.
SERVICE_MARGIN = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """
    The pods of one worker, decided.

    Attributes:
        worker: Its own configuration.

        config: The table of its pods.

        spec: The worker as it will be in such a pod, of a project that sets nothing.

        fewest, most: Pods; they are equal where nothing scales the worker.

        cpu, cpu_limit: Processors; the limit is None where there is none.

        memory: Bytes, with those of /tmp.

        grace: Whole seconds from SIGTERM to SIGKILL.
    """

    worker: WorkerConfig
    config: PodsConfig
    spec: WorkerSpec
    fewest: int
    most: int
    cpu: float
    cpu_limit: float | None
    memory: int
    grace: int

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.worker.name

    @property
    def is_scaled(self) -> bool:
        """Whether an autoscaler says how many there are."""
        return self.config.max is not None

    @property
    def table(self) -> str:
        """What its settings are called, for errors."""
        return PODS_TABLE.format(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is deployed."""

    config: Config
    workers: tuple[Pods, ...]
    services: tuple[str, ...]

    @property
    def kubernetes(self) -> KubernetesConfig:
        """The table [kubernetes]."""
        return self.config.kubernetes

    def image_of(self, service: str, worker: WorkerConfig | None = None) -> str:
        """Return the image of *worker*, or of *service*; empty where none is set."""
        images = dict(self.kubernetes.images)
        names = (worker.name, worker.pool, WORKER.name) if worker else (service,)
        chosen = (images[name] for name in names if name in images)
        return next(chosen, self.kubernetes.image or "")


def plan(config: Config) -> Plan:
    """Return what is deployed of *config*."""
    return Plan(
        config=config,
        workers=tuple(_pods(config, name) for name in sorted(_deployed(config))),
        services=config.kubernetes.services,
    )


def service_grace(name: str) -> int:
    """Return the whole seconds from SIGTERM to SIGKILL of the service *name*."""
    return ceil((LAUNCHERS[name].stop_seconds or 0.0) + SERVICE_MARGIN)


def needed_memory(worker: WorkerConfig, spec: WorkerSpec, tmp: int, child: int) -> int:
    """Return the bytes of a pod whose children have *child* bytes each, if it has children."""
    children = 0 if spec.pool_row.green else spec.concurrency * child
    return max(worker.memory_limit or 0, MAIN_PROCESS_BYTES + children) + tmp


def _deployed(config: Config) -> list[str]:
    """Return the workers of the configuration; where it has none, one of each pool."""
    configured = [
        name
        for name in config.workers
        if name not in BUILT_IN_WORKERS
        or any(origin.startswith(f"workers.{name}.") for origin in config.origins)
    ]
    return configured or [name for name in BUILT_IN_WORKERS if name != SINGLE]


def _pods(config: Config, name: str) -> Pods:
    worker, pods = config.workers[name], config.pods.get(name, PodsConfig())
    prefork = not POOLS[worker.pool].green
    concurrency = worker.concurrency if isinstance(worker.concurrency, int) else None
    cpu = pods.cpu or pods.cpu_limit or float((prefork and concurrency) or 1)
    # Without a quota a prefork worker would count the processors of the node.
    limit = pods.cpu_limit or (cpu if prefork and concurrency is None else None)
    spec = worker_spec(config, name, Machine(cores=limit or cpu, memory=None))
    tmp = config.kubernetes.tmp
    child = worker.max_memory_per_child or 2 * SMALLEST_CHILD_BYTES
    memory = pods.memory or max(MEMORY, whole_mebibytes(needed_memory(worker, spec, tmp, child)))
    fewest = 1 if pods.min is None else pods.min
    if pods.max is None:
        fewest = 1 if pods.replicas is None else pods.replicas
    return Pods(
        worker=worker,
        config=pods,
        spec=worker_spec(config, name, Machine(cores=limit or cpu, memory=memory)),
        fewest=fewest,
        most=fewest if pods.max is None else pods.max,
        cpu=cpu,
        cpu_limit=limit,
        memory=memory,
        grace=ceil(worker.stop_seconds),
    )
