"""A worker's spec -> the command that becomes the worker; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from task_server.config.model import Config
from task_server.config.values import ALL_QUEUES
from task_server.launch.beat_spec import BEAT_VARIABLE, BeatSpec
from task_server.launch.metrics_spec import METRICS_VARIABLE, MetricsSpec
from task_server.launch.spec import APP_VARIABLE, SETUP_VARIABLE, WORKER_VARIABLE, WorkerSpec

#: Variables of a command whose values may hold a password.
SECRET_VARIABLES = frozenset({"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "FLOWER_BASIC_AUTH"})


@dataclass(frozen=True, slots=True)
class Command:
    """
    A process to become.

    Attributes:
        environ: Variables that it adds to the environment.

        no_new_privileges: Whether it gives up setuid programs and the like.

        keep_secrets_apart: Whether the program takes its secrets from a pipe
            (`task_server.launch.handover`).
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    no_new_privileges: bool = False
    keep_secrets_apart: bool = False


def worker_command(
    config: Config, spec: WorkerSpec, *, python: str, environ: Mapping[str, str]
) -> Command:
    """
    Return the command of the worker *spec* of *config*.

    Args:
        python: Path of the interpreter.

        environ: The environment it will run in; only PYTHONPATH is read.
    """
    argv = [
        *(python, "-m", "task_server.celeryd"),
        # Celery patches the standard library for gevent when it sees --pool in
        # its own argv, before anything else is imported.
        f"--pool={spec.pool}",
        f"--hostname={spec.name}@%h",
        # Every queue of the project is known when that is imported, in the worker.
        *(() if ALL_QUEUES in spec.queues else (f"--queues={','.join(spec.queues)}",)),
        # An argument wins over the project's own setting, so only what the operator
        # gave is one; the rest is a default of the app (`task_server.launch.precedence`).
        *(
            f"--{name.replace('_', '-')}={getattr(spec, name)}"
            for name in ("concurrency", "prefetch_multiplier")
            if name in spec.origins
        ),
        f"--loglevel={spec.log_level}",
        # Workers do not need to know each other: mingle waits a second for
        # answers at every start, gossip sends every worker each other's events.
        "--without-gossip",
        "--without-mingle",
    ]
    if spec.log_format == "json":
        # The banner is no JSON.
        argv.append("--quiet")
    if spec.events:
        argv.append("--task-events")
    if "max_memory_per_child" in spec.origins:
        argv.append(f"--max-memory-per-child={spec.max_memory_per_child // 1024}")
    if spec.max_tasks_per_child:
        argv.append(f"--max-tasks-per-child={spec.max_tasks_per_child}")
    if spec.time_limit:
        argv.append(f"--time-limit={spec.time_limit:g}")
    if spec.soft_time_limit:
        argv.append(f"--soft-time-limit={spec.soft_time_limit:g}")
    argv.extend(spec.extra_args)
    added = project_environ(config, environ)
    added[WORKER_VARIABLE] = spec.to_json()
    return Command(
        tuple(argv),
        MappingProxyType(added),
        config.no_new_privileges,
        keep_secrets_apart=not config.secrets_in_environment,
    )


def flower_command(config: Config, *, python: str, environ: Mapping[str, str]) -> Command:
    """Return the command of Flower; its password is in the environment, which `ps` hides."""
    flower = config.flower
    argv = [
        *(python, "-m", "task_server.contrib.flower"),
        f"--address={flower.address}",
        f"--port={flower.port}",
    ]
    if flower.url_prefix:
        argv.append(f"--url-prefix={flower.url_prefix}")
    if flower.read_only:
        argv.append("--read-only")
    added = project_environ(config, environ)
    # Flower reads it first, and ends of what a cluster writes there for a service
    # called flower: tcp://10.0.0.7:5555.
    added["FLOWER_PORT"] = str(flower.port)
    if flower.basic_auth is not None:
        added["FLOWER_BASIC_AUTH"] = flower.basic_auth
    return Command(tuple(argv), MappingProxyType(added), config.no_new_privileges)


def beat_command(
    config: Config, spec: BeatSpec, *, python: str, environ: Mapping[str, str]
) -> Command:
    """Return the command of the beat *spec* of *config*."""
    added = project_environ(config, environ)
    added[BEAT_VARIABLE] = spec.to_json()
    return Command(
        (python, "-m", "task_server.beat"), MappingProxyType(added), config.no_new_privileges
    )


def metrics_command(
    config: Config, spec: MetricsSpec, *, python: str, environ: Mapping[str, str]
) -> Command:
    """Return the command of the metrics *spec* of *config*."""
    added = project_environ(config, environ)
    added[METRICS_VARIABLE] = spec.to_json()
    return Command(
        (python, "-m", "task_server.metrics"), MappingProxyType(added), config.no_new_privileges
    )


def project_environ(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which the project's own code is found and reaches Redis."""
    added = {APP_VARIABLE: config.app}
    if config.code is not None:
        rest = environ.get("PYTHONPATH")
        added["PYTHONPATH"] = f"{config.code}:{rest}" if rest else config.code
    if "producer" in config.origins:
        added["TASK_SERVER_PRODUCER"] = str(config.producer).lower()
    if config.setup is not None:
        added[SETUP_VARIABLE] = config.setup
    if config.settings_module is not None:
        added["DJANGO_SETTINGS_MODULE"] = config.settings_module
    # Celery itself lets these two win over the project's settings.
    if config.broker_url is not None:
        added["CELERY_BROKER_URL"] = config.broker_url
    if config.result_backend is not None:
        added["CELERY_RESULT_BACKEND"] = config.result_backend
    return added
