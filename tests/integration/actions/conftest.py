"""A server, and what lies in it."""

import json
from collections.abc import Iterator

import pytest
import redis

from tests.integration.transport.conftest import server, shared_server, start_redis
from tests.integration.transport.peers import Started

__all__ = ["server", "shared_server", "start_redis"]


@pytest.fixture
def client(server: Started) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with server.client() as one:
        yield one


def message(tag: object, task: str = "proj.work", **headers: object) -> str:
    """Return a message as Kombu writes it."""
    return json.dumps(
        {
            "body": "W10=",
            "headers": {"task": task, "id": f"id-{tag}", **headers},
            "properties": {
                "delivery_tag": str(tag),
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "q"},
                "priority": 0,
            },
        }
    )


def entry(tag: object, queue: str = "q", *, taken: float = 1.0, **owner: object) -> str:
    """Return the entry of a message that a worker of ours has."""
    holder = {"node": "w@h", "pid": 7, "taken": taken, "run": "r", "lease": 30, **owner}
    text = message(tag)[:-1] + f', "taken_from":"{queue}", "holder":{json.dumps(holder)}' + "}"
    return f'[{text}, "", "{queue}"]'


def delayed(tag: object, task: str = "proj.work") -> str:
    """Return the member of a delayed task."""
    return f"1.000000:0001 {message(tag, task)}"


def tags_of(client: redis.Redis, name: str) -> list[str]:
    """Return the tags of the messages of a list, the next to be fetched first."""
    found = [json.loads(text) for text in client.lrange(name, 0, -1)]
    return [one["properties"]["delivery_tag"] for one in reversed(found)]
