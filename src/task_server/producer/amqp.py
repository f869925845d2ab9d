"""The part of a Celery app that sends messages, with our producers and the time of each send."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import kombu

from task_server.producer.kombu_producer import Pool, pool_of
from task_server.producer.reprs import short_repr
from task_server.producer.stamp import stamped
from task_server.transport.kombu_redis import redis


class Sending:
    """Mixed into the class of `app.amqp`; all that is not here is Celery's or the project's."""

    @property
    def producer_pool(self: Any) -> Any:
        """The producers of `delay()`: ours where the broker is Redis."""
        if self._producer_pool is None:
            self._producer_pool = own_pool(self.app) or super().producer_pool  # type: ignore[misc]
        return self._producer_pool

    publisher_pool = producer_pool

    def _create_task_sender(self: Any) -> Callable[..., Any]:
        send = super()._create_task_sender()  # type: ignore[misc]

        def send_task_message(
            producer: Any, name: str, message: Any, headers: Any = None, **options: Any
        ) -> Any:
            merged = {**message.headers, **headers} if headers else message.headers
            body = message.body
            known = merged if "retries" in merged else body if isinstance(body, Mapping) else {}
            return send(
                *(producer, name, message),
                headers=stamped(merged, known.get("retries")),
                **options,
            )

        return send_task_message

    def as_task_v2(self: Any, task_id: str, name: str, *args: Any, **options: Any) -> Any:
        """Return a message of protocol 2; short arguments are written out in less time."""
        given = dict(zip(("args", "kwargs"), args[:2], strict=False))
        for which, representation in (("args", "argsrepr"), ("kwargs", "kwargsrepr")):
            if options.get(representation) is None:
                value = options.get(which, given.get(which)) or _EMPTY[which]
                options[representation] = short_repr(value)
        return super().as_task_v2(task_id, name, *args, **options)  # type: ignore[misc]


_EMPTY: Mapping[str, Any] = {"args": (), "kwargs": {}}


def own_pool(app: Any) -> Pool | None:
    """Return producers of ours for the broker of *app*; None where Celery's have to do."""
    limit = app.pool.limit
    connection = app.connection_for_write()
    if not limit or type(connection) is not kombu.Connection:
        return None
    transport = connection.get_transport_cls()
    if not issubclass(transport, redis.Transport):
        return None
    return pool_of(connection, limit)


@cache
def _sending(kind: type) -> type:
    return type(kind.__name__, (Sending, kind), {})


def adopt(amqp: Any) -> None:
    """Let *amqp*, the `app.amqp` of an app, send in our way from now on."""
    kind: Any = type(amqp)
    if issubclass(kind, Sending):
        return
    protocol = amqp.task_protocols.get(2)
    amqp.__class__ = _sending(kind)
    if getattr(protocol, "__func__", None) is kind.as_task_v2:
        amqp.task_protocols[2] = amqp.as_task_v2
    # What it has made already is Celery's.
    for name in ("send_task_message", "create_task_message"):
        vars(amqp).pop(name, None)
    amqp._producer_pool = None  # noqa: SLF001 - the pool itself belongs to Kombu, and stays
