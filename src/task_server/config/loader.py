"""
TOML, environment and secret files -> Config.

A value comes from the last of these that gives it: the default, the TOML file, a variable of
`config.deployment` (for the worker that is launched), a systemd credential, a file named by
TASK_SERVER_…_FILE, the variable TASK_SERVER_… itself. Every problem is gathered before
anything is raised.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from task_server.config import deployment
from task_server.config.contradictions import contradictions
from task_server.config.files import read_text
from task_server.config.kubernetes import PodsConfig
from task_server.config.model import (
    BUILT_IN_WORKERS,
    PODS_TABLE,
    SECTIONS,
    SERVICE_TABLES,
    TABLES,
    Config,
    WorkerConfig,
)
from task_server.config.pools import DEFAULT
from task_server.config.services import SERVICES
from task_server.config.unknown_variables import unknown_variables
from task_server.config.urls import MASK
from task_server.config.values import Parser, shown, worker_name
from task_server.config.variables import given, suggestion, variable
from task_server.errors import ConfigError, Problem

#: The table of a worker that is no setting of its process.
PODS = PODS_TABLE.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Resolved:
    """
    A configuration, and where each of its values came from.

    *origins* has the dotted name of each setting (``workers.gevent.pool``)
    that something gave; what is absent there is a default.
    """

    config: Config
    origins: Mapping[str, str]


def find(folder: Path) -> Path | None:
    """
    Return the configuration file of *folder*: task-server.toml, or else pyproject.toml.

    What has the first name counts, whatever it is: a pipe or a link that leads
    nowhere is an error, reported when it is read.
    """
    own = folder / "task-server.toml"
    if os.path.lexists(own):
        return own
    project = folder / "pyproject.toml"
    if not os.path.lexists(project):
        return None
    try:
        return project if "[tool.task-server" in read_text(project) else None
    except ValueError:
        # It may have the table.
        return project


def load(path: Path | None, environ: Mapping[str, str], launched: str = "") -> Config:
    """
    Load the configuration from *path* (TOML, or None) and from *environ*.

    Args:
        launched: The worker that is launched with it, if one is; see `config.deployment`.

    Returns:
        A frozen configuration; nothing is read again later.

    Raises:
        ConfigError: With every problem found, not only the first.
    """
    return resolve(path, environ, launched).config


def resolve(path: Path | None, environ: Mapping[str, str], launched: str = "") -> Resolved:
    """
    Load the configuration as `load` does, and keep where each value came from.

    Raises:
        ConfigError: With every problem found, not only the first.
    """
    reader = _Reader(path, environ, launched)
    config = reader.config()
    if reader.problems:
        raise ConfigError(reader.problems, str(path) if path else "the configuration")
    return Resolved(config, MappingProxyType(reader.origins))


class _Reader:
    """Reads one configuration; collects problems and origins on the way."""

    def __init__(self, path: Path | None, environ: Mapping[str, str], launched: str) -> None:
        self.path = path
        self.environ = given(environ)
        self.launched = launched
        #: What the deployment gives the launched worker, and by which variable.
        self.deployed: dict[str, tuple[Any, str]] = {}
        self.problems: list[Problem] = []
        self.origins: dict[str, str] = {}
        self.credentials = environ.get("CREDENTIALS_DIRECTORY")

    def problem(self, setting: str, message: str) -> None:
        self.problems.append(Problem(setting, message))

    def config(self) -> Config:
        table = self._toml()
        written = self._table(table, "workers")
        workers = self._workers(written)
        pods = {name: self._pods(written, name) for name in workers}
        described = {name: one for name, one in pods.items() if one != PodsConfig()}
        sections = {
            name: kind(**self._section(kind, self._table(table, name), name))
            for name, kind in SECTIONS.items()
        }
        top = self._section(Config, table, "", skip=(*TABLES, "pods", "origins"))
        self.problems.extend(unknown_variables(self.environ, workers))
        return Config(
            **top,
            workers=MappingProxyType(workers),
            pods=MappingProxyType(described),
            **sections,
            origins=MappingProxyType(self.origins),
        )

    def _toml(self) -> dict[str, Any]:
        if self.path is None:
            return {}
        try:
            document = tomllib.loads(read_text(self.path))
        except tomllib.TOMLDecodeError as error:
            self.problem("file", f"is not TOML: {error}")
            return {}
        except RecursionError:
            self.problem("file", "is nested too deep; settings are at most a list in a table")
            return {}
        except ValueError as error:
            # Of the file itself, or an integer of thousands of digits in it.
            digits = "digits" in str(error)
            what = "has a number of thousands of digits" if digits else str(error)
            self.problem("file", f"{what}; mend it, or name another with --config")
            return {}
        if self.path.name == "pyproject.toml":
            return self._table(self._table(document, "tool"), "task-server")
        return document

    def _table(self, table: Mapping[str, Any], name: str) -> dict[str, Any]:
        value = table.get(name, {})
        if not isinstance(value, dict):
            self.problem(name, f"{_public(value)} is not a table; write [{name}]")
            return {}
        return value

    def _workers(self, table: dict[str, Any]) -> dict[str, WorkerConfig]:
        workers: dict[str, WorkerConfig] = {}
        variables: dict[str, str] = {}
        for name in self._worker_names(table):
            setting = f"workers.{name}"
            try:
                worker_name(name)
            except ValueError as error:
                self.problem(setting, str(error))
                continue
            if name in SERVICE_TABLES:
                self.problem(setting, f"is the name of {SERVICES[name].title}; rename it")
                continue
            taken = variables.setdefault(variable(setting), name)
            if taken != name:
                self.problem(setting, f"has the same variables as workers.{taken}; rename one")
                continue
            own = {
                one: value
                for one, value in self._table_of(table, name, setting).items()
                if one != PODS
            }
            built_in = BUILT_IN_WORKERS.get(name)
            if name == self.launched:
                self._deploy(setting, own, built_in)
            values = self._section(WorkerConfig, own, setting, skip=("name",))
            if built_in is not None:
                values = {"pool": built_in.pool, "queues": built_in.queues, **values}
            workers[name] = WorkerConfig(name=name, **values)
            self.problems.extend(contradictions(workers[name], setting))
        return workers

    def _pods(self, table: Mapping[str, Any], name: str) -> PodsConfig:
        own = table.get(name, {})
        setting = PODS_TABLE.format(name)
        written = self._table_of(own if isinstance(own, dict) else {}, PODS, setting)
        return PodsConfig(**self._section(PodsConfig, written, setting))

    def _worker_names(self, table: Mapping[str, Any]) -> list[str]:
        """
        Return the workers that are built in, of the file and of variables.

        Where there is no file, as in a container, a variable for the queues
        makes a worker; one for anything else alone is a mistyped name.
        """
        names = dict.fromkeys([*BUILT_IN_WORKERS, *table])
        known = {variable(f"workers.{name}.queues") for name in names}
        prefix, suffix = variable("workers."), "_QUEUES"
        for one in sorted(set(self.environ) - known):
            if one.startswith(prefix) and one.endswith(suffix):
                names[one[len(prefix) : -len(suffix)].lower()] = None
        if self.launched not in ("", *SERVICE_TABLES) and deployment.names_queues(self.environ):
            names[self.launched] = None
        return list(names)

    def _deploy(
        self, setting: str, table: Mapping[str, Any], built_in: WorkerConfig | None
    ) -> None:
        """Take what the deployment says of the launched worker, whose dotted name is *setting*."""
        pool = self.environ.get(variable(f"{setting}.pool")) or table.get("pool")
        pool = pool or (built_in.pool if built_in is not None else DEFAULT)
        for name, found in deployment.given(self.environ, str(pool)).items():
            self.deployed[f"{setting}.{name}"] = found

    def _table_of(self, table: Mapping[str, Any], name: str, setting: str) -> dict[str, Any]:
        value = table.get(name, {})
        if not isinstance(value, dict):
            self.problem(setting, f"{_public(value)} is not a table; write [{setting}]")
            return {}
        return value

    def _section(
        self, kind: type, table: Mapping[str, Any], prefix: str, skip: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return the values given for the fields of the dataclass *kind*."""
        known = {field.name: field for field in fields(kind) if field.name not in skip}
        where = f"{prefix}." if prefix else ""
        for name in table:
            if name not in known and not (not prefix and name in TABLES):
                close = suggestion(name, [*known, *(() if prefix else TABLES)])
                self.problem(
                    f"{where}{name}",
                    f"is not a setting{close or '; known are ' + ', '.join(known)}",
                )
        values: dict[str, Any] = {}
        for name, field in known.items():
            found = self._given(f"{where}{name}", table.get(name), secret=field.metadata["secret"])
            if found is None:
                continue
            raw, origin = found
            try:
                values[name] = _checked(field.metadata["parser"], raw)
            except ValueError as error:
                message = str(error)
                if field.metadata["secret"]:
                    message = _without_secret(message, raw)
                self.problem(f"{where}{name}", f"{message} (from {origin})")
            else:
                self.origins[f"{where}{name}"] = origin
        return values

    def _given(self, setting: str, in_file: Any, *, secret: bool) -> tuple[Any, str] | None:
        """Return the raw value of *setting* and where it stands, or None."""
        name = variable(setting)
        if name in self.environ:
            if f"{name}_FILE" in self.environ:
                self.problem(setting, f"{name} and {name}_FILE are both set; keep one")
            return self.environ[name], name
        if f"{name}_FILE" in self.environ:
            return self._secret_file(setting, Path(self.environ[f"{name}_FILE"]), f"{name}_FILE")
        if secret and self.credentials:
            path = Path(self.credentials, setting.replace(".", "_"))
            if os.path.lexists(path):
                return self._secret_file(setting, path, f"credential {path.name}")
        if setting in self.deployed:
            return self.deployed[setting]
        if in_file is not None and self.path is not None:
            return in_file, self.path.name
        return None

    def _secret_file(self, setting: str, path: Path, origin: str) -> tuple[str, str] | None:
        try:
            return read_text(path).rstrip("\r\n"), origin
        except ValueError as error:
            self.problem(setting, f"{path} {error}; {origin} names it")
        return None


def _checked(parser: Parser, raw: Any) -> Any:
    """Return what *parser* makes of *raw*, which may hold whatever TOML and a system allow."""
    if isinstance(raw, str):
        try:
            raw.encode()
        except UnicodeEncodeError:
            raise ValueError("it is not text in UTF-8") from None
    return parser(raw)


def _without_secret(message: str, raw: Any) -> str:
    """Return *message*, what is wrong with the secret *raw*, without any part of that."""
    if isinstance(raw, str):
        return message.replace(shown(raw), MASK).replace(raw, MASK) if raw else message
    # It was shown as Python writes it, and shortened.
    return "it is not text; put it in quotes"


def _public(value: Any) -> str:
    """Return *value* for an error unless it may be a secret in the wrong place."""
    return shown(value) if isinstance(value, int | float) else "what it is given"
