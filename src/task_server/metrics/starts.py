"""Counts the starts of workers, from one look at them to the next."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from task_server.metrics.values import Value
from task_server.monitor.model import Worker

#: Processes that are remembered, so that one that registers anew has not started.
MOST: Final = 50_000


class Starts:
    """
    Counts processes that no look before has seen, by the name of their worker.

    Those of the first look had started before.
    """

    def __init__(self) -> None:
        self._known: set[str] | None = None
        self._counts: Counter[str] = Counter()

    def seen(self, workers: Iterable[Worker]) -> Iterator[Value]:
        """Count those of *workers* that are new; return all counts."""
        runs = {one.run: one.node.partition("@")[0] for one in workers if one.run and one.state}
        for run, kind in runs.items():
            self._counts[kind] += self._known is not None and run not in self._known
        known = set(runs) if self._known is None else self._known | set(runs)
        self._known = known if len(known) < MOST else set(runs)
        for kind, count in sorted(self._counts.items()):
            yield Value("task_server_worker_starts_total", (kind,), count)
