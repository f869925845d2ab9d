"""Fetching a file over HTTP: bounded in size, in time and in attempts."""

import random
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cache
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from docket import connecting
from docket.connecting import BoundedAdapter, Exchange
from docket.limits import Limits
from docket.states import DocumentError, State

SCHEMES = ("http", "https")

Result = TypeVar("Result")

_CHUNK = 64 * 1024
_REDIRECTS = 10
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _TransientStatusError(Exception):
    """Raised when the server says that it cannot answer now."""


# What another attempt may mend: no connection, a broken one, a silent server.
# An OSError of the file that is written is not among them.
_TRANSIENT = (
    requests.ConnectionError,
    requests.Timeout,
    HTTPError,
    _TransientStatusError,
)


def download(url: str, limits: Limits, receive: Callable[[Iterator[bytes]], Result]) -> Result:
    """
    Fetch *url*, and return what *receive* makes of the chunks of the body.

    *receive* is called again for each attempt. The attempts are made here and
    not by Celery's retry: a pause of seconds costs a greenlet nothing, while a
    message with an ETA would lie in the worker unacknowledged.

    Raises:
        DocumentError: If the server does not give the file, or it is too large,
            or it takes too long.
    """
    exchange = Exchange(
        limits.fetch_seconds, time.monotonic() + limits.fetch_seconds, limits.fetch_read_seconds
    )
    for attempt in range(limits.fetch_retries + 1):
        try:
            with closing(_chunks(url, limits, exchange)) as chunks:
                return receive(chunks)
        except _TRANSIENT as error:
            reason = _reason(error)
        except requests.RequestException as error:
            # A malformed URL, or an answer that is no HTTP.
            raise DocumentError(State.UNREACHABLE, str(error)) from error
        pause = limits.fetch_backoff_seconds * 2**attempt * random.uniform(0.5, 1)  # noqa: S311
        if attempt == limits.fetch_retries or time.monotonic() + pause >= exchange.deadline:
            break
        time.sleep(pause)
    times = "once" if attempt == 0 else f"{attempt + 1} times"
    raise DocumentError(State.UNREACHABLE, f"tried {times}: {reason}")


@cache
def _session() -> requests.Session:
    """
    Return the session of this process, which all its greenlets share.

    What a shared session would mix up, the cookies, is switched off; its
    connection pools have locks of their own. A session for each task would open a
    connection for each task.
    """
    session = requests.Session()
    size = Limits.current().fetch_connections
    adapter = BoundedAdapter(pool_connections=size, pool_maxsize=size)
    for scheme in SCHEMES:
        session.mount(f"{scheme}://", adapter)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = "docket"
    # A PDF is compressed already, and the limit counts what is written.
    session.headers["Accept-Encoding"] = "identity"
    return session


def _chunks(url: str, limits: Limits, exchange: Exchange) -> Generator[bytes, None, None]:
    """
    Yield the body of *url*, after redirects.

    The redirects are followed here because requests reads the body of each
    one to its end, into memory, however long that is. Who named *url* may name
    any host; a server may send us only to public ones, and to itself.
    """
    first = _host(url)
    for _ in range(_REDIRECTS + 1):
        elsewhere = _host(url) != first
        with closing(_get(url, limits, replace(exchange, global_only=elsewhere))) as response:
            target = _redirect(response)
            if target is None:
                _check(response, limits)
                yield from _body(response, limits, exchange)
                return
        url = _joined(url, target)
    raise DocumentError(State.UNREACHABLE, f"more than {_REDIRECTS} redirects")


def _host(url: str) -> str:
    """Return the host of *url*, which must be one that is fetched."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises ValueError, too
    except ValueError as error:
        raise DocumentError(State.UNREACHABLE, f"{url} is not a URL: {error}") from error
    if parts.scheme.lower() not in SCHEMES:
        message = f"{url} is neither http nor https; only these are fetched"
        raise DocumentError(State.UNREACHABLE, message)
    return host or ""


def _redirect(response: requests.Response) -> str | None:
    try:
        return _session().get_redirect_target(response)
    except UnicodeDecodeError as error:
        message = "the server redirects to what is not a URL"
        raise DocumentError(State.UNREACHABLE, message) from error


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError as error:
        message = f"the server redirects to {target[:200]}, which is not a URL: {error}"
        raise DocumentError(State.UNREACHABLE, message) from error


def _get(url: str, limits: Limits, exchange: Exchange) -> requests.Response:
    left = max(exchange.deadline - time.monotonic(), 0.1)
    host = _host(url)
    # The proxy of the environment cannot reach this machine's loopback.
    proxies = {"no_proxy": host} if host in _LOOPBACK else {}
    session = _session()
    request = session.prepare_request(requests.Request("GET", url))
    environment = session.merge_environment_settings(url, proxies, True, None, None)
    verify = environment["verify"]
    token = connecting.exchange.set(exchange)
    try:
        # Not session.send(): even without following a redirect, that reads its
        # body to the end.
        return session.get_adapter(url).send(
            request,
            timeout=(min(limits.fetch_connect_seconds, left), limits.fetch_read_seconds),
            stream=True,
            proxies=environment["proxies"],
            verify=True if verify is None else verify,
            cert=environment["cert"],
        )
    finally:
        connecting.exchange.reset(token)


def _check(response: requests.Response, limits: Limits) -> None:
    status = response.status_code
    message = f"the server answered {status} {response.reason or ''}".rstrip()
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise DocumentError(State.NOT_FOUND, message)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _TransientStatusError(message)
    if status != HTTPStatus.OK:
        raise DocumentError(State.UNREACHABLE, message)
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > limits.fetch_bytes:
        raise _too_large(limits, f"it has {int(length) / 1e6:,.0f} MB")


def _body(response: requests.Response, limits: Limits, exchange: Exchange) -> Iterator[bytes]:
    size = 0
    # read1() returns what has arrived. read() and iter_content() wait until a
    # chunk is full, for hours if the server sends a byte now and then.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        size += len(chunk)
        if size > limits.fetch_bytes:
            raise _too_large(limits, "it is longer")
        yield chunk
        if time.monotonic() > exchange.deadline:
            raise exchange.too_slow(size)


def _too_large(limits: Limits, fact: str) -> DocumentError:
    message = f"the limit is {limits.fetch_bytes / 1e6:,.0f} MB, and {fact}"
    return DocumentError(State.TOO_LARGE, message)


def _reason(error: BaseException) -> str:
    """Return what happened at the bottom of requests' and urllib3's wrappers, in one line."""
    if isinstance(error, _TransientStatusError):
        return str(error)
    if isinstance(error, requests.Timeout):
        return "the server was silent"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"the connection broke ({type(error).__name__})"
