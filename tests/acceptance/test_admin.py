"""The pages in the project's admin, as a browser shows them while a worker works."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.admin_site import USERS, Site, write_admin
from tests.support.browser import Browser, browser, browser_program
from tests.support.ports import own_port
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker

__all__ = ["browser", "browser_program"]

PAGES = "task_server_admin"


@contextmanager
def served(folder: Path, broker: Redis) -> Iterator[str]:
    """Serve the project in *folder*; yield the address of its admin."""
    environ = {**os.environ, "BROKER_URL": broker.url}
    with Site(folder, environ) as site:
        site.run("None", first=USERS)
    port = own_port()
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
            cwd=folder,
            env=environ,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/favicon.ico"), "the web server")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def answers(url: str) -> bool:
    """Whether a server is there."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:
        return False


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the project."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_admin(folder)
    return folder


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Redis]:
    """Return a Redis of this test alone."""
    one = Redis(tmp_path).start()
    yield one
    one.stop()


def worker(project: Path, broker: Redis, folder: Path) -> Worker:
    """Return a prefork worker of the project."""
    return Worker(
        folder,
        broker,
        "prefork",
        app="site1",
        code=project,
        environ={"BROKER_URL": broker.url},
        concurrency=2,
    )


def send(project: Path, broker: Redis, *calls: str) -> None:
    """Let a process of the project make *calls*, such as `add.delay(1, 2)`."""
    program = f"from site1.celery import app; from site1.tasks import *; {'; '.join(calls)}"
    environ = {**os.environ, "BROKER_URL": broker.url}
    subprocess.run([sys.executable, "-c", program], cwd=project, env=environ, check=True)


def test_a_browser_shows_what_works_and_what_waits(
    project: Path, broker: Redis, browser: Browser, tmp_path: Path
) -> None:
    """
    In light and dark, wide and narrow, with a policy that allows nothing inline: no page is
    wider than the window, and the console has no complaint.
    """
    with served(project, broker) as url, worker(project, broker, tmp_path) as one:
        send(project, broker, "wait.delay(600)", "[read.delay('x') for n in range(3)]")
        one.ready()
        until(lambda: broker.unacked() == 1, "the task to start")
        browser.open(f"{url}/enter/root/")
        for scheme, background in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 18, 18)")):
            browser.scheme(scheme)
            for width in (1400, 420):
                browser.size(width)
                for name in ("queue", "worker", "failedtask", "queue/celery/change"):
                    browser.open(f"{url}/admin/{PAGES}/{name}/")
                    browser.screenshot(tmp_path / f"{name.replace('/', '-')}-{scheme}-{width}.png")
                    assert width >= browser.evaluate("document.documentElement.scrollWidth"), name
                    assert background == browser.evaluate(
                        "getComputedStyle(document.body).backgroundColor"
                    )
        assert "site1.tasks.wait" in browser.text("#result_list")
        browser.follow("#result_list tbody a")
        assert browser.text("h1").startswith("w@")
        assert "site1.tasks.wait" in browser.text("#result_list")
        browser.open(f"{url}/admin/{PAGES}/queue/")
        browser.follow("th a[href*=io_5Fbound]")
        assert "nobody takes from it" in browser.text(".task-server-troubles")

    assert [] == browser.complaints
