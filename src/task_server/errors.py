"""
What can be wrong, how bad it is, and the exit code of each.

    TaskServerError            1   anything else
    ├── ConfigError           78   a setting is wrong; restarting does not help
    ├── PeerError             69   Redis or PostgreSQL did not answer
    ├── LocalServerError       1   a local server could not be started or stopped
    └── ChildDiedError         1   a supervised process exited unexpectedly

The number is the exit code. 69 and 78 are EX_UNAVAILABLE and EX_CONFIG of
sysexits.h; systemd keeps a unit down on 78 (RestartPreventExitStatus=78).

An error is raised, and ends the command. A `Finding` is reported instead, beside
others: it has a level, and the step that repairs it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Level = Literal["ok", "info", "warning", "error"]


class TaskServerError(Exception):
    """Raised when task-server cannot do what it was asked to."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong with the configuration.

    *setting* is its dotted name (``workers.mail.pool``), *message* says what
    is wrong with it and how to fix it.
    """

    setting: str
    message: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.message}"


class ConfigError(TaskServerError):
    """Raised when settings are wrong; reports all of them together."""

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
    Run all *checks*, even after one has failed.

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
    """Raised when a supervised process exits that should have kept running."""

    def __init__(self, name: str, returncode: int, last_lines: Sequence[str]) -> None:
        self.name = name
        self.returncode = returncode
        self.last_lines = tuple(last_lines)
        super().__init__(name, returncode, self.last_lines)

    def __str__(self) -> str:
        how = f"signal {-self.returncode}" if self.returncode < 0 else f"exit {self.returncode}"
        lines = [f"{self.name} exited unexpectedly ({how}). Its last lines:"]
        lines.extend(f"  {line}" for line in self.last_lines)
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that a check found right, wrong, or worth knowing.

    Attributes:
        level: `error` keeps workers from working, `warning` loses or slows
            something, `info` is a choice that works as intended.

        setting: Dotted name of the setting, or what was checked.

        message: What it does here; without a *repair*, also how to fix it.

        repair: The step that fixes it.

        peer: Redis or PostgreSQL did not answer, so the configuration may
            well be right.

        rule: The name of the rule that found it (`task-server check --rules`).

        path: The file that it is in, with line and column, counted from 1; empty
            and 0 if it is in none.
    """

    level: Level
    setting: str
    message: str
    repair: str = ""
    peer: bool = False
    rule: str = ""
    path: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.level}: {self.setting}: {self.text}"

    @property
    def text(self) -> str:
        """The message and the repair, in one sentence."""
        return f"{self.message}; {self.repair}" if self.repair else self.message


def no_answer(setting: str, message: str, repair: str) -> Finding:
    """Return the finding for a server that did not answer."""
    return Finding("error", setting, message, repair, peer=True)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 without errors, 69 if only servers failed to answer, else 78."""
    errors = [finding for finding in findings if finding.level == "error"]
    if not errors:
        return 0
    return PeerError.exit_code if all(error.peer for error in errors) else ConfigError.exit_code
