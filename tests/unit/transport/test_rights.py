"""The rights that a worker needs, as they are written down."""

from pathlib import Path

from task_server.transport.store.rights import rules

README = Path(__file__).parents[3] / "README.md"


def test_the_readme_has_the_rules() -> None:
    """
    The user of the README's example has the rights that `check --live` tries, and no other.
    """
    text = README.read_text()
    _, _, rest = text.partition("ACL SETUSER worker on >PASSWORD ")

    assert rules(["celery", "io_bound"]).split() == rest.partition("```")[0].split()
