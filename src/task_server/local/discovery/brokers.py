"""The broker and the result backend that a project's Celery app names, and whether they answer."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from task_server.local.discovery.protocol import (
    REDIS_DATABASES,
    Endpoint,
    Question,
    Unusable,
)
from task_server.peers.deadline import run_with_timeout
from task_server.peers.redis import explain_redis_error
from task_server.project import celery_app
from task_server.settings import masked

#: Seconds that a server has to answer, and for all attempts together.
ANSWER_SECONDS = 5.0
TOTAL_SECONDS = 15.0

#: Celery reads these itself, before the project's settings.
BROKER, RESULTS = "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"

_TWO_URLS = ("broker_write_url", "broker_read_url")


class Brokers:
    """
    The broker and result backend of *app*.

    Args:
        ours: The variables of ours that the project did not set itself.
    """

    def __init__(self, app: Any, question: Question, ours: frozenset[str]) -> None:
        self._app = app
        self._question = question
        self._ours = ours
        names = ("broker_url", *_TWO_URLS, "broker_host", "result_backend")
        self._own: Mapping[str, Any] = celery_app.own_settings(app, names)

    def brokers(self) -> Iterator[tuple[str, Endpoint]]:
        """Yield the URL, with its password, and the description of each broker."""
        given = os.environ.get(BROKER)
        if given:
            yield given, Endpoint(str(masked(given)), BROKER)
            return
        if "broker_host" in self._own and "broker_url" not in self._own:
            with self._app.connection_for_write() as connection:
                url = connection.as_uri(include_password=True)
            yield url, self._endpoint("broker_host", "")
            return
        two = [name for name in _TWO_URLS if self._own.get(name)]
        # broker_url stands for whichever of the two is not set.
        names = two if len(two) == len(_TWO_URLS) else [*two, "broker_url"]
        for name in names:
            value = self._own.get(name)
            if value:
                url = ";".join(value) if isinstance(value, list | tuple) else str(value)
                yield url, self._endpoint(name, url)
        redis_url = os.environ.get("REDIS_URL")
        if redis_url and not two and "broker_url" not in self._own:
            yield redis_url, Endpoint(str(masked(redis_url)), "REDIS_URL", BROKER)

    def results(self) -> tuple[str, Endpoint] | None:
        """Return the URL, with its password, and the description of the result backend."""
        given = os.environ.get(RESULTS)
        if given:
            return given, Endpoint(str(masked(given)), RESULTS)
        url = self._own.get("result_backend")
        return (str(url), self._endpoint("result_backend", str(url))) if url else None

    def _endpoint(self, name: str, url: str) -> Endpoint:
        namespace = self._app.namespace
        setting = f"{namespace}_{name}".upper() if namespace else name
        return Endpoint(str(masked(url)), setting, self._variable(name, url))

    def _variable(self, setting: str, url: str) -> str:
        """Return the variable of ours that *url* was read from; empty if from none."""
        if not self._is_ours(url):
            # The user's REDIS_URL, which we passed on in Celery's own variables.
            name = RESULTS if setting == "result_backend" else BROKER
            return name if name in self._ours and url == self._question.redis_url else ""
        for name, number in REDIS_DATABASES.items():
            if f"virtual_host={number}" in url:
                return name
        return "REDIS_URL"

    def _is_ours(self, url: str) -> bool:
        return self._question.redis_socket in url

    def try_broker(self, url: str, broker: Endpoint) -> Iterator[Unusable]:
        """Connect to *broker*; yield why it cannot be used."""
        if self._is_ours(url):
            return
        try:
            run_with_timeout(TOTAL_SECONDS, lambda: self._connect(url))
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
            yield _unusable(f"broker ({broker.setting})", url, error)

    def _connect(self, url: str) -> None:
        redis = _is_redis(url)
        seconds = ANSWER_SECONDS
        options = {"socket_connect_timeout": seconds, "socket_timeout": seconds} if redis else {}
        with self._app.connection_for_write(
            url=url, transport_options=options, connect_timeout=seconds
        ) as connection:
            if not redis:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=seconds)
                return
            # Not `connection.connect()`, which tries again for seconds.
            transport = connection.transport
            channel = transport.create_channel(transport)
            try:
                channel.client.ping()
            finally:
                channel.close()

    def try_results(self, url: str, results: Endpoint) -> Iterator[Unusable]:
        """Connect to a result backend in Redis; yield why it cannot be used."""
        if self._is_ours(url) or not _is_redis(url):
            return
        for name in ("redis_socket_connect_timeout", "redis_socket_timeout"):
            self._app.conf[name] = ANSWER_SECONDS
        try:
            run_with_timeout(TOTAL_SECONDS, self._ping_results)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a line
            yield _unusable(f"results ({results.setting})", url, error)

    def _ping_results(self) -> None:
        # A new backend: one that the project used while it was imported lacks our time limits.
        self._app._get_backend().client.ping()  # noqa: SLF001


def _is_redis(url: str) -> bool:
    scheme = url.partition("://")[0]
    return "redis" in scheme or scheme in ("sentinel", "socket", "unix")


def _unusable(setting: str, url: str, error: Exception) -> Unusable:
    if _is_redis(url):
        found = explain_redis_error(setting, url, error)
        return Unusable(found.setting, found.text, found.peer)
    return Unusable.because(setting, str(masked(url)), error, "start it")
