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


def test_what_fails_is_retried_and_a_queue_is_paused(
    project: Path, broker: Redis, browser: Browser, tmp_path: Path
) -> None:
    """
    By somebody who clicks: those that are chosen by one box, and what one button stops.
    """
    with served(project, broker) as url, worker(project, broker, tmp_path) as one:
        send(project, broker, "[fail.delay(f'no docket {n}') for n in range(3)]")
        one.ready()
        until(lambda: broker.client.hlen("unacked.failed") == 3, "the tasks to fail")
        browser.size(1400)
        browser.open(f"{url}/enter/changer/")
        browser.open(f"{url}/admin/{PAGES}/failedtask/")
        assert "ValueError: no docket 1" in browser.text("#result_list")
        browser.follow("#result_list tbody a")
        assert "raise ValueError(text)" in browser.text()

        # Nobody takes what is retried.
        browser.open(f"{url}/admin/{PAGES}/queue/celery/change/")
        browser.follow("button[value=pause]")
        assert "paused by changer" in browser.text(".task-server-troubles")
        browser.open(f"{url}/admin/{PAGES}/failedtask/")
        browser.click("#action-toggle")
        browser.wait("document.querySelector('.action-counter').innerText.startsWith('3 of 3')")
        browser.evaluate("document.querySelector('[name=action]').value = 'retry'")
        browser.follow("button[name=index]")
        assert "3 tasks are back in their queues." in browser.text(".messagelist")
        assert 3 == broker.queued()

        browser.open(f"{url}/admin/{PAGES}/queue/celery/change/")
        browser.follow("button[value=resume]")
        until(lambda: broker.client.hlen("unacked.failed") == 3, "them to fail again")
        browser.open(f"{url}/admin/{PAGES}/failedtask/")
        browser.click("#action-toggle")
        browser.evaluate("document.querySelector('[name=action]').value = 'drop'")
        browser.follow("button[name=index]")
        browser.screenshot(tmp_path / "drop.png")
        assert "3 failed tasks will be deleted for good" in browser.text()
        browser.follow("#content input[type=submit]")
        assert "3 tasks are dropped." in browser.text(".messagelist")

        def has_graph() -> bool:
            # A worker writes what it did every few seconds.
            browser.open(f"{url}/admin/{PAGES}/queue/celery/change/")
            return "6 tasks ended" in browser.text()

        until(has_graph, "the graph")
        assert browser.evaluate("!!document.querySelector('svg .failed')")

    assert [] == browser.complaints
