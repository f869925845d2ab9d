"""What is sent is, byte for byte but for the stamp, what Celery itself sends."""

import base64
import json
import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, signals
from kombu import Exchange, Queue
from kombu.utils.encoding import bytes_to_str

from task_server.producer import HEADER, sent_at
from tests.support.redis import Redis

LATER = datetime(2090, 1, 1, tzinfo=UTC)

#: Ways to send, by what they are about.
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "arguments": {"args": (1, "two", None, True, 2.5), "kwargs": {"a": 1, "b": "x"}},
    "nested": {"args": ([1, {"a": (2, 3)}],), "kwargs": {"deep": {"er": [[[[[1]]]]]}}},
    "quotes": {"args": ("it's", 'say "so"', "\\", "\n", "é", "\x00")},
    "long": {"args": ("x" * 5000,), "kwargs": {"y" * 200: list(range(500))}},
    "numbers": {"args": (2**80, -1, 1e300, float("inf"), 0.1)},
    "queue": {"queue": "other"},
    "declared queue": {"queue": Queue("third", Exchange("third"), "third")},
    "exchange and key": {"exchange": "fourth", "routing_key": "fourth"},
    "priority": {"priority": 7},
    "countdown": {"countdown": 60},
    "eta": {"eta": LATER},
    "expires": {"expires": LATER},
    "expires in seconds": {"expires": 30},
    "expired": {"expires": datetime.now(UTC) - timedelta(days=1)},
    "headers": {"headers": {"mine": 1, "other": {"a": [1]}}},
    "links": {"link": {"task": "noop", "args": [], "kwargs": {}, "options": {}}},
    "ignore_result": {"ignore_result": True},
    "pickle": {"serializer": "pickle", "args": ({1, 2},)},
    "yaml": {"serializer": "yaml"},
    "compression": {"compression": "zlib", "args": ("x" * 5000,)},
    "limits": {"time_limit": 5, "soft_time_limit": 4},
    "group": {"group_id": "g", "group_index": 3, "root_id": "r", "parent_id": "p"},
    "shadow": {"shadow": "shown"},
    "no retry": {"retry": False},
    "policy": {"retry": True, "retry_policy": {"max_retries": 1, "interval_start": 0}},
    "transient": {"delivery_mode": 1},
    "reply_to": {"reply_to": "me"},
    "argsrepr": {"argsrepr": "given", "kwargsrepr": "too"},
}

#: Settings that messages depend on.
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "protocol 1": {"task_protocol": 1},
    "pickle": {"task_serializer": "pickle"},
    "prefix": {"broker_transport_options": {"global_keyprefix": "mine:"}},
    "separator": {"broker_transport_options": {"sep": ":", "priority_steps": [0, 5]}},
    "routes": {"task_routes": {"noop": {"queue": "routed", "priority": 3}}},
    "expiring": {"task_queues": [Queue("celery", expires=60), Queue("other", expires=60)]},
    "events": {"task_send_sent_event": True},
    "few levels": {"task_repr_maxlevels": 1},
    "no pool": {"broker_pool_limit": None},
    "one connection": {"broker_pool_limit": 1},
}


def sent(server: Redis, app: Celery, options: dict[str, Any]) -> list[Any]:
    """Send one message; return each key that Redis then has, and its messages."""
    server.client.flushall()
    noop = app.tasks["noop"]
    chosen = {"task_id": "same", **options}
    noop.apply_async(chosen.pop("args", None), chosen.pop("kwargs", None), **chosen)
    found = []
    for key in sorted(server.client.keys()):
        kind = server.client.type(key)
        if kind == b"list":
            found.append((key, [readable(text) for text in server.client.lrange(key, 0, -1)]))
        elif kind == b"set":
            found.append((key, sorted(server.client.smembers(key))))
        else:
            found.append((key, kind))
    return found


def readable(text: bytes) -> Any:
    """Return a message without what differs from send to send."""
    message = json.loads(text)
    del message["properties"]["delivery_tag"]
    message["headers"].pop(HEADER, None)
    # Each app has its own; times are relative.
    message["properties"]["reply_to"] = len(message["properties"]["reply_to"] or "")
    if message["headers"].get("eta"):
        message["headers"]["eta"] = message["headers"]["eta"][:15]
    if message["headers"].get("expires"):
        message["headers"]["expires"] = message["headers"]["expires"][:15]
    if "expiration" in message["properties"]:
        message["properties"]["expiration"] = len(message["properties"]["expiration"])
    return list(message.items())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_message_is_that_of_celery(
    server: Redis, make: Callable[..., Celery], settings: dict[str, Any]
) -> None:
    """
    Whatever `apply_async` is given, stock workers get what stock producers send them.
    """
    ours = make(server.url, **settings)
    stock = make(server.url, ours=False, **settings)

    for name, options in WAYS.items():
        # A body of protocol 1 has times in it.
        if settings.get("task_protocol") == 1 and {"countdown", "expires"} & set(options):
            continue
        expected = sent(server, stock, dict(options))
        # Nothing is bound to that exchange, so the message goes nowhere.
        assert name == "exchange and key" or [key for key, value in expected if value], name
        assert expected == sent(server, ours, dict(options)), name


def test_a_message_says_when_it_was_sent(server: Redis, make: Callable[..., Celery]) -> None:
    """
    In both protocols; of Celery's own it is not known.
    """
    for protocol in (1, 2):
        app = make(server.url, task_protocol=protocol)
        before = time.time()
        app.tasks["noop"].delay()
        message = json.loads(server.client.rpop("celery"))
        assert before <= (sent_at(message) or 0) <= time.time()
    make(server.url, ours=False).tasks["noop"].delay()
    assert None is sent_at(json.loads(server.client.rpop("celery")))


def test_an_explicit_producer_or_connection_is_used(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    Those are Kombu's own; the message is stamped all the same.
    """
    app = make(server.url)
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as given:
        app.tasks["noop"].apply_async(connection=connection)
        app.tasks["noop"].apply_async(producer=given)

    messages = [json.loads(text) for text in server.client.lrange("celery", 0, -1)]
    assert [True, True] == [sent_at(message) is not None for message in messages]
    assert None is vars(app.amqp)["_producer_pool"] or not app.amqp._producer_pool._dirty


def test_signals_are_sent_with_the_same_arguments(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    Both, once each; the stamp is in the headers, as everything else of them.
    """
    heard: list[tuple[str, Any]] = []

    def before(**arguments: Any) -> None:
        heard.append(("before", arguments))

    def after(**arguments: Any) -> None:
        # It has been sent by then.
        heard.append(("after", {**arguments, "waiting": server.client.llen("celery")}))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        for ours in (False, True):
            app = make(server.url, ours=ours)
            server.client.flushall()
            app.tasks["noop"].apply_async((1,), task_id="same")
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)

    for _, arguments in heard:
        arguments["headers"].pop(HEADER, None)
        arguments.get("properties", {}).pop("reply_to", None)
        if declare := arguments.get("declare"):
            arguments["declare"] = [queue.name for queue in declare]
    assert ["before", "after"] * 2 == [which for which, _ in heard]
    assert heard[:2] == heard[2:]
    assert 1 == heard[-1][1]["waiting"]


def test_pickled_objects_arrive(server: Redis, make: Callable[..., Celery]) -> None:
    """
    The body is not looked into.
    """
    app = make(server.url, task_serializer="pickle")
    app.tasks["noop"].delay({1, 2}, when=LATER)

    message = json.loads(server.client.rpop("celery"))
    body = pickle.loads(base64.b64decode(message["body"]))  # noqa: S301 - we have made it
    assert (({1, 2},), {"when": LATER}) == body[:2]


def test_a_queue_is_declared_once_a_connection(server: Redis, make: Callable[..., Celery]) -> None:
    """
    Two hundred messages: one command each, and the binding once.
    """
    app = make(server.url)
    app.tasks["noop"].delay()
    server.client.config_resetstat()
    for _ in range(200):
        app.tasks["noop"].delay()

    calls = {
        bytes_to_str(name).removeprefix("cmdstat_"): stat["calls"]
        for name, stat in server.client.info("commandstats").items()
    }
    assert 200 == calls.pop("lpush")
    assert set() == set(calls) - {"config|resetstat", "info", "ping"}
