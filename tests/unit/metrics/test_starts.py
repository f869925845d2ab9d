"""How often workers have started, by their names."""

from task_server.metrics.starts import Starts
from tests.support.snapshots import worker


def counts(starts: Starts, *runs: str) -> dict[str, float]:
    workers = [worker(f"{run[0]}@h", run=run) for run in runs]
    return {one.labels[0]: one.value for one in starts.seen(workers)}


def test_only_those_that_were_not_there_before_have_started() -> None:
    """
    Those of the first look have run for who knows how long; one that is gone is not forgotten.
    """
    starts = Starts()
    seen = [
        counts(starts, "a1", "b1"),
        counts(starts, "a1", "b1"),
        counts(starts, "a2", "b1"),
        counts(starts),
        counts(starts, "a3", "a4"),
    ]

    assert [0, 0, 1, 1, 3] == [one["a"] for one in seen]
    assert [0, 0, 0, 0, 0] == [one["b"] for one in seen]


def test_a_worker_that_did_not_register_has_not_started() -> None:
    """
    Of Celery's own workers no process is known.
    """
    starts = Starts()
    counts(starts)

    assert [] == list(starts.seen([worker("stock@h", run="", state=None)]))
