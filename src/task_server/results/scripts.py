"""The scripts that store results, and how one is called."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from celery.backends import redis as celerys
from redis.exceptions import NoScriptError, ResponseError

#: What Celery counts a part of a chord with, from 5.7 on; before it sent commands.
_PART: Final = str(getattr(celerys, "CHORD_PART_RETURN_LUA", ""))

#: With what it keeps the claim on a chord's body, and deletes a chord, from 5.7 on.
_EXTEND: Final = str(getattr(celerys, "CHORD_CLAIM_EXTEND_LUA", ""))
_CLEAN_UP: Final = str(getattr(celerys, "CHORD_CLEANUP_LUA", ""))

_LUA: Final = files(__package__).joinpath("lua")
_STORE: Final = _LUA.joinpath("store.lua").read_text("utf-8")


class DeniedError(Exception):
    """This user may not run scripts, or the server knows none."""


class Script:
    """
    One Lua script.

    Attributes:
        text: The source that the server gets once.

        sha: The name by which the server knows it afterwards.

        text_only: Whether this user may not call it by its name.
    """

    text_only = False

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self.sha: Final = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Any, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """
        Run the script and return its answer.

        Raises:
            DeniedError: When nothing was done.
        """
        words = (len(keys), *keys, *arguments)
        if not self.text_only:
            try:
                return client.execute_command("EVALSHA", self.sha, *words)
            except NoScriptError:
                pass
            except ResponseError as error:
                if not _is_unavailable(error, "evalsha"):
                    raise
                self.text_only = True
        try:
            return client.execute_command("EVAL", self.text, *words)
        except ResponseError as error:
            if _is_unavailable(error, "eval"):
                raise DeniedError(str(error)) from error
            raise


def _is_unavailable(error: ResponseError, command: str) -> bool:
    """Return whether *error* says that *command* may not be called, or does not exist."""
    text = str(error).lower()
    # The words differ between versions; all name the command.
    refused = "permission" in text or "unknown command" in text
    return refused and f"'{command}'" in text


#: Stores a result.
STORE: Final = Script(f"{_STORE}\nreturn {{}}\n")

#: Counts a part of a chord: Celery's own. None for a Celery that has no script for it.
PART: Final = Script(_PART) if _PART else None

#: Both.
STORE_AND_PART: Final = Script(f"{_STORE}\n{_PART}") if _PART else None

#: Celery's own, of the claim; None for a Celery that claims nothing.
EXTEND: Final = Script(_EXTEND) if _EXTEND else None
CLEAN_UP: Final = Script(_CLEAN_UP) if _CLEAN_UP else None

#: Releases claims.
RELEASE: Final = Script(_LUA.joinpath("release.lua").read_text("utf-8"))
