"""A change of the code restarts what runs it: a drain and a new start, not a kill."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from task_server.local.supervisor.supervisor import Supervisor

#: Files of a change that are named.
_NAMED = 3


class Reload:
    """Restarts the children of *supervisor* that run the project's code."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._ready = False
        #: What changed before all was ready.
        self._early: tuple[Path, ...] = ()

    def changed(self, paths: Sequence[Path]) -> None:
        """The files *paths* changed; any thread may call this."""
        self._supervisor.call(lambda: self._changed(tuple(paths)))

    def failed(self, reason: str) -> None:
        """Nothing is watched any more; any thread may call this."""
        text = (
            f"Reload is off: {reason}. Raise fs.inotify.max_user_watches, or set "
            "WATCHFILES_FORCE_POLLING=true."
        )
        self._supervisor.call(lambda: self._supervisor.log.say(text))

    def begin(self) -> None:
        """All is ready: restart for what has changed since the start, and from now on."""
        self._ready = True
        if self._early:
            self._changed(self._early)

    def _changed(self, paths: tuple[Path, ...]) -> None:
        if not self._ready:
            self._early += paths
            return
        supervisor = self._supervisor
        # What drains has yet to start, and will read the code as it is then.
        draining = {one.name for one in supervisor.status() if one.state == "draining"}
        children = [
            one for one in supervisor.children() if one.reloads and one.name not in draining
        ]
        if not children:
            return
        names = ", ".join(child.name for child in children)
        supervisor.log.say(
            f"Reload: {shown(paths)} changed; {names} end their tasks and start again."
        )
        for child in children:
            supervisor.restart(child, partial(self._done, child.name))

    def _done(self, name: str, error: str | None) -> None:
        if error is None:
            self._supervisor.log.say(f"Reload: {name} is ready.")
            return
        # The last line of a worker that cannot import the project names the file and the line.
        reason = error.splitlines()[-1].strip().removeprefix("Error: ")
        self._supervisor.log.say(
            f"Reload: {name} did not start: {reason} (the next change of the code starts it again)"
        )


def shown(paths: Sequence[Path]) -> str:
    """Return *paths* in words, relative to this folder where they lie in it."""
    here = Path.cwd()
    names = [
        str(path.relative_to(here) if path.is_relative_to(here) else path)
        for path in paths[:_NAMED]
    ]
    more = len(paths) - len(names)
    return f"{', '.join(names)} and {more} more" if more else ", ".join(names)
