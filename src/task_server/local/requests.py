"""What commands ask an `up` for: each request is handled in the supervisor's thread."""

import signal
from collections.abc import Mapping, Sequence
from functools import partial

from task_server.config.variables import suggestion
from task_server.local.control.protocol import Request
from task_server.local.control.server import Reply
from task_server.local.supervisor.child import Child
from task_server.local.supervisor.supervisor import Supervisor


class Requests:
    """
    Answers for the `up` of *supervisor*.

    Attributes:
        banner: What it has printed when everything was ready; None before.

        variables: Those of the project's other processes, in the types of JSON; None before
            they are known.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._watching: list[Reply] = []
        self._said_stop = False
        self.banner: tuple[str, ...] | None = None
        self.variables: Sequence[Mapping[str, str]] | None = None
        supervisor.on_end = self._ended

    def handle(self, request: Request, reply: Reply) -> None:
        """Have *request* answered in the supervisor's thread; any thread may call this."""
        answer = getattr(self, f"_{request.do}")
        self._supervisor.call(lambda: answer(reply, request.names))

    def is_up(self, banner: Sequence[str]) -> None:
        """Everything is ready, and *banner* printed: tell those who wait for that."""
        self.banner = tuple(banner)
        for reply in self._watching:
            reply.send("ready", banner=self.banner, now=True)

    def end(self, code: int) -> None:
        """Tell those who watch that all is over, with the exit code *code*."""
        for reply in self._watching:
            reply.end(code=code)
        self._watching.clear()

    def _ps(self, reply: Reply, _names: Sequence[str]) -> None:
        status = [one.to_dict() for one in self._supervisor.status()]
        reply.end(processes=status, ready=self.banner is not None)

    def _environ(self, reply: Reply, _names: Sequence[str]) -> None:
        if self.variables is None:
            reply.fail("task-server is still looking at the project; try again in a moment.")
        else:
            reply.end(variables=list(self.variables))

    def _watch(self, reply: Reply, _names: Sequence[str]) -> None:
        self._watching = [one for one in self._watching if one.open]
        self._watching.append(reply)
        if self.banner is not None:
            reply.send("ready", banner=self.banner, now=False)

    def _down(self, reply: Reply, _names: Sequence[str]) -> None:
        self._watching.append(reply)
        names = [one.name for one in self._supervisor.status() if one.pid is not None]
        reply.send("stopping", names=names)
        if not self._said_stop:
            self._said_stop = True
            self._supervisor.log.say("Stopped by `task-server down`.")
            self._supervisor.end(signal.SIGTERM)

    def _restart(self, reply: Reply, names: Sequence[str]) -> None:
        children = {child.name: child for child in self._supervisor.children()}
        unknown = next((name for name in names if name not in children), None)
        if unknown is not None or not names:
            known = ", ".join(children) or "nothing yet"
            near = suggestion(unknown or "", children)
            reply.fail(f"There is no {unknown!r} here{near}. Running: {known}.")
        elif self.banner is None:
            reply.fail("task-server is still starting; try again when it is ready.")
        else:
            Restarting(self._supervisor, reply, [children[name] for name in dict.fromkeys(names)])

    def _ended(self, name: str) -> None:
        """*name* has ended: tell those who wait for the end of all."""
        for reply in self._watching:
            reply.send("ended", name=name)


class Restarting:
    """One request to restart *children*, until all have been."""

    def __init__(self, supervisor: Supervisor, reply: Reply, children: Sequence[Child]) -> None:
        self._reply = reply
        self._left = len(children)
        self._errors: list[str] = []
        names = ", ".join(child.name for child in children)
        supervisor.log.say(f"Restarting {names}, by `task-server restart`.")
        for child in children:
            supervisor.restart(child, partial(self._done, child.name))

    def _done(self, name: str, error: str | None) -> None:
        self._left -= 1
        if error is None:
            self._reply.send("restarted", name=name)
        else:
            self._errors.append(error)
        if not self._left:
            self._end()

    def _end(self) -> None:
        if self._errors:
            self._reply.fail("\n".join(self._errors))
        else:
            self._reply.end()
