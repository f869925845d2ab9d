"""A message of a template is pushed, by a producer that is connected."""

import time
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from kombu.exceptions import LimitExceeded

from task_server.producer.channel import Publishing
from task_server.producer.kombu_producer import Producer
from task_server.producer.template import Own, Template


def push(app: Any, template: Template, own: Own) -> bool:
    """
    Push the message of *template* with what it has of its *own*.

    Returns:
        Whether it was; otherwise nothing was done: no producer is free, or it has to connect, or
        to declare the queue.

    Raises:
        kombu.exceptions.OperationalError: As a publish does, after as many tries.
    """
    pool = app.amqp._producer_pool  # noqa: SLF001 - ours, see `usual`
    try:
        producer = pool.acquire()
    except LimitExceeded:
        return False
    try:
        if not _is_ready(producer, template):
            return False
        reply_to = quoted(app.thread_oid)
        try:
            _push(producer.channel, template, own, reply_to)
        except Exception as error:  # noqa: BLE001 - Kombu sorts them, and raises the rest
            _push_again(producer, template, own, reply_to, error)
    except BaseException:
        producer.failed = True
        raise
    finally:
        pool.release(producer)
    return True


def _is_ready(producer: Any, template: Template) -> bool:
    channel: Any = vars(producer)["_channel"]
    # One of a connection that was not opened yet, or whose queues expire, which Kombu 5.6 ignores.
    if not isinstance(channel, Publishing) or vars(channel).get("_expires"):
        return False
    client = getattr(getattr(channel, "connection", None), "client", None)
    return template.declaration in getattr(client, "declared_entities", ())


def _push(channel: Any, template: Template, own: Own, reply_to: str) -> None:
    stamp = f"[{time.time()!r}, 0]"
    tag = channel._next_delivery_tag()  # noqa: SLF001 - as Kombu
    text = template.fill(own, stamp, reply_to, quoted(tag))
    channel.command("LPUSH", template.key, text)


def _push_again(
    producer: Producer, template: Template, own: Own, reply_to: str, error: Exception
) -> None:
    """Do what Kombu does after *error*, with a push in the place of a publish."""
    policy, connection = template.policy, producer.connection

    def again() -> None:
        producer.maybe_declare(template.queue)
        _push(producer.channel, template, own, reply_to)

    with connection._reraise_as_library_errors():  # noqa: SLF001 - as Celery
        if policy is None:
            raise error
        connection.transport_options.update(policy)
        connection.ensure_after(error, producer, again, **policy)()
