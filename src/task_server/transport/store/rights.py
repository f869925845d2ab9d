"""
What the user of the broker URL must be allowed to do, for a worker with this transport.

The only list: `task-server check --live` tries it, the example of a user in the reference
is made of it, and tests compare it with the scripts.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from task_server.transport.store.keys import Keys


class Right(NamedTuple):
    """
    One command that a worker uses.

    Attributes:
        command: In capitals; 'CLIENT TRACKING' is one too.

        arguments: With which it is tried, after MULTI, so that it does nothing.

        without: The effect on a worker that may not use it; '' if it fetches no
            messages then.
    """

    command: str
    arguments: tuple[str, ...]
    without: str = ""


UNACKED: Final = "{unacked}"
TIMES: Final = "{times}"
QUEUE: Final = "{queue}"
BINDING: Final = "{binding}"
OWN: Final = "{unacked}.probe"

_IDLE: Final = "it polls for messages ten times a second while it is idle"
_BACK: Final = "messages of a stopped or lost worker are redelivered late, or not at all"
_CONTROL: Final = "it receives no remote control (Flower, `celery inspect`)"

RIGHTS: Final = (
    # To fetch messages, and to acknowledge them.
    Right("EVAL", ("return 1", "1", UNACKED)),
    Right("EVALSHA", ("0" * 40, "1", UNACKED), "each call sends the text of its script"),
    Right("TIME", ()),
    Right("EXISTS", (QUEUE,)),
    Right("LINDEX", (QUEUE, "-1")),
    Right("HSET", (UNACKED, "probe", "")),
    Right("HSETNX", (UNACKED, "probe", ""), "HSET takes its place"),
    Right("ZADD", (TIMES, "0", "probe")),
    Right("LTRIM", (QUEUE, "0", "-1"), "RPOP takes its place"),
    Right("RPOP", (QUEUE, "0"), "LTRIM takes its place"),
    Right("HDEL", (UNACKED, "probe")),
    Right("ZREM", (TIMES, "probe")),
    Right("HMGET", (UNACKED, "probe"), _BACK),
    Right("MULTI", ()),
    Right("EXEC", ()),
    # To declare queues.
    Right("SADD", (BINDING, "probe"), "no new queue is bound to its exchange"),
    Right("SMEMBERS", (BINDING,)),
    Right("LLEN", (QUEUE,), "its health does not see that messages wait"),
    # As Kombu 5.7 does, which has scripts of its own for queues that expire.
    Right("SCRIPT LOAD", ("return 1",)),
    Right("SCRIPT EXISTS", ("0" * 40,), "Kombu complains each minute, and keeps old bindings"),
    Right("ZRANGEBYSCORE", (BINDING, "0", "0")),
    Right("PEXPIRE", (QUEUE, "1000")),
    # To requeue and to redeliver.
    Right("HGET", (UNACKED, "probe"), _BACK),
    Right("HEXISTS", (UNACKED, "probe"), _BACK),
    Right("ZSCORE", (TIMES, "probe"), _BACK),
    Right("ZRANGE", (TIMES, "0", "0"), _BACK),
    Right("RPUSH", (QUEUE, ""), _BACK),
    Right("LPUSH", (QUEUE, ""), "what cannot be read stays among the unacked messages"),
    Right(
        "SREM",
        (OWN, ""),
        "tasks that ran beside one that kills its worker stay suspects for longer",
    ),
    Right("HLEN", (OWN,), "only the log has the reason why a message cannot be read"),
    Right("DEL", (OWN,), "reasons of messages that are long gone are kept"),
    Right("HSCAN", (OWN, "0"), "dead letters of tasks that it registers do not come back"),
    # To wait.
    Right("ZCOUNT", (OWN, "0", "0"), _IDLE),
    Right("ZREMRANGEBYSCORE", (OWN, "0", "0"), "workers that are gone are listed for a minute"),
    Right("EXPIRE", (OWN, "1"), "keys of workers that are gone stay"),
    Right("BRPOP", (OWN, "1"), _IDLE),
    Right("CLIENT TRACKING", ("OFF",), _IDLE),
    Right("CLIENT CACHING", ("YES",), _IDLE),
    Right("CLIENT ID", (), _IDLE),
    Right("CLIENT REPLY", ("ON",), "tasks that may be poison wait for a reply before they start"),
    Right("PUBLISH", ("/{db}.celery.pidbox", ""), _CONTROL),
    Right("PSUBSCRIBE", ("/{db}.celery.pidbox",), _CONTROL),
    Right("SUBSCRIBE", ("__redis__:invalidate",), _IDLE),
)


#: Tried with the key of each queue's delayed tasks; by command it is one of the above.
DELAY: Final = Right("ZRANGE", (), "tasks that are due later wait in the worker, not in Redis")


#: What `task-server purge` uses beside these, by the same user; no worker does.
OPERATOR: Final = ("LRANGE", "PERSIST", "RENAME", "UNLINK")


class Missing(NamedTuple):
    """A right that a user lacks, and what Redis says to that."""

    right: Right
    error: str


def missing(client: Any, keys: Keys, queues: Sequence[str], database: int) -> list[Missing]:
    """
    Return the rights that the user of *client* lacks; nothing is changed.

    Each is queued after MULTI, where Redis refuses what the user may not do, by
    command and by key, and then dropped. So no right to read ACLs is needed.

    Args:
        client: A Redis client that adds no prefix.

        queues: At least one, without prefix; whether the keys of the others may be
            used is tried too.

    Raises:
        RedisError: When Redis does not answer.
    """
    lists = [f"{keys.prefix}{queue}" for queue in queues]
    names = {
        "unacked": keys.unacked,
        "times": keys.times,
        "queue": lists[0],
        # Most exchanges have the name of their queue.
        "binding": keys.binding_of(queues[0]),
        "db": database,
    }
    with client.client() as single:
        found = _tried(single.connection, names)
        take = next(right for right in RIGHTS if right.command == "LINDEX")
        for queue in lists[1:]:
            error = _refusal(single.connection, take.command, (queue, "-1"))
            if error and take not in [one.right for one in found]:
                found.append(Missing(take, f"the queue {queue}: {error}"))
        if not any(one.right.command == DELAY.command for one in found):
            for key in map(keys.delayed_of, lists):
                if error := _refusal(single.connection, DELAY.command, (key, "0", "0")):
                    found.append(Missing(DELAY, f"the key {key}: {error}"))
                    break
        return found


def _tried(connection: Any, names: dict[str, Any]) -> list[Missing]:
    found = []
    for right in RIGHTS:
        arguments = tuple(one.format(**names) for one in right.arguments)
        error = _refusal(connection, right.command, arguments)
        if error:
            found.append(Missing(right, error))
    return found


def _refusal(connection: Any, command: str, arguments: Sequence[str]) -> str:
    """Return why Redis refuses *command*, which it does not run; '' if it would run it."""
    try:
        _say(connection, "MULTI")
    except ResponseError as error:
        return str(error) if command == "MULTI" else ""
    if command in ("MULTI", "EXEC"):
        try:
            _say(connection, "EXEC")
        except ResponseError as error:
            return str(error) if command == "EXEC" else ""
        return ""
    try:
        _say(connection, *command.split(), *arguments)
    except ResponseError as error:
        return str(error) if is_refusal(error) else ""
    finally:
        _discard(connection)
    return ""


def _discard(connection: Any) -> None:
    try:
        _say(connection, "DISCARD")
    except ResponseError:
        # The next connection is another.
        connection.disconnect()


def _say(connection: Any, *words: str) -> Any:
    connection.send_command(*words)
    return connection.read_response()


def is_refusal(error: Exception) -> bool:
    """Return whether *error* means that the user lacks a right."""
    text = str(error)
    # The last is what redis-py raises where MULTI is denied.
    words = ("NOPERM", "permission", "can't run", "can't access", "EXEC without MULTI")
    return any(one in text for one in words)


def rules(queues: Iterable[str] = (), prefix: str = "") -> str:
    """Return the access rules of a user for a worker, as ACL SETUSER takes them."""
    commands = " ".join(f"+{right.command.lower().replace(' ', '|')}" for right in RIGHTS)
    patterns = (
        *(f"{prefix}{name}*" for name in (*queues, "unacked", "_kombu")),
        "*.celery.pidbox*",
    )
    keys = " ".join(f"~{pattern}" for pattern in patterns)
    return f"{keys} &* {commands} +discard +ping +info +hello"
