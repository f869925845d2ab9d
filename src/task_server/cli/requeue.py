"""`task-server requeue --node NODE`."""

import os
from pathlib import Path

import click

from task_server.cli.acting import by_option, who
from task_server.cli.broker import channel_of
from task_server.cli.dead_shown import shown
from task_server.cli.joined import use_up
from task_server.cli.options import app_option, config_option, resolved
from task_server.config.model import WorkerConfig
from task_server.project.load import connecting_app
from task_server.transport.store.keys import Keys

#: Seconds for an answer of the result backend.
TIMEOUT = 5.0


@click.command(
    epilog="""
\b
Examples:
  task-server status                            who is silent, and what it holds
  task-server requeue --node prefork@worker-3
"""
)
@click.option(
    "--node",
    required=True,
    metavar="NODE",
    envvar="TASK_SERVER_REQUEUE_NODE",
    show_envvar=True,
    help="The node of a dead worker.",
)
@app_option
@config_option
@by_option
def command(node: str, app: str | None, path: Path | None, by: str | None) -> None:
    """
    Put what a dead worker holds back to the fronts of its queues now.

    Refused while its lease lives: until then it may only be out of sight, and its tasks would
    run twice. Each message has one more crash counted, as when a worker finds it; one with
    too many becomes a dead letter.
    """
    from redis import Redis  # noqa: PLC0415 - heavy, like the rest

    from task_server.actions import requeue  # noqa: PLC0415
    from task_server.transport.hooks import Hooks  # noqa: PLC0415
    from task_server.worker.broker.chord_claims import ChordClaims  # noqa: PLC0415
    from task_server.worker.broker.dead_letters import failing  # noqa: PLC0415 - imports Celery

    use_up(os.environ)
    config = resolved(path, app=app).config
    worker = config.workers.get(node.partition("@")[0], WorkerConfig(name=""))
    project = connecting_app(config)
    fail = failing(project)
    with channel_of(project) as channel:
        found = requeue(
            *(Redis(connection_pool=channel.pool), Keys.of(channel), node, who(by)),
            poison_limit=worker.poison_limit,
            visibility_timeout=channel.visibility_timeout,
            # As the worker that finds a dead one does: the body of its chord is not lost,
            # and the task of a dead letter has failed.
            hooks=Hooks(before_redelivery=ChordClaims(project, TIMEOUT).release),
            on_dead_letter=lambda letter: fail(channel, letter),
        )
    click.echo(f"{found.count} messages of {shown(node)} are back in their queues")
    if found.dead:
        click.echo(f"{len(found.dead)} of them are dead letters: see `task-server dead list`")
    if found.held:
        click.echo(f"{found.held} belong to another process of this node, which lives")
