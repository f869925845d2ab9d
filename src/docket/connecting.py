"""
HTTP connections that bound what a server may do to a worker.

A socket that always has data never lets gevent switch, and a time-out between
two packets bounds neither an endless row of `100 Continue` nor headers that
come byte by byte. So all that a response reads goes through one place, which
has a deadline and a budget, and lets the others run.
"""

import io
import time
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse
from ipaddress import IPv6Address, ip_address
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from docket.states import DocumentError, State

#: Bytes of a response before its body.
HEADER_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    What applies to the requests of one fetch.

    Attributes:
        seconds: What it may take.

        deadline: When it must be over, by the monotonic clock.

        read_seconds: The longest wait for a packet.

        global_only: Whether only addresses of the public internet are asked.
            Behind a proxy, which asks in our place, that cannot be known.
    """

    seconds: float
    deadline: float
    read_seconds: float
    global_only: bool = False

    def too_slow(self, size: int) -> DocumentError:
        """Return the error of a fetch that has *size* bytes when its time is over."""
        message = f"not fetched in {self.seconds:g} s ({size:,} bytes came)"
        return DocumentError(State.TOO_SLOW, message)


#: That of the running thread or greenlet.
exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class _BoundedReader(io.RawIOBase):
    """Reads *raw*, of the socket *sock*, within the limits of the exchange."""

    def __init__(self, raw: Any, sock: Any) -> None:
        self._raw = raw
        self._sock = sock
        self._exchange = exchange.get()
        self._size = 0
        #: Bytes that may be read in all; None is no limit.
        self.budget: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        current = self._exchange
        if current is not None:
            left = current.deadline - time.monotonic()
            if left <= 0:
                raise current.too_slow(self._size)
            self._sock.settimeout(min(current.read_seconds, left))
        time.sleep(0)
        try:
            size: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            # A server that says nothing at all is silent, not slow.
            if self._size and current is not None and time.monotonic() >= current.deadline:
                raise current.too_slow(self._size) from None
            raise
        self._size += size or 0
        if self.budget is not None and self._size > self.budget:
            message = f"the answer has no body within {HEADER_BYTES // 1024} kB"
            raise DocumentError(State.UNREACHABLE, message)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _BoundedReader(self.fp.detach(), sock)
        self.fp: Any = io.BufferedReader(self._reader)

    def begin(self) -> None:
        # What follows `100 Continue` is read in here as well.
        self._reader.budget = HEADER_BYTES
        super().begin()
        self._reader.budget = None


class _Checked:
    """A connection that asks no private address where only public ones may be asked."""

    def request(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        current = exchange.get()
        if current is not None and current.global_only and self.proxy is None:
            address = self.sock.getpeername()[0]
            if not _is_global(address):
                message = f"a redirect leads to {self.host} ({address}), which is not public"
                raise DocumentError(State.UNREACHABLE, message)
        super().request(*args, **kwargs)  # type: ignore[misc]


class _HTTPConnection(_Checked, HTTPConnection):
    response_class: Any = _Response


class _HTTPSConnection(_Checked, HTTPSConnection):
    response_class: Any = _Response


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class BoundedAdapter(HTTPAdapter):
    """An adapter whose connections keep to `exchange`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """Return the pools of connections through *proxy*."""
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


def _is_global(text: str) -> bool:
    """Return whether the numeric address *text* is one of the public internet."""
    # A zone, as in fe80::1%eth0, belongs to a link-local address.
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast
