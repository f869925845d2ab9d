"""
Is this worker alive, ready, draining? Reads the heartbeat that the worker writes.

It imports the standard library alone, so that a health check costs a few
milliseconds of start-up and no connection to Redis. The worker judges itself
with the same rules before it answers systemd's watchdog.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from task_server.health import private_folder

State = Literal["starting", "ready", "draining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """
    What a worker says of itself, as it lies in `NAME.json`.

    Attributes:
        time: When it was written, in seconds since 1970.

        monotonic: The same on CLOCK_MONOTONIC, which a correction of the wall
            clock does not move; of the boot *boot_id*. All other times but
            those of *last_task* are on this clock.

        pid_start: When the process started, in clock ticks since boot; tells
            the process from a later one with the same pid.

        connected: Whether the consumer has a connection on which Redis answers.

        connecting_since: When the worker began to look for Redis; None while
            it is connected or has not come so far.

        trouble: Why there is no connection, and what to do; no password in it.

        refusal: Why Redis, which answers, hands out no messages of all queues
            or of one: a right, or a key of the wrong type.

        missing: The same of a PostgreSQL that did not answer at the start and
            has not since.

        database: Why connections to PostgreSQL do not move, since
            *database_since*; *database_stuck* where locks are the reason.

        active: Tasks that run.

        reserved: Tasks taken that do not run yet, those with an ETA included.

        processed: Tasks run since the start.

        last_task: `name`, `id` and `time` (since 1970) of the last task taken.

        queues: Messages waiting in each queue that is consumed, seen at
            *queues_seen*.

        unreadable: Messages that were put aside as they cannot be delivered, of
            all workers; None if that is not known.

        backlog_since: Since when messages wait, get no fewer, and none is
            taken although places are free; None otherwise.

        lost: Tasks that hold a place and run nowhere, which cannot be.

        until: When the drain ends at the latest; None unless draining.
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
    queues: dict[str, int] = field(default_factory=dict)
    queues_seen: float | None = None
    unreadable: int | None = None
    backlog_since: float | None = None
    lost: int = 0
    until: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How long is too long, in seconds.

    Attributes:
        stale: Without a heartbeat, a loop that ought to turn is stuck. The
            worker writes one every two seconds.

        start: Without a heartbeat while starting; importing a large project
            takes its time.

        connect: Without a heartbeat while looking for Redis: a connection to a
            host that drops packets takes the kernel 130 s to give up.

        backlog: Taking nothing although messages wait and places are free.

        drain: After the end of the drain.

        database: Without a connection to PostgreSQL given back, while all are
            held by tasks that wait for locks.
    """

    stale: float = 30.0
    start: float = 120.0
    connect: float = 180.0
    backlog: float = 60.0
    drain: float = 20.0
    database: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The moment of judgement, on the clocks of a heartbeat."""

    time: float
    monotonic: float
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a worker is alive (else it wants a restart), ready for tasks, and why."""

    alive: bool
    ready: bool
    reason: str


def now() -> Now:
    """Return the moment this is called."""
    return Now(time=time.time(), monotonic=time.monotonic(), boot_id=boot_id())


def boot_id() -> str:
    """Return what tells this boot of the machine from the others; empty where unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def path_of(runtime_dir: Path, name: str) -> Path:
    """Return where the worker *name* leaves its heartbeat."""
    return runtime_dir / f"{name}.json"


def write(path: Path, heartbeat: Heartbeat) -> None:
    """
    Put *heartbeat* in the place of the one before; a reader sees one or the other.

    Raises:
        OSError: When the folder is gone or full, or is not private any more.
    """
    folder = private_folder.open_folder(path.parent, os.geteuid())
    try:
        private_folder.replace(folder, path.name, json.dumps(asdict(heartbeat)))
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    """
    Take the heartbeat at *path* away.

    Raises:
        OSError: When it is gone, or its folder is not private any more.
    """
    folder = private_folder.open_folder(path.parent, os.geteuid())
    try:
        private_folder.remove(folder, path.name)
    finally:
        os.close(folder)


def read(runtime_dir: Path, name: str, owner: int | None = None) -> Heartbeat | str:
    """
    Return the heartbeat of the worker *name*, or the reason why there is none.

    Args:
        owner: The user whose folder *runtime_dir* must be; None is any.
    """
    path = path_of(runtime_dir, name)
    try:
        folder = private_folder.open_folder(runtime_dir, owner)
        try:
            text = private_folder.read(folder, path.name)
        finally:
            os.close(folder)
    except FileNotFoundError:
        return f"no heartbeat at {path}: the worker does not run, or has another runtime_dir"
    except (OSError, UnicodeDecodeError) as error:
        return f"the heartbeat at {path} cannot be read: {error}"
    try:
        values = json.loads(text)
        known = {one.name for one in fields(Heartbeat)}
        # A newer worker may say more than this probe knows.
        heartbeat = Heartbeat(**{key: value for key, value in values.items() if key in known})
        _believe(heartbeat)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"the heartbeat at {path} is broken ({error}); the worker writes a new one"
    return heartbeat


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _pid(value: Any) -> bool:
    # 0 and negative numbers are groups of processes.
    return _count(value) and 0 < value < 2**31


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _state(value: Any) -> bool:
    return _text(value) and value in get_args(State)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _queues(value: Any) -> bool:
    return isinstance(value, dict) and all(_count(length) for length in value.values())


#: What may stand for each kind of value that is reckoned with, by its annotation.
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


def _believe(heartbeat: Heartbeat) -> None:
    """
    Look whether what was read can be reckoned with.

    Raises:
        ValueError: When a value is not what a worker writes.
    """
    for one in fields(heartbeat):
        value = getattr(heartbeat, one.name)
        fits = _pid if one.name == "pid" else _KINDS.get(one.type)
        if fits is not None and not fits(value):
            raise ValueError(f"{one.name} is {value!r:.40}")


def check(
    runtime_dir: Path, name: str, limits: Limits | None = None, owner: int | None = None
) -> Verdict:
    """
    Return the verdict on the worker *name*, from its heartbeat and its process.

    Args:
        owner: The user whose folder *runtime_dir* must be; None is any.
    """
    heartbeat = read(runtime_dir, name, owner)
    if isinstance(heartbeat, str):
        return Verdict(alive=False, ready=False, reason=heartbeat)
    return judge(heartbeat, now(), limits, running=is_running(heartbeat.pid, heartbeat.pid_start))


def judge(
    heartbeat: Heartbeat, now: Now, limits: Limits | None = None, *, running: bool = True
) -> Verdict:
    """
    Return the verdict on a worker.

    Args:
        running: Whether its process still exists.
    """
    limits = limits or Limits()
    if heartbeat.boot_id != now.boot_id:
        death = "the heartbeat is from before the machine started"
    elif not running:
        death = f"its process {heartbeat.pid} is gone"
    else:
        death = _stuck(heartbeat, now, limits)
    if death:
        return Verdict(alive=False, ready=False, reason=death)
    delay = _unready(heartbeat, now)
    if delay:
        return Verdict(alive=True, ready=False, reason=delay)
    reason = f"{heartbeat.active} running, {heartbeat.free} of {heartbeat.concurrency} places free"
    return Verdict(alive=True, ready=True, reason=reason)


def is_running(pid: int, pid_start: int | None) -> bool:
    """Whether the process *pid* that started at *pid_start* exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    status = process_status(pid)
    if status is None:
        return True
    state, start = status
    return state not in "ZX" and pid_start in (None, start)


def process_status(pid: int) -> tuple[str, int] | None:
    """Return the state letter and the start in ticks of *pid*; None where /proc does not tell."""
    try:
        # The name, in parentheses, may hold anything.
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return rest[0], int(rest[19])
    except (OSError, IndexError, ValueError):
        return None


def _stuck(heartbeat: Heartbeat, now: Now, limits: Limits) -> str:
    """Return why the worker does not get on any more; empty if it does."""
    if heartbeat.state == "draining":
        # Celery's own last steps come without a heartbeat.
        late = now.monotonic - (heartbeat.until or heartbeat.monotonic)
        return f"it should have stopped {late:.0f} s ago" if late > limits.drain else ""
    age = now.monotonic - heartbeat.monotonic
    if age > _allowed_age(heartbeat, limits):
        reason = f"its loop has not turned for {age:.0f} s"
        if heartbeat.pool == "gevent":
            reason += "; a task that computes, or blocks outside gevent, stops all the others"
        return reason
    if heartbeat.state == "starting" and heartbeat.connecting_since is None:
        since = now.monotonic - heartbeat.started
        return f"it has been starting for {since:.0f} s" if since > limits.start else ""
    if heartbeat.lost and not heartbeat.free:
        return f"{heartbeat.lost} tasks hold its places and run nowhere, and no place is free"
    return _still(heartbeat, now, limits)


def _still(heartbeat: Heartbeat, now: Now, limits: Limits) -> str:
    """Return what has not moved for too long; empty if all does."""
    if heartbeat.database_stuck and heartbeat.database_since is not None:
        still = now.monotonic - heartbeat.database_since
        if still > limits.database:
            return f"{heartbeat.database}, for {still:.0f} s"
    # A restart would change no right and no key.
    if heartbeat.connected and heartbeat.backlog_since is not None and not heartbeat.refusal:
        idle = now.monotonic - heartbeat.backlog_since
        if idle > limits.backlog:
            return (
                f"it takes nothing for {idle:.0f} s although {sum(heartbeat.queues.values())} "
                f"messages wait and {heartbeat.free} of {heartbeat.concurrency} places are free"
            )
    return ""


def _allowed_age(heartbeat: Heartbeat, limits: Limits) -> float:
    """Return how old the heartbeat may be, for what the worker is doing."""
    if heartbeat.connecting_since is not None:
        return max(limits.stale, limits.connect)
    if heartbeat.state == "starting":
        return max(limits.stale, limits.start)
    return limits.stale


def _unready(heartbeat: Heartbeat, now: Now) -> str:
    """Return why a worker that is alive takes no tasks now; empty if it does."""
    if heartbeat.state == "draining":
        return f"it is draining ({heartbeat.reason}), {heartbeat.active} running"
    if heartbeat.connecting_since is not None:
        since = now.monotonic - heartbeat.connecting_since
        why = f" ({heartbeat.trouble})" if heartbeat.trouble else ""
        return f"Redis does not answer for {since:.0f} s{why}; a restart does not help"
    if heartbeat.state == "ready" and heartbeat.lost:
        return (
            f"{heartbeat.lost} of {heartbeat.concurrency} places are held by tasks that run "
            "nowhere; a restart frees them"
        )
    if heartbeat.refusal:
        return f"{heartbeat.refusal}; a restart does not help"
    if heartbeat.state == "ready":
        missing = f"{heartbeat.missing}; a restart does not help" if heartbeat.missing else ""
        return missing or heartbeat.database or ""
    return f"it is {heartbeat.state}"
