"""
The heartbeat file of a worker: its fields, and how it is written and read.

Little is imported here, so that a health check costs little more than the start of Python:
neither `dataclasses` nor `pathlib`.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

from task_server.health import private_folder

if TYPE_CHECKING:
    from pathlib import Path

State = Literal["starting", "ready", "draining"]

#: A named tuple that a heartbeat is read into.
Kind = TypeVar("Kind")


class Heartbeat(NamedTuple):
    """
    What a worker reports about itself, in the file `NAME.json`.

    Attributes:
        time: When it was written, in seconds since 1970.

        monotonic: The same on CLOCK_MONOTONIC of the boot *boot_id*, which
            setting the wall clock does not move. All other times but that of
            *last_task* are on this clock.

        waited: For how many seconds its main thread has waited for a processor since it
            started, as of *monotonic*; None if unknown.

        pid_start: When the process started, in clock ticks since boot; a later
            process with the same pid has another.

        connected: Whether the consumer has a connection on which Redis answers.

        connecting_since: When the worker began to connect to Redis; None while
            it is connected or has not got that far.

        trouble: Why there is no connection, and how to fix it; without the password.

        refusal: Why Redis answers but delivers no messages of one queue, or of
            any: a missing permission, or a key of the wrong type.

        missing: Why a PostgreSQL that did not answer at the start still does
            not answer.

        database: Why no connection to PostgreSQL has been returned since
            *database_since*; *database_stuck* if locks are the reason.

        active: Running tasks.

        reserved: Tasks received that do not run yet, including those with an ETA.

        processed: Tasks that have run since the start.

        last_task: `name`, `id` and `time` (since 1970) of the last task received.

        queues: Length of each consumed queue, as of *queues_seen*.

        unreadable: Undeliverable messages that were set apart, by all workers;
            None if unknown.

        backlog_since: Since when messages are queued, no fewer each time, and
            none is fetched although slots are free; None otherwise.

        lost: Tasks that occupy a slot but run nowhere, which is a bug.

        oldest_task: NAME[ID] of the task that runs for longest, since *oldest_since*.

        stopped: Which children of the pool a signal or a debugger has stopped, since
            *stopped_since*; *stopped_children* of them.

        unready_seconds, dead_seconds: How long a task may run before the worker counts as
            not ready, or as dead; 0 is without end.

        until: The deadline of the drain; None unless draining.

        paused: Its queues that are paused by hand, each with who did it.

        drained: Who drained its node by hand, as words; it takes nothing, and does not stop.
    """

    state: State
    time: float
    monotonic: float
    boot_id: str
    started: float
    pid: int
    pid_start: int | None
    name: str
    node: str | None
    pool: str
    concurrency: int
    connected: bool = False
    connecting_since: float | None = None
    trouble: str | None = None
    refusal: str | None = None
    missing: str | None = None
    database: str | None = None
    database_since: float | None = None
    database_stuck: bool = False
    active: int = 0
    reserved: int = 0
    free: int = 0
    processed: int = 0
    last_task: dict[str, Any] | None = None
    queues: dict[str, int] = {}
    queues_seen: float | None = None
    unreadable: int | None = None
    backlog_since: float | None = None
    lost: int = 0
    oldest_task: str | None = None
    oldest_since: float | None = None
    stopped: str | None = None
    stopped_since: float | None = None
    stopped_children: int = 0
    unready_seconds: float = 0.0
    dead_seconds: float = 0.0
    until: float | None = None
    reason: str | None = None
    paused: str | None = None
    drained: str | None = None
    waited: float | None = None


def path_of(runtime_dir: "Path", name: str) -> "Path":
    """Return the heartbeat file of the worker *name*."""
    return runtime_dir / f"{name}.json"


def write(path: "Path", heartbeat: Any) -> None:
    """
    Replace the heartbeat at *path*; a reader sees the old or the new one, never a part.

    Args:
        heartbeat: A named tuple, such as a worker's `Heartbeat`.

    Raises:
        OSError: When the folder is missing, full, or no longer private.
    """
    folder = private_folder.open_folder(path.parent, os.geteuid())
    try:
        private_folder.replace(folder, path.name, json.dumps(heartbeat._asdict()))
    finally:
        os.close(folder)


def remove(path: "Path") -> None:
    """
    Remove the heartbeat at *path*.

    Raises:
        OSError: When it is missing, or its folder is no longer private.
    """
    folder = private_folder.open_folder(path.parent, os.geteuid())
    try:
        private_folder.remove(folder, path.name)
    finally:
        os.close(folder)


def read(runtime_dir: "str | Path", name: str, owner: int | None = None) -> Heartbeat | str:
    """
    Return the heartbeat of the worker *name*, or the reason why there is none.

    Args:
        owner: The user who must own *runtime_dir*; None allows any.
    """
    return read_as(Heartbeat, runtime_dir, name, owner, title="worker")


def read_as(
    kind: type[Kind], runtime_dir: "str | Path", name: str, owner: int | None = None, *, title: str
) -> Kind | str:
    """
    Return the heartbeat *name* as one of the type *kind*, or why there is none.

    Args:
        owner: The user who must own *runtime_dir*; None allows any.

        title: Whose heartbeat it is, for the reason.
    """
    path = os.path.join(runtime_dir, f"{name}.json")  # noqa: PTH118 - without pathlib
    try:
        folder = private_folder.open_folder(runtime_dir, owner)
        try:
            text = private_folder.read(folder, f"{name}.json")
        finally:
            os.close(folder)
    except FileNotFoundError:
        return f"no heartbeat at {path}: the {title} is not running, or has another runtime_dir"
    except (OSError, UnicodeDecodeError) as error:
        return f"the heartbeat at {path} cannot be read: {error}"
    try:
        values = json.loads(text)
        known = kind.__annotations__
        # A newer worker may write fields that this version does not know.
        heartbeat = kind(**{key: value for key, value in values.items() if key in known})
        _validate(heartbeat)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"the heartbeat at {path} is invalid ({error}); the {title} will write a new one"
    return heartbeat


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _pid(value: Any) -> bool:
    # `kill` takes 0 and negative numbers for process groups.
    return _count(value) and 0 < value < 2**31


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _state(value: Any) -> bool:
    return _text(value) and value in get_args(State)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _queues(value: Any) -> bool:
    return isinstance(value, dict) and all(_count(length) for length in value.values())


#: Whether a value is valid, by the annotation of its field.
_KINDS: Mapping[Any, Callable[[Any], bool]] = MappingProxyType(
    {
        State: _state,
        float: _number,
        float | None: lambda value: value is None or _number(value),
        int: _count,
        int | None: lambda value: value is None or _count(value),
        str: _text,
        str | None: lambda value: value is None or _text(value),
        bool: _truth,
        dict[str, int]: _queues,
    }
)


def _validate(heartbeat: Any) -> None:
    """
    Check that each value has the type its field declares.

    Raises:
        ValueError: When a value is not one that a worker writes.
    """
    for name, kind in type(heartbeat).__annotations__.items():
        value = getattr(heartbeat, name)
        fits = _pid if name == "pid" else _KINDS.get(kind)
        if fits is not None and not fits(value):
            raise ValueError(f"{name} is {value!r:.40}")
