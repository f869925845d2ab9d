"""Messages as Celery and Kombu write them, without the cost of either."""

import base64
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from tests.support.redis import Broker


def message(
    number: int,
    seconds: float = 0.0,
    *,
    priority: int = 0,
    eta: float = 0.0,
    task: str = "marks.mark",
) -> bytes:
    """Return a message for *task*(number, seconds); *eta* is a time, in seconds, or 0."""
    name = str(uuid4())
    nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[number, seconds], {}, nothing]).encode()
    headers: dict[str, Any] = {
        "lang": "py",
        "task": task,
        "id": name,
        "root_id": name,
        "retries": 0,
    }
    if eta:
        headers["eta"] = datetime.fromtimestamp(eta, UTC).isoformat()
    properties = {
        "correlation_id": name,
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "delivery_mode": 2,
        "delivery_tag": str(uuid4()),
        "priority": priority,
        "body_encoding": "base64",
    }
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    ).encode()


def send(
    broker: Broker,
    numbers: Iterable[int],
    seconds: float = 0.0,
    *,
    priority: int = 0,
    eta: float = 0.0,
    task: str = "marks.mark",
) -> int:
    """Queue a message for each number; return how many it was."""
    texts = [message(number, seconds, priority=priority, eta=eta, task=task) for number in numbers]
    if texts:
        broker.client.lpush(f"celery\x06\x16{priority}" if priority else "celery", *texts)
    return len(texts)


def left(broker: Broker) -> set[int]:
    """Return the numbers of the messages that are queued, delayed or unacked."""
    return {_number(text) for text in _texts(broker)}


def dead_letters(broker: Broker) -> set[int]:
    """Return the numbers of the messages that became dead letters."""
    records: Any = broker.client.hvals("unacked.dead")
    return {_number(json.loads(json.loads(record)["text"])) for record in records}


def _texts(broker: Broker) -> Iterator[dict[str, Any]]:
    client: Any = broker.client
    for key in broker.queues():
        yield from map(json.loads, client.lrange(key, 0, -1))
    for key in client.keys("unacked.delayed:*"):
        for member in client.zrange(key, 0, -1):
            yield json.loads(member.partition(b" ")[2])
    for entry in client.hvals("unacked"):
        yield json.loads(entry)[0]


def _number(text: dict[str, Any]) -> int:
    (number, *_), *_ = json.loads(base64.b64decode(text["body"]))
    return int(number)
