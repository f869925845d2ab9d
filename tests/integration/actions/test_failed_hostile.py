"""`task-server failed` with what is not there, and what anybody may have written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from task_server.transport.store.keys import Keys
from tests.integration.actions.test_failed import fail, message, queued
from tests.integration.transport.peers import Started
from tests.support.wait import PATIENCE
from tests.support.worker import PROJECT

KEYS = Keys()

Run = Callable[..., subprocess.CompletedProcess[str]]

#: Records that no worker writes, or not yet.
RECORDS: dict[str, bytes] = {
    "empty": b"",
    "binary": bytes(range(256)),
    "cut": b'{"id": "cut", "task": "t", "lists": ["q"',
    "null": b"null",
    "list": b'["id", "task"]',
    "deep": b"[" * 100_000,
    "wrong": json.dumps(
        {
            "id": {},
            "task": [],
            "lists": {"q": 1},
            "text": 7,
            "at": "now",
            "pid": True,
            "tries": 1e99,
        }
    ).encode(),
    "escapes": json.dumps(
        {"id": "escapes", "task": "\x1b[2J\x00", "error": "\u202e", "args": "\ud800"}
    ).encode(),
    "no list": json.dumps({"id": "no list", "task": "t", "lists": [], "text": "{}"}).encode(),
}


@pytest.fixture
def run(tmp_path: Path, server: Started) -> Run:
    """Run `task-server failed` for a project with this broker."""
    file = tmp_path / "task-server.toml"
    url = f"redis://127.0.0.1:{server.port}/0"
    file.write_text(f'app = "proj"\ncode = "{PROJECT}"\nbroker_url = "{url}"\n')

    def called(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*(sys.executable, "-m", "task_server", "failed"), *arguments, "--config", str(file)],
            env={**os.environ, "PROJ_LOG": os.devnull, "TASK_SERVER_BY": "alice"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert "\x1b[2J" not in done.stdout + done.stderr
        return done

    return called


def keep(client: redis.Redis, name: bytes, record: bytes) -> None:
    """Write *record* as if a worker had."""
    client.hset(KEYS.failed, name, record)
    client.zadd(KEYS.failed_times, {name: 1e9})


@pytest.mark.parametrize("action", ["show", "retry", "drop"])
def test_an_id_that_is_unknown(client: redis.Redis, run: Run, action: str) -> None:
    """
    It is said, and nothing is done to those beside it.
    """
    fail(client, 1)
    for unknown in ("nope", "*", "id-1 ", "\x1b[2Jnope", "x" * 5000):
        done = run(action, "id-1", unknown)

        assert (1, "") == (done.returncode, done.stdout)
        assert "No failed task" in done.stderr
        assert "task-server failed list" in done.stderr
    assert 1 == client.hlen(KEYS.failed)
    assert [] == queued(client)


@pytest.mark.parametrize("key", [KEYS.failed, KEYS.failed_times])
@pytest.mark.parametrize("action", ["list", "show", "retry"])
def test_a_key_of_another_type(client: redis.Redis, run: Run, key: str, action: str) -> None:
    """
    Redis's reason is said in a line; what lies there stays.
    """
    fail(client, 1)
    client.delete(key)
    client.set(key, "mine")
    done = run(action, *(["id-1"] if action != "list" else []))

    assert 0 != done.returncode
    assert "WRONGTYPE" in done.stderr
    assert b"mine" == client.get(key)


def test_records_that_no_worker_writes(client: redis.Redis, run: Run) -> None:
    """
    Each is listed and can be dropped; none hides, or keeps back, one that is right.
    """
    fail(client, 1)
    for name, record in RECORDS.items():
        keep(client, f"{name} tag".encode(), record)
    keep(client, b"\xff\xfe\x00 tag", b"{}")
    listed = run("list")
    found = json.loads(run("list", "--json").stdout)
    retried = run("retry", "--all", "--yes")
    left = client.hlen(KEYS.failed)
    dropped = run("drop", "--all", "--yes")

    assert 0 == listed.returncode
    assert len(RECORDS) + 2 == len(found)
    assert {"id-1", "binary", "wrong"} <= {one["id"] for one in found}
    assert 1 == retried.returncode
    assert "1 task back in the queue" in retried.stdout
    assert f"{len(RECORDS) + 1} cannot be retried, since no message is kept" in retried.stderr
    assert ["id-1"] == [one["headers"]["id"] for one in queued(client)]
    assert len(RECORDS) + 1 == left
    assert f"{left} tasks dropped" in dropped.stdout
    assert not client.exists(KEYS.failed, KEYS.failed_times)


def test_a_record_of_a_newer_version(client: redis.Redis, run: Run) -> None:
    """
    Fields that are not known yet are no trouble: it is shown, and sent.
    """
    text = json.dumps(message(1))
    newer: dict[str, Any] = {
        "id": "id-1",
        "task": "t",
        "lists": ["q"],
        "text": text,
        "tag": "tag-1",
        "at": 1e9,
        "version": 99,
        "more": {"a": [1]},
        "error": "ValueError",
        "reason": "no such customer",
    }
    keep(client, b"id-1 tag-1", json.dumps(newer).encode())
    shown = run("show", "id-1")
    done = run("retry", "id-1")

    assert (0, True) == (shown.returncode, "no such customer" in shown.stdout)
    assert (0, "1 task back in the queue\n") == (done.returncode, done.stdout)
    assert ["id-1"] == [one["headers"]["id"] for one in queued(client)]


def test_a_record_that_is_too_large_for_its_message(client: redis.Redis, run: Run) -> None:
    """
    It says so, and how large the message was.
    """
    record = {"id": "id-1", "task": "t", "lists": ["q"], "text": "", "size": 300 << 10, "at": 1e9}
    keep(client, b"id-1 tag-1", json.dumps(record).encode())
    done = run("retry", "id-1")

    assert (1, "0 tasks back in the queue\n") == (done.returncode, done.stdout)
    assert "it is too large (300 KiB)" in done.stderr
    assert 1 == client.hlen(KEYS.failed)


def test_what_is_retried_into_a_paused_queue_waits_there(client: redis.Redis, run: Run) -> None:
    """
    The command sends it all the same: who pauses a queue wants nothing to run, not to lose it.
    """
    fail(client, 1)
    client.hset(KEYS.paused, "q", json.dumps({"at": 1.0, "by": "me"}))
    done = run("retry", "id-1")

    assert (0, "1 task back in the queue\n") == (done.returncode, done.stdout)
    assert ["id-1"] == [one["headers"]["id"] for one in queued(client)]
