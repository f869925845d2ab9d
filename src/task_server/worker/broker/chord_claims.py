"""
The claims on the bodies of chords, of tasks that run again.

The part of a chord that ends last claims the body, see `results.claims`. If its process is
killed before the body is sent, the part runs again: in one of our workers it finds its own
claim. In a stock worker it has another token, finds the body claimed, and sends nothing. So its
claim is released before its message goes back.

A part whose child is lost after its success was stored does not run again: to Celery all is done
then, and nobody sends the body. The main process does.
"""

import logging
import time
from collections.abc import Iterable
from typing import Any, Final

from celery import states

from task_server.results.claims import Claims
from task_server.transport.store.parts import Part

logger: Final = logging.getLogger(__name__)

#: Seconds for which a result backend that has not answered is not asked again.
PAUSE: Final = 30.0


class ChordClaims:
    """
    Releases the claims of tasks of *app*.

    Args:
        timeout: Seconds that the result backend has to accept a connection, and again to
            answer: the event loop waits.
    """

    def __init__(self, app: Any, timeout: float) -> None:
        self._app = app
        self._timeout = timeout
        self._paused_until = 0.0

    def on_lost(self, request: Any) -> None:
        """End the part of a chord whose child was lost, or release its claim."""
        backend = request.task.backend
        if not (request.group and _has_claims(backend)):
            return
        try:
            # Celery 5.6 does not ask.
            stored: Any = getattr(request, "_success_was_stored", bool)()
            if stored:
                context = request._context  # noqa: SLF001 - Celery has no other way
                # What was counted is not counted again, and what was sent is not sent again.
                backend.on_chord_part_return(context, states.SUCCESS, stored["result"])
                return
        except Exception:
            logger.exception("%s[%s] cannot end its chord: it runs again", request.name, request.id)
            request._success_was_stored = bool  # noqa: SLF001 - so that Celery requeues it
        self.release_requests([request])

    def release_requests(self, requests: Iterable[Any]) -> None:
        """Release the claims of *requests* of this worker, whose tasks are not running any more."""
        self.release(
            Part(one.name, one.id, group)
            for one in requests
            if isinstance(group := getattr(one, "group", None), str)
        )

    def release(self, parts: Iterable[Part]) -> None:
        """Release the claims of *parts*, whose tasks are about to be redelivered."""
        by_backend: dict[int, tuple[Any, list[Part]]] = {}
        for part in parts:
            backend = self._backend_of(part.task)
            if _has_claims(backend):
                by_backend.setdefault(id(backend), (backend, []))[1].append(part)
        for backend, some in by_backend.values():
            self._release(backend, some)

    def _backend_of(self, name: str) -> Any:
        """Return the result backend of the task *name*, which another worker may have run."""
        task = self._app.tasks.get(name)
        return self._app.backend if task is None else task.backend

    def _release(self, backend: Any, parts: list[Part]) -> None:
        if time.monotonic() < self._paused_until:
            return
        try:
            count = backend.release_claims(
                [(one.group, one.id) for one in parts], timeout=self._timeout
            )
        except Exception as error:  # noqa: BLE001 - the messages go back, whatever it is
            self._paused_until = time.monotonic() + PAUSE
            logger.warning(
                "the result backend does not release the chords that %d redelivered tasks may "
                "have claimed (%s): should a worker without task-server run one of them within "
                "seconds, the chord's body may not be sent",
                *(len(parts), error),
            )
            return
        if count:
            logger.info("the bodies of %d chords are sent by parts that run again", count)


def _has_claims(backend: Any) -> bool:
    return isinstance(backend, Claims)
