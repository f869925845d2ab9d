"""
Flower, as `task-server flower` becomes it: `python -m task_server.contrib.flower`.

It is Celery's command `flower` with two things that an operator misses: whether the
broker answers, asked with the project's own settings (`BROKER_PATH`; Flower's
`/healthcheck` says OK whatever happens), and workers that have gone silent, which stay
in the overview, marked Offline.
"""

import asyncio
import ipaddress
import sys
from typing import Any

from celery.bin.celery import main as celery_main
from flower import urls
from flower.views import workers
from tornado.web import RequestHandler

from task_server.health.flower import BROKER_PATH, BROKER_TIMEOUT
from task_server.peers.broker import BrokerClient, is_redis
from task_server.peers.redis import explain_redis_error

#: Seconds for which the overview shows a worker that has gone silent.
SHOWN_SECONDS = 86400

#: Seconds after which /metrics drops it. Until then its series say that it is online.
METRICS_SECONDS = 60


class Shown:
    """Flower's options, but for how long a silent worker is shown."""

    purge_offline_workers = SHOWN_SECONDS

    def __init__(self, options: Any) -> None:
        self._options = options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._options, name)


class BrokerHealth(RequestHandler):
    """Whether the broker answers: 200, or 503 with the reason; for this machine alone."""

    async def get(self) -> None:
        """Ask it, in a thread."""
        if not ipaddress.ip_address(self.request.remote_ip or "::").is_loopback:
            self.send_error(404)
            return
        capp = self.application.capp  # type: ignore[attr-defined]
        reason = await asyncio.to_thread(broker_error, capp)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_status(503 if reason else 200)
        self.write(reason or "OK")


def broker_error(capp: Any) -> str:
    """Return why the broker of the app does not answer; empty if it does."""
    url = capp.conf.broker_read_url or capp.conf.broker_url or ""
    text = ";".join(map(str, url)) if isinstance(url, list | tuple) else str(url)
    try:
        if not is_redis(capp):
            with capp.connection_for_read(connect_timeout=BROKER_TIMEOUT) as connection:
                connection.connect()
            return ""
        broker = BrokerClient(capp, BROKER_TIMEOUT)
        try:
            client, _ = broker.open()
            client.ping()
        finally:
            broker.close()
    except Exception as error:  # noqa: BLE001 - any error becomes the reason
        return explain_redis_error("broker_url", text, error).text
    return ""


def main(arguments: list[str]) -> None:
    """Become Flower with these arguments."""
    urls.handlers.insert(0, (BROKER_PATH, BrokerHealth))
    workers.options = Shown(workers.options)
    given = f"--purge-offline-workers={METRICS_SECONDS}"
    sys.argv = ["celery", "--app", "task_server.app", "flower", given, *arguments]
    sys.exit(celery_main())


if __name__ == "__main__":
    main(sys.argv[1:])
