"""
Writes compose.yml: both workers, and each service of the program's table, on one host.

    uv run python deploy/docker/compose.py

The Swarm stack is written from the same table, and the images' health checks from the same
deploy/image.json. A test holds that compose.yml is what this writes.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from task_server.config.services import SERVICES, WORKER, Service
from task_server.config.variables import variable

HERE = Path(__file__).parent
FILE = HERE / "compose.yml"

#: What CPU-bound and network-bound tasks need; a project's others are added beside.
WORKERS = ("prefork", "gevent")

HEAD = """\
# Workers, and what runs beside them, on one host. Written by deploy/docker/compose.py.
#
#   docker build --tag my-project --file task-server/deploy/docker/Dockerfile .
#   docker compose --file task-server/deploy/docker/compose.yml --project-directory . up --detach
#
# docs/how-to/docker.md has the variables.
x-service: &service
  image: ${TASK_SERVER_IMAGE:-my-project}
  # Variables of the project's own settings, a line each.
  env_file: ["${TASK_SERVER_ENV_FILE:-.env}"]
  restart: unless-stopped
  # The image's first process reaps; nothing but /tmp is written.
  read_only: true
  tmpfs: [/tmp]
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  # Above drain_seconds (30) by the 15 s that a stop may take after it, at least.
  stop_grace_period: ${TASK_SERVER_STOP_GRACE_PERIOD:-60s}

# Without a value here: that of the shell or of .env, and nothing where neither has one.
x-environment: &environment
"""

SERVERS = """\

  # With the profile `redis`: docker compose --profile redis up
  redis:
    image: ${REDIS_IMAGE:-valkey/valkey:8}
    profiles: [redis]
    # A broker must forget nothing to make room.
    command: [--appendonly, "yes", --maxmemory-policy, noeviction]
    restart: unless-stopped
    volumes: ["redis:/data"]

  # With the profile `postgres`; the project's settings name it as the host `postgres`.
  postgres:
    image: ${POSTGRES_IMAGE:-postgres:18}
    profiles: [postgres]
    restart: unless-stopped
    environment:
      POSTGRES_USER: ${POSTGRES_USER:-postgres}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:-}
      POSTGRES_DB: ${POSTGRES_DB:-postgres}
    volumes: ["postgres:/var/lib/postgresql"]

volumes:
  redis: {}
  postgres: {}
"""

#: Settings that every process reads.
SHARED = ("app", "broker_url")


def written() -> str:
    """Return the file."""
    description = json.loads((HERE.parent / "image.json").read_text())
    program = description["config"]["Entrypoint"][-1]
    check = description["images"]["worker"]["Healthcheck"]
    shared = "".join(f"  {variable(one)}:\n" for one in SHARED)
    blocks = [
        "".join(_lines(service, name, program, check))
        for service, name in (
            *((WORKER, name) for name in WORKERS),
            *((one, one.name) for one in SERVICES.values() if not one.per_worker),
        )
    ]
    return HEAD + shared + "\nservices:\n" + "\n".join(blocks) + SERVERS


def _lines(service: Service, name: str, program: str, check: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of one service."""
    yield f"  {name}:\n"
    yield "    <<: *service\n"
    if service.single:
        why = f": a project needs a {service.only_with} for it" if service.only_with else ""
        yield f"    # With the profile `{name}`{why}.\n"
        yield f"    profiles: [{name}]\n"
    yield f"    command: [{', '.join(service.arguments(name))}]\n"
    yield "    environment:\n"
    yield "      <<: *environment\n"
    if service.per_worker:
        yield f"      {variable(f'workers.{name}.concurrency')}:\n"
    if service.port is not None:
        yield f"      {variable(f'{name}.address')}: 0.0.0.0\n"
    for secret in service.secrets:
        yield f"      {variable(secret)}:\n"
    yield "    healthcheck:\n"
    yield f"      test: [CMD, {program}, health, {name}]\n"
    for key, known in (("interval", "Interval"), ("timeout", "Timeout")):
        yield f"      {key}: {check[known] // 1_000_000_000}s\n"
    yield f"      start_period: {service.start_seconds}s\n"
    yield f"      retries: {check['Retries']}\n"
    if service.port is not None:
        yield "    # On this host alone, unless told otherwise.\n"
        published = f"${{CELERY_{name.upper()}_PUBLISH:-127.0.0.1:{service.port}}}"
        yield f'    ports: ["{published}:{service.port}"]\n'


if __name__ == "__main__":
    FILE.write_text(written())
