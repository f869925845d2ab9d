"""Whatever anyone wrote into Redis: no page breaks; nothing of it is HTML, or turns the text."""

import json
import re
from html.parser import HTMLParser

import pytest
import redis

from task_server.transport.store import workers
from task_server.transport.store.keys import Keys
from tests.integration.admin.test_pages import FAILED, QUEUES, WORKERS, register
from tests.integration.monitor.test_snapshot import FORGED, entry, message
from tests.support.admin_site import Response, Site

#: Markup, NUL, a sign that turns the text, half a surrogate, and more than a page.
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7|add:7 }}{% now 'Y' %}",
    "nul\x00 and \x1b[31m",
    "\u202egpj.exe",
    "half \ud800",
    "line\nline\r\n",
    "../../admin",
    "a" * 65_536,
    "",
)


class Scripts(HTMLParser):
    """What of a page a browser would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_in_script = tag == "script"
        self.found += [
            f"{name}={value}"
            for name, value in attrs
            if name.startswith("on") or name == "style" or (tag == "img" and value == "x")
        ]

    def handle_data(self, data: str) -> None:
        if self._is_in_script and data.strip():
            self.found.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._is_in_script = self._is_in_script and tag != "script"


def intact(answer: Response) -> None:
    """Check that a page is whole, and has nothing that a browser would take for more than text."""
    assert 200 == answer.status
    assert [] == Scripts(answer.text).found
    assert set() == {one for one in answer.text if not one.isprintable() and one not in " \n\t"}
    assert answer.text.rstrip().endswith("</html>")


def links(answer: Response, start: str) -> set[str]:
    """Return the addresses below *start* that a page leads to."""
    return set(re.findall(rf'href="({start}[^"?]+/change/)"', answer.text))


def dead(client: redis.Redis, tag: str, text: str) -> None:
    """Write a dead letter of which every field is *text*."""
    fields = dict.fromkeys(("reason", "id", "task", "queue", "text"), text)
    crash = dict.fromkeys(("reason", "node", "pid", "at"), text)
    said = json.dumps({**message(text, argsrepr=text, kwargsrepr=text), "body": text})
    record = {**fields, "lists": [text], "deaths": [crash], "at": 1.7e9, "text": said}
    client.hset("unacked.dead", tag, json.dumps(record))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_and_arguments(site: Site, client: redis.Redis, text: str) -> None:
    """
    As a queue, a node, a task, an id, an argument or an error: each page shows it as text.
    """
    plain = text.encode("utf-8", "replace").decode()
    client.lpush(plain or "q", json.dumps(message("a")))
    client.sadd("_kombu.binding.x", f"x\x06\x16\x06\x16{plain}")
    register(client, text, queues=[text, "q"], pool=text, version=text, host=text)
    one = json.loads(entry("t", plain, task=text, id=text))
    one[0]["holder"]["node"] = text
    client.hset("unacked", "t", json.dumps(one))
    dead(client, plain[:200], text)
    for start in (QUEUES, WORKERS, FAILED):
        listed = site.get(f"{start}?q={'x' * 100}", follow=True)
        intact(listed)
        listed = site.get(start)
        intact(listed)
        for address in links(listed, start):
            intact(site.get(address, follow=True))


def test_forged_records(site: Site, client: redis.Redis) -> None:
    """
    Records of any form, as workers, as messages in flight and as failed tasks.
    """
    for number, text in enumerate([*FORGED, "null", "7", '{"at": 1e300, "deaths": [{"at": NaN}]}']):
        client.hset("unacked", f"tag-{number}", text)
        client.hset("unacked.workers", f"run-{number}", text)
        client.hset("unacked.workers", f"odd-{number}", '{"at": 1e9, "node": %s}' % (text or 0))
        client.hset("unacked.dead", f"tag-{number}", text)
        client.rpush("celery", text)
    workers.register(
        client,
        Keys(),
        "large",
        {"node": "n@h", "state_for": 1e300, "pid": -1e300, "running": [["tag", -1e300]]},
    )
    for start in (QUEUES, WORKERS, FAILED):
        listed = site.get(start)
        intact(listed)
        for address in links(listed, start):
            intact(site.get(address, follow=True))


def test_keys_of_another_type(site: Site, client: redis.Redis) -> None:
    """
    What cannot be read is said, and hides nothing else.
    """
    keys = ("unacked", "unacked_index", "unacked.workers", "unacked.dead", "unacked.looks")
    for key in (*keys, "unacked.unreadable", "unacked.tails", "celery"):
        client.set(key, "x")
    answers = {start: site.get(start) for start in (QUEUES, WORKERS, FAILED)}

    for answer in answers.values():
        intact(answer)
    assert "is no list" in answers[QUEUES].text
    assert "WRONGTYPE" in answers[FAILED].text


@pytest.mark.parametrize("method", ["get", "post"])
def test_hostile_requests(site: Site, client: redis.Redis, method: str) -> None:
    """
    Parameters and forms that no page of ours has written.
    """
    dead(client, "d", "x")
    odd = {
        "p": "-1e9",
        "o": "-\x00",
        "q": "\x00<script>",
        "state": "\u202e",
        "action": "drop",
        "_selected_action": ["\x00", "d", "<b>"],
        "select_across": "2",
        "_before": "nan",
        "_list": "?\r\nX: y",
    }
    for start in (QUEUES, WORKERS, FAILED):
        for path in (start, f"{start}%00/change/", f"{start}_ZZ_/change/", f"{start}x_0/change/"):
            intact(getattr(site, method)(path, data=odd, follow=True))
