"""The service: from the project's app to a server that runs until a signal ends it."""

import logging
import os
import signal
import threading
from collections.abc import Mapping
from typing import Any, Final

from task_server.config.values import ALL_QUEUES
from task_server.errors import ConfigError, Problem, TaskServerError
from task_server.launch import early_stop
from task_server.launch.metrics_spec import MetricsSpec
from task_server.metrics.looks import Looks
from task_server.metrics.pages import Pages
from task_server.metrics.server import Server
from task_server.monitor import Snapshot, snapshot
from task_server.peers.broker import BrokerClient, is_redis
from task_server.peers.redis import explain_redis_error
from task_server.project import queues

logger: Final = logging.getLogger(__name__)

#: Seconds for a connection to Redis, and again for each answer.
TIMEOUT: Final = 1.0


def pages(app: Any, spec: MetricsSpec, name: str) -> Pages:
    """
    Return what answers for the broker of *app*.

    Args:
        name: The project's app, as `celery --app` takes it.

    Raises:
        ConfigError: When the broker is no Redis.
    """
    given = app.conf.broker_write_url or app.conf.broker_url or ""
    url = ";".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    try:
        redis = is_redis(app)
    except (ValueError, KeyError, ImportError) as error:
        message = f"the broker cannot be used ({type(error).__name__}: {error}); correct its URL"
        raise ConfigError([Problem("broker_url", message)]) from error
    if not redis:
        message = "the broker is no Redis, which is all that the metrics can read"
        raise ConfigError([Problem("broker_url", message)])
    workers = _queues(app, spec, name)
    named = [queue for every in workers.values() for queue in every]
    names = list(dict.fromkeys([*named, *_declared(app)]))
    client = BrokerClient(app, TIMEOUT)

    def take() -> Snapshot:
        try:
            return snapshot(*client.open(), names)
        except Exception:
            # With a new connection next time: Sentinel may name another server.
            client.close()
            raise

    looks = Looks(take, lambda error: explain_redis_error("broker_url", url, error).text)
    return Pages(looks, workers)


def _queues(app: Any, spec: MetricsSpec, name: str) -> dict[str, tuple[str, ...]]:
    """Return the queues of each kind of worker; `all` is every queue of the project."""
    if not any(ALL_QUEUES in every for every in spec.workers.values()):
        return dict(spec.workers)
    app.loader.import_default_modules()
    app.finalize()
    every = queues.every(app, queues.seen(name, queues.django_settings()))
    return {
        kind: tuple(
            dict.fromkeys(
                queue for one in own for queue in (every if one == ALL_QUEUES else (one,))
            )
        )
        for kind, own in spec.workers.items()
    }


def _declared(app: Any) -> list[str]:
    """Return the queues of the project's settings, also those that no worker takes from."""
    try:
        return list(queues.declared(app))
    except Exception as error:  # noqa: BLE001 - whatever a project's router does, the rest is shown
        logger.warning("metrics: the queues of the project's settings cannot be listed: %s", error)
        return []


def listen(spec: MetricsSpec, found: Pages) -> Server:
    """
    Return the server of *found*, which listens.

    Raises:
        TaskServerError: When it cannot listen where *spec* says.
    """
    try:
        return Server(spec.address, spec.port, found.get)
    except (OSError, UnicodeError) as error:
        raise TaskServerError(
            f"the metrics cannot be served on {spec.address}:{spec.port}: {error}; "
            "choose another with metrics.address and metrics.port"
        ) from error


def run(server: Server, notifier: Any) -> None:
    """Serve until a signal to stop."""
    reader = _stop_signals()
    thread = threading.Thread(target=server.serve_forever, name="server", daemon=True)
    thread.start()
    host = server.server_name
    where = f"[{host}]" if ":" in host else host
    print(f"metrics: http://{where}:{server.server_port}/metrics", flush=True)
    notifier.ready()
    while os.read(reader, 1)[0] not in _stopping():
        pass
    notifier.stopping()
    server.shutdown()
    server.server_close()


def _stopping() -> Mapping[int, None]:
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    hangup = () if ignored or not os.isatty(1) else (signal.SIGHUP,)
    return dict.fromkeys((*early_stop.STOPPING, *hangup))


def _stop_signals() -> int:
    """Return the end of a pipe from which the number of each signal can be read."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _stopping():
        early_stop.set_handler(number, lambda *_: None)
    return reader
