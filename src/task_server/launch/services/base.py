"""What `up` has to know to start a process of a service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from task_server.config.model import Config
from task_server.launch.command import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """
    One process, decided.

    Attributes:
        command: What it is started with.

        stop_seconds: How long it has to stop after SIGTERM.

        url: Where it listens, if it does.
    """

    command: Command
    stop_seconds: float
    url: str | None = None


class MakesProcess(Protocol):
    """Decides on a process: of the worker *name*, or of the service that has that name."""

    def __call__(
        self,
        config: Config,
        name: str,
        *,
        runtime_dir: str,
        python: str,
        environ: Mapping[str, str],
    ) -> Process: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """
    How a service is started.

    Attributes:
        process: Decides on one of its processes.

        is_installed: Whether its packages are there, in whatever version.

        stop_seconds: How long each process of a service has to stop after SIGTERM; None of
            workers, whose own settings say so.
    """

    process: MakesProcess
    is_installed: Callable[[], bool]
    stop_seconds: float | None = None
