"""What comes from Redis, made fit for a page: anyone who can write there can forge it."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Any, Final

from django.conf import settings
from django.contrib.admin.utils import quote
from django.urls import NoReverseMatch, reverse
from django.utils import formats, timezone

#: Characters of a value in a table, where the whole is one page further.
FEW: Final = 120

#: Printed as they are, beside what is printable.
_WHITE: Final = frozenset(" \n\t")

_SPACES: Final = re.compile(r"\s+")


def visible(value: Any) -> str:
    """
    Return *value* with its control characters spelt out: NUL, those that turn the text, ....

    Templates escape HTML; these they leave, and half a surrogate no response can contain.
    """
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in _WHITE else one.encode("unicode_escape").decode()
        for one in text
    )


def short(value: Any, most: int = FEW) -> str:
    """Return *value* in one line of *most* characters."""
    text = "" if value is None else str(value)
    # Before the rest of it is looked at: it may have megabytes.
    line = _SPACES.sub(" ", text[: 4 * most]).strip()
    return visible(f"{line[:most]}…" if len(line) > most or len(text) > 4 * most else line)


def moment(seconds: Any) -> datetime | None:
    """Return *seconds* since 1970 in the current time zone; None if that is no time."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds <= 0:
        return None
    try:
        at = datetime.fromtimestamp(seconds, UTC).astimezone(timezone.get_current_timezone())
    except (OverflowError, OSError, ValueError):
        return None
    return at if settings.USE_TZ else at.replace(tzinfo=None)


def clock(seconds: Any, now: float) -> str:
    """Return *seconds* since 1970 as people say it at *now*: the time of the day, or the date."""
    at, today = moment(seconds), moment(now)
    if at is None:
        return ""
    if today is not None and at.date() == today.date():
        return at.strftime("%H:%M:%S")
    return formats.date_format(at, "SHORT_DATETIME_FORMAT")


def clock_elsewhere() -> Callable[[float], str]:
    """Return a `clock` for another thread, which has not the time zone of this request."""
    zone = timezone.get_current_timezone()

    def say(seconds: float) -> str:
        with timezone.override(zone):
            return clock(seconds, time())

    return say


def link(site: Any, model: str, name: str, view: str = "change") -> str:
    """Return the address of the page on *name* in *site*; '' where no address can have it."""
    try:
        return reverse(
            f"admin:task_server_admin_{model}_{view}", args=[quote(name)], current_app=site.name
        )
    except (NoReverseMatch, UnicodeEncodeError):
        return ""


def link_of_list(site: Any, model: str) -> str:
    """Return the address of the list of the *model* in *site*."""
    return reverse(f"admin:task_server_admin_{model}_changelist", current_app=site.name)
