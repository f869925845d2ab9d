"""The server-side scripts, and how one is called."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoScriptError, ResponseError

Argument = str | bytes | int | float

#: Messages that one call delivers again, or moves.
BATCH: Final = 100


class Script:
    """
    One Lua script of this package.

    Args:
        prefixes: Files with functions that it calls.

    Attributes:
        files: Its file, and the prefixes.

        text: The source that the server gets once.

        sha: The name by which the server knows it afterwards.

        text_only: Whether this user may not call it by its name.
    """

    text_only = False

    def __init__(self, name: str, *prefixes: str) -> None:
        self.files: Final = (*prefixes, name)
        folder = files(__package__).joinpath("lua")
        self.text: Final = "".join(folder.joinpath(each).read_text("utf-8") for each in self.files)
        self.sha: Final = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def command(
        self, keys: Sequence[str], arguments: Sequence[Argument], *, known: bool
    ) -> list[Argument]:
        """Return the command that runs the script; *known* if the server has its text."""
        call: tuple[str, str] = ("EVALSHA", self.sha) if known else ("EVAL", self.text)
        return [*call, len(keys), *keys, *arguments]

    def run(self, client: Any, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """
        Run the script and return its answer.

        *client* must not add a prefix to keys: they are complete.
        """
        if not self.text_only:
            try:
                return client.execute_command(*self.command(keys, arguments, known=True))
            except NoScriptError:
                pass
            except ResponseError as error:
                if not is_denied(error, "evalsha"):
                    raise
                self.text_only = True
        return client.execute_command(*self.command(keys, arguments, known=False))


def is_denied(error: ResponseError, command: str) -> bool:
    """Return whether *error* says that the user may not use *command*."""
    # The words differ between versions; all name the command.
    return "permission" in str(error) and f"'{command}'" in str(error)


AGES: Final = Script("ages.lua", "message.lua")
BEAT_ACQUIRE: Final = Script("beat_acquire.lua")
BEAT_HOLD: Final = Script("beat_hold.lua")
BEAT_RELEASE: Final = Script("beat_release.lua")
BEAT_RUNS: Final = Script("beat_runs.lua")
DUE: Final = Script("due.lua", "message.lua", "delayed.lua")
ENTRIES: Final = Script("entries.lua")
EXPIRED: Final = Script("expired.lua", "entry.lua")
FETCH: Final = Script("fetch.lua", "message.lua", "delayed.lua")
IN_FLIGHT: Final = Script("in_flight.lua", "message.lua")
KEEP: Final = Script("keep.lua")
KEEP_FAILED: Final = Script("keep_failed.lua")
ORPHANED: Final = Script("orphaned.lua", "entry.lua")
REDRIVE: Final = Script("redrive.lua")
REDRIVE_FAILED: Final = Script("redrive_failed.lua")
RELEASE: Final = Script("release.lua", "message.lua", "delayed.lua")
REGISTER: Final = Script("register.lua", "statistics.lua")
RENEW: Final = Script("renew.lua")
RENEW_OWN: Final = Script("renew_own.lua", "entry.lua")
REQUEUE: Final = Script("requeue.lua")
RESTORE: Final = Script("restore.lua")
RUNS: Final = Script("runs.lua", "entry.lua")
SWAP: Final = Script("swap.lua")
UNREADABLE: Final = Script("unreadable.lua")
