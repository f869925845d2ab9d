"""Who sees what, and who may change it."""

import redis

from tests.integration.admin.test_pages import FAILED, QUEUES, WORKERS, register
from tests.support.admin_site import Site

LISTS = (QUEUES, WORKERS, FAILED)


def test_each_page_asks_for_its_permission(site: Site, client: redis.Redis) -> None:
    """
    Strangers and customers are sent to the login; staff without the permission are refused.
    """
    register(client, "w@h")
    pages = (*LISTS, f"{QUEUES}celery/change/", f"{WORKERS}w@h/change/")
    found = {
        user: {site.get(page, user).status for page in pages}
        for user in (None, "customer", "nobody", "viewer", "changer", "root")
    }

    assert {
        None: {302},
        "customer": {302},
        "nobody": {403},
        "viewer": {200},
        "changer": {200},
        "root": {200},
    } == found


def test_django_adds_and_deletes_nothing(site: Site) -> None:
    """
    The addresses that each model of an admin has are refused, to a superuser too.
    """
    for page in LISTS:
        assert 403 == site.get(f"{page}add/").status
        assert 403 == site.get(f"{page}x/delete/").status
    assert f"{QUEUES}add/" not in site.get(QUEUES).text


def test_the_index_shows_what_one_may_see(site: Site) -> None:
    """
    Staff without the permission see nothing of it.
    """
    assert QUEUES not in site.get("/admin/", "nobody").text
    assert QUEUES in site.get("/admin/", "viewer").text
