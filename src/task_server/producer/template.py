"""
What the messages of a task have in common, so that the next one only needs what is its own.

A template is read off a message that Celery and Kombu have written, and used once it gives the
next one that they write, byte for byte.
"""

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, NamedTuple, Self

from celery.app.defaults import DEFAULTS
from celery.utils.saferepr import saferepr
from kombu import serialization

from task_server.producer.kombu_producer import Observed
from task_server.producer.reprs import short_repr
from task_server.producer.stamp import HEADER
from task_server.transport.large import FastBase64

#: Where a message differs from the next one, in the order of its text.
_HOLES: Final = (
    ("body",),
    ("headers", "id"),
    ("headers", "root_id"),
    ("headers", "argsrepr"),
    ("headers", "kwargsrepr"),
    ("headers", HEADER),
    ("properties", "correlation_id"),
    ("properties", "reply_to"),
    ("properties", "delivery_tag"),
)

_codec: Final = FastBase64()

#: Celery 5.6 does not know the setting.
_HAS_LEVELS: Final = "task_repr_maxlevels" in DEFAULTS

#: What follows the arguments in a body: nothing here.
_EMBEDDED: Final = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))


class Own(NamedTuple):
    """What a message has of its own, as it stands in its text."""

    task_id: str
    body: str
    argsrepr: str
    kwargsrepr: str


class Template:
    """
    The messages of one task, with one set of options.

    Attributes:
        key: The list that they are pushed to.

        queue: The queue that has to be declared before; a Kombu connection that has
            done so lists it as *declaration*.

        policy: How a push is retried, as `Connection.ensure` has it; None if it is not.

        is_trusted: Whether it has given a message that Celery has written.
    """

    def __init__(self, key: str, text: str, options: Mapping[str, Any]) -> None:
        self.key: Final = key
        self.queue: Final[Any] = options["declare"][0]
        self.declaration: Final = hash(self.queue)
        self.policy: Final = dict(options["retry_policy"]) if options["retry"] else None
        self.is_trusted = False
        self._serializer: Final[str] = options["serializer"]
        message = json.loads(text)
        self._content: Final = (message["content-type"], message["content-encoding"])
        self._text: Final = _with_holes(message)

    @classmethod
    def read(cls, observed: Observed) -> Self | None:
        """Return the template of the one message that was *observed*; None if it can have none."""
        try:
            (options,), ((key, text),) = observed.options, observed.pushed
            if not _is_direct(options) or json.dumps(json.loads(text)) != text:
                return None
            return cls(key, text, options)
        except (ValueError, LookupError, TypeError):
            return None

    def check(self, observed: Observed, args: Any, kwargs: Any, app: Any) -> bool:
        """Trust it if it gives the message that was *observed* for these arguments."""
        try:
            (options,), ((key, text),) = observed.options, observed.pushed
            message = json.loads(text)
            task_id, reply_to, tag = (_value(message, path) for path in _HOLES[-3:])
            own = self.own(task_id, args, kwargs, app)
            stamp = json.dumps(message["headers"][HEADER])
            if own is not None and key == self.key and _is_direct(options):
                self.is_trusted = text == self.fill(own, stamp, quoted(reply_to), quoted(tag))
        except (ValueError, LookupError, TypeError):
            self.is_trusted = False
        return self.is_trusted

    def own(self, task_id: Any, args: Any, kwargs: Any, app: Any) -> Own | None:
        """
        Return what the message of a task has of its own.

        None if that is no task, or is not written as the first one was.

        Raises:
            kombu.exceptions.EncodeError: As a publish does.
        """
        args, kwargs = args or (), kwargs or {}
        if not (
            isinstance(args, list | tuple)
            and isinstance(kwargs, Mapping)
            and isinstance(task_id, str)
        ):
            return None
        *content, data = serialization.dumps((args, kwargs, _EMBEDDED), self._serializer)
        if (*content,) != self._content:
            return None
        return Own(
            quoted(task_id),
            _codec.encode(data),
            quoted(short_repr(args) or _repr(args, app.amqp.argsrepr_maxsize, app)),
            quoted(short_repr(kwargs) or _repr(kwargs, app.amqp.kwargsrepr_maxsize, app)),
        )

    def fill(self, own: Own, stamp: str, reply_to: str, tag: str) -> str:
        """Return the text of a message; *stamp*, *reply_to* and *tag* are JSON."""
        task_id, body, argsrepr, kwargsrepr = own
        return self._text % (
            body, task_id, task_id, argsrepr, kwargsrepr, stamp, task_id, reply_to, tag,
        )  # fmt: skip


def _is_direct(options: Mapping[str, Any]) -> bool:
    """Return whether a publish with these *options* pushes to the list of one queue."""
    (queue,) = options["declare"]
    return (
        not options["exchange"]
        and options["routing_key"] == queue.name
        and queue.can_cache_declaration
        and not options["compression"]
    )


def _with_holes(message: Any) -> str:
    """
    Return the text of *message*, with %s for what differs.

    Raises:
        ValueError: If it has not the usual shape.
    """
    task_id = message["headers"]["id"]
    if any(task_id != _value(message, _HOLES[number]) for number in (2, 6)):
        raise ValueError(task_id)
    if message["properties"]["body_encoding"] != "base64":
        raise ValueError(message["properties"])
    for number, (*outer, last) in enumerate(_HOLES):
        _value(message, outer)[last] = f"\0{number}\0"
    rest, parts = json.dumps(message), []
    for number in range(len(_HOLES)):
        part, mark, rest = rest.partition(f'"\\u0000{number}\\u0000"')
        if not mark:
            raise ValueError(rest)
        parts.append(part)
    first, *others = (part.replace("%", "%%") for part in (*parts, rest))
    return f'{first}"%s"{"%s".join(others)}'


def _value(message: Any, path: Sequence[str]) -> Any:
    for name in path:
        message = message[name]
    return message


def _repr(value: Any, longest: int, app: Any) -> str:
    """Return what Celery's `as_task_v2` writes of *value*."""
    options = {"maxlevels": app.conf.task_repr_maxlevels} if _HAS_LEVELS else {}
    text: str = saferepr(value, longest, **options)
    return text
