"""The examples on the pages of the rules."""

import re

_FILE = re.compile(r"^`(?P<name>[^`\n]+)`\n\n```\w+\n(?P<text>.*?)```$", re.MULTILINE | re.DOTALL)


def files_of(page: str, section: str) -> dict[str, str]:
    """Return the files that a *section* of a page shows, by their names."""
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    text = found[1] if found else ""
    return {match["name"]: match["text"] for match in _FILE.finditer(text)}
