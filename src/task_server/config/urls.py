"""What is wrong with a URL of a server, without revealing its password."""

import re
from urllib.parse import unquote, urlsplit

MASK = "********"

#: What is said of a URL that cannot be read; the URL itself may be the password.
UNREADABLE = (
    "it is no URL that can be read: each of / ? # @ % [ ] in a user or password must be quoted "
    "(%2F %3F %23 %40 %25 %5B %5D), and the port is a number"
)

_REDIS = ("redis", "rediss", "valkey", "sentinel", "socket", "unix")
_END_OF_HOST = re.compile(r"[/?#]")


def fault(url: str) -> str | None:
    """
    Return what is wrong with *url* if its host and password are ambiguous; else None.

    Of Redis alone, whose paths have no @; several URLs have semicolons between.
    """
    if url.partition("://")[0].partition("+")[0] not in _REDIS:
        return None
    return UNREADABLE if any(_unreadable(part) for part in url.split(";")) else None


def _unreadable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return True
    if port is None and re.search(r":[^\]]*$", parts.netloc.rpartition("@")[2]):
        # A colon and no number.
        return True
    if "@" in parts.netloc or not parts.netloc:
        return False
    # A path may have it where there is no host: the name of a socket.
    return "@" in parts.path or "@" in parts.fragment or "@" in parts.query.partition("=")[0]


def without_password(text: str, url: str) -> str:
    """Return *text*, what somebody says of *url*, without the password of that."""
    found = re.match(r"[^:/]*://(.*)@", url, re.DOTALL)
    if found is None:
        return text
    for secret in _secrets(found[1]):
        text = text.replace(secret, MASK)
    return text


def _secrets(userinfo: str) -> list[str]:
    """Return what may be secret of *userinfo*, the longest first."""
    password = userinfo.partition(":")[2] or userinfo
    pieces = [userinfo, password, unquote(password), *re.split(r"[/?#@:\[\]]", password)]
    return sorted({piece for piece in pieces if piece}, key=len, reverse=True)
