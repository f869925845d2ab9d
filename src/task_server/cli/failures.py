"""What `task-server failed` and `task-server dead` do."""

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from task_server.cli.acting import who
from task_server.cli.broker import broker
from task_server.cli.dead_shown import shown
from task_server.errors import TaskServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from task_server.actions.failed import Outcome
    from task_server.monitor.failure import Failure, Filter

#: Names that an error lists.
MAX_NAMES = 20


@dataclass(frozen=True)
class Meant:
    """
    Which failures a command is about.

    Attributes:
        ids: Of tasks; without any, those that are *chosen*.

        asks: Whether it asks first, unless ids are given.
    """

    ids: tuple[str, ...]
    chosen: "Filter"
    all_: bool
    asks: bool

    def check(self) -> None:
        """
        Check that something is meant, and not everything by mistake.

        Raises:
            UsageError: There are neither IDs nor a filter, or both IDs and a filter.
        """
        from task_server.monitor.failure import EVERY, Filter  # noqa: PLC0415 - imports redis

        has_filter = self.chosen not in (EVERY, Filter(crashed=True))
        if bool(self.ids) == (self.all_ or has_filter):
            raise click.UsageError("Give the IDs of tasks, a filter, or --all.")


def show_list(
    app: str | None, path: Path | None, chosen: "Filter", *, limit: int | None, as_json: bool
) -> None:
    """Print the last *limit* failures that are *chosen*; None means all."""
    from task_server.cli.failed_shown import described, lines  # noqa: PLC0415 - imports redis
    from task_server.monitor import failures  # noqa: PLC0415

    with broker(app, path) as (client, keys):
        every = failures.matching(client, keys, chosen)
        found = list(islice(every, limit))[::-1]
        has_more = next(every, None) is not None
    if as_json:
        click.echo(json.dumps([described(one) for one in found]))
        return
    if has_more:
        click.echo(f"the last {limit}; --limit shows more, or choose by --task, --error, --since")
    for one in found:
        # Not wrapped into columns: identifiers are copied.
        click.echo("\n".join(lines(one)))
    if not found:
        click.echo(f"no {_named(chosen)}s")


def show_whole(
    app: str | None, path: Path | None, ids: tuple[str, ...], *, crashed: bool, as_json: bool
) -> None:
    """Print the failures of the tasks *ids* in full."""
    from task_server.cli.failed_shown import described, lines  # noqa: PLC0415 - as above
    from task_server.monitor.failure import Filter  # noqa: PLC0415

    with broker(app, path) as (client, keys):
        found = _of(client, keys, Meant(ids, Filter(crashed=crashed), all_=False, asks=False))
    if as_json:
        click.echo(json.dumps([described(one, whole=True) for one in found]))
        return
    for one in found:
        click.echo("\n".join(lines(one, whole=True)))


def retry(app: str | None, path: Path | None, meant: Meant, *, expired: bool) -> None:
    """Send the messages of those *meant* again; *expired* ones too, if so."""
    from task_server.actions import failed  # noqa: PLC0415 - imports redis

    meant.check()
    with broker(app, path) as (client, keys):
        found = _of(client, keys, meant)
        _ask(f"Retry {_count(found)}?", found, meant)
        outcome = failed.retry(client, keys, found, who(None), expired=expired)
    click.echo(f"{outcome.done} {'task' if outcome.done == 1 else 'tasks'} back in the queue")
    parts = sum(map(failed.is_chord_part, found))
    if parts and outcome.done:
        click.echo(
            f"{parts} of them {'is' if parts == 1 else 'are'} part of a chord that has failed: the "
            "part runs again, and the chord's body does not",
            err=True,
        )
    _report(outcome)


def drop(app: str | None, path: Path | None, meant: Meant) -> None:
    """Forget those *meant*."""
    from task_server.actions import failed  # noqa: PLC0415 - imports redis

    meant.check()
    with broker(app, path) as (client, keys):
        found = _of(client, keys, meant)
        _ask(f"Drop {_count(found)} for good?", found, meant)
        outcome = failed.drop(client, keys, found, who(None))
    click.echo(f"{outcome.done} {'task' if outcome.done == 1 else 'tasks'} dropped")


def _of(client: Any, keys: Any, meant: Meant) -> "list[Failure]":
    """
    Return the failures that are *meant*, the oldest first.

    Raises:
        TaskServerError: When one of the IDs has none.
    """
    from task_server.monitor import failures  # noqa: PLC0415 - imports redis

    if not meant.ids:
        return list(failures.matching(client, keys, meant.chosen))[::-1]
    found = failures.named(client, keys, meant.ids, crashed=meant.chosen.crashed)
    known = {name for one in found for name in (one.id, one.key)}
    unknown = [shown(name) for name in meant.ids if name not in known]
    if unknown:
        name = _named(meant.chosen)
        command = "dead" if meant.chosen.crashed else "failed"
        raise TaskServerError(f"No {name} {', '.join(unknown)}; see `task-server {command} list`.")
    return found


def _ask(question: str, found: "Sequence[Failure]", meant: Meant) -> None:
    """
    Go on if there is nothing to ask, or the reader says yes.

    Raises:
        TaskServerError: When nobody can answer, or does.
    """
    if meant.ids or not meant.asks or not found:
        return
    try:
        sure = click.confirm(question, err=True)
    except click.Abort:
        raise TaskServerError("Nothing is done: nobody has answered; --yes does not ask.") from None
    if not sure:
        raise TaskServerError("Nothing is done.")


def _report(outcome: "Outcome") -> None:
    """
    Say what was refused.

    Raises:
        TaskServerError: When anything was.
    """
    by_reason: defaultdict[str, list[Failure]] = defaultdict(list)
    for one, reason in outcome.refused:
        by_reason[reason].append(one)
    lines = []
    for reason, refused in by_reason.items():
        names = ", ".join(shown(one.id or one.key) for one in refused[:MAX_NAMES])
        lines.append(f"{len(refused)} cannot be retried, since {shown(reason)}: {names}")
    if lines:
        raise TaskServerError("; ".join(lines) + ".")


def _named(chosen: "Filter") -> str:
    return "dead letter" if chosen.crashed else "failed task"


def _count(found: "Sequence[Failure]") -> str:
    return f"{len(found)} failed {'task' if len(found) == 1 else 'tasks'}"
