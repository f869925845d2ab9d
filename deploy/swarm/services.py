"""
Writes what runs beside the workers into stack.yml, from the program's table of services.

    uv run python deploy/swarm/services.py

The workers differ from each other and are written by hand, as is what all share. A test
holds that stack.yml is what this writes.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from task_server.config.model import SERVICE_TABLES
from task_server.config.services import SERVICES, Service
from task_server.config.variables import variable

STACK = Path(__file__).with_name("stack.yml")

OTHERS = [service for service in SERVICES.values() if not service.per_worker]

#: The lines of the workers that say what they take from.
QUEUES = re.compile(r"^      TASK_SERVER_WORKERS_\w+_QUEUES: .*\n", re.MULTILINE)


def written(text: str) -> str:
    """Return the stack *text* with the services of the table after those of the workers."""
    head, networks, tail = text.partition("\nnetworks:\n")
    shared, secrets, _ = tail.partition("\nsecrets:\n")
    workers = head[: min(_index(head, service.name) for service in OTHERS)]
    queues = QUEUES.findall(workers)
    blocks = ["".join(_lines(service, queues)) for service in OTHERS]
    declared = "".join(line for service in OTHERS for line in _declared(service))
    return "\n".join([workers, *blocks]) + networks + shared + secrets + declared


def _index(text: str, name: str) -> int:
    """Return where the service *name* begins in *text*, after an empty line; else the end."""
    found = text.find(f"\n  {name}:\n")
    return found if found >= 0 else len(text)


def _lines(service: Service, queues: Sequence[str]) -> Iterator[str]:
    """Return the lines of one service; *queues* are those of the workers."""
    name, capitals = service.name, service.name.upper()
    # Only what has an extra has an image of its own.
    image = name if service.extra else "prefork"
    yield f"  {name}:\n"
    yield "    <<: *worker\n"
    yield f"    image: ${{TASK_SERVER_{image.upper()}_IMAGE:-task-server-{image}:latest}}\n"
    yield f"    command: [{', '.join(service.arguments(name))}]\n"
    if service.port is not None:
        yield f"    hostname: {name}\n"
    if not service.writes_media:
        yield READ_ONLY_MEDIA
    yield "    healthcheck:\n"
    yield "      <<: *healthcheck\n"
    yield f"      test: [CMD, /opt/task-server/bin/task-server, health, {name}]\n"
    yield f"      start_period: {service.start_seconds}s\n"
    yield "    environment:\n"
    yield "      <<: *environment\n"
    if service.port is not None:
        yield f"      {variable(f'{name}.address')}: 0.0.0.0\n"
    if service.knows_queues:
        yield from queues
    for secret in service.secrets:
        yield f"      {variable(secret)}_FILE: /run/secrets/{secret}\n"
    for setting in service.variables:
        yield f'      {variable(f"{name}.{setting}")}: "${{CELERY_{capitals}_{setting.upper()}'
        yield f':-{_default(service, setting)}}}"\n'
    if service.published:
        yield PORT.format(port=service.port, name=capitals)
    if service.secrets:
        yield "    secrets:\n"
    for secret in service.secrets:
        yield CREDENTIAL.format(secret=secret)
    yield from _deployed(service)


def _deployed(service: Service) -> Iterator[str]:
    """Return the lines that say how many of it run, and where."""
    capitals = service.name.upper()
    yield "    deploy:\n"
    yield "      <<: *deploy\n"
    if service.single:
        yield f"      replicas: ${{CELERY_{capitals}_REPLICAS:-1}}\n"
    if service.published:
        yield STOP_FIRST.format(why="Two cannot have the same port of the same node.")
    elif service.single:
        yield STOP_FIRST.format(why="Two at once are of no use.")
    yield LIMITS.format(name=capitals)


def _declared(service: Service) -> Iterator[str]:
    """Return the lines that declare the secrets of a service."""
    for secret in service.secrets:
        yield f"  {secret}:\n"
        yield "    external: true\n"
        yield f"    name: ${{CELERY_{service.name.upper()}_SECRET:-{secret}}}\n"


def _default(service: Service, setting: str) -> str:
    table = SERVICE_TABLES[service.name]
    (default,) = (one.default for one in fields(table) if one.name == setting)
    return str(default).lower() if isinstance(default, bool) else str(default)


READ_ONLY_MEDIA = """\
    volumes:
      - *code
      # It loads the project's app, and writes no file of it.
      - <<: *media
        read_only: true
      - *postgres
      - *tmp
"""

PORT = """\
    ports:
      # On the node that runs it: the swarm's own routing needs IP_VS.
      - target: {port}
        published: ${{CELERY_{name}_PORT:-{port}}}
        mode: host
"""

CREDENTIAL = """\
      - source: {secret}
        target: {secret}
        uid: "33"
        gid: "33"
        mode: 0400
"""

STOP_FIRST = """\
      update_config:
        <<: *update
        # {why}
        order: stop-first
      rollback_config:
        order: stop-first
"""

LIMITS = """\
      placement:
        constraints: ["${{CELERY_{name}_CONSTRAINT:-node.platform.os == linux}}"]
      resources:
        limits:
          cpus: "1"
          memory: ${{CELERY_{name}_MEMORY:-1}}G
"""


if __name__ == "__main__":
    STACK.write_text(written(STACK.read_text()))
