"""A caller that waits for a task gets the failure of a dead letter, by every result backend."""

import gc
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from celery import Celery, chain, chord, signals
from celery.exceptions import WorkerLostError

from task_server.transport.store.dead_letters import DeadLetter, record_of, task_and_id_of
from task_server.worker.broker.dead_letters import failing

# Celery's own call, and its own connections.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def poison(*_: Any, **__: Any) -> None:
    """Stand in for a task; it is never run."""


@pytest.fixture(params=["redis", "rpc", "file", "cache"])
def backend(request: pytest.FixtureRequest, server, tmp_path: Path) -> str:
    return {
        "redis": f"redis+socket://{server.path}",
        "rpc": "rpc://",
        "file": f"file://{tmp_path}",
        "cache": "cache+memory://",
    }[request.param]


@pytest.fixture
def app(server) -> Iterator[Callable[..., Celery]]:
    """Make the app of a project, which sends and is the worker's as well."""
    made = []

    def make(backend: str, *, protocol: int = 2, registers: bool = True, **settings: Any) -> Celery:
        one = Celery("p", broker=f"redis+socket://{server.path}", backend=backend)
        one.conf.update(task_protocol=protocol, **settings)
        if registers:
            one.task(name="poison")(poison)
        made.append(one)
        return one

    yield make
    # Results ask the server when they are collected; later it is gone.
    gc.collect()
    for one in made:
        one.close()


def send(one: Celery, *args: Any, **options: Any) -> str:
    """Send the task `poison`; return its id."""
    return str(one.send_task("poison", *args, **options).id)


def state(one: Celery, task_id: str) -> str:
    return str(one.backend.get_task_meta(task_id)["status"])


def die(one: Celery, server, connect: Callable[..., kombu.Connection], **changes: Any) -> None:
    """Let the worker of *one* find that the one message in the queue is enough."""
    payload = json.loads(server.client().rpop("celery")) | changes
    text = json.dumps(payload)
    deaths = [{"reason": "no sign of life"}] * 3
    record = record_of(payload | {"deaths": deaths}, ["celery"], "celery", text, 1.0)
    channel: Any = connect().default_channel
    failing(one)(channel, DeadLetter.read("tag", record.encode()))


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("registers", [True, False])
def test_its_result_is_a_failure(
    app, backend: str, protocol: int, server, connect, *, registers: bool
) -> None:
    """
    Of both protocols, with each result backend, also where no code registers it.
    """
    one = app(backend, protocol=protocol, registers=registers)
    task_id = send(one, (1,))
    die(one, server, connect)
    meta = one.backend.get_task_meta(task_id)

    assert "FAILURE" == meta["status"]
    assert isinstance(meta["result"], WorkerLostError)
    assert "3 workers crashed while they ran it" in str(meta["result"])


@pytest.mark.parametrize("protocol", [1, 2])
def test_its_errback_is_called(app, backend: str, protocol: int, server, connect) -> None:
    """
    It is sent as by Celery, which calls one that is registered with the request and the error.
    """
    one = app(backend, protocol=protocol)
    send(one, link_error=one.signature("on_error"))
    die(one, server, connect)

    (text,) = server.client().lrange("celery", 0, -1)
    assert "on_error" == task_and_id_of(json.loads(text))[0]


def test_without_a_backend_the_errback_is_called(app, server, connect) -> None:
    """
    A disabled backend stores nothing, and does not keep the failure from its handlers.
    """
    one = app("disabled://")
    send(one, link_error=one.signature("on_error"))
    die(one, server, connect)

    (text,) = server.client().lrange("celery", 0, -1)
    assert "on_error" == task_and_id_of(json.loads(text))[0]


@pytest.mark.parametrize("protocol", [1, 2])
def test_the_signal_fires_with_its_arguments(app, protocol: int, server, connect) -> None:
    """
    The project's failure handlers are called.
    """
    heard = []

    def failed(**details: Any) -> None:
        heard.append((details["task_id"], list(details["args"]), details["kwargs"]))

    signals.task_failure.connect(failed, weak=False)
    try:
        one = app("disabled://", protocol=protocol)
        task_id = send(one, (1, "two"), {"three": 3})
        die(one, server, connect)
    finally:
        signals.task_failure.disconnect(failed)

    assert [(task_id, [1, "two"], {"three": 3})] == heard


@pytest.mark.parametrize("registers", [True, False])
def test_what_is_chained_to_it_fails(app, server, connect, *, registers: bool) -> None:
    """
    The rest of a chain, and the body of a chord.
    """
    one = app(f"redis+socket://{server.path}", registers=registers)
    last = chain(one.signature("poison"), one.signature("next")).apply_async().id
    die(one, server, connect)
    assert "FAILURE" == state(one, last)

    header = [one.signature("poison")]
    body = chord(header, one.signature("body"), app=one).apply_async().id
    die(one, server, connect)
    assert "FAILURE" == state(one, body)


def test_of_a_message_that_cannot_be_decoded_the_result_says_it(app, server, connect) -> None:
    """
    Its id stands in the headers; the body is pickled, and is not accepted.
    """
    one = app(f"redis+socket://{server.path}", accept_content=["json"])
    task_id = send(one)
    body = pickle.dumps(((1,), {}, {})).hex()
    die(one, server, connect, **{"content-type": "application/x-python-serialize", "body": body})

    assert "FAILURE" == state(one, task_id)


@pytest.mark.parametrize("changes", [{"body": "%%%"}, {"properties": {}}, {"headers": []}])
def test_a_broken_message_ends_no_worker(app, changes: dict[str, Any], server, connect) -> None:
    """
    What is known is stored; the worker goes on.
    """
    one = app(f"redis+socket://{server.path}")
    task_id = send(one)
    die(one, server, connect, **changes)

    assert ("FAILURE" if "headers" not in changes else "PENDING") == state(one, task_id)


def test_a_task_that_ignores_its_result_stores_none(app, server, connect) -> None:
    """
    As in Celery.
    """
    one = app(f"redis+socket://{server.path}", registers=False)
    # Celery 5.6 does not send what the settings say.
    task_id = send(one, ignore_result=True)
    die(one, server, connect)

    assert "PENDING" == state(one, task_id)
