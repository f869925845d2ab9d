"""A real Chromium without a window, driven over its own protocol, through a pipe."""

import base64
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.require import Require
from tests.support.wait import PATIENCE, until


class Browser:
    """
    One browser with one page.

    Attributes:
        complaints: What its console said of errors: scripts, styles and addresses that a
            policy forbids or that are not there.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.complaints: list[str] = []
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._number = 0
        self._session = ""
        inside_read, self._write = os.pipe()
        self._read, inside_write = os.pipe()
        # It reads from descriptor 3, and writes to 4.
        command = 'exec "$@" 3<&"$IN" 4>&"$OUT"'
        with (folder / "browser.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("bash", "-c", command, "bash", program, "--headless=new", "--no-sandbox"),
                    *("--remote-debugging-pipe", "--disable-gpu", "--no-first-run"),
                    *("--disable-background-networking", "--disable-component-update"),
                    *("--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
                    *(f"--user-data-dir={folder / 'profile'}", "about:blank"),
                ],
                env={**os.environ, "IN": str(inside_read), "OUT": str(inside_write)},
                pass_fds=(inside_read, inside_write),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(inside_read)
        os.close(inside_write)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        (page,) = until(
            lambda: [
                one
                for one in self.call("Target.getTargets")["targetInfos"]
                if one["type"] == "page"
            ],
            "a page",
        )
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call *method* of the protocol; return what it answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._answers.get(timeout=PATIENCE)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def size(self, width: int, height: int = 900) -> None:
        """Be so large, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name: str) -> None:
        """Prefer `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Go to *url*, and wait until the page is complete."""
        # What is complete then is not the page before it.
        self.evaluate("window.left = true")
        answer = self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), f"{url}: {answer['errorText']}"
        self.wait("!window.left && document.readyState == 'complete'")

    def follow(self, selector: str) -> None:
        """Click on what *selector* finds first, and wait until the next page is complete."""
        self.evaluate("window.left = true")
        self.click(selector)
        self.wait("!window.left && document.readyState == 'complete'")

    def click(self, selector: str) -> None:
        """Click on what *selector* finds first."""
        found = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one?.click(); return !!one })()"
        )
        assert found, f"nothing is {selector}"

    def text(self, selector: str = "body") -> str:
        """Return what a user reads in what *selector* finds first."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def evaluate(self, expression: str) -> Any:
        """Return the value of *expression*, JavaScript; None while a page comes."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until *expression* is true."""
        until(lambda: self.evaluate(expression), expression)

    def screenshot(self, path: Path, most: int = 4000) -> Path:
        """Write the whole page to *path*, its first *most* pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        height = min(size["height"], most)
        clip = {"x": 0, "y": 0, "scale": 1, "width": size["width"], "height": height}
        answer = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            os.close(self._write)
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(30)
        os.close(self._read)

    def _listen(self) -> None:
        rest = b""
        while data := os.read(self._read, 65536):
            *messages, rest = (rest + data).split(b"\0")
            for text in messages:
                message = json.loads(text)
                if "id" in message:
                    self._answers.put(message)
                elif message["method"] == "Log.entryAdded":
                    entry = message["params"]["entry"]
                    if entry["level"] == "error":
                        self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
                elif message["method"] == "Runtime.exceptionThrown":
                    self.complaints.append(str(message["params"]["exceptionDetails"]))


@pytest.fixture(scope="session")
def browser_program(require: Require) -> str:
    """Return the program."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        require("browser", "there is no chromium on PATH")
    return found


@pytest.fixture
def browser(browser_program: str, tmp_path: Path) -> Iterator[Browser]:
    """Return a browser that nobody has used."""
    one = Browser(browser_program, tmp_path)
    yield one
    one.close()
