"""Dead letters that somebody forged, and brokers that cannot be asked: one line, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from task_server.transport.store.dead_letters import LAST, DeadLetter

FORGED = {
    "none": b"",
    "bytes": b"\xff",
    "number": b"7",
    "list": b"[]",
    "deep": b"[" * 100_000,
    "empty": b"{}",
    "types": b'{"id": 7, "task": [], "queue": {}, "lists": 7, "text": null, "deaths": 7, "at": ""}',
    "deaths": b'{"deaths": [7, null, {}, {"at": 1e300, "node": {}, "pid": [], "reason": null}]}',
    "time": b'{"at": NaN}',
    "far": b'{"at": 1e20}',
    "past": b'{"at": -1}',
    "escape": b'{"id": "\\u001b[2J", "task": "a\\nb", "queue": "\\u0000"}',
    "more": b'{"id": "x", "unknown": 1}',
    "\udcff": b"{}",
}


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Return what runs `task-server dead` on a project with the broker *url*."""

    def ran(*arguments: str, url: str) -> Any:
        (tmp_path / "cl.py").write_text(
            f"from celery import Celery\napp = Celery('cl', broker={url!r})\n"
        )
        return subprocess.run(
            [sys.executable, "-m", "task_server", "dead", *arguments, "--app", "cl"],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return ran


def test_forged_records_are_shown_and_dropped(redis_server, run: Any) -> None:
    """
    Anybody who can write to Redis can write one; none of them hides the others.
    """
    whole = json.dumps(
        {"id": "whole", "task": "a.b", "queue": "q", "lists": ["q"], "text": "{}", "at": 1.0}
    )
    with redis.Redis.from_url(redis_server.client_url) as client:
        for tag, record in {**FORGED, "whole": whole.encode()}.items():
            client.hset("unacked.dead", tag.encode("utf-8", "surrogateescape"), record)
        shown = run("list", url=redis_server.url)
        program = run("list", "--json", url=redis_server.url)
        retried = run("retry", "--all", url=redis_server.url)
        delivered = client.lrange("q", 0, -1)
        dropped = run("drop", "--all", url=redis_server.url)
        left = client.hkeys("unacked.dead")

    assert (0, 0) == (shown.returncode, program.returncode), shown.stderr + program.stderr
    assert "\x1b" not in shown.stdout
    assert len(FORGED) + 1 == len(json.loads(program.stdout))
    assert 1 == retried.returncode
    assert retried.stdout == "1 task back in the queue\n"
    assert f"{len(FORGED)} cannot be retried" in retried.stderr
    assert "Traceback" not in retried.stderr
    assert [b"{}"] == delivered
    assert 0 == dropped.returncode, dropped.stderr
    # A tag that is no text cannot be named.
    assert [b"\xff"] == left


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("redis://:hunter2@localhost:port/0", 78, "is not a valid Redis URL"),
        ("redis://localhost:99999999/0", 78, "is not a valid Redis URL"),
        ("redis://[::1/0", 78, "is not a valid Redis URL"),
        ("redis://:hunter2/x@localhost/0", 78, "is not a valid Redis URL"),
        ("redis://127.0.0.1:1/0", 69, "nothing listens at 127.0.0.1:1"),
    ],
)
def test_a_broker_that_cannot_be_asked_is_one_line(
    url: str, code: int, words: str, run: Any
) -> None:
    """
    A port that is none is a mistake in the settings, and no part of the password is shown.
    """
    ended = run("list", url=url)

    assert code == ended.returncode, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr


def test_a_key_of_another_type_is_one_line(redis_server, run: Any) -> None:
    """
    What Redis refuses is reported.
    """
    with redis.Redis.from_url(redis_server.client_url) as client:
        client.set("unacked.dead", "a word")
    ended = run("list", url=redis_server.url)

    assert ended.returncode in (1, 69, 78)
    assert "WRONGTYPE" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("tag", "record"), FORGED.items())
def test_a_forged_record_is_read_as_far_as_it_goes(tag: str, record: bytes) -> None:
    """
    Whatever it is, it has a time that can be shown and deaths that are tables.
    """
    one = DeadLetter.read(tag, record)

    assert 0 <= one.at < LAST
    assert all(isinstance(death, dict) for death in one.crashes)
    assert not one.is_whole
