"""The options that say which failed tasks are meant."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from task_server.cli.completions import complete_queues
from task_server.cli.options import Seconds

if TYPE_CHECKING:
    from task_server.monitor.failure import Filter

    _WhenType = click.ParamType[float]
else:
    _WhenType = click.ParamType

_SPAN = re.compile(r"(\d{1,9})\s*(s|min|m|h|d)")
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400}


class When(_WhenType):
    """A moment: a date and time, in UTC without an offset, or how long ago it was."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return *value* in seconds since 1970, or fail with the reason."""
        if isinstance(value, float):
            return value
        ago = _SPAN.fullmatch(value.strip())
        if ago:
            return time.time() - int(ago[1]) * _SECONDS[ago[2]]
        try:
            found = datetime.fromisoformat(value.strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time; use 2026-11-27T09:30, or how long ago: 90s, 15min, 2h, 3d.",
                param,
                ctx,
            )


def filters(variable: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what gives a command the options of a filter; *variable* begins their variables."""
    options = (
        _option(variable, "task", "Only tasks of this name; * stands for others, as in 'mail.*'."),
        _option(
            variable, "error", "Only this type of exception, or those that say this, such as 503."
        ),
        _option(variable, "argument", "Only those with this in their arguments, as `list` has it."),
        _option(variable, "queue", "Only those of this queue."),
        _option(
            variable, "since", "Only those that failed since then: 2026-11-27T09:30, 2h.", When()
        ),
        _option(variable, "until", "Only those that failed until then.", When()),
        _option(variable, "older-than", "Only those that failed so many seconds ago.", Seconds(0)),
    )

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def _option(variable: str, name: str, words: str, kind: Any = None) -> Any:
    envvar = f"TASK_SERVER_{variable}_{name.upper().replace('-', '_')}"
    complete = complete_queues if name == "queue" else None
    return click.option(
        f"--{name}",
        type=kind,
        envvar=envvar,
        show_envvar=True,
        shell_complete=complete,
        help=words,
    )


def chosen(*, older_than: float | None, crashed: bool, **given: Any) -> "Filter":
    """Return what the options that `filters` adds say."""
    from task_server.monitor.failure import Filter  # noqa: PLC0415 - imports redis

    until = given.pop("until")
    if older_than is not None:
        before = time.time() - older_than
        until = before if until is None else min(until, before)
    return Filter(**given, until=until, crashed=crashed)
