"""What an API server says to the manifests, of the newest and of the oldest supported version."""

from pathlib import Path

import pytest

from tests.kubernetes.lab import descriptions
from tests.kubernetes.lab.kubectl import Kubectl, restrict
from tests.kubernetes.lab.project import Project

DESCRIPTIONS = {
    "docket": descriptions.docket("docket", "task-server-worker:test"),
    "shop": descriptions.shop("shop", "task-server-test-shop:1"),
    "scaled": descriptions.shop("scaled", "task-server-test-shop:1", "min = 0\nmax = 4", "max = 3"),
}


@pytest.fixture(params=DESCRIPTIONS)
def project(request: pytest.FixtureRequest, api_server: Kubectl, tmp_path: Path) -> Project:
    """Return a project in a namespace that enforces Pod Security `restricted`."""
    name = request.param
    if not api_server.run("get", "namespace", name).stdout:
        restrict(api_server, name)
    project = Project(name, tmp_path / "project", api_server.within(name))
    project.describe(DESCRIPTIONS[name])
    return project


def test_a_dry_run_of_the_server_has_no_warning(project: Project) -> None:
    """
    Every object is known to it, in its strict reading, and admitted.
    """
    done = project.kubectl.run(
        *("apply", "--kustomize", project.manifests, "--dry-run=server", "--validate=strict")
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert "(server dry run)" in done.stdout


def test_a_second_apply_changes_nothing(project: Project) -> None:
    """
    What the server fills in is not what the manifests would change.
    """
    project.apply()
    before = project.revisions()

    project.apply()

    assert len(before) > 10
    assert before == project.revisions()


def test_the_stream_is_what_the_folder_has(project: Project) -> None:
    """
    Without --output, the same objects: applying them changes nothing.
    """
    project.apply()
    before = project.revisions()

    project.kubectl("apply", "--filename", "-", given=project.stream())

    assert before == project.revisions()
