"""Failed tasks in the admin: found, shown, retried and dropped."""

import json
import re
from collections.abc import Iterable
from typing import Any

import redis

from task_server.contrib.admin.failed import token_of
from task_server.transport.store import failed_tasks
from task_server.transport.store.failed_tasks import Limits, name_of
from task_server.transport.store.keys import Keys
from tests.integration.admin.test_hostile import intact
from tests.integration.admin.test_pages import FAILED, rows
from tests.integration.monitor.test_snapshot import message
from tests.support.admin_site import Site

KEYS = Keys()


def fail(client: redis.Redis, number: int, **fields: Any) -> str:
    """Keep a failed task; return its name."""
    id_, tag = f"id-{number:05}", f"tag-{number}"
    name = name_of(id_, tag)
    record = {
        "id": id_,
        "tag": tag,
        "task": "site1.tasks.fail",
        "queue": "celery",
        "tries": 4,
        "args": f"('case {number}',)",
        "kwargs": "{}",
        "error": "builtins.ValueError",
        "reason": f"no docket {number}",
        "traceback": "Traceback (most recent call last):\n  x",
        "node": "w@h",
        "pid": 7,
        "lists": ["celery"],
        "text": json.dumps(message(tag, id=id_)),
        **fields,
    }
    failed_tasks.keep(client, KEYS, Limits(100_000, 1e6, 2**30), [(name, json.dumps(record))])
    return name


def names(text: str) -> list[str]:
    """Return the ids of a list, as far as a user sees them."""
    return re.findall(r'<div class="id">([^<]*)</div>', text)


def chosen(site: Site, user: str, action: str, keys: Iterable[str], **more: str) -> Any:
    """Do *action* to *keys*, as the form of the list does."""
    tokens = [token_of(key) for key in keys]
    data = {"action": action, "_selected_action": tokens, "select_across": "0", "_list": "?q="}
    return site.post(FAILED, {**data, **more}, user)


def test_a_failed_task_has_a_page_with_its_traceback(site: Site, client: redis.Redis) -> None:
    """
    What it was, where and how often it was tried, what it said, and its arguments.
    """
    name = fail(client, 1, traceback="Traceback:\n  File 'x.py'\nValueError: <b>no docket</b>")
    listed = site.get(FAILED)
    (address,) = set(re.findall(rf'href="({FAILED}[^"]*/change/)"', listed.text))
    text = site.get(address).text

    assert ["id-00001"] == names(listed.text)
    assert "ValueError: no docket 1" in listed.text
    assert "File &#x27;x.py&#x27;\nValueError: &lt;b&gt;no docket&lt;/b&gt;" in text
    for each in ("id-00001", "builtins.ValueError", "case 1", "w@h", ">4<", ">celery<"):
        assert each in text
    assert 200 == site.get(f"{address.removesuffix('change/')}history/").status
    assert name


def test_failures_are_searched_and_filtered(site: Site, client: redis.Redis) -> None:
    """
    By words, by task, error, queue and kind, together and each by itself.
    """
    fail(client, 1)
    fail(client, 2, task="other", queue="io_bound")
    fail(client, 3, error="KeyError", args="('needle',)")
    record = {"id": "dead", "task": "poison", "queue": "celery", "at": 1.7e9, "lists": ["celery"]}
    client.hset("unacked.dead", "t", json.dumps({**record, "text": "{}", "deaths": []}))

    def found(query: str) -> set[str]:
        return set(names(site.get(f"{FAILED}{query}").text))

    assert {"id-00001", "id-00002", "id-00003", "dead"} == found("")
    assert {"id-00002"} == found("?task=other")
    assert {"id-00003"} == found("?error=KeyError")
    assert {"id-00003"} == found("?q=NEEDLE+site1")
    assert {"id-00002"} == found("?queue=io_bound&kind=failed")
    assert {"dead"} == found("?kind=crashed")
    assert {"id-00001", "id-00002", "id-00003"} == found("?time=today&kind=failed")
    assert set() == found("?task=nothing")


def test_ten_thousand_failures_are_in_pages(site: Site, client: redis.Redis) -> None:
    """
    Each page has a hundred, the newest first; only these are read.
    """
    with client.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            name = name_of(f"id-{number:05}", "t")
            record = {"task": "x", "id": f"id-{number:05}", "lists": ["celery"], "text": "{}"}
            pipe.hset(KEYS.failed, name, json.dumps(record))
            pipe.zadd(KEYS.failed_times, {name: 1.7e9 + number})
        pipe.execute()
    client.config_resetstat()
    first = site.get(FAILED)
    read = client.info("commandstats")["cmdstat_hmget"]["calls"]
    last = site.get(f"{FAILED}?p=100")
    searched = site.get(f"{FAILED}?q=id-00042")

    assert ["id-09999", "id-09998"] == names(first.text)[:2]
    assert [100, 100] == [len(names(one.text)) for one in (first, last)]
    assert "id-00000" == names(last.text)[-1]
    assert "10000" in re.sub(r"\D", "", first.text[first.text.index('class="paginator"') :])
    assert read < 10
    assert ["id-00042"] == names(searched.text)


def test_retrying_one_and_many(site: Site, client: redis.Redis) -> None:
    """
    Each message is in its queue again as it was; Django's log and ours say by whom.
    """
    kept = [fail(client, number) for number in range(4)]
    answer = chosen(site, "changer", "retry", kept[:2])
    single = site.post(f"{FAILED}{kept[2].replace(' ', '%20')}/change/", {"action": "retry"})

    assert "2 tasks are back in their queues." in answer.text
    assert "1 task is back in its queue." in single.text
    assert {"id-00000", "id-00001", "id-00002"} == {
        json.loads(one)["headers"]["id"] for one in client.lrange("celery", 0, -1)
    }
    assert [kept[3].encode()] == client.hkeys(KEYS.failed)
    entries = [json.loads(one) for one in client.lrange(KEYS.audit, 0, -1)]
    assert {"changer", "root"} == {entry["by"] for entry in entries}
    logged = site.run("list(LogEntry.objects.values_list('user__username', 'change_message'))")
    assert ["changer", "Retried. site1.tasks.fail[id-00000]"] in [list(one) for one in logged]


def test_dropping_asks_first(site: Site, client: redis.Redis) -> None:
    """
    The first answer says what will go, and nothing is gone; the second one drops it.
    """
    kept = [fail(client, number) for number in range(3)]
    asked = chosen(site, "changer", "drop", kept[:2])
    before = client.hlen(KEYS.failed)
    form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', asked.text))
    done = chosen(site, "changer", "drop", kept[:2], _confirmed=form["_confirmed"])

    intact(asked)
    assert "2 failed tasks will be deleted for good" in asked.text
    assert "id-00000" in asked.text
    assert 3 == before
    assert "2 tasks are dropped." in done.text
    assert [kept[2].encode()] == client.hkeys(KEYS.failed)
    assert [] == client.lrange("celery", 0, -1)


def test_all_that_match_are_those_that_the_user_saw(site: Site, client: redis.Redis) -> None:
    """
    Those of the other pages too; none that the filters leave out, and none that failed since.
    """
    for number in range(150):
        fail(client, number, task="chosen" if number % 3 else "other")
    shown = site.get(f"{FAILED}?task=chosen", "changer")
    (before,) = re.findall(r'name="_before" value="([^"]+)"', shown.text)
    fail(client, 1000, task="chosen")
    data = {"action": "drop", "select_across": "1", "_before": before, "_confirmed": "yes"}
    done = site.post(f"{FAILED}?task=chosen", data, "changer")

    assert "100 tasks are dropped." in done.text
    assert 51 == client.hlen(KEYS.failed)
    left = client.hvals(KEYS.failed)
    assert {"other": 50, "chosen": 1} == {
        name: sum(json.loads(one)["task"] == name for one in left) for name in ("other", "chosen")
    }


def test_what_has_no_message_is_not_retried(site: Site, client: redis.Redis) -> None:
    """
    It is said, and it stays; its page has no such button.
    """
    kept = fail(client, 1, text="", size=70_000)
    answer = chosen(site, "root", "retry", [kept])
    page = site.get(f"{FAILED}{kept.replace(' ', '%20')}/change/")

    assert "no message is kept" in answer.text
    assert 1 == client.hlen(KEYS.failed)
    assert re.search(r'value="retry" disabled', page.text)
    assert rows(answer.text)
