"""Each rule has a page with a reason, an example that triggers it, and a cure that does not."""

from pathlib import Path

import pytest

from task_server.checks import catalogue, live, rules
from task_server.checks.static.rules import RULES
from task_server.checks.static.rules.shared import RULES as SHARED
from tests.support.rules import files_of
from tests.unit.checks.static.conftest import Scan

DOCS = Path(__file__).parents[4] / "docs" / "reference" / "rules"

#: A package of a page has no file that says so.
PACKAGE = {"shop/__init__.py": ""}


@pytest.mark.parametrize("name", sorted(catalogue.NAMES))
def test_a_rule_has_a_page(name: str) -> None:
    """
    The page names the rule, says what it finds, why that is bad, and what to do.
    """
    page = catalogue.page(name)

    assert page.startswith(f"# {name}\n\n")
    assert catalogue.summary(name).endswith(".")
    assert "\n## Why\n" in page
    assert files_of(page, "Example")
    assert files_of(page, "Cure")


def test_there_is_no_page_without_a_rule() -> None:
    """
    The pages are those of the rules, and so are those in docs/.
    """
    pages = Path(catalogue.__file__).with_name("pages")

    assert {f"{name}.md" for name in catalogue.NAMES} == {one.name for one in pages.iterdir()}
    assert {f"{name}.md" for name in (*catalogue.NAMES, "README")} == {
        one.name for one in DOCS.iterdir()
    }


def test_every_rule_is_in_the_catalogue() -> None:
    """
    What the rules are called where they are listed is what `--rules` lists.
    """
    assert set(RULES) <= set(catalogue.STATIC)
    assert {*SHARED, "queue-without-worker"} == set(catalogue.SHARED)
    assert {rule.name for rule in rules.RULES} <= catalogue.NAMES
    source = Path(live.__file__).read_text()
    assert all(f'named("{name}"' in source for name in catalogue.LIVE)


@pytest.mark.parametrize("name", sorted((*catalogue.STATIC, *catalogue.SHARED)))
def test_the_example_triggers_the_rule_and_the_cure_does_not(
    name: str, found: Scan, tmp_path: Path
) -> None:
    """
    The example of a static rule's page is found by it and by no other rule; the cured is right.
    """
    page = catalogue.page(name)
    example, cured = files_of(page, "Example"), files_of(page, "Cure")

    assert example
    assert [name] == sorted({one.rule for one in found({**PACKAGE, **example})})
    for other in set(example) - set(cured):
        (tmp_path / other).unlink()
    assert [] == found({**PACKAGE, **cured})
