"""Messages as Celery writes them, many at little cost: one is sent, the others are copies of it."""

import base64
import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu.serialization import dumps

from tests.support.redis import Broker

#: Where a message that serves as a model lies for a moment.
_MODEL = "bench.model"

#: Bytes that one command of Redis may carry.
_COMMAND = 32 << 20


@functools.cache
def _model(path: Path, task: str, serializer: str) -> dict[str, Any]:
    """Send a message for *task* with Celery by the socket *path* of Redis, and return it."""
    url = f"redis+socket://{path}"
    app = Celery("model", broker=url)
    app.conf.task_serializer = serializer
    app.send_task(task, args=(0,), queue=_MODEL)
    with app.connection_for_read() as connection:
        text = connection.default_channel.client.rpop(_MODEL)
    return dict(json.loads(text))


def messages(
    broker: Broker,
    task: str,
    numbers: Iterable[int],
    arguments: Sequence[Any] = (),
    *,
    serializer: str = "json",
    queue: str = "celery",
    priority: int = 0,
    eta: str | None = None,
) -> Iterator[bytes]:
    """
    Yield a message for *task*(number, *arguments) for each number.

    Args:
        eta: When they are due, in ISO format.
    """
    text = _model(broker.server.path, task, serializer)
    nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    delivery = {"exchange": "", "routing_key": queue}
    for number in numbers:
        name = str(uuid4())
        _, _, body = dumps(((number, *arguments), {}, nothing), serializer=serializer)
        encoded = base64.b64encode(body.encode() if isinstance(body, str) else body)
        properties = {
            "correlation_id": name,
            "delivery_tag": str(uuid4()),
            "delivery_info": delivery,
            "priority": priority,
        }
        yield json.dumps(
            {
                **text,
                "body": encoded.decode(),
                "headers": text["headers"] | {"id": name, "root_id": name, "eta": eta},
                "properties": text["properties"] | properties,
            }
        ).encode()


def put(broker: Broker, key: str, texts: Iterable[bytes]) -> None:
    """Append *texts* to the list *key*, in commands of bounded size."""
    part: list[bytes] = []
    size = 0
    for text in texts:
        part.append(text)
        size += len(text)
        if size >= _COMMAND:
            broker.client.lpush(key, *part)
            part, size = [], 0
    if part:
        broker.client.lpush(key, *part)


def key_of(queue: str, priority: int) -> str:
    """Return the list of a queue and a priority, as Kombu names it."""
    return f"{queue}\x06\x16{priority}" if priority else queue
