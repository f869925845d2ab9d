"""
`delay()` takes a short way, where it does what it did for the task's last message.

Most of the time of a `delay()` goes into what is the same for each message of a task: settings,
routes, headers, declarations. The first two are sent by Celery and Kombu, and give a
template (`template`); the next ones are filled in and pushed. Whatever is out of the ordinary
(`usual`) goes Celery's way, and a push that fails is retried by Kombu.
"""

from operator import itemgetter
from types import NoneType
from typing import Any, Final

from kombu.utils.uuid import uuid

from task_server.producer.channel import Publishing
from task_server.producer.kombu_producer import Observed, Producer
from task_server.producer.push import push
from task_server.producer.template import Template
from task_server.producer.usual import Usual
from task_server.worker.patching import patch

#: Options that the messages of a template share: some of those that `apply_async` always gives.
_SHARED: Final = (
    *("queue", "routing_key", "exchange", "priority", "serializer", "delivery_mode"),
    *("time_limit", "soft_time_limit", "immediate", "mandatory", "ignore_result"),
)
_shared: Final = itemgetter(*_SHARED)

#: Types of their values.
_PLAIN: Final = frozenset({NoneType, bool, int, float, str})

#: Options that a template cannot have.
_UNSET: Final = ("producer", "link", "link_error", "shadow", "expires", "compression")
_unset: Final = itemgetter(*_UNSET)
_NOTHING: Final = (None,) * len(_UNSET)

#: All that `apply_async` gives, unless it was given more.
_ALL: Final = frozenset({*_SHARED, *_UNSET, "task_id", "result_cls", "task_type"})

#: Name, arguments, keyword arguments.
_WORDS: Final = 3

#: Templates of one app, at most.
_MOST: Final = 1000

#: Stands for a template that was not read yet.
_UNREAD: Final[Any] = object()


class Plain:
    """Stands in the place of the method `send_task` of an app."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._usual = Usual(app)
        # None for a message that can have none.
        self._templates: dict[Any, Template | None] = {}

    def __call__(self, *words: Any, **options: Any) -> Any:
        """Send a task by its name, as Celery's `send_task`."""
        key = self._key(words, options)
        template = self._templates.get(key, _UNREAD) if key else None
        if template is None:
            return self._send_as_celery(*words, **options)
        if template is _UNREAD or not template.is_trusted:
            return self._learn(key, template, *words, **options)
        task_id = options["task_id"] or uuid()
        own = template.own(task_id, *words[1:], app=self._app)
        if own is None or not push(self._app, template, own):
            return self._send_as_celery(*words, **{**options, "task_id": task_id})
        result = options["result_cls"](task_id)
        result.ignored = options["ignore_result"]
        return result

    def _key(self, words: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...] | None:
        """Return what messages of one template have in common; None for one that has none."""
        if len(words) != _WORDS or options.keys() != _ALL or _unset(options) != _NOTHING:
            return None
        if not self._usual.is_so(ignores_result=options["ignore_result"]):
            return None
        shared = _shared(options)
        # True is 1 as a key, and not in a message.
        kinds = tuple(map(type, shared))
        return (self._usual.version, words[0], shared, kinds) if _PLAIN.issuperset(kinds) else None

    def _send_as_celery(self, *words: Any, **options: Any) -> Any:
        return type(self._app).send_task(self._app, *words, **options)

    def _learn(self, key: Any, template: Any, *words: Any, **options: Any) -> Any:
        """Send as Celery does, and look at the message."""
        with self._app.producer_or_acquire() as producer:
            if not isinstance(producer, Producer):
                return self._send_as_celery(*words, **options)
            observed = producer.observed = Observed()
            try:
                result = self._send_as_celery(*words, **{**options, "producer": producer})
            finally:
                producer.observed = None
                if isinstance(channel := vars(producer).get("_channel"), Publishing):
                    channel.observed = None
        if len(self._templates) >= _MOST:
            self._templates.clear()
        if template is _UNREAD:
            self._templates[key] = Template.read(observed)
        elif not template.check(observed, *words[1:], app=self._app):
            self._templates[key] = None
        return result


def adopt(app: Any) -> None:
    """Let *app* send its tasks in this way, unless its `send_task` has been replaced."""
    if "send_task" not in vars(app):
        patch(app, "send_task", Plain(app))
