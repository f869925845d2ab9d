"""Children that are restarted while others go on."""

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from task_server.errors import ChildDiedError
from task_server.local import Child, Supervisor
from task_server.local.supervisor.status import State
from tests.integration.local.test_supervisor import BUSY, POLITE, STUBBORN
from tests.support.wait import PATIENCE

#: Fails while the file that its environment names is there.
FAILING = """
import os, pathlib, signal, sys
if pathlib.Path(os.environ["BROKEN"]).exists():
    print("Error: site1 cannot be imported at tasks.py:3", flush=True)
    sys.exit(78)
print("waiting", flush=True)
signal.pause()
"""


def child(program: str, name: str = "one", **options: Any) -> Child:
    given = {"ready": "^waiting$", "environ": os.environ, **options}
    return Child(name=name, argv=[sys.executable, "-c", program], **given)


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(out: io.StringIO) -> Iterator[Supervisor]:
    with Supervisor(out, signals=False) as running:
        yield running


class Restarted:
    """A restart that was asked for, and how it ended."""

    def __init__(self, supervisor: Supervisor, one: Child) -> None:
        self.error: str | None = ""
        self._supervisor = supervisor
        supervisor.restart(one, self._done)

    def _done(self, error: str | None) -> None:
        self.error = error

    def end(self) -> str | None:
        """Wait for its end; return what is wrong."""
        import time  # noqa: PLC0415

        self._supervisor._pump(lambda: self.error != "", time.monotonic() + PATIENCE)
        assert self.error != "", "it did not end"
        return self.error


def states(supervisor: Supervisor) -> dict[str, tuple[State, int]]:
    return {one.name: (one.state, one.restarts) for one in supervisor.status()}


def test_a_restart_is_a_stop_and_a_start(supervisor: Supervisor, out: io.StringIO) -> None:
    """
    Another process of the same child; the one beside it goes on.
    """
    one, other = child(POLITE), child(POLITE, "other")
    supervisor.start_all([one, other])
    pids = [supervisor.pid(one), supervisor.pid(other)]

    restarted = Restarted(supervisor, one)
    assert {"one": ("draining", 0), "other": ("ready", 0)} == states(supervisor)
    assert restarted.end() is None

    assert {"one": ("ready", 1), "other": ("ready", 0)} == states(supervisor)
    assert [False, True] == [
        before == after
        for before, after in zip(pids, [supervisor.pid(one), supervisor.pid(other)], strict=True)
    ]
    assert 1 == out.getvalue().count("stopped by SIGTERM")


def test_what_drains_is_restarted_once(supervisor: Supervisor) -> None:
    """
    Whoever asks meanwhile waits for the same new start.
    """
    one = child(POLITE)
    supervisor.start(one)

    first, second, third = (Restarted(supervisor, one) for _ in range(3))

    assert [None, None, None] == [first.end(), second.end(), third.end()]
    assert {"one": ("ready", 1)} == states(supervisor)


def test_what_starts_is_started_again(supervisor: Supervisor, out: io.StringIO) -> None:
    """
    It may have read what has changed since.
    """
    one = child(POLITE)
    supervisor.start(one)
    first = Restarted(supervisor, one)
    supervisor._pump(lambda: states(supervisor)["one"][0] == "starting", None)

    second = Restarted(supervisor, one)

    assert [None, None] == [first.end(), second.end()]
    assert {"one": ("ready", 2)} == states(supervisor)


def test_a_start_that_fails_ends_nothing(supervisor: Supervisor, tmp_path: Path) -> None:
    """
    The child is failed, with its last lines as the reason; the next restart starts it.
    """
    broken = tmp_path / "broken"
    one = child(FAILING, environ={**os.environ, "BROKEN": str(broken)})
    other = child(POLITE, "other")
    supervisor.start_all([one, other])
    broken.touch()

    reasons = [Restarted(supervisor, one).end() for _ in range(2)]
    assert {"one": ("failed", 2), "other": ("ready", 0)} == states(supervisor)
    broken.unlink()
    repaired = Restarted(supervisor, one).end()

    assert ["  Error: site1 cannot be imported at tasks.py:3"] * 2 == [
        str(reason).splitlines()[-1] for reason in reasons
    ]
    assert repaired is None
    assert {"one": ("ready", 3), "other": ("ready", 0)} == states(supervisor)


def test_a_start_that_takes_too_long_fails(supervisor: Supervisor) -> None:
    """
    It is ended, and named with its time.
    """
    one = child(POLITE, start_seconds=0.01)
    supervisor.start_all([child(POLITE, "other")])
    with pytest.raises(Exception, match="was not ready after"):
        supervisor.start(one)

    reason = Restarted(supervisor, one).end()

    assert "was not ready after 0.01 s" in str(reason)
    assert "failed" == states(supervisor)["one"][0]


def test_a_drain_that_takes_too_long_is_ended(supervisor: Supervisor) -> None:
    """
    After its stop_seconds it is killed, and started again.
    """
    one = child(STUBBORN, stop_seconds=0.05)
    supervisor.start(one)

    assert Restarted(supervisor, one).end() is None
    assert {"one": ("ready", 1)} == states(supervisor)


def test_a_stop_during_a_drain_is_the_same_drain(out: io.StringIO) -> None:
    """
    The child gets no second signal, which a worker takes for haste.
    """
    with Supervisor(out, signals=False) as supervisor:
        one = child(BUSY, stop_seconds=1.0)
        supervisor.start(one)
        restarted = Restarted(supervisor, one)
        supervisor._pump(lambda: "asked" in out.getvalue(), None)

    assert "task-server is stopping." == restarted.error
    assert 1 == out.getvalue().count("asked")


def test_an_end_that_nobody_asked_for_is_still_an_error(supervisor: Supervisor) -> None:
    """
    Also of a child that was restarted before.
    """
    one = child(POLITE)
    supervisor.start(one)
    assert Restarted(supervisor, one).end() is None
    os.kill(supervisor.pid(one), 15)

    with pytest.raises(ChildDiedError):
        supervisor.run()


def test_another_child_stands_in_for_one_that_cannot_start(supervisor: Supervisor) -> None:
    """
    The same on another port, for example; what nothing stands in for is an error.
    """
    taken = "print('Address already in use')"
    second = child(POLITE, address="second")
    first = child(
        taken, address="first", instead=lambda lines: second if "already" in lines[-1] else None
    )

    supervisor.start(first)

    assert [("second", "ready", 0)] == [
        (one.address, one.state, one.restarts) for one in supervisor.status()
    ]
    with pytest.raises(ChildDiedError):
        supervisor.start(child("print('other')", instead=lambda _: None))
