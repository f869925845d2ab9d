"""What may be changed in the admin, and by whom."""

import json
import re
from typing import Any

import pytest
import redis

from task_server.transport.store.keys import Keys
from tests.integration.admin.test_failures import fail
from tests.integration.admin.test_pages import FAILED, QUEUES, WORKERS, register, rows
from tests.integration.monitor.test_snapshot import entry
from tests.support.admin_site import Site

KEYS = Keys()
CELERY = f"{QUEUES}celery/change/"
WORKER = f"{WORKERS}w_40h/change/"


def audit(client: redis.Redis) -> list[tuple[str, str, str]]:
    """Return who did what to what, the first first."""
    entries = [json.loads(one) for one in reversed(client.lrange(KEYS.audit, 0, -1))]
    return [(one["by"], one["action"], one["on"]) for one in entries]


def state_of(client: redis.Redis) -> dict[bytes, Any]:
    """Return all that lies in Redis, but what looking at it writes."""
    return {key: client.dump(key) for key in client.scan_iter() if key != b"unacked.tails"}


#: What a page has to change something with.
FIELD = r'name="action"|type="checkbox"'

#: Each form of each page: its address, and what it sends.
FORMS = [
    (CELERY, {"action": "pause"}),
    (CELERY, {"action": "resume"}),
    (CELERY, {"action": "purge"}),
    (CELERY, {"action": "purge", "_confirmed": "yes"}),
    (WORKER, {"action": "drain"}),
    (WORKER, {"action": "resume"}),
    (WORKER, {"action": "requeue"}),
    (FAILED, {"action": "retry", "select_across": "1"}),
    (FAILED, {"action": "drop", "select_across": "1", "_confirmed": "yes"}),
    (f"{FAILED}id-00001 tag-1/change/", {"action": "retry"}),
    (f"{FAILED}id-00001 tag-1/change/", {"action": "drop", "_confirmed": "yes"}),
]


@pytest.mark.parametrize(("path", "data"), FORMS, ids=range(len(FORMS)))
def test_nobody_changes_anything_without_the_permission(
    site: Site, client: redis.Redis, path: str, data: dict[str, str]
) -> None:
    """
    Not who may only see, nor staff without either, nor strangers; and no GET does.
    """
    client.lpush("celery", "x")
    client.hset(KEYS.paused, "celery", '{"at": 1, "by": "x"}')
    register(client, "w@h", queues=["celery"], stops=True)
    fail(client, 1)
    before = state_of(client)
    statuses = [
        site.post(path, data, user, follow=False).status
        for user in ("viewer", "nobody", "customer", None)
    ]
    got = site.get(path, "root", data=data)
    forged = site.post(path, data, "root", csrf=True)

    assert [403, 403, 302, 302] == statuses
    assert 200 == got.status
    assert 403 == forged.status
    assert before == state_of(client)


def test_pages_have_no_forms_for_who_may_only_see(site: Site, client: redis.Redis) -> None:
    """
    Neither buttons nor boxes.
    """
    client.lpush("celery", "x")
    register(client, "w@h", queues=["celery"], stops=True)
    fail(client, 1)
    pages = (QUEUES, WORKERS, FAILED, CELERY, WORKER, f"{FAILED}id-00001 tag-1/change/")
    fields = {
        user: [len(re.findall(FIELD, site.get(one, user).text)) for one in pages]
        for user in ("viewer", "changer")
    }

    assert [0] * len(pages) == fields["viewer"]
    # The lists of queues and workers lead to their pages.
    assert [True] * 4 == [number > 0 for number in fields["changer"][2:]]


def test_pausing_and_resuming_a_queue(site: Site, client: redis.Redis) -> None:
    """
    The lists say it, with by whom; workers that do not obey are named.
    """
    client.lpush("celery", "x")
    register(client, "w@h", queues=["celery"], stops=True)
    register(client, "old@h", run="old", queues=["celery"])
    paused = site.post(CELERY, {"action": "pause"}, "changer")
    listed = site.get(QUEUES)
    resumed = site.post(CELERY, {"action": "resume"}, "changer")

    assert "“celery”: Paused." in paused.text
    assert "old@h" in paused.text
    assert ["celery paused"] == [row[0] for row in rows(listed.text) if row[0].startswith("celery")]
    assert "paused by changer" in listed.text
    assert "“celery”: Resumed." in resumed.text
    assert not client.exists(KEYS.paused)
    assert [("changer", "pause", "celery"), ("changer", "resume", "celery")] == audit(client)
    history = site.get(f"{QUEUES}celery/history/").text
    assert "Paused." in history
    assert "changer" in history


def test_a_queue_that_nobody_knows_is_not_paused(site: Site, client: redis.Redis) -> None:
    """
    It may be a typing error; the page says so.
    """
    answer = site.post(f"{QUEUES}celry/change/", {"action": "pause"})

    assert "No queue &#x27;celry&#x27; is known" in answer.text
    assert not client.exists(KEYS.paused)
    assert [] == audit(client)


def test_draining_and_resuming_a_worker(site: Site, client: redis.Redis) -> None:
    """
    A worker that does not obey has no such button.
    """
    register(client, "w@h", stops=True)
    register(client, "old@h", run="old")
    drained = site.post(WORKER, {"action": "drain"}, "changer")
    listed = site.get(WORKERS)
    resumed = site.post(WORKER, {"action": "resume"}, "changer")
    old = site.get(f"{WORKERS}old_40h/change/")

    assert "“w@h”: Drained" in drained.text
    assert 'value="resume"' in drained.text
    assert ["draining"] == [row[1] for row in rows(listed.text) if row[0].startswith("w@h")]
    assert "“w@h”: Resumed." in resumed.text
    assert [("changer", "drain", "w@h"), ("changer", "resume", "w@h")] == audit(client)
    assert 'value="drain"' not in old.text


def test_requeueing_what_a_dead_worker_holds(site: Site, client: redis.Redis) -> None:
    """
    Refused while its lease lives; then it is back in its queue.
    """
    now = client.time()[0]
    client.hset("unacked", "t", entry("t"))
    client.zadd("unacked_index", {"t": now})
    register(client, "w@h", interval=0.001)
    refused = site.post(WORKER, {"action": "requeue"})
    client.zadd("unacked_index", {"t": now - 100})
    done = site.post(WORKER, {"action": "requeue"})

    assert "it may be alive" in refused.text
    assert "Requeued: 1 messages." in done.text
    assert 1 == client.llen("celery")


def test_a_purge_says_the_number_first(site: Site, client: redis.Redis) -> None:
    """
    And deletes when the user is sure.
    """
    client.lpush("celery", *range(7))
    client.zadd("unacked.delayed:celery", {"z": 4e9})
    asked = site.post(CELERY, {"action": "purge"}, "changer")
    before = client.llen("celery")
    done = site.post(CELERY, {"action": "purge", "_confirmed": "yes"}, "changer")

    assert "7 messages that wait" in asked.text
    assert "and 1 delayed task" in asked.text
    assert 7 == before
    assert "Purged: 8 messages." in done.text
    assert not client.exists("celery", "unacked.delayed:celery")


def test_an_action_that_redis_refuses_is_said(site: Site, client: redis.Redis) -> None:
    """
    It is no error of the site, and not in the history.
    """
    client.set(KEYS.paused, "x")
    answer = site.post(CELERY, {"action": "pause"})

    assert 200 == answer.status
    assert "WRONGTYPE" in answer.text
    assert "Paused." not in answer.text
