"""What was found -> task-server.toml, with the reason beside each line; pure."""

import textwrap
from collections.abc import Iterator

from task_server.config.services import SERVICES
from task_server.config.toml import listed, quoted
from task_server.local.survey.facts import Server, Survey
from task_server.local.survey.workers import BY_DEFAULT, Division, divide, named, shortened

_WIDTH = 98

#: Characters that a queue of ours cannot have (`task_server.config.values.queues`).
_NOT_LISTED = frozenset(',*?["\n')


def document(survey: Survey) -> str:
    """Return the file for the project of *survey*; it has no secret and no address."""
    return "\n".join(_lines(survey)) + "\n"


def _lines(survey: Survey) -> Iterator[str]:
    yield from _comment(
        "How task-server runs this project's Celery workers. Written by `task-server init`, and "
        "yours from here on. Every other setting has its default: `task-server config show`."
    )
    if survey.failure:
        yield "#"
        yield from _comment(
            "The project could not be imported when this was written, so that this is what its "
            f"text says: {survey.failure}"
        )
    yield ""
    yield from _comment("The project's Celery app, as `celery --app` takes it.")
    yield f"app = {quoted(survey.app)}"
    if survey.code:
        yield "# Its code, from the folder of this file."
        yield f"code = {quoted(survey.code)}"
    if survey.settings_module:
        yield from _comment(
            f"The app itself names no settings; this is from {survey.settings_how}."
        )
        yield f"settings_module = {quoted(survey.settings_module)}"
    if survey.setup:
        yield from _comment("Called before the app is imported, which needs it.")
        yield f"setup = {quoted(survey.setup)}"
    for note in survey.notes:
        yield from _comment(f"{note[:1].upper()}{note[1:]}.")
    yield ""
    yield from _servers(survey)
    yield from _workers(survey, divide(survey.project))
    yield ""
    yield from _next(survey)


def _servers(survey: Survey) -> Iterator[str]:
    project = survey.project
    if project.servers:
        yield "# The project's own settings name its servers, and are used as they are:"
    for one in project.servers:
        yield from _comment(f"{one.role}: {described(one)}", "  ")
    if not any(one.role == "broker" for one in project.servers):
        yield from _comment(
            "The project names no broker. `task-server up` starts a Redis; elsewhere, set "
            "TASK_SERVER_BROKER_URL, or a file that TASK_SERVER_BROKER_URL_FILE names."
        )
    if project.keeps_files:
        yield from _comment(f"files: {storage(survey)}", "  ")
    yield ""


def described(server: Server) -> str:
    """Return what kind of server it is, and where its address stands; never the address."""
    by = f", read from {', '.join(server.variables)}" if server.variables else ""
    kind = f"{server.kind}, " if server.kind else ""
    return f"{kind}set by {server.setting}{by}"


def storage(survey: Survey) -> str:
    """Return where the project keeps files, and what the workers need for it."""
    kind = survey.project.storage
    if kind and "FileSystem" not in kind:
        return f"{kind} (the default storage): no folder is shared"
    return (
        "MEDIA_ROOT, a folder that every worker must reach; DJANGO_MEDIA_ROOT lets a worker check "
        "at its start that it can write there"
    )


def _workers(survey: Survey, division: Division) -> Iterator[str]:
    green = tuple(name for name in division.network if _NOT_LISTED.isdisjoint(name))
    every = named(survey.project.queues)
    if division.everything:
        yield from _comment(f"All queues go to gevent: {division.reason}.")
        yield "[workers.gevent]"
        yield 'queues = "all"'
        return
    taken = green or (BY_DEFAULT,)
    rest = [name for name in every if name not in taken]
    yield from _comment(
        "Tasks that compute, or may: a process each. All queues, those that are added later too, "
        f"without those of gevent. Now: {shortened(rest) or 'none'}."
    )
    yield "[workers.prefork]"
    yield 'queues = "all"'
    excluded = ",".join(taken)
    yield f"extra_args = [{quoted(f'--exclude-queues={excluded}')}]"
    yield ""
    if green:
        yield from _comment(
            f"Tasks that wait for the network, hundreds at once: {division.reason}."
        )
    else:
        yield from _comment(
            f"Tasks that wait for the network, hundreds at once. None yet: {division.reason}, and "
            f'prefork is safe for any task. Send one here with apply_async(queue="{BY_DEFAULT}").'
        )
    if division.maybe:
        yield from _comment(
            f"Perhaps these as well, if their tasks only wait: {shortened(division.maybe)}."
        )
    yield "[workers.gevent]"
    yield f"queues = {listed(taken)}"


def _next(survey: Survey) -> Iterator[str]:
    yield "# Next:"
    yield "#   task-server check    what is wrong, or will go wrong, and how to fix it"
    yield "#   task-server up       the servers that are missing here, and both workers"
    beat = survey.project.beat
    if beat.in_database or beat.entries:
        command = "task-server beat" if "beat" in SERVICES else f"celery --app {survey.app} beat"
        where = "django-celery-beat" if beat.in_database else beat.setting
        yield from _comment(f"The schedule ({where}) needs one `{command}` beside the workers.")


def _comment(text: str, indent: str = "") -> Iterator[str]:
    """Return *text* as comments; whatever the project wrote into it, it stays one."""
    clean = "".join(one if one.isprintable() else " " for one in text)
    clean = clean.encode("utf-8", "replace").decode()
    for line in textwrap.wrap(clean, _WIDTH - len(indent), break_on_hyphens=False):
        yield f"# {indent}{line}"
