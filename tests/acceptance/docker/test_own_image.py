"""An image of a project without Nix, by the lines of the README and of docs/how-to/docker.md."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.acceptance.docker import image
from tests.acceptance.docker.conftest import Broker
from tests.acceptance.docker.engine import NETWORK, docker, options, running
from tests.acceptance.docker.test_refusals import CONFIGURATION
from tests.support.wait import until

NEWCOMER = Path(__file__).with_name("newcomer")
PAGE = image.ROOT / "docs" / "how-to" / "docker.md"

URL = "redis://cl-redis:6379/0"
REACHED = ("--network", NETWORK, "--env", f"CELERY_BROKER_URL={URL}")

#: What an operator takes away, and a user that no image knows.
LOCKED = (
    *("--read-only", "--tmpfs", "/tmp", "--user", "12345:0", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
)


def lines(document: Path, program: str) -> list[list[str]]:
    """Return the words of each line of *document*'s blocks that runs *program*."""
    parts = re.split(r"^```.*$", document.read_text(), flags=re.MULTILINE)
    return [
        shlex.split(line)
        for block in parts[1::2]
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith(f"{program} ")
    ]


def build(words: Sequence[str], folder: Path) -> tuple[str, float]:
    """
    Run a `docker build` of the documents in *folder*, on a base of this machine.

    Returns:
        The tag of the image, and the seconds that it took.
    """
    # No registry of images is reached here, and the packages' by the host's network alone.
    here = ("--build-arg", f"BASE={image.build_python()}", "--network", "host")
    begin = time.monotonic()
    done = subprocess.run(
        [*words[:2], *here, *words[2:]],
        cwd=folder,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return words[words.index("--tag") + 1], time.monotonic() - begin


@pytest.fixture(scope="module")
def folder(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a newcomer's project, with a clone of ours in it, and a secret."""
    folder = shutil.copytree(
        NEWCOMER,
        tmp_path_factory.mktemp("newcomer") / "bakery",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (folder / ".env").write_text("SECRET_KEY=of-a-developer\n")
    # As after an umask of 077.
    (folder / "bakery" / "tasks.py").chmod(0o600)
    # What the line with `git clone` brings.
    image.copy_sources(folder / "task-server")
    shutil.copytree(image.ROOT / "deploy", folder / "task-server" / "deploy", dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def project(folder: Path) -> Iterator[str]:
    """Return the image of the newcomer's project, built by the line of the README."""
    (line,) = lines(image.ROOT / "README.md", "docker build")
    tag, seconds = build(line, folder)
    size = int(docker("image", "inspect", "--format", "{{.Size}}", tag))
    base = int(docker("image", "inspect", "--format", "{{.Size}}", image.PYTHON))
    print(f"\n{tag}: built in {seconds:.0f} s, {(size - base) / 1e6:.0f} MB on its base")
    yield tag
    docker("rmi", "--force", tag)


def test_the_readme_and_the_page_build_with_the_same_line() -> None:
    """
    What a newcomer copies from either is what is built here.
    """
    (line,) = lines(image.ROOT / "README.md", "docker build")

    assert line in lines(PAGE, "docker build")


def test_a_newcomers_image_works_off_both_queues(project: str, broker: Broker) -> None:
    """
    By the README's last line, with the network and the address of the broker of here.
    """
    (line,) = [
        words for words in lines(image.ROOT / "README.md", "docker run") if words[-1] == project
    ]
    named = [
        word.replace("my-network", NETWORK).replace("//redis:", "//cl-redis:") for word in line
    ]
    begin = time.monotonic()
    with running(*named[2:]) as worker:
        worker.hear("ready.")
        print(f"\nready in {time.monotonic() - begin:.1f} s")

        sent = broker.celery.send_task("bakery.tasks.bake", [3])
        until(sent.ready, "the loaves")
        assert [3, 33] == sent.get()
        sent = broker.celery.send_task("bakery.tasks.order", ["http://mill/"], queue="io_bound")
        until(sent.ready, "the order")
        assert "http://mill/" == sent.get()


@pytest.mark.parametrize("name", ["all", "prefork", "gevent"])
def test_each_worker_runs_locked_and_as_any_user(name: str, project: str, broker: Broker) -> None:
    """
    The image's one program starts each; the root is read-only, the user is in no file.
    """
    with running(*REACHED, *LOCKED, project, "worker", name) as worker:
        worker.hear("ready.")
        queue = "io_bound" if name == "gevent" else "celery"
        sent = broker.celery.send_task("bakery.tasks.bake", [1], queue=queue)
        until(sent.ready, "the loaf")

        assert [1, 12345] == sent.get()
        assert f"{name}: ready" in worker.execute("task-server", "health", name, "--ready")


def test_flower_starts_from_the_same_image(project: str, broker: Broker) -> None:
    """
    Its health check is asked in the container, as Docker does.
    """
    settings = options(TASK_SERVER_FLOWER_ADDRESS="0.0.0.0")
    with running(*REACHED, *settings, *LOCKED, project, "flower") as flower:
        flower.hear("Visit me at")
        answers = []

        def answered() -> bool:
            answers.append(flower.execute("task-server", "health", "flower", check=False))
            return "answers at" in answers[-1]

        try:
            until(answered, "Flower")
        except AssertionError as error:
            raise AssertionError(f"{error}: {answers[-1]}\n{flower.logs()}") from None


def test_the_metrics_start_from_the_same_image(project: str, broker: Broker) -> None:
    """
    Their health check is asked in the container, as Docker does.
    """
    with running(*REACHED, *LOCKED, project, "metrics") as metrics:
        metrics.hear("metrics: http://127.0.0.1:9808/metrics")
        asked = ("task-server", "health", "metrics", "--ready")

        until(lambda: ": ready" in metrics.execute(*asked, check=False), "the metrics")


@pytest.mark.parametrize(
    ("command", "answer"),
    [("check", "0 errors"), ("config show", "lease_seconds"), ("manage.py", "migrat")],
)
def test_the_commands_of_the_page_answer(command: str, answer: str, project: str) -> None:
    """
    Those that end by themselves, as the page has them; no server runs.
    """
    (line,) = [
        words
        for words in re.findall(r"`?(docker run --rm [^`\n]*)`?", PAGE.read_text())
        if command in words
    ]

    assert answer in docker(*shlex.split(line)[1:])


def test_a_stop_drains(project: str, broker: Broker) -> None:
    """
    The first process passes SIGTERM on; what runs ends, what waits stays.
    """
    with running(*REACHED, "--env", "TASK_SERVER_WORKERS_ALL_CONCURRENCY=1", project) as worker:
        worker.hear("ready.")
        sent = [broker.celery.send_task("bakery.tasks.bake", [n, 3.0]) for n in range(5)]
        until(lambda: "received" in worker.logs(), "a task to be taken")

        docker("stop", "--time", "60", worker.name)

        assert 0 == worker.state["ExitCode"], worker.logs()
        assert "draining" in worker.logs()
        done = sum(one.ready() for one in sent)
        assert 1 <= done
        assert (5 - done, 0) == (broker.waiting(), broker.unacked())


def test_the_image_is_configured_as_the_description_says(project: str, folder: Path) -> None:
    """
    Entry point, user, health check, variables and labels are those of the Nix image.
    """
    ready, _ = build(
        [
            *("docker", "build", "--target", "ready", "--tag", "task-server-test-ready"),
            *("--file", "task-server/deploy/docker/Dockerfile", "."),
        ],
        folder,
    )
    description = image.described()
    for tag, left_out in ((ready, set()), (project, {"DJANGO_MEDIA_ROOT"})):
        config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", tag))
        wanted, kind = description["config"], description["images"]["worker"]
        for name in ("User", "WorkingDir", "Entrypoint", "StopSignal"):
            assert config[name] == wanted[name]
        assert config["Cmd"] == kind["Cmd"]
        assert config["Healthcheck"] == kind["Healthcheck"]
        environ = dict(one.split("=", 1) for one in config["Env"])
        assert wanted["Env"].items() - environ.items() == {
            (name, wanted["Env"][name]) for name in left_out
        }
        assert left_out.isdisjoint(environ)
        assert wanted["Labels"].items() <= config["Labels"].items()
        assert config["Labels"]["org.opencontainers.image.title"] == kind["title"]
    with running("--entrypoint", "sleep", ready, "600") as container:
        for path, wanted in description["folders"].items():
            mode, owner = container.execute("stat", "--format", "%a %u", path).split()
            assert int(mode, 8) == int(wanted["mode"], 8), path
            assert owner == {"user": "33", "root": "0"}[wanted["owner"]], path
    docker("rmi", "--force", ready)


def test_no_secret_and_no_clone_is_in_the_image(project: str) -> None:
    """
    The code is there, readable and compiled; what only the developer has is not.
    """
    with running("--entrypoint", "sleep", project, "600") as container:
        names = container.execute("find", "/opt/celery", "-printf", "%P %m %u\n").splitlines()

    assert "bakery/tasks.py 644 root" in names
    assert any("tasks.cpython-" in name for name in names)
    assert not [name for name in names if name.startswith((".env", ".git", "task-server"))]


def test_code_is_mounted_into_an_image_without_it(folder: Path, broker: Broker) -> None:
    """
    By the page's lines; without the mount the worker ends and shows the option.
    """
    (line,) = [words for words in lines(PAGE, "docker build") if "mounted" in words]
    tag, _ = build(line, folder)
    try:
        with running(*REACHED, tag) as worker:
            assert CONFIGURATION == worker.wait()
            assert "/opt/celery" in worker.logs()
        for path in (folder, *folder.parents):
            if path.stat().st_uid == 0 and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o055)
        (folder / "bakery" / "tasks.py").chmod(0o644)
        with running(*REACHED, "--volume", f"{folder}:/opt/celery:ro", tag) as worker:
            worker.hear("ready.")
            sent = broker.celery.send_task("bakery.tasks.bake", [2])
            until(sent.ready, "the loaves")
            assert [2, 33] == sent.get()
    finally:
        docker("rmi", "--force", tag)


def test_a_celery_that_does_not_fit_ends_the_build(folder: Path, tmp_path: Path) -> None:
    """
    The project's packages are resolved with ours; pip says which two disagree.
    """
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "requirements.txt").write_text("celery==5.3.6\n")
    (line,) = lines(image.ROOT / "README.md", "docker build")

    with pytest.raises(AssertionError, match=r"(?s)celery==5\.3\.6.*conflict"):
        build(line, other)
