"""
The wait callback of psycopg2, which lets other greenlets run.

psycopg2 waits in C, which stops every greenlet, unless a callback waits for it.
"""

import os
import select
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gevent
import psycopg2
from gevent import monkey
from gevent import socket as gevent_socket
from gevent._hub_local import get_hub_if_exists
from psycopg2 import extensions

#: Seconds the server may take to accept the request to cancel a query.
CANCEL_TIMEOUT = 5.0
#: Seconds a connect may take to each host: psycopg 3's default. Under a callback
#: psycopg2 has no limit of its own, and ignores `connect_timeout`.
CONNECT_TIMEOUT = 130

#: Gevent's own would need a loop in each thread.
_poll = monkey.get_original("select", "poll")


def wait(connection: extensions.connection) -> None:
    """
    Wait until *connection* has finished its query; let others run.

    The wait may end with an exception (`GreenletExit`, `gevent.Timeout`). The
    query is then cancelled on the server, for no one reads its answer, and
    psycopg2 closes the connection, which is in the middle of that answer.
    """
    try:
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            if state in (extensions.POLL_READ, extensions.POLL_WRITE):
                wait_for_socket(connection.fileno(), write=state == extensions.POLL_WRITE)
            else:
                message = f"psycopg2 returned the state {state!r}"
                raise psycopg2.OperationalError(message)  # noqa: TRY301 as psycopg2 itself
    except psycopg2.Error:
        raise
    except BaseException:
        if connection.status != extensions.STATUS_SETUP:
            cancel(connection)
        raise


def wait_for_socket(descriptor: int, *, write: bool) -> None:
    """Wait until *descriptor* can be read or written; a thread without a loop waits itself."""
    if get_hub_if_exists() is not None:
        (gevent_socket.wait_write if write else gevent_socket.wait_read)(descriptor)
        return
    poll = _poll()
    poll.register(descriptor, select.POLLOUT if write else select.POLLIN)
    poll.poll()


def cancel(connection: extensions.connection) -> None:
    """
    Ask the server to cancel the query of *connection*.

    libpq blocks while it asks, so that a thread of the hub does it. A second
    kill does not end the wait early; the time is limited.
    """
    if get_hub_if_exists() is None:
        _cancel(connection)
        return
    asked = gevent.get_hub().threadpool.spawn(_cancel, connection)
    try:
        asked.wait(CANCEL_TIMEOUT)
    except BaseException:  # noqa: BLE001 the first exception is the one to raise
        asked.wait(CANCEL_TIMEOUT)


def _cancel(connection: extensions.connection) -> None:
    try:
        connection.cancel()
    except psycopg2.Error:
        return  # already closed, or the server is gone: nothing is left to cancel


def connect_timeout(params: Mapping[str, Any]) -> float:
    """Return how long a connect may take: `connect_timeout` or its variable, else 130 s."""
    seconds = CONNECT_TIMEOUT
    with suppress(TypeError, ValueError):
        value = int(params.get("connect_timeout", os.environ.get("PGCONNECT_TIMEOUT", "0")))
        if value > 0:
            # libpq, too, takes anything below two seconds for two.
            seconds = max(2, value)
    return float(seconds * (str(params.get("host", "")).count(",") + 1))
