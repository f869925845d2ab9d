"""Importing a project in a process of its own, with limits, or else reading it as text."""

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from task_server.config.model import Config
from task_server.errors import PeerError
from task_server.launch.command import project_environ
from task_server.launch.folders import MEDIA_VARIABLE
from task_server.local.discovery.discover import POSTGRES_GIVEN
from task_server.local.discovery.protocol import (
    PLACEHOLDER_DATABASE,
    REDIS_DATABASES,
    Question,
)
from task_server.local.survey.facts import Beat, Project, Queue, Server
from task_server.local.survey.variables import Settings
from task_server.project import queues
from task_server.settings import masked

#: Where our variables lead: nowhere, since nothing is to be reached.
_NOWHERE = "/nonexistent/task-server-init"

#: An import that goes on, a module at a time, ends after so many times its limit.
_PATIENCE = 30

#: Bytes of its output that are read; the answer is the last line.
_MOST = 2**24

#: The databases that a text of settings may name, by a word of the engine.
_ENGINES = {
    "postgresql": "PostgreSQL",
    "postgis": "PostgreSQL",
    "sqlite3": "SQLite",
    "spatialite": "SQLite",
    "mysql": "MySQL",
    "oracle": "Oracle",
}


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an import failed; *hung* if it took too long or waited for a server."""

    error: str
    hung: bool


def imported(
    config: Config, here: Path, environ: Mapping[str, str], seconds: float
) -> Project | Failed:
    """
    Import the project of *config*, in the folder *here*, for *seconds* at most a module.

    Twice if the variables that lead nowhere break it: then as it is, with none of them.
    """
    ours = _variables(environ)
    found = _attempt(config, here, environ, ours, seconds)
    if isinstance(found, Failed) and not found.hung:
        without = _attempt(config, here, environ, {}, seconds)
        return found if isinstance(without, Failed) else without
    return found


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tell what the settings read, without those that are set."""
    redis = f"{_NOWHERE}/redis.sock"
    variables = {"REDIS_CLIENT_URL": f"unix://{redis}?db=0"}
    for name, number in REDIS_DATABASES.items():
        variables[name] = f"redis+socket://{redis}?virtual_host={number}"
    if "REDIS_URL" in environ:
        # Celery's own variables would hide that the settings read this one.
        variables = {}
    variables[MEDIA_VARIABLE] = f"{_NOWHERE}/media"
    if not any(name in environ for name in POSTGRES_GIVEN):
        host = quote(_NOWHERE, safe="")
        variables["DATABASE_URL"] = f"postgresql://nobody@{host}:5432/{PLACEHOLDER_DATABASE}"
    return {name: value for name, value in variables.items() if name not in environ}


def _attempt(
    config: Config,
    here: Path,
    environ: Mapping[str, str],
    ours: Mapping[str, str],
    seconds: float,
) -> Project | Failed:
    question = Question(
        app=config.app,
        seconds=seconds,
        ours=tuple(ours),
        redis_socket=f"{_NOWHERE}/redis.sock",
        redis_url=environ.get("REDIS_URL", ""),
        postgres_sockets=_NOWHERE,
        database=PLACEHOLDER_DATABASE,
    )
    program = "task_server.local.survey.imported"
    # Not pipes: what the project starts would keep them open.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", program, question.to_json()],
            cwd=here,
            env={**environ, **ours, **project_environ(config, environ)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            # What it starts ends with it.
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds * _PATIENCE)
        except subprocess.TimeoutExpired:
            return Failed(f"its import took longer than {seconds * _PATIENCE:g} s", hung=True)
        finally:
            _end(process)
        return _answer(process.returncode, _text(stdout), _text(stderr))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process with all that it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text(file: IO[bytes]) -> str:
    """Return the end of what was written to *file*."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST))
    return file.read().decode(errors="replace")


def _answer(returncode: int, stdout: str, stderr: str) -> Project | Failed:
    lines = stdout.splitlines()
    if not lines:
        last = stderr.strip().splitlines()[-1:]
        return Failed(
            f"its import ended the process (exit {returncode}): {' '.join(last)[:300]}", hung=False
        )
    fields: dict[str, Any] = json.loads(lines[-1])
    if "error" in fields:
        return Failed(str(fields["error"]), hung=fields["code"] == PeerError.exit_code)
    return Project.from_dict(fields)


def read(folder: Path, settings: Settings) -> Project:
    """Return what the text of the project in *folder*, and of its *settings*, names."""
    found = queues.seen_in([folder], {})
    literal: dict[str, Queue] = {}
    for name in ("CELERY_TASK_ROUTES", "task_routes", "CELERY_ROUTES"):
        for _, queue in queues.route_table(settings.literal(name)):
            literal.setdefault(queue, Queue(queue, name))
    for name in ("CELERY_TASK_DEFAULT_QUEUE", "task_default_queue"):
        value = settings.literal(name)
        if isinstance(value, str) and value:
            literal.setdefault(value, Queue(value, name))
    certain = {one.queue: Queue(one.queue, one.where) for one in found if one.certain}
    known = {**literal, **certain} or {"celery": Queue("celery", "Celery's default")}
    return Project(
        queues=tuple(known.values()),
        perhaps=tuple(Queue(one.queue, one.where) for one in found if one.queue not in known),
        servers=tuple(_servers(settings)),
        beat=_beat(settings),
        media=str(settings.literal("MEDIA_ROOT") or ""),
        storage=str(settings.literal("DEFAULT_FILE_STORAGE") or ""),
    )


def _servers(settings: Settings) -> Iterator[Server]:
    for role, names in (
        ("broker", ("CELERY_BROKER_URL", "broker_url", "BROKER_URL", "broker")),
        ("results", ("CELERY_RESULT_BACKEND", "result_backend", "backend")),
    ):
        for name in names:
            if settings.where(name):
                value = settings.literal(name)
                url = str(masked(value)) if isinstance(value, str) else ""
                kind = url.partition("://")[0]
                yield Server(role, kind, url, name, settings.variables(name))
                break
    if settings.where("DATABASES"):
        text = " ".join(str(one) for one in _texts(settings, "DATABASES"))
        kind = next((title for word, title in _ENGINES.items() if word in text), "")
        yield Server("database", kind, "", "DATABASES", settings.variables("DATABASES"))


def _texts(settings: Settings, name: str) -> Iterator[str]:
    for value in settings.values(name):
        for node in ast.walk(value):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _beat(settings: Settings) -> Beat:
    for name in ("CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE", "beat_schedule"):
        for value in settings.values(name):
            keys = getattr(value, "keys", ())
            return Beat(len(keys), name, str(settings.literal("CELERY_BEAT_SCHEDULER") or ""))
    return Beat(scheduler=str(settings.literal("CELERY_BEAT_SCHEDULER") or ""))


def with_variables(project: Project, settings: Settings) -> Project:
    """Return *project* with the variables that its settings' text reads each address from."""
    servers = []
    for one in project.servers:
        name = one.setting.partition("[")[0]
        found = settings.variables(name)
        servers.append(replace(one, variables=found) if found else one)
    return replace(project, servers=tuple(servers))
