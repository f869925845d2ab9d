"""The rights that a worker needs, as they are written down."""

from pathlib import Path

from task_server.transport.store.rights import rules

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "redis-user.md"


def test_the_readme_has_the_rules() -> None:
    """
    The user of the page's example has the rights that `check --live` tries, and no other.
    """
    text = PAGE.read_text()
    _, _, rest = text.partition("ACL SETUSER worker on >PASSWORD ")

    assert rules(["celery", "io_bound"]).split() == rest.partition("```")[0].split()
