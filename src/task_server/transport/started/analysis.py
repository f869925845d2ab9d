"""Which messages may have crashed their workers, by what those had reported."""

from collections.abc import Mapping
from typing import Any

from kombu.utils.encoding import bytes_to_str

from task_server.transport.started.crashes import CERTAIN, Blame, blame
from task_server.transport.store.client import Store


class CrashAnalysis:
    """The reports of dead workers, each read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reported: dict[str, set[str]] = {}

    def blame(self, tag: str, owner: Mapping[str, Any], *, seen_before: bool) -> Blame | None:
        """
        Return how far the message *tag* is to blame for the crash of *owner*; None if not.

        An owner without `run` does not report: each message that it had counts in full.
        """
        run = owner.get("run")
        if not run:
            return CERTAIN
        if run not in self._reported:
            members = self._store.client.smembers(self._store.keys.started(run))
            self._reported[run] = {bytes_to_str(member) for member in members}
        return blame(tag, self._reported[run], seen_before=seen_before)
