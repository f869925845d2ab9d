"""Whether messages wait in the queues although this worker is idle."""


class StallDetector:
    """Whether messages wait although this worker is idle, from one reading to the next."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None
        self._since: float | None = None

    def update(self, waiting: int, taken: int, now: float, *, idle: bool) -> float | None:
        """
        Return since when messages wait although this worker is idle; None if none do.

        Args:
            waiting: Messages in the queues now.

            taken: Messages that this worker has received in total.

            now: The time, on the clock of the result.

            idle: Whether the worker has free slots and no requests for them.
        """
        before, self._before = self._before, (waiting, taken)
        # Fewer than before: some worker consumes them.
        stuck = (
            idle
            and waiting > 0
            and before is not None
            and waiting >= before[0] > 0
            and before[1] == taken
        )
        if not stuck:
            self._since = None
        elif self._since is None:
            self._since = now
        return self._since
