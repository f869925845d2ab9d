"""What an operator sees of the stack: Flower's page in a browser, and the journal."""

import json
import re
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote

from tests.acceptance.docker.conftest import OPERATOR, Broker
from tests.acceptance.docker.engine import docker
from tests.acceptance.docker.journal import Journal
from tests.acceptance.docker.swarm import PROGRAM, Stack
from tests.support.require import Require
from tests.support.wait import until


def test_the_journal_has_what_the_workers_say(
    stack: Stack, broker: Broker, journal: Journal
) -> None:
    """
    Each line of a worker is in the journal, under the name of its container.
    """
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


def test_flower_shows_both_workers_in_a_browser(
    stack: Stack, artefacts: Path, require: Require, tmp_path: Path
) -> None:
    """
    Both are online for users with the password, and cannot be stopped there.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        require("browser", "there is no chromium on PATH")
    (prefork,) = stack.ready("prefork")
    (gevent,) = stack.ready("gevent")
    (flower,) = stack.containers("flower")
    until(lambda: ": ready:" in flower.execute(PROGRAM, "health", "flower", check=False), "Flower")
    nodes = {f"prefork@{prefork.name}", f"gevent@{gevent.name}"}

    # Those that an update has replaced are offline.
    until(lambda: nodes == known(page("/workers?json=1", OPERATOR)), "Flower to know both")
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


def test_the_metrics_know_the_queues_of_every_worker(stack: Stack) -> None:
    """
    Those of the service `bulk` too, which a variable gives; from inside the network alone.
    """
    stack.ready("prefork")
    metrics = until(lambda: stack.containers("metrics"), "the metrics' container")[0]
    asked = (PROGRAM, "health", "metrics", "--ready")
    until(lambda: ": ready:" in metrics.execute(*asked, check=False), "the metrics")
    code = (
        "import urllib.request as u; "
        "print(u.urlopen('http://127.0.0.1:9808/workers/bulk').read().decode())"
    )
    answer = json.loads(metrics.execute(str(Path(PROGRAM).with_name("python")), "-c", code))

    assert ["batch1", "batch2", "iauploads"] == answer["queues"]
    assert 0 == answer["load"]
    assert "" == docker("port", metrics.name).strip()


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
