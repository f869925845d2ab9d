"""What is measured beside each other: a way to start a worker and to send to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Setup:
    """
    What workers must be like; rows with the same setup share them.

    Attributes:
        project: The module of the Celery app: plain, fetching, orm, courtlistener or docket;
            alone is none.

        pool: "prefork" or "gevent".

        concurrency: Processes, or greenlets.

        workers: How many workers a side has.

        needs: Servers beside Redis: "postgres", "http", "names".

        packages: Distributions that the project needs.

        connections: To PostgreSQL, for a side that bounds them; unset, its own default.

        beside: A worker of another kind that each side has besides.
    """

    project: str = "plain"
    pool: str = "prefork"
    concurrency: int = 2
    queues: tuple[str, ...] = ("celery",)
    workers: int = 1
    needs: frozenset[str] = frozenset()
    packages: tuple[str, ...] = ()
    connections: int | None = None
    beside: "Setup | None" = None


@dataclass(frozen=True)
class Place:
    """
    Where one worker runs.

    Attributes:
        folder: Of this worker alone.

        broker: URL of the database of its side, of messages and results.

        number: Which of its side's workers it is.
    """

    folder: Path
    broker: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """
    One way to run tasks.

    Attributes:
        command: The command of a worker; it may write files into its folder.

        app: The module whose tasks the sending process calls; unset, the setup's project.

        packages: Distributions without which it cannot run.

        kinds: Kinds of rows that it can run; "celery" is all.

        own_store: Whether it keeps messages in a way of its own, not as Kombu does.

        producer: Whether the sending process has what we add to it.

        python: The first version of Python that it runs on.

        sources: Put before all else on PYTHONPATH.

        environ: Variables of its processes.
    """

    name: str
    words: str
    command: Callable[[Setup, Place], Sequence[str]]
    app: str = ""
    packages: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset({"celery"})
    own_store: bool = False
    producer: bool = False
    python: tuple[int, int] = (3, 11)
    sources: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
