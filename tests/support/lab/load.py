"""A steady load on several lanes."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Lock, Thread

import redis

from tests.support.lab.lanes import Lane
from tests.support.messages import send

#: Messages a second, and how long each one's task takes, in seconds.
RATE, TASK = 50, 0.02


class Load(Thread):
    """
    Sends RATE messages a second to each lane.

    What a fault hits while it is sent counts as not sent.

    Args:
        confirm: Called after each sending; the messages count if it says so.

    Attributes:
        sending: Held from a sending to its confirmation. Who puts another
            server in the place of one holds it, else the other would confirm.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        confirm: Callable[[Lane], bool] | None = None,
        task: str = "marks.mark",
    ) -> None:
        super().__init__(daemon=True)
        self.lanes = lanes
        self.number = 0
        self.sending = Lock()
        self._confirm = confirm
        self._task = task
        self._ended = Event()

    def run(self) -> None:
        """Send until `end`."""
        while not self._ended.wait(0.1):
            self.send(RATE // 10)

    def send(self, count: int, task: str | None = None, seconds: float = TASK) -> None:
        """Send *count* messages to each lane."""
        numbers = range(self.number, self.number + count)
        self.number += count
        for lane in self.lanes:
            with self.sending, suppress(redis.RedisError):
                send(lane.broker, numbers, seconds, task=task or self._task)
                if self._confirm is None or self._confirm(lane):
                    lane.sent.update(numbers)

    def end(self) -> None:
        """Send nothing more."""
        self._ended.set()
        self.join(60)
