"""Folders that other users can reach."""

from pathlib import Path


def open_to_others(folder: Path) -> None:
    """
    Let every user list and reach *folder*, which is in one of pytest's folders.

    pytest closes its folders to others, and pytest-xdist adds one more of them.
    """
    for each in (folder, *folder.parents):
        each.chmod(each.stat().st_mode | 0o055)
        if each.name.startswith("pytest-of-"):
            return
