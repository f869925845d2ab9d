"""A Redis for the messages, and pairs of apps: Celery's own, and one with our producer."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from celery import Celery, _state
from kombu import pools

from task_server import producer
from task_server.errors import LocalServerError
from task_server.producer import adopt
from tests.support.redis import Redis

#: Celery leaves sockets of its results to the garbage collector, which tells a later test, and
#: calls redis-py as of old.
SOCKETS = (
    "ignore:Call to 'get_connection':DeprecationWarning",
    "ignore:unclosed:ResourceWarning",
    "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore those sockets in the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in SOCKETS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Collect those sockets here, and not in whichever test this process runs next."""
    yield
    gc.collect()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a path short enough for a unix socket."""
    with TemporaryDirectory(prefix="producer-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def shared_server(require: Any) -> Iterator[Redis]:
    """Return a server for all tests that do it no harm."""
    with TemporaryDirectory(prefix="producer-") as name:
        server = Redis(Path(name))
        try:
            server.start()
        except LocalServerError as error:
            require("redis", str(error))
        yield server
        server.stop()


@pytest.fixture
def server(shared_server: Redis) -> Redis:
    """Return an empty server."""
    shared_server.client.flushall()
    return shared_server


@pytest.fixture
def own_server(folder: Path, require: Any) -> Iterator[Redis]:
    """Return a server that a test may harm."""
    server = Redis(folder)
    try:
        server.start()
    except LocalServerError as error:
        require("redis", str(error))
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def apps_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave apps to come alone, where an earlier test set up a Django project with the producer."""
    state: Any = _state
    others = {one for one in state._on_app_finalizers if one is not adopt._adopt}
    monkeypatch.setattr(state, "_on_app_finalizers", others)


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Celery]]:
    """Make an app with a task; `ours=True` with the producer installed."""
    made = []

    def make_app(url: str, *, ours: bool = True, **settings: Any) -> Celery:
        app = Celery(f"app{len(made)}", broker=url, set_as_current=False)
        app.conf.update(broker_connection_timeout=2, **settings)
        made.append(app)
        if ours:
            assert producer.install(app)

        @app.task(name="noop", shared=False)
        def noop(*args: Any, **kwargs: Any) -> None:
            """Do nothing."""

        return app

    yield make_app
    for app in made:
        # Its sockets, before the warnings of the garbage collector.
        if (own := vars(app.amqp).get("_producer_pool")) is not None:
            own.connections.force_close_all()
        if (backend := app._backend) is not None and hasattr(backend, "connparams"):
            backend.result_consumer.stop()
            backend.client.connection_pool.disconnect()
        app.close()
    pools.reset()
