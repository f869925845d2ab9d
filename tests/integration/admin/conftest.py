"""A project with an admin, and the Redis that it sends to."""

from collections.abc import Iterator

import pytest
import redis

from tests.integration.transport.conftest import shared_server, start_redis
from tests.integration.transport.peers import Started
from tests.support.admin_site import USERS, Site, write_admin

__all__ = ["shared_server", "start_redis"]


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory, shared_server: Started) -> Iterator[Site]:
    """Return a project with SQLite, and all its users."""
    folder = tmp_path_factory.mktemp("project")
    write_admin(folder)
    with Site(folder, {"BROKER_URL": f"redis://127.0.0.1:{shared_server.port}/0"}) as site:
        site.run("None", first=USERS)
        yield site


@pytest.fixture
def client(shared_server: Started) -> Iterator[redis.Redis]:
    """Return a client of an empty server."""
    with shared_server.client() as one:
        one.flushall()
        yield one


@pytest.fixture
def site(shared_site: Site, client: redis.Redis) -> Site:
    """Return the project, whose broker is empty."""
    return shared_site
