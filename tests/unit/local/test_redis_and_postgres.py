"""What is decided about the servers before any of them runs."""

import os
import socket
import stat
from pathlib import Path

import pytest

from task_server.errors import LocalServerError
from task_server.local.servers import binaries, cluster, postgres, redis
from task_server.local.servers.state import State


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_wheel_folder", lambda _package: None)
    monkeypatch.setattr(binaries, "POSTGRES_FOLDERS", ())


def test_a_url_in_the_environment_is_all_that_is_needed(tmp_path: Path) -> None:
    """
    Servers given by URL are passed on as they are, and nothing is started.
    """
    state = State.open(tmp_path)
    environ = {"REDIS_URL": "redis://db/3", "DATABASE_URL": "postgresql://u:p@db/x"}
    found = redis.find(state, environ), postgres.find(state, environ)

    assert (None, None) == tuple(server.child for server in found)
    assert environ == {**found[0].environ, **found[1].environ}
    assert ("REDIS_URL", "DATABASE_URL") == tuple(server.where for server in found)
    assert "p@db" not in repr(found)


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", "Redis 7.0.15"),
        ("Valkey server v=8.1.8 sha=00000000:1 malloc=libc bits=64", "Valkey 8.1.8"),
    ],
)
def test_the_server_on_path_is_found_with_its_version(
    no_wheels: None, tmp_path: Path, says: str, expected: str
) -> None:
    """
    Without the wheel, redis-server of PATH is taken, whichever product it is.
    """
    path = program(tmp_path / "redis-server", says)
    found = binaries.redis({"PATH": str(tmp_path)})

    assert f"{expected} from {path}" == str(found)


def test_no_redis_at_all_says_what_to_install(no_wheels: None, tmp_path: Path) -> None:
    """
    Without any Redis the error names what would do.
    """
    with pytest.raises(LocalServerError, match="Install one, or set REDIS_URL"):
        binaries.redis({"PATH": str(tmp_path)})


def test_postgres_needs_initdb_beside_it(no_wheels: None, tmp_path: Path) -> None:
    """
    A folder with postgres but no initdb is passed over.
    """
    program(tmp_path / "half" / "postgres", "postgres (PostgreSQL) 15.14")
    program(tmp_path / "whole" / "postgres", "postgres (PostgreSQL) 17.6 (Debian 17.6-1)")
    program(tmp_path / "whole" / "initdb", "")
    path = os.pathsep.join(str(tmp_path / name) for name in ("half", "whole"))
    found = binaries.postgres({"PATH": path})

    assert [("17.6", 17)] == [(binary.version, binary.major) for binary in found]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        ({"note.txt": "mine"}, "PG_VERSION cannot be read"),
        ({"PG_VERSION": "garbage\n"}, "PG_VERSION has 'garbage', not a version"),
        ({"PG_VERSION": "18\n"}, "global/pg_control is missing"),
    ],
)
def test_a_folder_that_is_no_whole_cluster_is_refused(
    tmp_path: Path, make: dict[str, str], expected: str
) -> None:
    """
    Data that is not a cluster, or a damaged one, is named and left alone.
    """
    for name, text in make.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(LocalServerError, match=expected) as caught:
        cluster.exists(tmp_path)

    assert str(tmp_path) in str(caught.value)
    assert sorted(make) == sorted(path.name for path in tmp_path.iterdir())


def test_data_of_another_major_version_names_both(no_wheels: None, tmp_path: Path) -> None:
    """
    A cluster of a version that is not installed is refused: both versions and a way out.
    """
    program(tmp_path / "bin" / "postgres", "postgres (PostgreSQL) 17.6")
    program(tmp_path / "bin" / "initdb", "")
    data = tmp_path / "state" / "postgres"
    (data / "global").mkdir(parents=True)
    (data / "global" / "pg_control").write_text("")
    (data / "PG_VERSION").write_text("12\n")

    with pytest.raises(LocalServerError, match=r"PostgreSQL 12, but only .* 17\.6"):
        postgres.find(State.open(tmp_path / "state"), {"PATH": str(tmp_path / "bin")})


@pytest.mark.parametrize("module", [redis, postgres])
def test_a_port_in_use_is_named(tmp_path: Path, module) -> None:
    """
    A TCP port that another program listens on is an error that names it.
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(LocalServerError, match=f"127.0.0.1:{port}: Address already in use"):
            module.find(State.open(tmp_path), {"PATH": ""}, port=port)
