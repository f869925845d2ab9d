"""The documents name what there is: files, headings, commands, options."""

import re
import runpy
import shlex
from pathlib import Path

import click
import pytest

from task_server.cli import cli

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "task_server"

#: Written from options and help texts, whose examples name a reader's files.
GENERATED = {
    ROOT / "docs" / "nixos-options.md",
    ROOT / "docs" / "reference" / "commands.md",
    ROOT / "docs" / "reference" / "settings.md",
    *(ROOT / "docs" / "reference" / "rules").glob("*.md"),
}

#: Every document but the generated ones.
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "deploy/README.md")),
    *sorted({*(ROOT / "docs").rglob("*.md")} - GENERATED),
)

#: Those for who carries on: their paths are those of this repository, or below src/task_server.
#: Those for users name files of a reader's own.
MAINTAINERS = tuple(
    document
    for document in DOCUMENTS
    if document.name in ("CONTRIBUTING.md", "architecture.md", "decisions.md")
    or document.parent in (ROOT / "docs", ROOT / "docs" / "reference")
)

#: In any text: a module or a script. In backticks: whatever has a slash.
FILES = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)*[\w-]+\.(?:py|lua))\b")
QUOTED = re.compile(r"`([\w.-]*/[\w./-]*)`")
LINKS = re.compile(r"\]\(([^)\s]+)\)")

#: A code block, and a command of ours in a line of one.
BLOCKS = re.compile(r"^```(?:console|sh|bash|)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALLED = re.compile(
    r"^(?:\$ )?(?:.*&& )?(?:\w+=\S+ )*(?:uv run )?task-server ([a-z-].*?)(?: [|>&].*)?$"
)
PLACEHOLDERS = re.compile(r"[\[…|]")

#: Stands for a name of the reader's own.
PLACEHOLDER = re.compile(r"\bNAME\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def headings(text: str) -> set[str]:
    """Return the anchors of the headings of *text*, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("document", MAINTAINERS, ids=name_of)
def test_the_files_that_a_document_names_exist(document: Path) -> None:
    """
    A file that is moved or renamed is moved or renamed in the documents, too.
    """
    text = document.read_text()
    named = {*FILES.findall(text), *QUOTED.findall(text)}

    absent = {
        path
        for path in named
        if not PLACEHOLDER.search(path)
        and not (ROOT / path).exists()
        and not (SOURCE / path).exists()
    }

    assert set() == absent


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    """
    A link within the repository has its file, and the heading there.
    """
    broken = []
    for link in LINKS.findall(document.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in headings(target.read_text())):
            broken.append(link)

    assert [] == broken


def commands(text: str) -> list[list[str]]:
    """Return the words after `task-server` of each command in the code blocks of *text*."""
    found = []
    for block in BLOCKS.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            called = CALLED.search(line.partition(" #")[0])
            if called and not PLACEHOLDERS.search(called[1]):
                found.append(shlex.split(called[1]))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_commands_of_a_document_can_be_called(document: Path) -> None:
    """
    Each command in a code block has its name, and each of its options is one.
    """
    wrong = []
    for words in commands(document.read_text()):
        command: click.Command | None = cli
        context = click.Context(cli, info_name="task-server")
        rest = words
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            name, *rest = rest
            command = command.get_command(context, name)
        try:
            assert command is not None, f"no such command: {words}"
            within = click.Context(command, **command.context_settings)
            command.make_parser(within).parse_args(list(rest))
        except (click.UsageError, AssertionError) as error:
            wrong.append(f"{shlex.join(words)}: {error}")

    assert [] == wrong


def test_the_architecture_shows_every_room() -> None:
    """
    The tree has each package and module at the root of task_server.
    """
    page = ROOT / "docs" / "explanation" / "architecture.md"
    tree = page.read_text().partition("## The tree")[2]
    shown = set(re.findall(r"[\w.-]+(?:/|\.py)", tree))
    rooms = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in SOURCE.iterdir()
        # A folder that was moved leaves its bytecode behind.
        if not path.name.startswith("__") and (path.suffix == ".py" or any(path.rglob("*.py")))
    }

    assert set() == rooms - shown


def test_the_changelog_has_its_sections_once() -> None:
    """
    Each version has the sections of Keep a Changelog, in their order, none twice.
    """
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    versions = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1:]
    sections = [re.findall(r"^### (.*)$", version, re.MULTILINE) for version in versions]

    assert [[name for name in order if name in found] for found in sections] == sections


def test_the_reference_says_what_the_program_says() -> None:
    """
    The pages that docs/generate.py writes are as it would write them now.
    """
    written = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()

    outdated = [page.name for page, text in written.items() if page.read_text() != text]

    assert [] == outdated, "uv run python docs/generate.py"
