"""No part of a URL that may be its password is printed."""

from urllib.parse import quote, unquote

import pytest

from task_server.config.urls import fault, without_password
from task_server.peers.redis import address, explain_redis_error

#: Passwords that somebody forgot to quote.
UNQUOTED = [
    "hunt/er2",
    "/hunter2",
    "hunter2/",
    "12/hunter2",
    "hunter#2",
    "hunt?er2",
    "?hunter2",
    "12?hunter2",
    "hunt[er2",
    "12#hunter2",
    "hunter2/6379",
]


@pytest.mark.parametrize("user", ["", "worker"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "sentinel"])
@pytest.mark.parametrize("password", UNQUOTED)
def test_a_password_that_is_not_quoted_is_told_and_not_shown(
    scheme: str, user: str, password: str
) -> None:
    """
    What would be taken for a port or a path is part of the password.
    """
    url = f"{scheme}://{user}:{password}@db.example:6379/0"

    found = explain_redis_error("broker", url, ValueError(f"Port could not be cast: {password!r}"))

    assert "%2F" in (fault(url) or "")
    assert "(not a URL)" == address(url)
    assert "error" == found.level
    assert not [part for part in ("hunt", "er2") if part in str(found)]


@pytest.mark.parametrize("password", [*UNQUOTED, "pässwort", "a b", "100%", "p@ss"])
def test_a_password_that_is_quoted_is_right(password: str) -> None:
    """
    Whatever is in it.
    """
    assert fault(f"redis://:{quote(password, safe='')}@db.example:6379/0") is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://db",
        "redis://db:6379/0",
        "redis://:x@db/0",
        "redis://user:x@[::1]:6379/0",
        "redis://[::1]/0",
        "redis+socket:///run/a@b.sock?virtual_host=0",
        "redis+socket://:x@/run/redis.sock",
        "unix:///run/redis.sock?password=a@b",
        "sentinel://:x@a:26379/0;sentinel://:x@b:26379/0",
        "rediss://:x@db:6380/0?ssl_cert_reqs=required",
        "amqp://guest:guest@rabbit//",
        "sqla+sqlite:////tmp/a@b.db",
        "file:///tmp/a@b",
        "db+postgresql://u:p@db/x",
    ],
)
def test_other_urls_are_right(url: str) -> None:
    """
    Sockets have an @ in their names, and what is no Redis is judged by others.
    """
    assert fault(url) is None


@pytest.mark.parametrize("url", ["redis://db:port/0", "redis://:x@db:63x9/0", "redis://db:99999/0"])
def test_a_port_that_is_none_is_reported(url: str) -> None:
    """
    It cannot be distinguished from an unquoted password.
    """
    assert "the port is a number" in (fault(url) or "")


@pytest.mark.parametrize("password", ["hunter2", "hunt%2Fer2", "p%40ss", "x/hunter2"])
def test_what_others_say_is_reported_without_the_password(password: str) -> None:
    """
    A client may show the URL, the password, or the password as it was meant.
    """
    url = f"redis://me:{password}@db/0"

    shown = without_password(f"{url}: {password!r} of {unquote(password)}", url)

    assert password not in shown
    assert unquote(password) not in shown
    assert "db/0" in shown
