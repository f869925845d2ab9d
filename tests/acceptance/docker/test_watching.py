"""What an operator sees of the stack: Flower's page in a browser, and the journal."""

import json
import re
import shutil
import socket
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote

import pytest

from tests.acceptance.docker import image
from tests.acceptance.docker.conftest import OPERATOR, Broker
from tests.acceptance.docker.engine import docker, running
from tests.acceptance.docker.swarm import PROGRAM, deployed
from tests.support.require import Require
from tests.support.wait import until

JOURNAL = Path("/run/systemd/journal")

Journal = Callable[..., list[dict[str, str]]]


@pytest.fixture(scope="module")
def journal(images: dict[str, str]) -> Iterator[Journal]:
    """Return what journalctl says, as objects; of a journal in a container where there is none."""
    arguments = ("journalctl", "--no-pager", "--output", "json")
    if journald_listens() and shutil.which("journalctl"):
        yield lambda *words: _lines(subprocess.check_output([*arguments, *words], text=True))
        return
    JOURNAL.mkdir(parents=True, exist_ok=True)
    with running(
        *("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--tmpfs", "/run/log"),
        *("--volume", f"{JOURNAL}:{JOURNAL}", image.build_journal()),
    ) as container:
        until(journald_listens, "the journal")
        yield lambda *words: _lines(container.execute(*arguments, *words))


def journald_listens() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        return client.connect_ex(str(JOURNAL / "socket")) == 0


def _lines(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_the_journal_has_what_the_workers_say(
    variables: Mapping[str, str], secret: None, broker: Broker, journal: Journal
) -> None:
    """
    Each line of a worker is in the journal, under the name of its container.
    """
    chosen = {name: value for name, value in variables.items() if name != "TASK_SERVER_LOG_DRIVER"}
    with deployed("cl", chosen) as stack:
        (prefork,) = stack.ready("prefork")
        (gevent,) = stack.ready("gevent")
        assert 5 == broker.result("add", 2, 3)

        for worker in (prefork, gevent):

            def said(name: str = worker.name) -> str:
                return "\n".join(line["MESSAGE"] for line in journal(f"CONTAINER_NAME={name}"))

            until(lambda said=said: " ready." in said(), "the journal to have it")
        tagged = journal(f"CONTAINER_TAG={prefork.name}")
        assert any("cl.jobs.tasks.add" in line["MESSAGE"] for line in tagged)


def page(path: str, user: tuple[str, str] | None) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:5555{path}")
    if user is not None:
        request.add_header("Authorization", f"Basic {b64encode(':'.join(user).encode()).decode()}")
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read().decode()


def status(path: str, user: tuple[str, str] | None) -> int:
    try:
        page(path, user)
    except HTTPError as error:
        return error.code
    return 200


def test_flower_shows_both_workers_in_a_browser(  # noqa: PLR0917 - fixtures
    variables: Mapping[str, str],
    secret: None,
    broker: Broker,
    artefacts: Path,
    require: Require,
    tmp_path: Path,
) -> None:
    """
    Both are online for users with the password, and cannot be stopped there.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        require("browser", "there is no chromium on PATH")
    with deployed("cl", variables) as stack:
        (prefork,) = stack.ready("prefork")
        (gevent,) = stack.ready("gevent")
        (flower,) = stack.containers("flower")
        until(
            lambda: ": ready:" in flower.execute(PROGRAM, "health", "flower", check=False), "Flower"
        )
        nodes = {f"prefork@{prefork.name}", f"gevent@{gevent.name}"}

        until(lambda: nodes <= known(page("/workers?json=1", OPERATOR)), "Flower to know both")
        assert 401 == status("/workers", None)
        assert 401 == status("/workers", ("operator", "wrong"))
        shown = subprocess.run(
            [
                *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--hide-scrollbars", "--window-size=1400,600"),
                *(f"--user-data-dir={tmp_path}/browser", "--virtual-time-budget=8000"),
                *(f"--screenshot={artefacts}/flower-workers.png", "--dump-dom"),
                f"http://{':'.join(OPERATOR)}@127.0.0.1:5555/workers",
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        assert nodes == online(shown)
        assert (artefacts / "flower-workers.png").stat().st_size > 10_000
    assert docker("stack", "ls", "--format", "{{.Name}}") == ""


def known(answer: str) -> set[str]:
    """Return the node names that Flower's program thinks online."""
    return {worker["hostname"] for worker in json.loads(answer)["data"] if worker["status"]}


def online(html: str) -> set[str]:
    """Return the node names whose rows say Online, which a script of the page writes there."""
    rows = re.findall(r"<tr\b.*?</tr>", html, re.DOTALL)
    # A long name is shortened in the cell, not in the link.
    return {
        unquote(name)
        for row in rows
        if "Online" in row
        for name in re.findall(r'href="[^"]*/worker/([^"]+)"', row)
    }
