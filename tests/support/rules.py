"""The examples on the pages of the rules."""

import re

_FILE = re.compile(
    r"^`(?P<name>[^`\n]+)`[^\n]*\n\n```\w+\n(?P<text>.*?)```$", re.MULTILINE | re.DOTALL
)
_BLOCK = r"^```{kind}\n(.*?)```$"


def files_of(page: str, section: str) -> dict[str, str]:
    """Return the files that a *section* of a page shows, by their names."""
    return {match["name"]: match["text"] for match in _FILE.finditer(_text_of(page, section))}


def block_of(page: str, section: str, kind: str) -> list[str]:
    """Return the lines of the blocks of a *section* that are of a *kind*, without prompts."""
    pattern = re.compile(_BLOCK.format(kind=kind), re.MULTILINE | re.DOTALL)
    return [
        line.removeprefix("$ ")
        for block in pattern.findall(_text_of(page, section))
        for line in block.splitlines()
    ]


def _text_of(page: str, section: str) -> str:
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""
