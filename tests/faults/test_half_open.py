"""Connections whose other end is gone without a word."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.support.lab import Lane, Redis, lanes_of
from tests.support.lab.cell import ride
from tests.support.lab.load import Load
from tests.support.lab.network import Network, network
from tests.support.lab.table import Table

#: Seconds between two questions whether a silent connection still works, and
#: to wait for an answer; FAULTS_DEFAULTS=1 leaves both to task-server.
SOON = {"HEALTH_CHECK_INTERVAL": "2", "SOCKET_TIMEOUT": "4"}


@pytest.fixture
def apart(require) -> Iterator[Network]:
    """Return a network of its own."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(network())
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "")
            require("netns", f"root, iproute2 and iptables are needed: {error} {said}")
        yield made


def test_connections_that_are_half_open(
    apart: Network, redis_server: Callable[..., Redis], table: Table
) -> None:
    """
    All packets of the workers' connections are dropped from now on; new connections work.

    So it is after the other machine was started again, or a firewall forgot them.
    """
    server = redis_server(prefix=apart.prefix)

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        clients = server.client.client_list()
        addresses = [client["addr"].rpartition(":") for client in clients]
        apart.drop(server.port, [int(port) for host, _, port in addresses if host == "127.0.0.1"])

    options = {} if os.environ.get("FAULTS_DEFAULTS") else SOON
    with lanes_of(server, prefix=lambda _: apart.prefix, **options) as lanes:
        ride("half-open connections", lanes, happen, table, Load(lanes))
