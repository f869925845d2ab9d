"""
What a script does when it cannot do what it should: keys of the wrong type, rights denied.

No message may be lost, or lie in two places, whatever fails and wherever.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

import pytest
import redis

from task_server.transport.store import rights
from task_server.transport.store.keys import Keys
from task_server.transport.store.rights import RIGHTS
from task_server.transport.store.scripts import (
    AGES,
    BEAT_ACQUIRE,
    BEAT_HOLD,
    BEAT_RELEASE,
    BEAT_RUNS,
    DUE,
    ENTRIES,
    EXPIRED,
    FETCH,
    IN_FLIGHT,
    KEEP,
    KEEP_FAILED,
    ORPHANED,
    REDRIVE,
    REDRIVE_FAILED,
    REGISTER,
    RELEASE,
    RENEW,
    RENEW_OWN,
    REQUEUE,
    RESTORE,
    RUNS,
    SWAP,
    UNREADABLE,
    Argument,
    Script,
)
from tests.integration.transport.peers import Started, user

UNACKED, TIMES = "unacked", "unacked_index"
RUN = '"run": "r"'
OWNER = f'"holder":{{"node": "n", "pid": 1, "taken": 1.5, {RUN}, "lease": 30}}'

#: How a key of each type is made.
TYPES: dict[str, tuple[str, ...]] = {
    "string": ("SET", "{}", "x"),
    "list": ("RPUSH", "{}", "x"),
    "hash": ("HSET", "{}", "f", "x"),
    "set": ("SADD", "{}", "x"),
    "zset": ("ZADD", "{}", "1", "x"),
    "stream": ("XADD", "{}", "*", "f", "x"),
}


def message(number: int, eta: str | None = None) -> bytes:
    """Return a message; its tag is its number."""
    properties = {
        "delivery_tag": f"tag-{number}",
        "delivery_info": {"exchange": "", "routing_key": "q"},
    }
    headers = {"headers": {"task": "t", "eta": eta}} if eta else {}
    return json.dumps({"body": f"<{number}>", **headers, "properties": properties}).encode()


#: Far away, so that it is delayed; and long ago.
FUTURE, PAST = "2099-01-01T00:00:00+00:00", "2001-01-01T00:00:00+00:00"


def entry(number: int) -> bytes:
    """Return the entry of the same message when it is unacked."""
    return b"[" + message(number)[:-1] + b', "taken_from":"q", ' + OWNER.encode() + b'}, "", "q"]'


def sha(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


class Call(NamedTuple):
    """
    One call of a script.

    Attributes:
        keys: Those that it is given, in KEYS or ARGV, with the type each should have.
    """

    script: Script
    arguments: Sequence[Argument]
    keys: dict[str, str]
    count: int = 2


FETCHED = (
    10,
    2,
    "1",
    "me",
    10,
    OWNER.partition("{")[2],
    "1",
    "watch",
    "baton",
    "bad",
    "bad.reasons",
    "later:",
    "paused",
    "drained",
    5,
    "1",
    "node",
)
#: As after a long life of the server, see `fill`: what is due is looked for.
DUES = (3600, 20, 60, 0, 100, 30, 15, "looks", "", "")
RECORD = json.dumps({"text": message(20).decode()}).encode()

ADDED = ('{"[\\"t\\",\\"q\\"]": {"succeeded": 1}}', '{"[\\"q\\"]": 5}')


def failed(number: int) -> bytes:
    """Return the record of a failed task with the message *number*."""
    return json.dumps({"at": 1.5, "text": message(number).decode()}).encode()


#: Each script; the state is the same for all, see `fill`.
CALLS: dict[str, Call] = {
    "fetch": Call(
        FETCH,
        ("unacked", "unacked_index", "q", "q2", *FETCHED),
        {
            "unacked": "hash",
            "unacked_index": "zset",
            "q": "list",
            "q2": "list",
            "watch": "zset",
            "baton": "list",
            "bad": "list",
            "bad.reasons": "hash",
            "later:q": "zset",
            "later:q2": "zset",
            "later:": "list",
            "paused": "hash",
            "drained": "hash",
        },
        4,
    ),
    "fetch and acknowledge": Call(
        FETCH,
        ("unacked", "unacked_index", "q", "q2", *FETCHED, "acked"),
        {"unacked": "hash", "unacked_index": "zset", "q": "list", "q2": "list"},
        4,
    ),
    "requeue": Call(
        REQUEUE,
        (
            UNACKED,
            TIMES,
            *("tag-10", "q", message(10), OWNER),
            *("tag-11", "q2", message(11), OWNER),
        ),
        {"unacked": "hash", "unacked_index": "zset", "q": "list", "q2": "list"},
    ),
    "restore": Call(
        RESTORE,
        (
            *(UNACKED, TIMES, "dead", "RPUSH", "100"),
            *("tag-10", sha(entry(10)), "push", "q", message(10)),
            *("tag-11", sha(entry(11)), "dead", "", json.dumps({"text": message(11).decode()})),
            *("tag-12", "", "forget", "", ""),
        ),
        {"unacked": "hash", "unacked_index": "zset", "q": "list", "dead": "hash"},
    ),
    "restore to two lists": Call(
        RESTORE,
        (
            *(UNACKED, TIMES, "dead", "LPUSH", ""),
            *("tag-10", sha(entry(10)), "push", "q", message(10)),
            *("tag-10", sha(entry(10)), "push", "q2", message(10)),
            *("tag-11", sha(entry(11)), "push", "q", message(11)),
        ),
        {"unacked": "hash", "unacked_index": "zset", "q": "list", "q2": "list"},
    ),
    "unreadable": Call(
        UNREADABLE,
        (
            *(UNACKED, TIMES, "bad", "bad.reasons"),
            *("tag-10", sha(entry(10)), message(10), sha(message(10)), "{}"),
            *("tag-11", sha(entry(11)), message(11), sha(message(11)), "{}"),
        ),
        {"unacked": "hash", "unacked_index": "zset", "bad": "list", "bad.reasons": "hash"},
    ),
    "redrive": Call(
        REDRIVE,
        ("dead", *("tag-20", sha(RECORD), "q", message(20)), *("tag-21", sha(RECORD), "", "")),
        {"dead": "hash", "q": "list"},
        1,
    ),
    "keep failed": Call(
        KEEP_FAILED,
        (
            *("failed", "failed.times", "failed.about", 10, 1e6, 10**6),
            *("t tag-30", failed(30).partition(b"{")[2]),
        ),
        {"failed": "hash", "failed.times": "zset", "failed.about": "hash"},
        3,
    ),
    "retry failed": Call(
        REDRIVE_FAILED,
        (
            *("failed", "failed.times", "failed.about", UNACKED),
            *("t tag-30", sha(failed(30)), "tag-30", "q", message(30)),
            *("t tag-31", sha(b"another"), "tag-31", "", ""),
        ),
        {
            "failed": "hash",
            "failed.times": "zset",
            "failed.about": "hash",
            "unacked": "hash",
            "q": "list",
        },
        4,
    ),
    "orphaned": Call(
        ORPHANED, (UNACKED, TIMES, OWNER, 0, 10), {"unacked": "hash", "unacked_index": "zset"}
    ),
    "entries": Call(ENTRIES, (UNACKED, "tag-10", "tag-11", "tag-12"), {"unacked": "hash"}, 1),
    "return what is due": Call(
        DUE, ("later:", "q", "q2"), {"later:q": "zset", "later:q2": "zset", "q": "list"}, 0
    ),
    "release": Call(RELEASE, ("later:q", "q"), {"later:q": "zset", "q": "list"}),
    "expired": Call(
        EXPIRED,
        (TIMES, UNACKED, *DUES),
        {"unacked_index": "zset", "unacked": "hash", "looks": "hash"},
    ),
    "renew": Call(RENEW, (TIMES, "1", "tag-10", "tag-12"), {"unacked_index": "zset"}, 1),
    "renew own": Call(
        RENEW_OWN,
        (UNACKED, TIMES, RUN, "tag-10", "tag-11", "tag-12"),
        {"unacked": "hash", "unacked_index": "zset"},
    ),
    "ages": Call(AGES, ("q", "q2", "tails"), {"q": "list", "q2": "list", "tails": "hash"}),
    "in flight": Call(
        IN_FLIGHT, (UNACKED, TIMES, "0", 10), {"unacked": "hash", "unacked_index": "zset"}
    ),
    "register": Call(
        REGISTER,
        ("workers", "r", '"node": "n"}', 1, 86400, "added", 1, *ADDED, 86400),
        {"workers": "hash", "added": "hash"},
        1,
    ),
    "take beat's lock": Call(BEAT_ACQUIRE, ("lock", "me", 5000, "host", "1"), {"lock": "hash"}, 1),
    "hold beat's lock": Call(
        BEAT_HOLD,
        ("lock", "lock:runs", "me", 5000, 9000, "one"),
        {"lock": "hash", "lock:runs": "hash"},
    ),
    "record beat's runs": Call(
        BEAT_RUNS, ("lock:runs", 9000, "one", "5"), {"lock:runs": "hash"}, 1
    ),
    "release beat's lock": Call(BEAT_RELEASE, ("lock", "me"), {"lock": "hash"}, 1),
    "copy what a purge keeps": Call(
        KEEP,
        ("q", "copy", 1, 600, "01", sha(message(5, FUTURE)), sha(message(1)), 9),
        {"q": "list", "copy": "list"},
    ),
    "purge": Call(
        SWAP,
        (
            *("q", "kept", "trash", 2, sha(message(5, FUTURE)), 0, 2, 9),
            *(sha(message(2)), 1, sha(message(5, FUTURE)), 1),
        ),
        {"q": "list", "kept": "list", "trash": "list"},
        3,
    ),
    "runs": Call(RUNS, (UNACKED, TIMES, 0, 10, RUN), {"unacked": "hash", "unacked_index": "zset"}),
}

#: Each script, and each prefix.
SCRIPTS = sorted(
    path.name
    for path in files("task_server.transport.store").joinpath("lua").iterdir()
    if path.name.endswith(".lua")
)


def test_every_script_is_in_the_matrix() -> None:
    """
    Add a call to `CALLS` for each new script.
    """
    assert SCRIPTS == sorted({name for call in CALLS.values() for name in call.script.files})


def looked(now: int) -> dict[str, int]:
    """Return the scans of workers like that of the call."""
    return {f"since {DUES[1]}": 1, f"last {DUES[1]}": now}


def delayed(due: int, not_due: int) -> dict[bytes, float]:
    """Return the members of a sorted set of delayed tasks, with their scores."""
    return {
        b"1.5:0001 " + message(due, PAST): 1e9,
        b"1.5:0002 " + message(not_due, FUTURE): 4070908800.0,
    }


def fill(client: redis.Redis, wrong: str | None = None, kind: str = "") -> None:
    """Put messages everywhere, but not where a key of the type *kind* is to be."""
    client.flushall()
    state: list[tuple[str, Callable[[], object]]] = [
        ("q", lambda: client.rpush("q", message(1), message(5, FUTURE), message(2))),
        ("q2", lambda: client.rpush("q2", message(3), b"{broken <4>")),
        (UNACKED, lambda: client.hset(UNACKED, mapping={f"tag-{n}": entry(n) for n in (10, 11)})),
        (TIMES, lambda: client.zadd(TIMES, {"tag-10": 1.5, "tag-11": 1.5, "tag-12": 1.5})),
        ("later:q", lambda: client.zadd("later:q", delayed(6, 7))),
        ("later:q2", lambda: client.zadd("later:q2", delayed(8, 9))),
        ("dead", lambda: client.hset("dead", mapping={"tag-20": RECORD})),
        (
            "failed",
            lambda: client.hset("failed", mapping={f"t tag-{n}": failed(n) for n in (30, 31)}),
        ),
        (
            "failed.times",
            lambda: client.zadd("failed.times", {f"t tag-{n}": client.time()[0] for n in (30, 31)}),
        ),
        ("failed.about", lambda: client.hset("failed.about", "bytes", 500)),
        ("looks", lambda: client.hset("looks", mapping=looked(client.time()[0]))),
        ("kept", lambda: client.rpush("kept", message(5, FUTURE), message(2))),
    ]
    for key, make in state:
        if key != wrong:
            make()
    if wrong is not None:
        client.execute_command(*(word.format(wrong) for word in TYPES[kind]))


def places(client: redis.Redis) -> Counter[str]:
    """Return how often each message lies in a list, hash or sorted set."""
    found: list[bytes] = []
    for key in client.scan_iter():
        kind = client.type(key)
        if kind == b"list":
            found.extend(client.lrange(key, 0, -1))
        elif kind == b"hash" and not key.endswith(b"reasons"):
            found.extend(client.hvals(key))
        elif kind == b"zset" and key.startswith(b"later:"):
            found.extend(client.zrange(key, 0, -1))
    return Counter(number for text in found for number in re.findall(r"<\d+>", text.decode()))


def everything(client: redis.Redis) -> dict[bytes, object]:
    """Return what lies in each key."""
    return {key: client.dump(key) for key in client.scan_iter()}


def run(client: redis.Redis, call: Call) -> object:
    """Call the script; return its answer, or what Redis says instead."""
    keys = [str(one) for one in call.arguments[: call.count]]
    try:
        return call.script.run(client, keys, call.arguments[call.count :])
    except redis.ResponseError as error:
        return error
    finally:
        call.script.text_only = False


WRONG = [
    pytest.param(name, key, kind, id=f"{name}: {key} is a {kind}")
    for name, call in CALLS.items()
    for key, right in call.keys.items()
    for kind in TYPES
    if kind != right
]


@pytest.mark.parametrize(("name", "key", "kind"), WRONG)
def test_a_key_of_the_wrong_type_loses_nothing(server: Started, name, key, kind) -> None:
    """
    Each script, each of its keys, each wrong type: every message is where it was, or where it goes.
    """
    client = server.client()
    fill(client, key, kind)
    holds(client, name, client)


def commands(script: Script) -> set[str]:
    """Return the commands in the text of *script*."""
    text = re.sub(r"--.*", "", script.text)
    called = re.findall(r"(?:call|try)\(\s*'([A-Z]+)'", text)
    return {*called, *re.findall(r"'([LR](?:PUSH|POP))'", text)}


DENIED = [
    pytest.param(name, command, id=f"{name}: {command} is denied")
    for name, call in CALLS.items()
    for command in sorted({*commands(call.script), "EVALSHA"})
]


@pytest.mark.parametrize(("name", "command"), DENIED)
def test_a_denied_command_loses_nothing(server: Started, name: str, command: str) -> None:
    """
    Each script, each of its commands denied: every message is where it was, or where it goes.
    """
    client = server.client()
    fill(client)
    rules = ("~*", "&*", "+@all", f"-{command.lower()}")
    with user(server, *rules) as url, redis.Redis.from_url(url) as limited:
        holds(client, name, limited)


FORBIDDEN = [
    pytest.param(name, key, id=f"{name}: {key} is forbidden")
    for name, call in CALLS.items()
    for key in call.keys
]


@pytest.mark.parametrize(("name", "key"), FORBIDDEN)
def test_a_forbidden_key_loses_nothing(server: Started, name: str, key: str) -> None:
    """
    Each script, each of its keys one that the user may not use: as above.
    """
    client = server.client()
    fill(client)
    with user(server, *allowed(name, key)) as url, redis.Redis.from_url(url) as limited:
        holds(client, name, limited)


def allowed(name: str, key: str) -> list[str]:
    """Return the rules of a user that may use each key of the call but *key*."""
    return [*(f"~{other}" for other in CALLS[name].keys if other != key), "&*", "+@all"]


#: Keys without which each script does what it is for.
AUXILIARY = {
    *("watch", "baton", "bad", "bad.reasons", "looks"),
    *("later:q", "later:q2", "later:", "paused", "drained"),
}


def holds(client: redis.Redis, name: str, limited: redis.Redis) -> None:
    """Assert that the call, by *limited*, leaves each message somewhere, and all if refused."""
    before, whole = places(client), everything(client)
    answer = run(limited, CALLS[name])

    # A message that a call delivers to two lists, or copies, is in both.
    assert set(before) == set(places(client))
    if name not in ("restore to two lists", "copy what a purge keeps", "purge"):
        assert before == places(client)
    if isinstance(answer, redis.ResponseError):
        # What is due lies in its list, if that was possible.
        moved = {b"q", b"q2", b"later:q", b"later:q2"} if name.startswith("fetch") else set()
        assert without(moved, whole) == without(moved, everything(client))


def without(keys: set[bytes], values: dict[bytes, object]) -> dict[bytes, object]:
    """Return *values* without those of *keys*."""
    return {key: value for key, value in values.items() if key not in keys}


NEEDED = {right.command for right in RIGHTS if not right.without}


@pytest.mark.parametrize("command", sorted(commands(FETCH)))
def test_a_fetch_without_a_right(server: Started, command: str) -> None:
    """
    Without a command that is needed nothing moves; without any other the messages do.
    """
    client = server.client()
    fill(client)
    with user(server, "~*", "&*", "+@all", f"-{command.lower()}") as url:
        limited = redis.Redis.from_url(url)
        answer = run(limited, CALLS["fetch"])
        left = (client.llen("q"), client.llen("q2"), client.hlen(UNACKED))
        waiting = left[0] + client.zcard("later:q"), left[1] + client.zcard("later:q2")
        client.delete("q", "q2")
        idle = run(limited, CALLS["fetch"])
        limited.close()

    if command in NEEDED:
        assert isinstance(answer, redis.ResponseError)
        assert (5, 4) == waiting
        assert 2 == left[2]
    else:
        assert isinstance(answer, list), answer
        assert (0, 0) == left[:2]
        assert isinstance(idle, list), idle


@pytest.mark.parametrize("kind", [*TYPES, "forbidden"])
@pytest.mark.parametrize("key", sorted(AUXILIARY & set(CALLS["fetch"].keys)))
def test_a_fetch_does_without_a_key(server: Started, key: str, kind: str) -> None:
    """
    Messages are taken whatever lies where the watchers, the baton and the unreadable should.
    """
    client = server.client()
    fill(client, *(() if kind == "forbidden" else (key, kind)))
    rules = allowed("fetch", key) if kind == "forbidden" else ["~*", "+@all"]
    with user(server, *rules) as url, redis.Redis.from_url(url) as limited:
        answer = run(limited, CALLS["fetch"])
        left = (client.llen("q"), client.llen("q2"))
        taken = set(client.hkeys(UNACKED))
        client.delete("q", "q2")
        idle = run(limited, CALLS["fetch"])

    assert isinstance(answer, list), answer
    assert (0, 0) == left
    assert {b"tag-1", b"tag-2", b"tag-3"} <= taken
    if key not in ("bad.reasons", "baton") and kind != CALLS["fetch"].keys[key]:
        assert key.encode() in answer[1]
    # Nor does one that finds no messages end as refused.
    assert isinstance(idle, list), idle


@pytest.mark.parametrize("kind", [*(kind for kind in TYPES if kind != "hash"), "forbidden"])
def test_expired_messages_are_found_without_the_scans(server: Started, kind: str) -> None:
    """
    Whatever lies there, or if it may not be used: this worker then goes by its own scans.
    """
    client = server.client()
    fill(client, *(() if kind == "forbidden" else ("looks", kind)))
    now = client.time()[0]
    call = CALLS["expired"]
    rules = allowed("expired", "looks") if kind == "forbidden" else ["~*", "+@all"]
    with user(server, *rules) as url, redis.Redis.from_url(url) as limited:
        first = run(limited, call)
        own = (*call.arguments[:-2], now - 100, now)
        then = run(limited, call._replace(arguments=own))

    # Its first scan begins a time of grace.
    assert isinstance(first, list), first
    assert 0 < float(first[0]) <= 15
    assert first[5]
    assert isinstance(then, list)
    assert [b"tag-10", b"tag-11", b"tag-12"] == then[6::2]


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "list"])
def test_one_queue_of_the_wrong_type_stops_no_other(server: Started, kind: str) -> None:
    """
    A queue that is no list is a problem that the fetch reports; those of the other are taken.
    """
    client = server.client()
    fill(client, "q2", kind)
    answer = run(client, CALLS["fetch"])

    assert isinstance(answer, list)
    assert b"q2" == answer[1][0]
    assert 0 == client.llen("q")
    assert {b"tag-1", b"tag-2"} <= set(client.hkeys(UNACKED))


def test_two_messages_with_one_tag_are_two(server: Started) -> None:
    """
    A tag that is taken gets another in its place: the entry of the first is not overwritten.
    """
    client = server.client()
    client.flushall()
    client.rpush("q", message(1), message(1), message(10))
    client.hset(UNACKED, "tag-10", entry(10))
    run(client, CALLS["fetch"])

    assert 4 == client.hlen(UNACKED)
    assert 3 == client.zcard(TIMES)
    assert entry(10) == client.hget(UNACKED, "tag-10")


def test_every_command_of_a_script_is_a_right_that_is_written_down() -> None:
    """
    `rights.RIGHTS` names each command that a script uses, or else `OPERATOR`; add a new one there.
    """
    used = {command for name in SCRIPTS for command in commands(Script(name))}

    assert set() == used - {right.command for right in RIGHTS} - {"LPOP", *rights.OPERATOR}


@pytest.fixture
def denying(server: Started) -> Iterator[Callable[..., redis.Redis]]:
    """Connect as a user who may not use some commands."""
    with user(server, "~*", "&*", "+@all") as url:
        clients = []

        def connect(*denied: str) -> redis.Redis:
            rules = [f"-{command}" for command in denied]
            server.client().execute_command("ACL", "SETUSER", "limited", *rules)
            clients.append(redis.Redis.from_url(url))
            return clients[-1]

        yield connect
        for client in clients:
            client.close()


@pytest.mark.parametrize("command", sorted({right.command for right in RIGHTS}))
def test_a_missing_right_is_found(denying, server: Started, command: str) -> None:
    """
    Each right is found missing when it is denied, with no right to read ACLs; nothing is changed.
    """
    client = denying(command.lower().replace(" ", "|"), "acl")
    found = rights.missing(client, Keys(), ["q"], 0)

    assert command in [one.right.command for one in found]
    assert command == "MULTI" or 1 == len(found)
    assert 0 == server.client().dbsize()


def test_a_user_with_the_rules_lacks_nothing(server: Started) -> None:
    """
    The rules that are written down are those that are tried.
    """
    with user(server, *rights.rules(["q"]).split()) as url, redis.Redis.from_url(url) as client:
        assert [] == rights.missing(client, Keys(), ["q"], 0)
