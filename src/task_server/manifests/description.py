"""The configuration of the processes, as the ConfigMap that they read: TOML, without secrets."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from task_server.config.model import SECTIONS, Config, WorkerConfig
from task_server.config.toml import toml
from task_server.manifests.names import Object, digest, metadata, name_of

#: Tables that no process reads: a change there must restart none.
UNREAD = ("kubernetes", "check")

#: How the origin of a secret begins that is of who writes the manifests, and in no file of theirs.
ELSEWHERE = ("TASK_SERVER_", "credential ")

FILE = "task-server.toml"
FOLDER = "/etc/task-server"


def config_map(config: Config) -> Object:
    """
    Return the ConfigMap with what the configuration says to processes.

    The hash of its contents is in its name: a change makes another, and with it new pods,
    while those of an earlier version, to which one may go back, keep theirs.
    """
    text = description(config)
    name = name_of(config.kubernetes, digest(text))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(config.kubernetes, name),
        "immutable": True,
        "data": {FILE: text},
    }


def description(config: Config) -> str:
    """Return the settings that are given and no secrets, as TOML: sorted, defaults left out."""
    tables: dict[str, Mapping[str, Any]] = {"": _given(config, config, "")}
    for name in sorted(set(SECTIONS) - set(UNREAD)):
        tables[name] = _given(config, getattr(config, name), f"{name}.")
    for name, worker in sorted(config.workers.items()):
        tables[f"workers.{name}"] = _given(config, worker, f"workers.{name}.")
    return "\n".join(_lines(tables))


def given_secrets(config: Config) -> Iterator[str]:
    """Yield the secret settings that stand in the configuration file, whatever its name is."""
    for table, part in (("", config), *((name, getattr(config, name)) for name in SECTIONS)):
        for field in fields(part):
            name = f"{table}.{field.name}" if table else field.name
            origin = config.origins.get(name, "")
            if field.metadata.get("secret") and origin and not origin.startswith(ELSEWHERE):
                yield name


def secret_settings() -> tuple[str, ...]:
    """Return the settings that are secret, by their dotted names."""
    kinds: tuple[tuple[str, type], ...] = (("", Config), *SECTIONS.items())
    return tuple(
        f"{table}.{field.name}" if table else field.name
        for table, kind in kinds
        for field in fields(kind)
        if field.metadata.get("secret")
    )


def _given(config: Config, part: Config | WorkerConfig | Any, prefix: str) -> dict[str, Any]:
    return {
        field.name: getattr(part, field.name)
        for field in sorted(fields(part), key=lambda one: one.name)
        if f"{prefix}{field.name}" in config.origins
        and "parser" in field.metadata
        and not field.metadata["secret"]
        and not is_dataclass(getattr(part, field.name))
    }


def _lines(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for table, settings in tables.items():
        if table and settings:
            yield f"[{table}]"
        for name, value in settings.items():
            yield f"{name} = {toml(value)}"
        if settings:
            yield ""
