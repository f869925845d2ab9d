"""The server of the transport's tests."""

from tests.integration.transport.conftest import server, shared_server, start_redis

__all__ = ["server", "shared_server", "start_redis"]
