"""
The scripts of sends and of results, with each key of each wrong type, and each command denied.

Those of the transport have tests/integration/transport/test_scripts.py. Either all is done or
nothing: a caller who gets an error does it in another way.
"""

import re
from importlib.resources import files
from typing import Any

import pytest
from redis import Redis as Client
from redis.exceptions import ResponseError

from task_server.results.scripts import STORE
from tests.integration.transport.test_scripts import TYPES
from tests.support.redis import Redis

SEND = files("task_server.producer").joinpath("lua", "send.lua").read_text("utf-8")

#: Three messages for two lists.
MESSAGES = (1, "a", 2, "b", 1, "c")
SENT = {"one": [b"c", b"a", b"first"], "two": [b"b"]}

#: The result that is there, and the one that is stored.
OLD, NEW = b"old", b"new"


def commands(text: str) -> list[str]:
    """Return the commands that the script *text* calls."""
    return sorted(set(re.findall(r"redis\.p?call\('([A-Z]+)'", re.sub(r"--.*", "", text))))


def send(client: Client) -> Any:
    return client.eval(SEND, 3, "marker", "one", "two", 60, *MESSAGES)


def store(client: Client, expires: int) -> Any:
    return client.eval(STORE.text, 1, "result", NEW, expires, OLD)


def make(client: Client, key: str, kind: str) -> None:
    """Make *key* of a type that it should not have."""
    client.delete(key)
    client.execute_command(*(word.format(key) for word in TYPES[kind]))


def lists(client: Client) -> dict[str, list[bytes]]:
    return {
        name: client.lrange(name, 0, -1) for name in ("one", "two") if client.type(name) == b"list"
    }


@pytest.fixture
def limited(server: Redis) -> Any:
    """Return a client of a user that may do all but a command."""
    clients = []

    def without(command: str) -> Client:
        server.client.execute_command(
            *("ACL", "SETUSER", "few", "reset", "on", ">secret", "~*", "&*", "+@all"),
            f"-{command.lower()}",
        )
        clients.append(Client.from_url(server.url.replace("//", "//few:secret@")))
        return clients[-1]

    yield without
    for client in clients:
        client.close()
    server.client.execute_command("ACL", "DELUSER", "few")


def test_messages_are_pushed_once(server: Redis) -> None:
    """
    However often it is called: its answer may be lost.
    """
    server.client.lpush("one", "first")

    assert [3, 0] == [send(server.client), send(server.client)]
    assert lists(server.client) == SENT


# The marker has a name that is made up for each call, so that it is nothing else.
@pytest.mark.parametrize("key", ["one", "two"])
@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "list"])
def test_a_list_of_the_wrong_type_gets_nothing_nor_do_others(
    server: Redis, key: str, kind: str
) -> None:
    """
    The producer then sends one by one, so that nothing may be pushed before the error.
    """
    server.client.lpush("one", "first")
    make(server.client, key, kind)
    before = lists(server.client)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        send(server.client)

    assert before == lists(server.client)
    assert kind.encode() == server.client.type(key)
    assert not server.client.exists("marker")


@pytest.mark.parametrize("command", commands(SEND))
def test_a_send_that_may_not_call_a_command_pushes_nothing(
    server: Redis, limited: Any, command: str
) -> None:
    """
    It is an error, and nothing was pushed.
    """
    server.client.lpush("one", "first")
    with pytest.raises(ResponseError):
        send(limited(command))

    assert {"one": [b"first"]} == lists(server.client)


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "string"])
def test_a_result_of_the_wrong_type_stays(server: Redis, kind: str) -> None:
    """
    It is an error, as with Celery.
    """
    make(server.client, "result", kind)
    before = server.client.dump("result")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        store(server.client, 60)

    assert before == server.client.dump("result")


@pytest.mark.parametrize("expires", [0, 60])
@pytest.mark.parametrize("command", commands(STORE.text))
def test_a_result_is_stored_or_left_where_a_command_is_denied(
    server: Redis, limited: Any, command: str, expires: int
) -> None:
    """
    Without PUBLISH it is stored, and the error says so: a retry stores the same again.
    """
    server.client.set("result", OLD)
    client = limited(command)
    if command == ("SETEX" if expires == 0 else "SET"):
        # Not called then.
        store(client, expires)
    else:
        with pytest.raises(ResponseError):
            store(client, expires)

    stored = command in ("PUBLISH", "SETEX" if expires == 0 else "SET")
    assert (NEW if stored else OLD) == server.client.get("result")
