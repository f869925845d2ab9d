"""What a check found: one line for the operator, and for a program."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from task_server.errors import ConfigError, PeerError

Level = Literal["ok", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that is right, or worth knowing, or wrong.

    Attributes:
        level: `error` is what keeps workers from working, `warning` what loses
            or slows something, `info` what is as somebody chose it.

        setting: Dotted name of the setting, or of the thing looked at.

        message: What it does here; without a *repair*, also what to do.

        repair: The step that puts it right.

        peer: Redis or PostgreSQL did not answer, so that nothing is known to
            be wrong with the configuration.
    """

    level: Level
    setting: str
    message: str
    repair: str = ""
    peer: bool = False

    def __str__(self) -> str:
        return f"{self.level}: {self.setting}: {self.text}"

    @property
    def text(self) -> str:
        """The message with the repairing step."""
        return f"{self.message}; {self.repair}" if self.repair else self.message


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 without errors, 69 when only peers did not answer, else 78."""
    errors = [finding for finding in findings if finding.level == "error"]
    if not errors:
        return 0
    return PeerError.exit_code if all(error.peer for error in errors) else ConfigError.exit_code
