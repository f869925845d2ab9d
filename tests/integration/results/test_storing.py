"""What is stored, by how many commands, and what happens when something is in the way."""

import itertools
import pickle
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis
from celery import states
from celery.app.task import Context
from celery.backends import redis as celerys
from celery.canvas import Signature
from celery.result import GroupResult
from redis.connection import AbstractConnection

from task_server.results import scripts, storing
from tests.integration.results.conftest import calls, end, part
from tests.support.redis import Redis as Server

# What Celery's own backend calls.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")

#: Celery 5.6 counts a part of a chord in a round trip of its own.
TOGETHER = scripts.PART is not None

SETTINGS: list[dict[str, Any]] = [
    {},
    {"result_serializer": "pickle", "accept_content": ["json", "pickle"]},
    {"result_serializer": "yaml", "accept_content": ["json", "yaml"]},
    {"result_compression": "gzip"},
    {"result_extended": True},
    {"result_expires": 0},
    {"result_expires": 60},
    {"result_failure_expires": 30},
    {"result_chord_expires": 120},
    {"result_backend_transport_options": {"result_chord_ordered": False}},
    {"result_backend_transport_options": {"global_keyprefix": "cl"}},
]


def contents(client: redis.Redis) -> dict[Any, Any]:
    """Return all that is in Redis: by key, its value and its seconds to live, -1 without end."""
    found: dict[Any, Any] = {}
    for key in client.keys("*"):  # type: ignore[union-attr]
        kind: Any = client.type(key)
        read: Any = {
            b"string": client.get,
            b"list": lambda name: client.lrange(name, 0, -1),
            b"set": client.smembers,
            b"zset": lambda name: client.zrange(name, 0, -1, withscores=True),
        }[kind](key)
        found[key] = (read, client.ttl(key))
    return found


def timeless(backend: Any, found: dict[Any, Any]) -> dict[Any, Any]:
    """Return the values of *found*, decoded, without the moment at which each was stored."""
    plain = {}
    for key, (value, _) in found.items():
        if b"task-meta" in key:
            meta = backend.decode(value)
            meta.pop("date_done")
            plain[key] = re.sub("0x[0-9a-f]+", "", repr(meta))
        else:
            plain[key] = repr(value)
    return plain


def lives(found: dict[Any, Any], began: float) -> dict[Any, tuple[float, float]]:
    """Return between what each key's seconds to live were set, at some moment since *began*."""
    passed = time.monotonic() - began + 1
    return {key: (left, left + passed if left >= 0 else left) for key, (_, left) in found.items()}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: " ".join(map(str, one)) or "default")
def test_redis_has_what_celery_stores(
    client: redis.Redis, backend: Callable[..., Any], settings: dict[str, Any]
) -> None:
    """
    Keys, values and times to live are those of Celery's own backend, with each setting.
    """
    stored, times = [], []
    for ours in (True, False):
        client.flushall()
        began = time.monotonic()
        one = backend(ours=ours, **settings)
        one.mark_as_started("plain", pid=1)
        one.mark_as_done("plain", {"a": [1, None, "é"]}, Context(id="plain"))
        one.mark_as_failure("failed", ValueError("no"), request=Context(id="failed"))
        one.mark_as_retry("again", ValueError("later"), request=Context(id="again"))
        one.mark_as_revoked("revoked", "stop", request=Context(id="revoked"))
        one.set_chord_size("g", 4)
        end(one, "g", 0, 5)
        end(one, "g", 1, "text")
        end(one, "g", 2, ValueError("part"))
        found = contents(client)
        stored.append(timeless(one, found))
        times.append(lives(found, began))

    assert stored[1] == stored[0]
    # Where the machine stood still between, what is left differs, and not what was set.
    for key, (least, most) in times[1].items():
        assert least <= times[0][key][1], key
        assert most >= times[0][key][0], key
    assert 8 <= len(stored[0])


def test_a_result_takes_one_command(client: redis.Redis, backend: Callable[..., Any]) -> None:
    """
    A client that is connected sends one for a result: also after STARTED, and in a chord.
    """
    one = backend()
    one.set_chord_size("g", 9)
    end(one, "g", 0, 0)
    one.mark_as_done("warm", 1, Context(id="warm"))
    client.config_resetstat()

    one.mark_as_done("a", 1, Context(id="a"))
    one.mark_as_started("b", pid=1)
    one.mark_as_done("b", 1, Context(id="b"))
    end(one, "g", 1, 0)

    found = calls(client)
    if TOGETHER:
        assert (4, 0, 0) == (found["evalsha"], found.get("multi", 0), found.get("eval", 0))
    else:
        assert (4, 1) == (found["evalsha"], found["multi"])
    assert 4 == found["publish"]


def test_a_success_is_not_replaced(client: redis.Redis, backend: Callable[..., Any]) -> None:
    """
    As with Celery: a task that runs again, and fails, has succeeded; other states give way.
    """
    one = backend()
    one.mark_as_done("a", 1, Context(id="a"))
    one.mark_as_failure("a", ValueError("late"), request=Context(id="a"))
    one.mark_as_failure("b", ValueError("early"), request=Context(id="b"))
    one.mark_as_done("b", 2, Context(id="b"))
    backend().mark_as_started("c", pid=1)
    one.mark_as_done("c", 3, Context(id="c"))

    reader = backend(ours=False)
    assert [1, 2, 3] == [reader.get_result(name) for name in "abc"]


def test_a_part_that_runs_again_counts_once(
    client: redis.Redis, backend: Callable[..., Any]
) -> None:
    """
    Two runs of one part, with results that differ, do not end a chord of two.
    """
    if not TOGETHER:
        pytest.skip("Celery 5.6 counts it twice")
    one = backend()
    one.set_chord_size("g", 2)
    end(one, "g", 0, "first")
    end(one, "g", 0, "second")
    sent: list[Any] = []
    one.app.tasks["body"].apply_async = lambda args, *_, **__: sent.append(args)
    before = list(sent)
    end(one, "g", 1, "other")

    assert [] == before
    assert [(["first", "other"],)] == sent
    assert "first" == one.get_result("g-0")


@pytest.mark.parametrize("order", list(itertools.permutations(["ours", "celery", "ours"], 3))[:4])
def test_parts_of_a_chord_may_end_at_celerys_workers(
    client: redis.Redis, backend: Callable[..., Any], order: tuple[str, ...]
) -> None:
    """
    The last part, wherever it ends, sends the body with all results in order.
    """
    sent: list[Any] = []
    sides = {"ours": backend(), "celery": backend(ours=False)}
    for one in sides.values():
        one.app.tasks["body"].apply_async = lambda args, *_, **__: sent.append(args)
    sides["celery"].set_chord_size("g", 3)
    for number, side in enumerate(order):
        assert [] == sent
        end(sides[side], "g", number, number)

    assert [([0, 1, 2],)] == sent


def test_a_failed_part_fails_the_chord(client: redis.Redis, backend: Callable[..., Any]) -> None:
    """
    The body's result is the error, also where its own part comes last.
    """
    for last in (0, 1):
        client.flushall()
        one = backend()
        one.set_chord_size("g", 2)
        body = one.app.tasks["body"].s().set(task_id="body-id")
        for number in (1 - last, last):
            request = part(one, "g", number)
            request.chord = body
            if number:
                one.mark_as_failure(request.id, ValueError("no"), request=request)
            else:
                one.mark_as_done(request.id, 1, request)

        assert states.FAILURE == one.get_state("body-id")
        assert "ValueError('no')" in str(one.get_result("body-id"))


def test_what_cannot_be_encoded_is_an_error(
    client: redis.Redis, backend: Callable[..., Any]
) -> None:
    """
    Nothing of it is stored, as with Celery.
    """
    one = backend()
    one.set_chord_size("g", 2)
    with pytest.raises(Exception, match="not JSON serializable"):
        end(one, "g", 0, object())

    assert {b"celery-taskset-meta-g.s"} == set(client.keys("*"))  # type: ignore[arg-type]


def test_a_long_result_is_stored_as_celery_does(
    client: redis.Redis, backend: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A script would copy it, while nobody else is served.
    """
    monkeypatch.setattr(storing, "LONGEST", 100)
    one = backend()
    one.set_chord_size("g", 2)
    client.config_resetstat()
    end(one, "g", 0, "x" * 1000)

    assert 1 <= calls(client)["multi"]
    assert "x" * 1000 == backend(ours=False).get_result("g-0")


@pytest.mark.parametrize("kind", ["list", "hash"])
def test_a_key_of_another_type_is_an_error(
    client: redis.Redis, backend: Callable[..., Any], kind: str
) -> None:
    """
    As with Celery; nothing is written.
    """
    name = "celery-task-meta-a"
    if kind == "list":
        client.rpush(name, "x")
    else:
        client.hset(name, "x", "x")
    before = client.dump(name)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        backend().mark_as_done("a", 1, Context(id="a"))

    assert before == client.dump(name)


@pytest.mark.parametrize("key", [".j", ".d", ".t", ".s"])
def test_a_chord_of_another_type_does_not_lose_the_result(
    client: redis.Redis, backend: Callable[..., Any], key: str
) -> None:
    """
    The part cannot be counted, which is an error as with Celery; its result is there.
    """
    one = backend()
    one.set_chord_size("g", 2)
    client.delete(f"celery-taskset-meta-g{key}")
    client.hset(f"celery-taskset-meta-g{key}", "x", "x")
    with suppress(redis.ResponseError, ValueError, TypeError):
        end(one, "g", 0, 7)

    assert 7 == one.get_result("g-0")


def limited(client: redis.Redis, url: str, *rules: str) -> str:
    """Make a user that may do all but *rules*; return the URL of its results."""
    client.execute_command(
        "ACL", "SETUSER", "limited", "reset", "on", ">secret", "~*", "&*", "+@all", *rules
    )
    return url.replace("redis://", "redis://limited:secret@", 1)


@pytest.mark.parametrize(
    "rules", [("-evalsha",), ("-eval", "-evalsha"), ("-script|load",)], ids=" ".join
)
def test_without_the_right_to_run_scripts_results_are_stored(
    client: redis.Redis,
    server: Server,
    backend: Callable[..., Any],
    rules: tuple[str, ...],
) -> None:
    """
    By the text of the script, or with the commands that Celery sends.
    """
    one = backend(url=limited(client, server.url, *rules))
    for number in range(3):
        one.mark_as_done(f"a{number}", number, Context(id=f"a{number}"))

    assert [0, 1, 2] == [one.get_result(f"a{number}") for number in range(3)]
    client.execute_command("ACL", "DELUSER", "limited")


def test_out_of_memory_is_an_error_that_writes_nothing(
    client: redis.Redis, backend: Callable[..., Any]
) -> None:
    """
    As with Celery: the task's result is not stored, and its part is not counted.
    """
    one = backend()
    one.set_chord_size("g", 2)
    end(one, "g", 0, 1)
    client.config_set("maxmemory", 1)
    client.config_set("maxmemory-policy", "noeviction")
    try:
        with pytest.raises(redis.ResponseError, match=r"OOM|maxmemory"):
            end(one, "g", 1, 1)
    finally:
        client.config_set("maxmemory", 0)

    assert (states.PENDING, b"2") == (
        one.get_state("g-1"),
        client.get("celery-taskset-meta-g.s"),
    )
    end(one, "g", 1, 1)
    assert states.SUCCESS == one.get_state("g-1")


def test_an_answer_that_is_lost_loses_no_body(
    client: redis.Redis, backend: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The last part is counted, and the connection breaks before the worker learns of it.
    """
    if not TOGETHER:
        pytest.skip("Celery 5.6 sends commands")
    one = backend()
    one.retry_policy.update(interval_start=0, interval_step=0, interval_max=0)
    sent: list[Any] = []
    one.app.tasks["body"].apply_async = lambda args, *_, **__: sent.append(args)
    one.set_chord_size("g", 2)
    end(one, "g", 0, 0)
    run = scripts.Script.run
    broken = []

    def break_once(script: Any, *args: Any) -> Any:
        answer = run(script, *args)
        if not broken:
            broken.append(answer)
            raise redis.ConnectionError("the answer is lost")
        return answer

    monkeypatch.setattr(scripts.Script, "run", break_once)
    end(one, "g", 1, 1)

    assert 1 == broken[0][3]
    assert [([0, 1],)] == sent
    assert 1 == one.get_result("g-1")


def test_a_pickled_backend_is_celerys(backend: Callable[..., Any]) -> None:
    """
    A result object in a message may be read where there is no task_server.
    """
    one = backend()
    one.app.set_current()
    copied = pickle.loads(pickle.dumps(one))  # noqa: S301 - its own

    assert celerys.RedisBackend is type(copied)
    assert b"task_server" not in pickle.dumps(one)


@pytest.mark.parametrize("always", [True, False])
def test_a_lost_connection_does_not_make_a_chord_fail(
    client: redis.Redis,
    backend: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    always: bool,
) -> None:
    """
    Its header is done, and its results are about to be read: with `result_backend_always_retry`.
    """
    one = backend(result_backend_always_retry=always)
    sent: list[Any] = []
    monkeypatch.setattr(one, "chord_error_from_stack", lambda _, error: sent.append(error))
    monkeypatch.setattr(Signature, "delay", lambda _, values: sent.append(values))
    restore, read = GroupResult.restore, AbstractConnection.read_response
    lost: list[bool] = []

    def restored(*args: Any, **options: Any) -> Any:
        found = restore(*args, **options)
        lost.append(True)
        return found

    def read_or_lost(self: Any, *args: Any, **options: Any) -> Any:
        if lost:
            lost.clear()
            self.disconnect()
            raise redis.ConnectionError("while the answer was read")
        return read(self, *args, **options)

    monkeypatch.setattr(GroupResult, "restore", restored)
    monkeypatch.setattr(AbstractConnection, "read_response", read_or_lost)
    one.set_chord_size("g", 2)
    for number in range(2):
        end(one, "g", number, number)

    one.client.connection_pool.disconnect()

    (found,) = sent
    assert ([0, 1] == found) is always


@pytest.mark.skipif(not TOGETHER, reason="Celery 5.6 claims nothing")
@pytest.mark.parametrize("moment", ["reading", "sending"])
def test_a_part_that_is_killed_with_the_claim_sends_the_body_when_it_runs_again(
    client: redis.Redis,
    backend: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """
    It is redelivered before its claim has expired; another part that runs again sends nothing.
    """

    def killed(*_: Any, **__: Any) -> Any:
        raise SystemExit

    one = backend()
    sent: list[Any] = []
    one.set_chord_size("g", 2)
    end(one, "g", 0, 0)
    owner, name = {"reading": (GroupResult, "restore"), "sending": (Signature, "delay")}[moment]
    with monkeypatch.context() as patched, suppress(SystemExit):
        patched.setattr(owner, name, killed)
        # Of a process that is killed nothing more is done.
        patched.setattr(one, "_chord_cleanup_script", killed)
        end(one, "g", 1, 1)
    monkeypatch.setattr(Signature, "delay", lambda _, values: sent.append(values))

    end(one, "g", 0, 0)
    assert [] == sent
    end(one, "g", 1, 1)
    end(one, "g", 1, 1)
    assert [[0, 1]] == sent
