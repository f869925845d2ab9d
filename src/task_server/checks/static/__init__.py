"""
The checks that read the source of a project as text, and run none of it.

`files` finds and reads, `extract` makes a Module of each file, `names` joins them,
`rules` judge. All of it happens in a child process (`guard`), which hostile text may
kill; it imports nothing of what it reads.
"""

from task_server.checks.static.checkout import scan

__all__ = ["scan"]
