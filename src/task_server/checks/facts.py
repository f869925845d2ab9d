"""What is known of the project and of who runs it: plain data, which the rules judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from task_server.config.model import Config, WorkerConfig
from task_server.config.values import ALL_QUEUES
from task_server.launch.profiles import Profile
from task_server.project.queues import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """
    One task of the project; times are seconds.

    Attributes:
        acks_late: As the task has it when `task_acks_late` is on by default, so
            that False is the task's own declaration.

        queue: Where a call without a queue goes; None when a router of the
            project needs more than the name to tell.

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
class Facts:
    """
    A project's Celery app, read.

    Attributes:
        values: Celery settings in force without our defaults, by name; a
            dotted name is one key of a dictionary.

        own: Of those, the ones that the project sets; the value is the name as
            the project writes it (``CELERY_TASK_ACKS_LATE``).

        origin: Tells the file or the module that sets such a written name.

        named: Who names each queue that Celery knows of, by queue.

        seen: Names of queues in the source and in settings.

        shares_results: Whether greenlets share the result backend.

        loops: Event loops that modules keep; `loop_maker` is whose they are,
            empty for asyncio's own.
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
        """Return what the project itself sets for *name*, else *default*."""
        return self.values[name] if name in self.own else default

    def whose(self, name: str) -> str:
        """Return the setting *name* as the project writes it, and where."""
        written = self.own[name]
        return f"{written} of {self.origin(written.partition('[')[0])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    Everything a rule may look at.

    Attributes:
        profiles: The workers that are to run, by name.

        counts: How many processes of each there are.

        facts: None when the project could not be imported, or was not to be.

        unread: It was to be imported, and could not be.

        root: The workers run as root.

        force_root: C_FORCE_ROOT is set.

        stop_grace: Seconds between SIGTERM and SIGKILL, if they are known.

        unknown_kombu: Why the atomic transport cannot be used with the Kombu
            that is installed; None if it can.
    """

    config: Config
    profiles: Mapping[str, Profile]
    counts: Mapping[str, int]
    facts: Facts | None = None
    unread: bool = False
    root: bool = False
    force_root: bool = False
    stop_grace: float | None = None
    unknown_kombu: str | None = None

    def takes(self, name: str, queue: str) -> bool:
        """Return whether the worker *name* takes from *queue*."""
        queues = self.profiles[name].worker.queues
        if queue in queues or ALL_QUEUES not in queues:
            return queue in queues
        # As `task_server.project.queues.every` has it in the worker.
        facts = self.facts or Facts()
        return queue in facts.named or any(one.certain for one in facts.seen if one.queue == queue)

    def said(self, setting: str) -> str:
        """Return who of the operator's gave *setting* (a dotted name of ours); empty if nobody."""
        return self.config.origins.get(setting, "")

    def is_atomic(self, worker: WorkerConfig) -> bool:
        """Return whether *worker* takes and registers a message in one step."""
        return worker.transport == "atomic" and self.unknown_kombu is None


def listed(names: "list[str] | tuple[str, ...]", most: int = 8) -> str:
    """Return *names* with commas between them, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
