"""The variables that lead a project's other processes to the servers that `up` runs."""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Variable:
    """
    One variable; *value* has it, or *reference* names a variable of the user's that has it.

    The user's own REDIS_URL may have a password, and need not be printed.
    """

    name: str
    value: str = ""
    reference: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it in the types of JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the variable that `to_dict` made."""
        return cls(str(fields["name"]), str(fields["value"]), str(fields["reference"]))

    def export(self) -> str:
        """Return it as a line for a shell."""
        return f"export {self.name}={self._shell()}"

    def dotenv(self) -> str:
        """Return it as a line of a file .env; readers of those know quotes and ${NAME}."""
        return f"{self.name}=${{{self.reference}}}" if self.reference else self._quoted()

    def _shell(self) -> str:
        return f'"${self.reference}"' if self.reference else shlex.quote(self.value)

    def _quoted(self) -> str:
        value = self.value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{self.name}='{value}'"


def other_processes(
    names: Iterable[str], ours: Mapping[str, str], users: Mapping[str, str]
) -> tuple[Variable, ...]:
    """
    Return those of the variables *names* that the user has not set, with our values.

    Args:
        ours: The environment of the processes that `up` starts.

        users: The environment of `up` itself.
    """
    missing = [name for name in dict.fromkeys(names) if name not in users and name in ours]
    given = users.get("REDIS_URL")
    return tuple(
        Variable(name, reference="REDIS_URL")
        if given is not None and ours[name] == given
        else Variable(name, ours[name])
        for name in missing
    )


def resolved(variables: Iterable[Variable], environ: Mapping[str, str]) -> dict[str, str]:
    """
    Return the values of *variables* that *environ* lacks, references followed in it.

    A reference to what is not set there is left out.
    """
    found = {one.name: environ.get(one.reference, "") or one.value for one in variables}
    return {name: value for name, value in found.items() if value and name not in environ}


def _json(variables: Iterable[Variable]) -> str:
    values = {
        one.name: f"${{{one.reference}}}" if one.reference else one.value for one in variables
    }
    return json.dumps(values, indent=2)


def _lines(line: Callable[[Variable], str]) -> Callable[[Iterable[Variable]], str]:
    return lambda variables: "\n".join(map(line, variables))


#: What `task-server env --format` prints. direnv evaluates what a shell does.
FORMATS: Mapping[str, Callable[[Iterable[Variable]], str]] = MappingProxyType(
    {
        "shell": _lines(Variable.export),
        "dotenv": _lines(Variable.dotenv),
        "direnv": _lines(Variable.export),
        "json": _json,
    }
)
