"""Rows of a process that sends, and of one that waits for the end of a canvas."""

from dataclasses import dataclass

from tests.benchmarks.crew import Crew
from tests.support.wait import until


@dataclass(frozen=True)
class Send:
    """Measures delay() of *task*, with nobody who runs it."""

    task: str

    def __call__(self, crew: Crew, count: int) -> dict[str, float]:
        """Send *count* messages."""
        taken = crew.order("send", self.task, count)
        crew.broker.client.delete("celery")
        return {"rate": count / taken["seconds"], "sender": taken["cpu"] / count * 1e6}


@dataclass(frozen=True)
class Canvas:
    """Measures a canvas of *kind* from its first message to its result in the sending process."""

    kind: str

    def __call__(self, crew: Crew, count: int) -> dict[str, float]:
        """Run a canvas of *count* tasks."""
        crew.ledger.forget(count)
        cpu = crew.cpu()
        taken = crew.order(self.kind, count)
        until(lambda: not crew.broker.unacked(), "acknowledgements", pause=0.01)
        return {
            "seconds": taken["seconds"],
            "worker": (crew.cpu() - cpu) / count * 1e6,
            "sender": taken["cpu"] / count * 1e6,
        }


@dataclass(frozen=True)
class Alone:
    """Measures the work of tasks in the sending process itself, without a task server."""

    ideal: float

    def __call__(self, crew: Crew, count: int) -> dict[str, float]:
        """Do it *count* times."""
        taken = crew.order("send", "", count)
        return {
            "seconds": taken["seconds"],
            "share": self.ideal / taken["seconds"] * 100,
            "sender": taken["cpu"] / count * 1e6,
        }
