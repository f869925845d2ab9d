"""The pages in the project's admin, of whatever lies in a real Redis."""

import json
import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import redis

from task_server.transport.store import workers
from task_server.transport.store.keys import Keys
from tests.integration.monitor.test_snapshot import entry, message
from tests.support.admin_site import Site

QUEUES = "/admin/task_server_admin/queue/"
WORKERS = "/admin/task_server_admin/worker/"
FAILED = "/admin/task_server_admin/failedtask/"

KEYS = Keys()


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table of a list, as a user reads them."""
    found = re.search(r'<table id="result_list">.*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    if found is None:
        return []
    return [
        [
            " ".join(re.sub(r"<[^>]*>", " ", cell).split())
            for cell in re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", found[1], re.DOTALL)
    ]


def register(client: redis.Redis, node: str, **values: Any) -> None:
    """Let a worker of ours register."""
    said = {"node": node, "state": "ready", "interval": 3600, "pool": "prefork", "pid": 7}
    workers.register(client, Keys(), values.pop("run", "r"), {**said, **values})


def test_the_index_has_the_three(site: Site) -> None:
    """
    They are an application of the admin's index, by a name that is not Django's own.
    """
    answer = site.get("/admin/")

    assert 200 == answer.status
    assert [QUEUES, WORKERS, FAILED] == [
        one for one in (QUEUES, WORKERS, FAILED) if f'href="{one}"' in answer.text
    ]
    assert "Task server" in answer.text


def test_queues_are_those_of_the_settings_and_of_redis(site: Site, client: redis.Redis) -> None:
    """
    The one that waits longest is first; each with what waits, by priority.
    """
    now = client.time()[0]
    old = json.dumps(message("a", **{"task-server-sent": [now - 7200, 0]}))
    client.rpush("io_bound", "x", old)
    client.rpush("io_bound\x06\x169", "y")
    client.sadd("_kombu.binding.bound", "bound\x06\x16\x06\x16bound")
    client.zadd("unacked.delayed:celery", {"z": now + 30})
    register(client, "w@h", queues=["io_bound"])
    answer = site.get(QUEUES)

    assert [
        ["io_bound", "3 0: 2, 9: 1", "2 h", "", "", "1"],
        ["bound", "", "", "", "", "none"],
        ["celery", "", "", "", "1 1 within a minute", "none"],
    ] == [[*row[:3], *row[4:7]] for row in rows(answer.text)]
    assert "nobody takes from it" in answer.text


def test_lists_are_searched_filtered_and_sorted(site: Site, client: redis.Redis) -> None:
    """
    By the parameters that Django's own lists have; what is nonsense is as if it were not there.
    """
    for number in range(120):
        client.rpush(f"q{number:03}", *["x"] * (number + 1))
        register(client, f"w{number:03}@h", run=f"r{number}", queues=[f"q{number:03}"])

    def names(query: str) -> list[str]:
        return [row[0] for row in rows(site.get(f"{QUEUES}{query}").text)]

    assert ["q119", "q118"] == names("?o=-waiting")[:2]
    assert ["celery", "io_bound", "q000"] == names("?o=waiting")[:3]
    assert ["q020", "q021", "q022"] == names("?o=name&p=1&q=q02")[:3]
    assert ["q007"] == names("?worker=w007@h")
    assert (100, 22) == (len(names("?o=name")), len(names("?o=name&p=2")))
    assert 100 == len(names("?o=nonsense&p=nonsense&state="))
    assert [] == names("?state=paused-or-not")


def test_a_queue_has_a_page_with_its_workers_and_messages(site: Site, client: redis.Redis) -> None:
    """
    Also one that has a name with signs that mean something in addresses.
    """
    name = "a/b c?d=1&e#ü"
    client.rpush(name, "x")
    client.hset("unacked", "t", entry("t", name))
    register(client, "w@h", queues=[name])
    (address,) = set(re.findall(rf'href="({QUEUES}[^"]*a_2Fb[^"]*)"', site.get(QUEUES).text))
    answer = site.get(address)

    assert 200 == answer.status
    assert [["proj.work t", "fetched", "w@h"]] == [[*row[:2], row[4]] for row in rows(answer.text)]
    assert f'href="{WORKERS}w_40h/change/"' in answer.text


def test_a_worker_has_a_page_with_what_it_has(site: Site, client: redis.Redis) -> None:
    """
    Each task with its id, since when it runs, and until when nobody else takes it.
    """
    register(client, "w@h", concurrency=4, active=1, processed=17, running=[["t", 612]])
    client.hset("unacked", mapping={"t": entry("t"), "u": entry("u")})
    listed = site.get(WORKERS)
    answer = site.get(f"{WORKERS}w@h/change/")

    assert [["w@h prefork", "ready", "1 / 4", "2", "10 min", "17"]] == [
        [*row[:2], *row[3:7]] for row in rows(listed.text)
    ]
    assert [["proj.work u", "fetched"], ["proj.work t", "running", "10 min"]] == [
        row[: 2 + ("running" in row)] for row in rows(answer.text)
    ]
    assert "has been running for 6" in answer.text


def test_each_time_is_in_the_time_zone_of_the_project(site: Site, client: redis.Redis) -> None:
    """
    What is wrong says so too: the commands say UTC, with a Z.
    """
    now = client.time()[0]
    client.rpush("celery", "x")
    client.hset(KEYS.paused, "celery", json.dumps({"at": now, "by": "alice"}))
    client.hset("unacked", "t", entry("t"))
    client.zadd("unacked_index", {"t": now})
    register(client, "w@h", interval=0.001)
    text = site.get(QUEUES).text
    refused = site.post(f"{WORKERS}w_40h/change/", {"action": "requeue"}).text
    here = f"{datetime.fromtimestamp(now, ZoneInfo('Asia/Kolkata')):%H:%M:%S}"

    assert f"paused by alice since {here}" in text
    assert "messages are its own until" in text
    assert "it may be alive" in refused
    assert not re.search(r"\d\d:\d\dZ", text + refused)


def test_what_is_gone_is_said_on_the_list(site: Site) -> None:
    """
    A worker or a task whose page was open is not there any more.
    """
    for address in (f"{WORKERS}gone@h/change/", f"{FAILED}gone/change/"):
        answer = site.get(address, follow=True)

        assert 200 == answer.status
        assert 1 == len(answer.trail)
        assert "There is no" in answer.text


def test_a_graph_of_the_last_day(site: Site, client: redis.Redis) -> None:
    """
    What ended, and what of it failed; in the list, and on the page of the queue by task.
    """
    now = client.time()[0] // 600 * 600
    for ago, value in ((0, "succeeded:5 failed:1"), (7200, "succeeded:20"), (90_000, "failed:99")):
        field = json.dumps(["site1.tasks.<b>", "celery"], separators=(",", ":"))
        client.hset(KEYS.statistics_of(600, now - ago), field, value)
    listed = site.get(QUEUES).text
    text = site.get(f"{QUEUES}celery/change/").text
    bars = [(kind, float(height)) for kind, height in re.findall(BAR, text)]

    assert 3 == len(re.findall(BAR, listed))
    # Of the queue, and of its one task.
    assert 2 * ["done", "failed", "done"] == [kind for kind, _ in bars]
    assert 80.0 == max(height for _, height in bars)
    assert "26 tasks ended" in text
    assert "1 failed" in text
    assert "site1.tasks.&lt;b&gt;" in text
    assert "99" not in re.sub(r"<[^>]*>", "", text[text.index("The last day") :])


def test_where_nobody_counted_is_a_gap(site: Site, client: redis.Redis) -> None:
    """
    A worker that has nothing to do has counted 0; where there was none, nobody knows.
    """
    now = client.time()[0] // 600 * 600
    task = json.dumps(["site1.tasks.add", "celery"], separators=(",", ":"))
    # Eight hours with a worker, and three of them with tasks.
    for ago in range(0, 8 * 3600, 600):
        client.hset(KEYS.statistics_of(600, now - ago), '["celery"]', 0)
        if ago < 3 * 3600:
            client.hset(KEYS.statistics_of(600, now - ago), task, "succeeded:1")
    listed = site.get(QUEUES).text
    text = site.get(f"{QUEUES}celery/change/").text
    graphs = re.findall(r'<svg class="task-server-graph.*?</svg>', listed + text, re.DOTALL)
    gaps = [len(re.findall(r'class="gap"', one)) for one in graphs]
    done = [len(re.findall(r'class="done"', one)) for one in graphs]

    # Of 25 hours, or 49 half ones; the first and the last may be begun.
    assert [True] * 3 == [hours in (3, 4) for hours in (done[0], done[2], (done[1] + 1) // 2)]
    assert [True] * 3 == [hours in (16, 17) for hours in (gaps[0], gaps[2], gaps[1] // 2)]
    assert "nobody counted" in text
    assert ": ?</title>" in text


#: A bar of a graph: what it is, and how high.
BAR = r'<rect class="(done|failed)"[^>]*height="([\d.]+)"'
