"""`task-server manifests kubernetes`: the objects of a cluster, for kubectl, kustomize or Argo."""

from pathlib import Path

import click

from task_server.cli.options import app_option, config_option, resolved
from task_server.errors import ConfigError, Problem


@click.group(
    epilog="""
\b
Examples:
  task-server manifests kubernetes --output base       files, for `kubectl apply -k base`
  task-server manifests kubernetes | kubectl diff -f -
"""
)
def command() -> None:
    """Write the manifests of a deployment."""


@command.command()
@app_option
@config_option
@click.option(
    "--image",
    envvar="TASK_SERVER_KUBERNETES_IMAGE",
    show_envvar=True,
    help="The image of the project, registry/name:tag.  [default: `image` of the table kubernetes]",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="TASK_SERVER_MANIFESTS",
    show_envvar=True,
    help="Folder for a kustomize base; without it, one stream is printed.",
)
def kubernetes(app: str | None, path: Path | None, image: str | None, output: Path | None) -> None:
    """
    Write the objects of all workers, and of what runs beside them.

    What would not work is reported, all at once, and nothing is written (exit code 78). The
    same settings give the same bytes. Files of an earlier run that are no longer needed are
    removed from the folder; files of your own are left alone.
    """
    found = resolved(path, need_app=False, app=app, kubernetes_image=image)
    # No other command needs them.
    try:
        from task_server.manifests import folder, text  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        message = "is not installed; install task-server[manifests], or pyyaml>=6.0"
        raise ConfigError([Problem("pyyaml", message)], "the Python environment") from None
    from task_server.manifests.alerts import alerts  # noqa: PLC0415
    from task_server.manifests.objects import objects  # noqa: PLC0415
    from task_server.manifests.plan import plan  # noqa: PLC0415
    from task_server.manifests.sums import problems  # noqa: PLC0415

    decided = plan(found.config)
    wrong = problems(decided)
    if wrong:
        raise ConfigError(wrong, "the deployment")
    written = objects(decided, alerts())
    if output is None:
        click.echo(text.stream(written), nl=False)
    else:
        folder.write(output, text.base(written))
