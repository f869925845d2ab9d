"""Closing a connection for good: done only when the server's side is closed as well."""

import logging
import os
from contextlib import suppress

import gevent
from gevent import socket as gevent_socket

from task_server.worker.database.connection import Driver, PooledConnection

logger = logging.getLogger(__name__)

#: Seconds to wait for the server to end a session before its slot is released.
CLOSE_TIMEOUT = 60.0


def close(pooled: PooledConnection, driver: Driver) -> None:
    """
    Close the connection and wait until the server has ended its session.

    A close alone is not enough, for the server still counts a session for some
    milliseconds, or for the rest of a query whose client is gone.
    """
    dbapi, pooled.dbapi = pooled.dbapi, None
    try:
        if dbapi is not None:
            driver.close(dbapi)
        del dbapi
        with gevent.Timeout(CLOSE_TIMEOUT):
            _read_to_end(pooled.descriptor)
    except gevent.Timeout:
        logger.warning(
            "PostgreSQL did not end a closed session within %g seconds; "
            "for a while it may count one connection above database_connections",
            CLOSE_TIMEOUT,
        )
    except Exception:
        logger.exception("could not close a connection to PostgreSQL")
    finally:
        os.close(pooled.descriptor)


def _read_to_end(descriptor: int) -> None:
    # A reset instead of an end says the same: the server's side is gone.
    with suppress(ConnectionError):
        while True:
            try:
                if not os.read(descriptor, 65536):
                    return
            except BlockingIOError:
                gevent_socket.wait_read(descriptor)
