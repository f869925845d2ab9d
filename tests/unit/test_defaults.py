"""The Celery settings that a worker starts with, and when they differ."""

import pytest

from task_server.config.model import WorkerConfig
from task_server.project import celery_app
from task_server.project.defaults import worker_defaults
from tests.support.specs import spec_of


def defaults(worker: WorkerConfig, backend: str | None = "redis://db/0") -> dict[str, object]:
    spec = spec_of(worker, visibility_timeout=7200)
    return {one.name: one.value for one in worker_defaults(spec, backend)}


def test_each_default_has_a_reason_and_one_place() -> None:
    """
    No default is unexplained, and none is said twice.
    """
    worker = WorkerConfig(name="w", pool="gevent", concurrency=512)
    found = worker_defaults(spec_of(worker), None)

    assert all(one.reason for one in found)
    assert len(found) == len({one.name for one in found})


def test_the_visibility_timeout_stands_in_all_three_places() -> None:
    """
    Broker, result backend and Celery itself read it; the smallest value would count.
    """
    found = defaults(WorkerConfig(name="w", concurrency=1))

    assert {
        "visibility_timeout": 7200,
        "broker_transport_options.visibility_timeout": 7200,
        "result_backend_transport_options.visibility_timeout": 7200,
    } == {name: value for name, value in found.items() if "visibility" in name}


@pytest.mark.parametrize(("delivery", "late"), [("at-least-once", True), ("at-most-once", False)])
def test_one_switch_chooses_the_delivery(delivery: str, late: bool) -> None:  # noqa: FBT001
    """
    Late acknowledgement and the return of lost tasks belong together.
    """
    found = defaults(WorkerConfig(name="w", concurrency=1, delivery=delivery))  # type: ignore[arg-type]

    assert (late, late) == (found["task_acks_late"], found["task_reject_on_worker_lost"])


@pytest.mark.parametrize(("transport", "expected"), [("atomic", 7), ("kombu", None)])
def test_the_atomic_transport_knows_its_limit(transport: str, expected: int | None) -> None:
    """
    How many workers may die of a task is an option of the transport; Kombu's has none.
    """
    found = defaults(WorkerConfig(name="w", concurrency=1, transport=transport, poison_limit=7))  # type: ignore[arg-type]

    assert expected == found.get("broker_transport_options.poison_limit")


@pytest.mark.parametrize(("transport", "expected"), [("atomic", 12), ("kombu", None)])
def test_the_atomic_transport_knows_the_lease(transport: str, expected: int | None) -> None:
    """
    How long a silent worker keeps what it has is an option of the transport; Kombu's has none.
    """
    found = defaults(WorkerConfig(name="w", concurrency=1, transport=transport, lease_seconds=12))  # type: ignore[arg-type]

    assert expected == found.get("broker_transport_options.lease_seconds")


@pytest.mark.parametrize(("transport", "expected"), [("atomic", 8), ("kombu", None)])
def test_the_atomic_transport_knows_what_to_delay(transport: str, expected: int | None) -> None:
    """
    What is due how much later waits in Redis is an option of the transport; Kombu's has none.
    """
    found = defaults(WorkerConfig(name="w", concurrency=1, transport=transport, delay_seconds=8))  # type: ignore[arg-type]

    assert expected == found.get("broker_transport_options.delay_seconds")


def test_greenlets_share_few_connections_and_prefork_has_enough() -> None:
    """
    Under gevent a full pool makes tasks wait; elsewhere it would make acknowledgements fail.
    """
    green = defaults(WorkerConfig(name="w", pool="gevent", concurrency=512))
    prefork = defaults(WorkerConfig(name="w", pool="prefork", concurrency=64))

    assert 32 == green["broker_transport_options.max_connections"] == green["redis_max_connections"]
    assert True is green["result_backend_thread_safe"]
    assert 64 < prefork["broker_transport_options.max_connections"]
    assert "redis_max_connections" not in prefork


def test_a_result_backend_is_shared_where_greenlets_can() -> None:
    """
    Celery 5.6, and an unknown backend, keep one for each greenlet.
    """
    worker = WorkerConfig(name="w", pool="gevent", concurrency=512)
    spec = spec_of(worker)

    found = [one.name for one in worker_defaults(spec, "redis://", shared=False)]

    assert "result_backend_thread_safe" not in found
    assert "redis_max_connections" in found


@pytest.mark.parametrize(
    ("version", "backend", "expected"),
    [
        ((5, 7), "redis://db/0", True),
        ((5, 7), "redis+socket:///run/redis.sock", True),
        ((5, 7), "sentinel://a;sentinel://b", True),
        ((5, 8), None, True),
        ((5, 7), "rpc://", False),
        ((5, 7), "django-db", False),
        ((5, 7), "cl.results:Backend", False),
        ((5, 6), "redis://db/0", False),
    ],
)
def test_who_shares_results(
    version: tuple[int, int],
    backend: str | None,
    expected: bool,  # noqa: FBT001 - a parameter
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Redis, from the Celery on in which one at a time uses its subscription.
    """
    monkeypatch.setattr(celery_app, "VERSION", (*version, 0))

    assert expected is celery_app.shares_results(backend)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("redis://db/0", True),
        (None, True),
        ("redis+socket:///run/redis.sock", None),
        ("socket:///run/redis.sock", None),
    ],
)
def test_a_unix_socket_gets_no_tcp_option(backend: str | None, expected: bool | None) -> None:  # noqa: FBT001
    """
    redis-py refuses TCP's keepalive for a Unix socket, and then no result would be stored.
    """
    assert expected == defaults(WorkerConfig(name="w", concurrency=1), backend).get(
        "redis_socket_keepalive"
    )
