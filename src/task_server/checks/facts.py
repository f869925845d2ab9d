"""The facts that the rules work on: the project, and how it is run. Plain data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from task_server.config.model import Config
from task_server.config.values import ALL_QUEUES
from task_server.launch.spec import WorkerSpec
from task_server.project.queues import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """
    One task of the project; times are seconds.

    Attributes:
        acks_late: The task's value with `task_acks_late` on by default, so False
            means that the task itself declares it.

        queue: Where a call without a queue goes; None if a router of the project
            needs more than the name to decide.

        longest_retry: The longest countdown of an automatic retry.
    """

    name: str
    acks_late: bool = True
    queue: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    longest_retry: float = 0.0


def _no_file(_: str) -> str:
    return "the project"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFacts:
    """
    What the rules need to know of a project and its Celery app.

    Attributes:
        values: The Celery settings in effect without our defaults, by name; a
            dotted name is one key of a dictionary.

        own: Those that the project sets, with the name as the project writes it
            (``CELERY_TASK_ACKS_LATE``).

        origin: Returns the file or module that sets such a name.

        named: The queues that Celery knows of, each with what names it.

        seen: Queue names found in the source and in settings.

        shares_results: Whether greenlets share the result backend.

        loops: Event loops that are attributes of modules; `loop_maker` is the
            package whose policy makes loops, empty for asyncio's own.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    origin: Callable[[str], str] = _no_file
    tasks: tuple[TaskFacts, ...] = ()
    named: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seen: tuple[Seen, ...] = ()
    shares_results: bool = True
    loops: tuple[str, ...] = ()
    loop_maker: str = ""

    def chosen(self, name: str, default: Any = None) -> Any:
        """Return the project's own value of *name*, or *default* if it sets none."""
        return self.values[name] if name in self.own else default

    def source_of(self, name: str) -> str:
        """Return the name of the setting *name* as the project writes it, and its file."""
        written = self.own[name]
        return f"{written} of {self.origin(written.partition('[')[0])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """
    Everything that a rule may read.

    Attributes:
        workers: The workers to run, by name.

        counts: How many of each run.

        facts: None if the project could not be imported, or was not to be.

        import_failed: The project could not be imported.

        root: The workers run as root.

        force_root: C_FORCE_ROOT is set.

        stop_grace: Seconds between SIGTERM and SIGKILL, if known.

        unknown_kombu: Why the atomic transport does not support the installed
            Kombu; None if it does.
    """

    config: Config
    workers: Mapping[str, WorkerSpec]
    counts: Mapping[str, int]
    facts: ProjectFacts | None = None
    import_failed: bool = False
    root: bool = False
    force_root: bool = False
    stop_grace: float | None = None
    unknown_kombu: str | None = None

    def consumes(self, name: str, queue: str) -> bool:
        """Return whether the worker *name* consumes *queue*."""
        queues = self.workers[name].queues
        if queue in queues or ALL_QUEUES not in queues:
            return queue in queues
        return queue in self.known_queues()

    def known_queues(self) -> dict[str, None]:
        """Return the queues that ALL_QUEUES means."""
        # The same rule as in the worker: `task_server.project.queues.every`.
        facts = self.facts or ProjectFacts()
        return dict.fromkeys((*facts.named, *(one.queue for one in facts.seen if one.certain)))

    def origin_of(self, setting: str) -> str:
        """Return which file or variable gave *setting*, a dotted name of ours; empty if none."""
        return self.config.origins.get(setting, "")

    def is_atomic(self, worker: WorkerSpec) -> bool:
        """Return whether *worker* fetches and registers a message in one step."""
        return worker.transport == "atomic" and self.unknown_kombu is None


def listed(names: "list[str] | tuple[str, ...]", most: int = 8) -> str:
    """Return the first *most* of *names*, joined by commas, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
