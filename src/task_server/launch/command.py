"""Profile -> the command that becomes the worker; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from task_server.config.model import Config
from task_server.config.values import ALL_QUEUES
from task_server.launch.profiles import Profile
from task_server.launch.spec import APP_VARIABLE, WORKER_VARIABLE, Decision
from task_server.launch.timing import Timing

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
    config: Config,
    profile: Profile,
    *,
    python: str,
    runtime_dir: str,
    environ: Mapping[str, str],
) -> Command:
    """
    Return the command of the worker that *profile* describes.

    Args:
        python: Path of the interpreter.

        runtime_dir: Folder of the worker's heartbeat.

        environ: The environment it will run in; PYTHONPATH and TASK_SERVER_TIMING are read.
    """
    worker = profile.worker
    argv = [
        *(python, "-m", "task_server.celeryd"),
        # Celery patches the standard library for gevent when it sees --pool in
        # its own argv, before anything else is imported.
        f"--pool={worker.pool}",
        f"--hostname={worker.name}@%h",
        # Every queue of the project is known when that is imported, in the worker.
        *(() if ALL_QUEUES in worker.queues else (f"--queues={','.join(worker.queues)}",)),
        # An argument wins over the project's own setting, so only what the operator
        # gave is one; the rest is a default of the app (`task_server.launch.precedence`).
        *(
            f"--{name.replace('_', '-')}={getattr(profile, name)}"
            for name in ("concurrency", "prefetch_multiplier")
            if getattr(worker, name) is not None
        ),
        f"--loglevel={worker.log_level}",
        # Workers do not need to know each other: mingle waits a second for
        # answers at every start, gossip sends every worker each other's events.
        "--without-gossip",
        "--without-mingle",
    ]
    if worker.log_format == "json":
        # The banner is no JSON.
        argv.append("--quiet")
    if worker.events:
        argv.append("--task-events")
    if worker.max_memory_per_child is not None:
        argv.append(f"--max-memory-per-child={worker.max_memory_per_child // 1024}")
    if worker.time_limit is not None:
        argv.append(f"--time-limit={worker.time_limit:g}")
    if worker.soft_time_limit is not None:
        argv.append(f"--soft-time-limit={worker.soft_time_limit:g}")
    argv.extend(worker.extra_args)
    decision = decide(config, profile, runtime_dir, Timing.from_environ(environ))
    added = project_environ(config, environ)
    added[WORKER_VARIABLE] = decision.freeze()
    return Command(
        tuple(argv),
        MappingProxyType(added),
        config.no_new_privileges,
        keep_secrets_apart=not config.secrets_in_environment,
    )


def decide(
    config: Config, profile: Profile, runtime_dir: str, timing: Timing | None = None
) -> Decision:
    """Return what the worker of *profile* must know; its heartbeat lies in *runtime_dir*."""
    worker = replace(
        profile.worker,
        concurrency=profile.concurrency,
        prefetch_multiplier=profile.prefetch_multiplier,
        max_memory_per_child=profile.max_memory_per_child,
        memory_limit=profile.memory_limit,
    )
    return Decision(
        worker=worker,
        visibility_timeout=visibility_timeout(config),
        runtime_dir=runtime_dir,
        given=profile.worker,
        said=said(config, worker.name),
        import_seconds=config.import_seconds,
        secrets_in_environment=config.secrets_in_environment,
        timing=timing or Timing(),
    )


def said(config: Config, worker: str) -> dict[str, str]:
    """Return who gave each setting that the operator gave of all workers and of *worker*."""
    own = f"workers.{worker}."
    return {
        name.removeprefix(own): origin
        for name, origin in config.origins.items()
        if name.startswith(own) or "." not in name
    }


def flower_command(config: Config, *, python: str, environ: Mapping[str, str]) -> Command:
    """Return the command of Flower; its password is in the environment, which `ps` hides."""
    flower = config.flower
    argv = [
        *(python, "-m", "celery", "--app", "task_server.app", "flower"),
        f"--address={flower.address}",
        f"--port={flower.port}",
        # Without it a killed worker stays Online for ever.
        "--purge-offline-workers=60",
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


def project_environ(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which the project's own code is found and reaches Redis."""
    added = {APP_VARIABLE: config.app}
    if config.code is not None:
        rest = environ.get("PYTHONPATH")
        added["PYTHONPATH"] = f"{config.code}:{rest}" if rest else config.code
    if config.settings_module is not None:
        added["DJANGO_SETTINGS_MODULE"] = config.settings_module
    # Celery itself lets these two win over the project's settings.
    if config.broker_url is not None:
        added["CELERY_BROKER_URL"] = config.broker_url
    if config.result_backend is not None:
        added["CELERY_RESULT_BACKEND"] = config.result_backend
    return added


def visibility_timeout(config: Config) -> float:
    """
    Return the seconds after which an unacknowledged message returns to its queue.

    It must be above the longest time limit, or a task that still runs is given
    to a second worker; and it is one number for all, since the smallest of all
    the workers on a broker counts.
    """
    if config.visibility_timeout is not None:
        return config.visibility_timeout
    longest = max((worker.time_limit or 0 for worker in config.workers.values()), default=0)
    return max(3600.0, 2 * longest)
