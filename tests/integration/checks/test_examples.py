"""The examples on the pages of the live rules: the servers and the user are as each says."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg2
import pytest
import redis as redis_client

from task_server import local
from task_server.checks import catalogue
from tests.integration.checks.conftest import StartRedis
from tests.support.require import Require
from tests.support.rules import block_of, files_of
from tests.support.wait import PATIENCE

#: Where the pages say that Redis is.
THERE = "localhost:6379"

#: By rule: what is so before the check, besides the files of the page.
Seed = Callable[[redis_client.Redis], None]
SEEDS: Mapping[str, Seed] = {
    "delayed-messages": lambda client: client.zadd("unacked.delayed:celery", {"1 {}": 1}),  # type: ignore[dict-item]
}


@dataclass
class Example:
    """The files of a section of a page in a folder, and how its Dockerfile has it run."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    user: int | None = None

    def obey(self, dockerfile: str) -> None:
        """Do what the lines of *dockerfile* say, in the folder."""
        for line in dockerfile.splitlines():
            word, _, rest = line.partition(" ")
            match word:
                case "FROM":
                    # What the image says itself, of /opt/celery.
                    self.environ["PYTHONPATH"] = str(self.folder)
                case "ENV":
                    name, _, value = rest.partition("=")
                    self.environ[name] = value
                case "RUN":
                    subprocess.run(["sh", "-c", rest], cwd=self.folder, check=True)
                case "USER":
                    self.user = int(rest.partition(":")[0])

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run *words* in the folder, as the user."""
        if self.user is not None:
            words = (*become(self.user), *words)
        return subprocess.run(
            words,
            cwd=self.folder,
            env={**self.environ, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )


def become(user: int) -> list[str]:
    """
    Return the words before a program that *user* is to run.

    A Python in the home of root is read by a capability, which access(2) does not count.
    """
    if user == 0:
        return []
    read = "+dac_read_search"
    changed = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    return ["setpriv", *changed, f"--inh-caps={read}", f"--ambient-caps={read}"]


@pytest.fixture
def shop(session_postgres: local.Server) -> Iterator[dict[str, str]]:
    """Have a database `shop`, as the pages do; return the variables that lead to its server."""
    names = {key: session_postgres.environ[key] for key in ("PGHOST", "PGPORT", "PGUSER")}
    with closing(psycopg2.connect(session_postgres.client_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE shop")
            yield names
            cursor.execute("DROP DATABASE shop WITH (FORCE)")


def faults(
    name: str, section: str, start_redis: StartRedis, environ: Mapping[str, str]
) -> list[str]:
    """Return the errors and warnings of *name* in a section of its page, by `check --live`."""
    page = catalogue.page(name)
    files = files_of(page, section)
    with TemporaryDirectory(prefix="example-") as above:
        folder = Path(above) / "code"
        folder.mkdir()
        Path(above).chmod(0o755)
        conf = folder / "redis.conf"
        conf.write_text(files.get("redis.conf", "appendonly yes\n"))
        # The port is that of the test; the file says the rest.
        port = start_redis(settings=conf)
        example = Example(folder, dict(environ))
        for file, text in files.items():
            path = folder / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace(THERE, f"127.0.0.1:{port}"))
            path.chmod(path.stat().st_mode | stat.S_IROTH)
        with redis_client.Redis(port=port) as client:
            if name in SEEDS:
                SEEDS[name](client)
        for line in block_of(page, section, "console"):
            done = subprocess.run(
                [sys.executable, *line.split()[1:]], cwd=folder, capture_output=True, check=False
            )
            assert 0 == done.returncode, done.stderr
        example.obey(files.get("Dockerfile", ""))
        ended = example.run(
            *(sys.executable, "-m", "task_server", "check", "--live", "--app", "shop"),
            *("--select", name, "--json"),
        )
        assert ended.stdout, ended.stderr
        found = [one for one in json.loads(ended.stdout) if one["level"] in ("error", "warning")]
        return [f"{one['setting']}: {one['message']}" for one in found]


@pytest.mark.parametrize("name", catalogue.LIVE)
def test_the_example_triggers_the_rule_and_the_cure_does_not(
    name: str, start_redis: StartRedis, request: pytest.FixtureRequest, require: Require
) -> None:
    """
    Each on servers that are set so, by the user that the page's Dockerfile has.
    """
    page = catalogue.page(name)
    if re.search(r"^USER ", page, re.MULTILINE):
        if os.getuid() != 0 or shutil.which("setpriv") is None:
            require("root", "only root can be another user, by setpriv")
        done = subprocess.run([*become(33), "true"], capture_output=True, text=True, check=False)
        if done.returncode:
            require("root", done.stderr)
    environ = request.getfixturevalue("shop") if "postgresql" in page else {}

    assert faults(name, "Example", start_redis, environ)
    assert [] == faults(name, "Cure", start_redis, environ)
