"""Results are subscribed to when somebody waits, and none is missed for that."""

import gc
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, group
from celery.backends import redis as stock
from celery.exceptions import TimeoutError as ResultTimeoutError
from kombu.utils.encoding import bytes_to_str

from tests.support.redis import Redis
from tests.support.wait import until

#: Celery stores results by a command that newest versions of redis-py warn of.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")

#: Longer than any answer takes; a result that is missed takes as long.
PATIENCE = 20


@pytest.fixture
def app(server: Redis, make: Callable[..., Celery]) -> Celery:
    """Return an app whose results are in the same Redis."""
    return make(server.url, result_backend=server.url)


@pytest.fixture
def worker(server: Redis, make: Callable[..., Celery]) -> Callable[..., None]:
    """Store results as a stock worker does."""
    backend = make(server.url, ours=False, result_backend=server.url).backend

    def store(task_id: str, result: Any = None, state: str = "SUCCESS") -> None:
        backend.store_result(task_id, result, state)

    return store


def calls(server: Redis, *names: str) -> list[int]:
    """Return how often each command was called since the statistics were reset."""
    stats = server.client.info("commandstats")
    found = {
        bytes_to_str(name).removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()
    }
    return [found.get(name, 0) for name in names]


def test_nothing_is_subscribed_to_before_somebody_waits(
    server: Redis, app: Celery, worker: Callable[..., None]
) -> None:
    """
    Neither when a task is sent nor when its result is thrown away; once for a wait.
    """
    server.client.config_resetstat()
    for _ in range(20):
        app.tasks["noop"].delay()
    gc.collect()
    assert [0, 0] == calls(server, "subscribe", "unsubscribe")

    result = app.tasks["noop"].delay()
    threading.Timer(0.2, worker, (result.id, 7)).start()

    assert 7 == result.get(timeout=PATIENCE)
    assert [1] == calls(server, "subscribe")


def test_a_result_that_is_there_needs_no_subscription(
    server: Redis, app: Celery, worker: Callable[..., None]
) -> None:
    """
    It is read.
    """
    result = app.tasks["noop"].delay()
    worker(result.id, 7)
    server.client.config_resetstat()

    assert 7 == result.get(timeout=PATIENCE)
    assert [0] == calls(server, "subscribe")


def test_a_result_between_the_look_and_the_subscription_is_not_missed(
    server: Redis, app: Celery, worker: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is read once more when Redis has confirmed the subscription.
    """
    look = stock.ResultConsumer.on_wait_for_pending

    def look_and_store(self: Any, result: Any, **kwargs: Any) -> None:
        look(self, result, **kwargs)
        worker(result.id, 7)

    monkeypatch.setattr(stock.ResultConsumer, "on_wait_for_pending", look_and_store)
    result = app.tasks["noop"].delay()

    assert 7 == result.get(timeout=PATIENCE)


def test_a_group_is_subscribed_to_at_once(
    server: Redis, app: Celery, worker: Callable[..., None]
) -> None:
    """
    Two hundred members, one command, all results in order.
    """
    noop = app.tasks["noop"]
    result = group([noop.s(number) for number in range(200)], app=app).apply_async()
    server.client.config_resetstat()

    def store() -> None:
        for number, each in enumerate(result.results):
            worker(each.id, number)

    thread = threading.Timer(0.2, store)
    thread.start()

    assert list(range(200)) == result.get(timeout=PATIENCE)
    thread.join()
    assert [1] == calls(server, "subscribe")


def test_callbacks_are_called_while_somebody_waits(
    app: Celery, worker: Callable[..., None]
) -> None:
    """
    Also those of results that nobody waits for himself, as with Celery.
    """
    first, second = app.tasks["noop"].delay(), app.tasks["noop"].delay()
    heard: list[str] = []
    first.then(lambda result: heard.append(result.id))

    def store() -> None:
        worker(first.id, 1)
        worker(second.id, 2)

    threading.Timer(0.2, store).start()
    assert 2 == second.get(timeout=PATIENCE)

    assert [first.id] == heard


def test_messages_of_progress_are_told(app: Celery, worker: Callable[..., None]) -> None:
    """
    Those that come while somebody waits; and the state that there was before.
    """
    result = app.tasks["noop"].delay()
    worker(result.id, {"done": 1}, "PROGRESS")
    heard: list[Any] = []

    def hear(meta: Any) -> None:
        heard.append(meta["status"])
        if meta["status"] == "PROGRESS":
            worker(result.id, 7)

    assert 7 == result.get(timeout=PATIENCE, on_message=hear)
    assert ["PROGRESS", "SUCCESS"] == sorted(set(heard))


def test_a_wait_that_ends_without_a_result_can_be_repeated(
    app: Celery, worker: Callable[..., None]
) -> None:
    """
    The result that comes afterwards is found.
    """
    result = app.tasks["noop"].delay()
    with pytest.raises(ResultTimeoutError):
        result.get(timeout=0.1)
    worker(result.id, 7)

    assert 7 == result.get(timeout=PATIENCE)


def test_a_result_that_is_thrown_away_is_unsubscribed_from(server: Redis, app: Celery) -> None:
    """
    Redis does not keep channels of results that nobody can receive.
    """
    result = app.tasks["noop"].delay()
    with pytest.raises(ResultTimeoutError):
        result.get(timeout=0.1)
    channel = app.backend.get_key_for_task(result.id)
    assert [1] == [many for _, many in server.client.pubsub_numsub(channel)]

    result.forget()

    until(lambda: [many for _, many in server.client.pubsub_numsub(channel)] == [0])


@pytest.mark.skipif(
    not hasattr(getattr(stock, "ResultConsumer"), "_flush_pending_unsubscribe"),  # noqa: B009 - untyped
    reason="Celery 5.6 has no lock: a result that another thread has made may wait for ever",
)
def test_threads_wait_side_by_side(app: Celery, worker: Callable[..., None]) -> None:
    """
    Each gets its own.
    """
    found: dict[int, int] = {}
    results = [app.tasks["noop"].delay() for _ in range(8)]
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: results[n].get(timeout=PATIENCE)}))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for number, result in enumerate(results):
        worker(result.id, number)
    for thread in threads:
        thread.join()

    assert {number: number for number in range(8)} == found


def test_a_redis_that_restarts_loses_no_wait(
    own_server: Redis, make: Callable[..., Celery]
) -> None:
    """
    The result that came while the connection was away is read.
    """
    app = make(own_server.url, result_backend=own_server.url)
    stored = make(own_server.url, ours=False, result_backend=own_server.url).backend
    result = app.tasks["noop"].delay()

    def restart() -> None:
        until(own_server.client.pubsub_channels)
        own_server.stop()
        own_server.start()
        stored.store_result(result.id, 7, "SUCCESS")

    thread = threading.Thread(target=restart)
    thread.start()

    assert 7 == result.get(timeout=2 * PATIENCE)
    thread.join()


@pytest.mark.parametrize("url", ["rpc://", "cache+memory://", None])
def test_other_backends_are_celerys(
    server: Redis, make: Callable[..., Celery], url: str | None
) -> None:
    """
    Nothing of theirs is replaced.
    """
    ours = make(server.url, result_backend=url)
    plain = make(server.url, ours=False, result_backend=url)

    assert type(plain.backend) is type(ours.backend)
    ours.tasks["noop"].delay()


GREENLETS = """
    from gevent import monkey
    monkey.patch_all()
    import sys
    import gevent
    from celery import Celery, group
    from task_server import producer

    url = sys.argv[1]
    app = Celery("one", broker=url, backend=url, set_as_current=False)
    assert producer.install(app)
    stock = Celery("two", broker=url, backend=url, set_as_current=False)

    @app.task(shared=False)
    def noop(number):
        pass

    def store(result, number, pause):
        gevent.sleep(pause)
        stock.backend.store_result(result.id, number, "SUCCESS")

    def one(number):
        result = noop.delay(number)
        gevent.spawn(store, result, number, number % 5 / 10)
        assert result.get(timeout=20) == number, number

    jobs = [gevent.spawn(one, number) for number in range(50)]
    gevent.joinall(jobs, raise_error=True)

    heard = []
    result = noop.delay(1)
    result.then(lambda result: heard.append(result.id))
    store(result, 1, 0)
    with gevent.Timeout(20):
        while not heard:
            gevent.sleep(0.05)

    joined = group([noop.s(number) for number in range(50)], app=app).apply_async()
    for number, each in enumerate(joined.results):
        gevent.spawn(store, each, number, number % 5 / 10)
    assert joined.get(timeout=20) == list(range(50))
    print("done")
"""


def test_greenlets_wait_side_by_side(server: Redis) -> None:
    """
    Celery receives for all of them in one greenlet; callbacks come without a wait.
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GREENLETS), server.url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert "done" in found.stdout, found.stderr


def test_a_result_is_pickled_as_celerys(app: Celery) -> None:
    """
    A process without this package can read it.
    """
    pickled = pickle.dumps(app.tasks["noop"].delay().backend)

    assert b"task_server" not in pickled
    assert stock.RedisBackend is type(pickle.loads(pickled))  # noqa: S301 - we have made it
