"""Which queue goes to which pool."""

import pytest

from task_server.local.survey.facts import Project, Queue, Server
from task_server.local.survey.workers import divide


def project(*names: str, pool: str = "", kind: str = "") -> Project:
    servers = (Server("database default", kind, "", "DATABASES"),) if kind else ()
    return Project(queues=tuple(Queue(one, "test") for one in names), pool=pool, servers=servers)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("io_bound", True),
        ("webhooks", True),
        ("scrape-courts", True),
        ("HTTP", True),
        ("emails", False),
        ("celery", False),
        ("radio", False),
        ("fetch_and_ocr", False),
        ("download.pdf", False),
    ],
)
def test_only_a_name_that_says_so_goes_to_gevent(name: str, *, network: bool) -> None:
    """
    And none that also says computing: prefork is safe for both.
    """
    division = divide(project(name))

    assert network == (division.network == (name,))
    assert network != (name in division.others)


def test_what_may_be_network_bound_is_named_and_stays() -> None:
    """
    The author of its tasks knows.
    """
    division = divide(project("emails", "celery"))

    assert (("emails",), ("emails", "celery")) == (division.maybe, division.others)
    assert "no name of a queue says" in division.reason


@pytest.mark.parametrize(("kind", "driver"), [("MySQL", "mysqlclient"), ("Oracle", "oracledb")])
def test_a_driver_that_blocks_keeps_all_on_prefork(kind: str, driver: str) -> None:
    """
    Whatever the names say: one query would stop all tasks of the worker.
    """
    division = divide(project("webhooks", kind=kind))

    assert () == division.network
    assert driver in division.reason


def test_a_project_that_asks_for_gevent_gets_it() -> None:
    """
    Its own worker_pool counts, for all of its queues.
    """
    division = divide(project("celery", "reports", pool="gevent"))

    assert division.everything
    assert ("celery", "reports") == division.network
