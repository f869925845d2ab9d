"""A health check finds what an `up` runs in this folder."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from task_server.config.model import Config
from task_server.health import published
from task_server.health.of_up import of_up
from task_server.health.published import NAMESPACE, pid_namespace
from task_server.local import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


@pytest.fixture
def environ(state: State) -> dict[str, str]:
    return {"TASK_SERVER_STATE": str(state.path)}


@pytest.fixture
def up(state: State) -> Iterator[dict[str, Any]]:
    """Have an `up` in the folder; return what it publishes."""
    info = {"runtime_dir": str(state.folder("run")), NAMESPACE: pid_namespace()}
    (state.path / "run" / "prefork.json").touch()
    urls = {"flower": "http://127.0.0.1:5599/shown", "broker": "redis+socket:///x"}
    with state.lock({**info, **urls}) as lock:
        yield lock.info


def test_the_heartbeats_and_the_port_are_those_of_up(
    up: dict[str, Any], environ: dict[str, str]
) -> None:
    """
    And the words say whose they are.
    """
    worker, said = of_up(Config(app="cl"), "prefork", environ)
    flower, _ = of_up(Config(app="cl"), "flower", environ)

    assert up["runtime_dir"] == worker.runtime_dir
    assert f"pid {os.getpid()}" in said
    assert ("127.0.0.1", 5599) == (flower.flower.address, flower.flower.port)
    assert "redis+socket:///x" == flower.broker_url


def test_what_is_named_is_asked(up: dict[str, Any], environ: dict[str, str]) -> None:
    """
    The configuration and systemd win, and so does another worker.
    """
    named = Config(app="cl", runtime_dir="/run/x", broker_url="redis://db")

    assert (named, "") == of_up(named, "prefork", environ)
    assert "redis://db" == of_up(named, "flower", environ)[0].broker_url
    plain = Config(app="cl")
    assert (plain, "") == of_up(plain, "gevent", environ)
    assert (plain, "") == of_up(plain, "prefork", {**environ, "RUNTIME_DIRECTORY": "/run/y"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (NAMESPACE, 1),
        ("runtime_dir", 7),
        ("runtime_dir", "/nonexistent"),
    ],
)
def test_what_is_not_of_this_machine_is_not_believed(
    name: str, value: Any, up: dict[str, Any], environ: dict[str, str], state: State
) -> None:
    """
    In a container that has the folder mounted, the pids and paths mean nothing.
    """
    (state.path / "owner.json").write_text(json.dumps({**up, name: value}))

    assert "" == of_up(Config(app="cl"), "prefork", environ)[1]


@pytest.mark.parametrize("text", ["", "[]", "null", "7", '{"pid": "x"}', "\0", '{"pid": 1e400}'])
def test_a_broken_file_is_nobody(
    text: str, up: dict[str, Any], environ: dict[str, str], state: State
) -> None:
    """
    Whatever is written there.
    """
    (state.path / "owner.json").write_text(text)

    assert {} == published.lock_holder(state.path)
    assert "" == of_up(Config(app="cl"), "prefork", environ)[1]


def test_without_one_nothing_changes(environ: dict[str, str], tmp_path: Path) -> None:
    """
    Whether the folder is there, a file, or absent.
    """
    (tmp_path / "file").touch()
    config = Config(app="cl")

    for path in (environ["TASK_SERVER_STATE"], str(tmp_path / "file"), str(tmp_path / "absent")):
        assert (config, "") == of_up(config, "prefork", {"TASK_SERVER_STATE": path})
