"""A group is sent in few round trips: in order, once, and with Celery's errors."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, chord, group, signals
from kombu.exceptions import OperationalError
from kombu.utils.encoding import bytes_to_str
from redis.exceptions import ConnectionError as RedisConnectionError

from task_server.producer.batch import MOST, SLOW
from task_server.producer.channel import Publishing
from tests.support.redis import Redis

MANY = 2 * MOST + 50


@pytest.fixture
def app(server: Redis, make: Callable[..., Celery]) -> Celery:
    """Return an app whose results are in the same Redis, and that retries at once."""
    policy = {"max_retries": 2, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    return make(server.url, result_backend=server.url, task_publish_retry_policy=policy)


def arguments(server: Redis, queue: str = "celery") -> list[Any]:
    """Return the arguments of the messages that wait, the first one first."""
    texts = server.client.lrange(queue, 0, -1)[::-1]
    return [json.loads(text)["headers"]["argsrepr"] for text in texts]


def calls(server: Redis, name: str) -> int:
    """Return how often a command was called since the statistics were reset."""
    stats = server.client.info("commandstats")
    return int(
        {bytes_to_str(key): one["calls"] for key, one in stats.items()}.get(f"cmdstat_{name}", 0)
    )


def test_a_group_takes_few_round_trips(server: Redis, app: Celery) -> None:
    """
    All of its tasks are there, in order.
    """
    noop = app.tasks["noop"]
    noop.delay()
    server.client.flushall()
    server.client.config_resetstat()

    group([noop.s(number) for number in range(MANY)], app=app).apply_async()

    assert [f"({number},)" for number in range(MANY)] == arguments(server)
    # Some more on a machine that is so busy that they seem to come slowly.
    assert calls(server, "evalsha") + calls(server, "eval") <= MANY // 5


def test_chunks_and_a_chords_header_are_sent_together(server: Redis, app: Celery) -> None:
    """
    They are groups.
    """
    noop = app.tasks["noop"]
    server.client.config_resetstat()
    noop.chunks(((number,) for number in range(60)), 2).apply_async()
    chord([noop.s(number) for number in range(30)], noop.s(), app=app).apply_async()

    assert 60 == server.client.llen("celery")
    assert calls(server, "evalsha") + calls(server, "eval") <= 60 // 5


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_connection_sends_nothing_twice(
    server: Redis, app: Celery, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """
    Neither when the call was lost nor when its answer was.
    """
    command, lost = Publishing.command, []

    def lose(self: Any, *words: Any) -> Any:
        if words[0] != "EVALSHA" or lost:
            return command(self, *words)
        lost.append(words[0])
        if when == "after":
            command(self, *words)
        raise RedisConnectionError("lost")

    noop = app.tasks["noop"]
    noop.chunks([(1,)], 1).apply_async()
    group([noop.s(number) for number in range(10)], app=app).apply_async()
    server.client.flushall()
    monkeypatch.setattr(Publishing, "command", lose)

    group([noop.s(number) for number in range(MANY)], app=app).apply_async()

    assert ["EVALSHA"] == lost
    assert [f"({number},)" for number in range(MANY)] == arguments(server)


def test_without_retries_the_error_is_celerys(
    server: Redis, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What was lost is lost once; the next group is sent.
    """
    command = Publishing.command

    def lose(self: Any, *words: Any) -> Any:
        raise RedisConnectionError("lost")

    noop = app.tasks["noop"]
    tasks = group([noop.s(number) for number in range(10)], app=app)
    monkeypatch.setattr(Publishing, "command", lose)
    with pytest.raises(OperationalError):
        tasks.apply_async(retry=False)
    with pytest.raises(OperationalError):
        tasks.apply_async()
    monkeypatch.setattr(Publishing, "command", command)

    tasks.apply_async()

    assert [f"({number},)" for number in range(10)] == arguments(server)


@pytest.mark.timeout(60)
def test_a_redis_that_is_away_at_the_first_group_is_an_error(
    make: Callable[..., Celery], own_server: Redis
) -> None:
    """
    After the tries of the policy, also when nothing was sent before.
    """
    policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    app = make(own_server.url, task_publish_retry_policy=policy)
    own_server.kill()

    with pytest.raises(OperationalError):
        group([app.tasks["noop"].s(number) for number in range(5)], app=app).apply_async()


def test_a_user_without_scripts_sends_one_by_one(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    Nothing was pushed by the script that was refused.
    """
    server.client.execute_command(
        *("ACL", "SETUSER", "plain", "on", ">secret", "~*", "&*", "+@all", "-eval", "-evalsha")
    )
    app = make(server.url.replace("//", "//plain:secret@"))

    group([app.tasks["noop"].s(number) for number in range(20)], app=app).apply_async()

    assert [f"({number},)" for number in range(20)] == arguments(server)


@pytest.mark.parametrize("command", ["exists", "expire", "llen", "hsetnx"])
def test_a_command_that_is_denied_in_the_script_costs_no_message(
    server: Redis, make: Callable[..., Celery], command: str
) -> None:
    """
    Each of them comes before the first push.
    """
    server.client.execute_command(
        *("ACL", "SETUSER", "few", "on", ">secret", "~*", "&*", "+@all", f"-{command}")
    )
    app = make(server.url.replace("//", "//few:secret@"))
    noop = app.tasks["noop"]

    # Kombu itself asks for the length of a queue that it declares.
    options = {"declare": []} if command == "llen" else {}
    group([noop.s(number) for number in range(20)], app=app).apply_async(**options)

    assert [f"({number},)" for number in range(20)] == arguments(server)


def test_a_list_of_another_type_fails_as_with_celery(server: Redis, app: Celery) -> None:
    """
    What comes before it in the group is sent, and what comes after it is not.
    """
    noop = app.tasks["noop"]
    for queue in ("celery", "other"):
        noop.apply_async(queue=queue)
    server.client.flushall()
    server.client.set("other", "a string")
    tasks = [noop.s(number) for number in range(10)]
    tasks[5].set(queue="other")

    with pytest.raises(OperationalError, match="WRONGTYPE"):
        group(tasks, app=app).apply_async()

    assert [f"({number},)" for number in range(5)] == arguments(server)


def test_what_was_published_before_an_error_is_sent(server: Redis, app: Celery) -> None:
    """
    As with Celery: a task whose arguments cannot be written raises, and the ones before have gone.
    """
    noop = app.tasks["noop"]
    tasks = [noop.s(number) for number in range(10)]
    tasks[7] = noop.s(object())

    with pytest.raises(Exception, match="serializable"):
        group(tasks, app=app).apply_async()

    assert [f"({number},)" for number in range(7)] == arguments(server)


def until_slow() -> None:
    """Take longer than a batch waits for."""
    end = time.monotonic() + 2 * SLOW
    while time.monotonic() < end:
        pass


def test_tasks_that_come_slowly_do_not_wait_for_each_other(server: Redis, app: Celery) -> None:
    """
    Of a generator that takes its time each one is sent when Celery would send it.
    """
    noop = app.tasks["noop"]
    found: list[int] = []

    def slow() -> Iterator[Any]:
        for number in range(6):
            found.append(server.client.llen("celery"))
            until_slow()
            yield noop.s(number)

    group(slow(), app=app).apply_async()

    # Celery looks three tasks ahead.
    assert 6 == server.client.llen("celery")
    assert found[-1] >= 1


def test_receivers_are_told_when_a_task_has_been_sent(server: Redis, app: Celery) -> None:
    """
    Not earlier, so they cost the round trips.
    """
    seen: list[int] = []

    def after(**_: Any) -> None:
        seen.append(server.client.llen("celery"))

    signals.after_task_publish.connect(after)
    try:
        group([app.tasks["noop"].s(number) for number in range(5)], app=app).apply_async()
    finally:
        signals.after_task_publish.disconnect(after)

    assert [1, 2, 3, 4, 5] == seen


def test_large_messages_are_sent_alone(server: Redis, app: Celery) -> None:
    """
    In their order, none of them through the script.
    """
    noop = app.tasks["noop"]
    sizes = [10, 10, 500_000, 10, 400_000, 10]
    group([noop.s("x" * size) for size in sizes], app=app).apply_async()

    texts = server.client.lrange("celery", 0, -1)[::-1]
    assert [size > 1000 for size in sizes] == [len(text) > 100_000 for text in texts]


def test_the_prefix_of_all_keys_is_kept(server: Redis, make: Callable[..., Celery]) -> None:
    """
    Also that of the key which tells a retry.
    """
    app = make(server.url, broker_transport_options={"global_keyprefix": "mine:"})
    group([app.tasks["noop"].s(number) for number in range(5)], app=app).apply_async()

    assert 5 == server.client.llen("mine:celery")
    assert all(key.startswith(b"mine:") for key in server.client.scan_iter())
    assert all(server.client.ttl(key) > 0 for key in server.client.keys("*.sent.*")), (
        "the marker stays for ever"
    )
