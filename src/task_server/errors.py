"""
Every error that task-server raises on purpose.

    TaskServerError            1   anything else
    ├── ConfigError           78   a setting is wrong; restarting does not help
    ├── PeerError             69   Redis or PostgreSQL did not answer
    ├── LocalServerError       1   a local server could not be started or stopped
    └── ChildDiedError         1   a supervised process ended by itself

The number is the exit code. 69 and 78 are EX_UNAVAILABLE and EX_CONFIG of
sysexits.h; systemd keeps a unit down on 78 (RestartPreventExitStatus=78).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar


class TaskServerError(Exception):
    """Raised when task-server cannot do what it was asked to."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong with the configuration.

    *setting* is its dotted name (``workers.mail.pool``), *message* says what
    is wrong with it and what to do.
    """

    setting: str
    message: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.message}"


class ConfigError(TaskServerError):
    """Raised when settings are wrong; tells all of them at once."""

    exit_code = 78

    def __init__(self, problems: Sequence[Problem], source: str = "the configuration") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        lines = [f"{count} {noun} in {self.source}:"]
        lines.extend(f"  {problem}" for problem in self.problems)
        return "\n".join(lines)


def check_all(*checks: Callable[[], None], source: str) -> None:
    """
    Run all *checks*, whichever of them fail.

    Raises:
        ConfigError: With the problems of all of them.
    """
    problems: list[Problem] = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems, source)


class PeerError(TaskServerError):
    """Raised when Redis or PostgreSQL does not answer."""

    exit_code = 69


class LocalServerError(TaskServerError):
    """Raised when a local Redis or PostgreSQL cannot be started or stopped."""


class ChildDiedError(TaskServerError):
    """Raised when a supervised process ends that should have gone on."""

    def __init__(self, name: str, returncode: int, last_lines: Sequence[str]) -> None:
        self.name = name
        self.returncode = returncode
        self.last_lines = tuple(last_lines)
        super().__init__(name, returncode, self.last_lines)

    def __str__(self) -> str:
        how = f"signal {-self.returncode}" if self.returncode < 0 else f"exit {self.returncode}"
        lines = [f"{self.name} ended by itself ({how}). Its last lines:"]
        lines.extend(f"  {line}" for line in self.last_lines)
        return "\n".join(lines)
