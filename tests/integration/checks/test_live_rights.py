"""What `check --live` says of the rights of the broker's user."""

from collections.abc import Callable, Iterator

import pytest
import redis
from celery import Celery

from task_server.checks import Context, ProjectFacts
from task_server.checks.live.rights import rights
from task_server.config.model import Config
from task_server.errors import Finding
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine
from task_server.transport.store.rights import rules
from tests.integration.checks.conftest import StartRedis


@pytest.fixture
def findings(start_redis: StartRedis) -> Iterator[Callable[..., list[Finding]]]:
    """Return what is found for a user with some rules."""
    port = start_redis()

    def found(*acl: str, prefix: str = "") -> list[Finding]:
        with redis.Redis(port=port) as client:
            client.execute_command("ACL", "SETUSER", "w", "reset", "on", ">pw", *acl)
        app = Celery("check", broker=f"redis://w:pw@127.0.0.1:{port}/0", set_as_current=False)
        app.conf.broker_transport_options = {"global_keyprefix": prefix}
        config = Config()
        spec = worker_spec(config, "prefork", Machine(cores=2.0, memory=None))
        context = Context(config=config, workers={"prefork": spec}, counts={}, facts=ProjectFacts())
        try:
            return list(rights(context, app, 5.0))
        finally:
            app.close()

    return found


def test_a_user_with_the_rules_of_the_readme(findings) -> None:
    """
    The rules that are written down are enough, and `check --live` needs no more.
    """
    assert ["ok"] == [one.level for one in findings(*rules(["celery"]).split())]


def test_a_user_of_a_prefix(findings) -> None:
    """
    Each key that is tried has the prefix before its whole name, as Kombu writes it.
    """
    found = findings(*rules(["celery"], "app:").split(), prefix="app:")

    assert ["ok"] == [one.level for one in found], found


def test_a_user_who_lacks_the_keys_of_a_prefix(findings) -> None:
    """
    The cure names the keys with it.
    """
    found = findings(*rules(["celery"]).split(), prefix="app:")

    assert "error" == found[0].level
    assert "~app:unacked* ~app:_kombu*" in found[0].repair


def test_a_right_that_is_needed(findings) -> None:
    """
    Without HSET a worker takes nothing: an error that names the command and the cure.
    """
    (found,) = findings("~*", "&*", "+@all", "-hset", "-acl")

    assert "error" == found.level
    assert "HSET" in found.message
    assert "acl setuser NAME +hset" in found.repair


def test_the_key_of_the_delayed_tasks(findings) -> None:
    """
    A user whose keys are named one by one lacks it: tasks wait in the worker then.
    """
    keys = ("unacked", "unacked_index", "unacked.probe", "celery*", "_kombu*", "*.celery.pidbox*")
    (found,) = findings(*(f"~{key}" for key in keys), "&*", "+@all")

    assert "warning" == found.level
    assert "unacked.delayed:celery" in found.message or "tasks that are due later" in found.message
    assert "~unacked*" in found.repair


def test_a_right_that_a_worker_can_do_without(findings) -> None:
    """
    Without EXPIRE it works all the same, and the difference is reported.
    """
    (found,) = findings("~*", "&*", "+@all", "-expire")

    assert "warning" == found.level
    assert "EXPIRE" in found.message


def test_one_of_ltrim_and_rpop_is_enough(findings) -> None:
    """
    A worker takes messages out of a list with LTRIM, or else with RPOP.
    """
    assert ["warning"] == [one.level for one in findings("~*", "&*", "+@all", "-ltrim")]
    assert "error" in [one.level for one in findings("~*", "&*", "+@all", "-ltrim", "-rpop")]


def test_a_queue_that_it_may_not_use(findings) -> None:
    """
    A key that is refused is named.
    """
    found = findings("~unacked*", "~_kombu*", "&*", "+@all")

    assert "error" == found[0].level
    assert "LINDEX" in found[0].message
