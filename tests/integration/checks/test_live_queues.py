"""What lies in Redis, beside the workers and the tasks that are to take it."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Exchange, Queue

from task_server.checks import Context, ProjectFacts, TaskFacts, live
from task_server.config.model import Config, WorkerConfig
from task_server.errors import Finding
from tests.support.specs import spec_of


def findings(url: str, *, queues: Sequence[str] = ("celery",), **settings: Any) -> list[Finding]:
    """Return what is found at *url* for one worker of *queues*; the project has `a.known`."""
    app = Celery("check", broker=url, set_as_current=False)
    app.conf.update(settings)
    worker = WorkerConfig(name="prefork", queues=tuple(queues))
    context = Context(
        config=Config(workers={"prefork": worker}),
        workers={"prefork": spec_of(worker)},
        counts={"prefork": 1},
        facts=ProjectFacts(
            named={"celery": ["task_default_queue"]}, tasks=(TaskFacts(name="a.known"),)
        ),
    )
    try:
        return list(live.queues.queues(context, app, 5.0))
    finally:
        app.close()


def sent(url: str, name: str, queue: str, count: int = 1, **settings: Any) -> None:
    """Send as another program does, which knows of more tasks."""
    app = Celery("producer", broker=url, set_as_current=False)
    app.conf.update(settings)
    for _ in range(count):
        app.send_task(name, queue=queue, **({"priority": 6} if "step" in queue else {}))
    app.close()


@pytest.fixture
def client(redis_server) -> Any:
    with redis.Redis.from_url(redis_server.client_url) as opened:
        yield opened


def test_a_redis_where_nothing_is_wrong_has_no_line(redis_server) -> None:
    """
    Known tasks in a queue that a worker consumes, and Celery's own tasks, are as they should be.
    """
    sent(redis_server.url, "a.known", "celery", 3)
    sent(redis_server.url, "celery.backend_cleanup", "celery")

    assert [] == findings(redis_server.url)


@pytest.mark.parametrize(
    "settings", [{}, {"broker_transport_options": {"global_keyprefix": "c*:"}}]
)
def test_queues_that_only_redis_knows_are_candidates(redis_server, settings: Any) -> None:
    """
    Those with messages want a worker; those that are only bound are named; control has none.
    """
    sent(redis_server.url, "a.known", "batch1", 2, **settings)
    with Connection(
        redis_server.url, transport_options=settings.get("broker_transport_options", {})
    ) as connection:
        Queue("bound", Exchange("bound"), "bound")(connection).declare()
        Queue("x.celery.pidbox", Exchange("celery.pidbox", type="fanout"))(connection).declare()

    found = findings(redis_server.url, **settings)

    assert [("warning", "queues in Redis"), ("info", "queues in Redis")] == [
        (one.level, one.setting) for one in found
    ]
    assert "consumes batch1 (2 messages); if" in found[0].text
    assert 'workers.prefork.queues = ["celery", "batch1"]' in found[0].repair
    assert found[1].message.endswith("consumes bound")


def test_tasks_that_no_code_registers_are_named(redis_server) -> None:
    """
    A renamed task waits in vain; also in a list of another priority, and one of protocol 1.
    """
    sent(redis_server.url, "a.renamed", "celery", 2)
    sent(redis_server.url, "a.known", "celery", 60)
    sent(redis_server.url, "a.old", "celery", task_protocol=1)
    sent(redis_server.url, "a.step", "step", 1)

    found = findings(redis_server.url, queues=("celery", "step"))

    by = {one.setting: one.text for one in found}
    assert "2 of the next 50 messages (63 waiting) call tasks" in by["tasks in celery"]
    assert "register: a.renamed; start" in by["tasks in celery"]
    assert "1 of the next 1 messages (1 waiting)" in by["tasks in step"]


def test_dead_letters_and_unreadable_messages_are_counted(redis_server, client: Any) -> None:
    """
    Dead letters and unreadable messages are counted; a wrong type is reported, not raised.
    """
    client.hset("unacked.dead", mapping={"a": "{}", "b": "{}"})
    client.lpush("unacked.unreadable", "x")
    counted = {one.setting: one.message for one in findings(redis_server.url)}
    client.delete("unacked.dead")
    client.set("unacked.dead", "a word")
    wrong = {one.setting: one.message for one in findings(redis_server.url)}

    assert "2 were set apart" == counted["dead letters"]
    assert "1 were set apart" == counted["unreadable messages"]
    assert "WRONGTYPE" in wrong["dead letters"]


def test_odd_content_is_no_error(redis_server, client: Any) -> None:
    """
    Bindings, queues and messages of whatever type and shape are passed over.
    """
    client.set("_kombu.binding.odd", "no set")
    client.sadd("_kombu.binding.bytes", b"\xff\xfe", b"", b"\x06\x16")
    client.sadd("celery", "no list")
    for number, text in enumerate(ODD):
        client.lpush(f"odd{number}", text)

    found = findings(redis_server.url, queues=("celery", *(f"odd{one}" for one in range(len(ODD)))))

    assert {"queues in Redis"} >= {one.setting for one in found}


ODD = (
    b"",
    b"\xff",
    b"[]",
    b"7",
    b"null",
    b'{"headers": []}',
    b'{"headers": {"task": 7}}',
    b'{"body": 7}',
    b'{"body": "x", "properties": {"body_encoding": "base64"}}',
    b'{"body": "W10=", "properties": 7}',
    b"[" * 100_000,
)


def test_many_and_large_messages_are_not_all_fetched(redis_server, client: Any) -> None:
    """
    A queue of messages of a megabyte is looked at, no further than some of them.
    """
    body = base64.b64encode(b"x" * 2**20).decode()
    text = json.dumps({"headers": {"task": "a.large"}, "body": body})
    for _ in range(30):
        client.lpush("celery", text)

    found = findings(redis_server.url)

    assert "10 of the next 10 messages (30 waiting)" in found[0].message
