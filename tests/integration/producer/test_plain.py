"""The short way of `delay()`: what it sends is Celery's, and what it must not be taken for."""

import json
import os
import warnings
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest
from celery import Celery, signals
from celery.app import trace
from celery.backends.rpc import RPCBackend
from kombu import Exchange, Queue, messaging
from kombu.exceptions import EncodeError

from task_server import producer
from tests.integration.producer.test_messages import SETTINGS, WAYS, sent
from tests.support.redis import Redis

#: Messages after which a task has a template.
WARM = 2


def waiting(server: Redis) -> list[Any]:
    """Return the messages that wait, the first one first."""
    return [json.loads(text) for text in server.client.lrange("celery", 0, -1)[::-1]]


def short_ways(app: Celery, send: Callable[[], Any]) -> int:
    """Return how many of the messages that *send* sends go the short way."""
    plain: Any = vars(app)["send_task"]
    calls = 0
    as_celery = plain._send_as_celery

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return as_celery(*args, **kwargs)

    plain._send_as_celery = counted
    try:
        send()
    finally:
        del plain._send_as_celery
    return 1 - calls


@contextmanager
def connected(signal: Any, receiver: Any) -> Iterator[None]:
    """Connect a receiver of a signal for a while."""
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_fifth_message_is_that_of_celery(
    server: Redis, make: Callable[..., Celery], settings: dict[str, Any]
) -> None:
    """
    Whatever `apply_async` is given, and after all that was sent before.
    """
    ours = make(server.url, **settings)
    stock = make(server.url, ours=False, **settings)
    if settings.get("task_protocol") == 1:
        return
    for options in WAYS.values():
        for _ in range(WARM + 2):
            sent(server, ours, dict(options))

    for name, options in WAYS.items():
        # The binding of a queue that is declared once a connection went with the rest.
        expected, found = (dict(sent(server, app, dict(options))) for app in (stock, ours))
        assert {key: expected[key] for key in found} == found, name
        assert any(found.values()) or name == "exchange and key", name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"args": (1, "two", None, True, 2.5), "kwargs": {"a": 1}},
        {"queue": "other"},
        {"priority": 7},
        {"serializer": "pickle", "args": ({1, 2},)},
        {"time_limit": 5},
        {"task_id": "mine"},
        {"ignore_result": True},
        {"args": ("x" * 100_000,)},
    ],
    ids=str,
)
def test_the_third_message_goes_the_short_way(
    server: Redis, make: Callable[..., Celery], options: dict[str, Any]
) -> None:
    """
    With the options that a task may have, and the arguments of each message.
    """
    app = make(server.url)
    noop = app.tasks["noop"]

    found = [
        short_ways(app, lambda: noop.apply_async(**options))
        for _ in range(WARM + 2)
    ]  # fmt: skip

    assert [0, 0, 1, 1] == found


def test_nothing_is_kept_of_messages_that_were_looked_at(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    Nor of those that are sent by the same connection afterwards, and are not looked at.
    """
    app = make(server.url)
    noop = app.tasks["noop"]
    for _ in range(WARM):
        noop.delay()
    noop.apply_async(headers={"mine": 1})

    with app.producer_pool.acquire() as producer:
        assert None is producer.observed
        assert None is producer.channel.observed


def test_each_message_has_its_own_arguments(server: Redis, make: Callable[..., Celery]) -> None:
    """
    Also such that a format would take for its own.
    """
    app = make(server.url)
    given = ["%s", "%", "\0001\0", '"', "\\", "é", "x" * 2000, ["%d"], {"a": "%(b)s"}, None, 2**80]
    for value in given:
        app.tasks["noop"].delay(value, key=value)

    messages = waiting(server)
    bodies = [json.loads(b64decode(message["body"])) for message in messages]
    assert [[[value], {"key": value}] for value in given] == [body[:2] for body in bodies]
    assert len(given) == len({message["properties"]["delivery_tag"] for message in messages})
    assert len(given) == len({message["headers"]["id"] for message in messages})


def test_true_is_not_one(server: Redis, make: Callable[..., Celery]) -> None:
    """
    Options that are equal, and written in another way, have templates of their own.
    """
    app = make(server.url)
    for limit in (1, 1.0, True, 1, 1.0, True, 1, 1.0, True):
        app.tasks["noop"].apply_async(time_limit=limit)

    found = [json.dumps(message["headers"]["timelimit"][0]) for message in waiting(server)]
    assert ["1", "1.0", "true"] * 3 == found


def test_what_is_out_of_the_ordinary_goes_celerys_way(
    server: Redis, make: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Receivers of signals, and packages that wrap a send, see each message; and so it is afterwards.
    """
    app = make(server.url)
    noop = app.tasks["noop"]
    for _ in range(WARM):
        noop.delay()
    heard: list[Any] = []

    def receiver(sender: Any, **_: Any) -> None:
        heard.append(sender)

    for signal in (signals.before_task_publish, signals.after_task_publish, signals.task_sent):
        with connected(signal, receiver):
            noop.delay()
    for owner, name in ((messaging.Producer, "publish"), (Celery, "send_task")):
        function = getattr(owner, name)

        @wraps(function)
        def wrapper(*args: Any, function: Any = function, **kwargs: Any) -> Any:
            heard.append(function.__name__)
            return function(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, wrapper)
            noop.delay()

    assert ["noop", "noop", "noop", "publish", "send_task"] == heard
    assert 1 == short_ways(app, noop.delay)


def test_a_changed_setting_counts_at_once(server: Redis, make: Callable[..., Celery]) -> None:
    """
    As with Celery: the default queue, events, queues that are added.
    """
    app = make(server.url)
    noop = app.tasks["noop"]
    for _ in range(WARM + 1):
        noop.delay()

    app.conf.task_default_queue = "later"
    noop.delay()
    assert 1 == server.client.llen("later")
    app.conf.task_send_sent_event = True
    assert 0 == short_ways(app, noop.delay)
    app.conf.update(task_send_sent_event=False, task_default_queue="celery")
    app.amqp.queues.add(Queue("celery", Exchange("celery"), "celery", max_length=7))
    assert 0 == short_ways(app, noop.delay)
    for _ in range(WARM):
        noop.delay()
    assert 1 == short_ways(app, noop.delay)


def test_routes_may_depend_on_arguments(server: Redis, make: Callable[..., Celery]) -> None:
    """
    A router that is a function is asked each time; names are not.
    """

    def route(name: str, args: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return {"queue": args[0]}

    app = make(server.url, task_routes=[route])
    named = make(server.url, task_routes={"noop": "named"})
    for queue in ("one", "two", "one", "two", "one"):
        app.tasks["noop"].delay(queue)
    for _ in range(WARM):
        named.tasks["noop"].delay()

    assert 1 == short_ways(named, named.tasks["noop"].delay)
    assert [3, 2, 3] == [server.client.llen(queue) for queue in ("one", "two", "named")]


def test_a_task_is_the_parent_of_what_it_sends(server: Redis, make: Callable[..., Celery]) -> None:
    """
    Its id, and that of the first task, are in the message.
    """
    app = make(server.url)
    noop = app.tasks["noop"]
    for _ in range(WARM + 1):
        noop.delay()

    @app.task(name="parent", bind=True, shared=False)
    def parent(self: Any) -> None:
        noop.delay()

    trace.build_tracer("parent", parent, app=app)("me", (), {}, {"id": "me", "root_id": "first"})

    headers = waiting(server)[-1]["headers"]
    assert ("first", "me") == (headers["root_id"], headers["parent_id"])


def test_a_backend_that_listens_hears_of_each_task(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    One that does something before a task is sent does so each time.
    """
    app = make(server.url, result_backend="rpc://")
    noop = app.tasks["noop"]
    for _ in range(WARM):
        noop.delay()

    assert isinstance(app.backend, RPCBackend)
    assert 0 == short_ways(app, noop.delay)
    assert 1 == short_ways(app, lambda: noop.apply_async(ignore_result=True)) + 1


def test_wrong_arguments_are_refused_as_by_celery(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    What cannot be a message raises the same, and nothing is sent.
    """
    app = make(server.url)
    stock = make(server.url, ours=False)
    for one in (app, stock):
        for _ in range(WARM + 1):
            one.tasks["noop"].delay()
    server.client.flushall()

    for args, kwargs in (
        ("text", None),
        (None, [1]),
        ((object(),), None),
        (({1},), {"a": object()}),
    ):
        raised = []
        for one in (stock, app):
            with pytest.raises((TypeError, EncodeError)) as error:
                one.send_task("noop", args, kwargs) if args == "text" else one.tasks[
                    "noop"
                ].apply_async(args, kwargs)
            raised.append(type(error.value))
        assert raised[0] is raised[1]
    assert 0 == server.client.llen("celery")


def test_a_child_has_an_origin_of_its_own(server: Redis, make: Callable[..., Celery]) -> None:
    """
    The process is in the message.
    """
    app = make(server.url)
    for _ in range(WARM + 1):
        app.tasks["noop"].delay()
    with warnings.catch_warnings():
        # pytest's own threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if not process:
        status = 1
        try:
            app.tasks["noop"].delay()
            status = 0
        finally:
            os._exit(status)

    assert 0 == os.waitpid(process, 0)[1]
    assert f"gen{process}@" in waiting(server)[-1]["headers"]["origin"]


def test_an_app_with_a_send_of_its_own_keeps_it(server: Redis) -> None:
    """
    A class that extends Celery's `send_task` is called for each task.
    """
    heard = []

    class Own(Celery):
        def send_task(self, name: str, *args: Any, **kwargs: Any) -> Any:
            heard.append(name)
            return super().send_task(name, *args, **kwargs)

    app = Own("own", broker=server.url, set_as_current=False)
    assert producer.install(app)

    @app.task(name="noop", shared=False)
    def noop() -> None:
        """Do nothing."""

    for _ in range(WARM + 2):
        noop.delay()
    app.amqp._producer_pool.connections.force_close_all()

    assert ["noop"] * (WARM + 2) == heard


def test_an_app_that_has_a_pool_and_has_not_sent_yet(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    A worker makes its pool of producers when it starts; routes are made with the first message.
    """
    app = make(server.url)
    assert app.amqp.producer_pool
    assert "router" not in vars(app.amqp)

    app.tasks["noop"].delay()

    assert ["noop"] == [one["headers"]["task"] for one in waiting(server)]
