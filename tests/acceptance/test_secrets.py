"""No command prints a password, whichever way it was given, and whatever is wrong with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Nothing else that is printed has these in it.
PIECES = ("Xhunter", "Yhunter", "Zhunter")

PROJECT = """
from celery import Celery
app = Celery("leaky", broker={broker!r}, backend={backend!r})

@app.task
def work():
    pass
"""

COMMANDS = (
    ("config", "show"),
    ("config", "show", "--json"),
    ("config", "show", "prefork"),
    ("config", "check"),
    ("worker", "prefork", "--print-argv"),
    ("worker", "gevent", "--print-argv"),
    ("worker", "nosuch"),
    ("flower", "--print-argv"),
    ("check",),
    ("check", "--live", "--timeout=1"),
    ("check", "--live", "--timeout=1", "--json"),
    ("dead", "list"),
    ("health", "prefork"),
    ("worker", "prefork"),
)

#: No server listens there.
RIGHT = "redis://me:Xhunter%2FYhunter@127.0.0.1:1/0"
UNQUOTED = "redis://me:Xhunter/Yhunter@127.0.0.1:1/0"
PORT = "redis://me:12/Xhunter@127.0.0.1:1/0"

#: What stands in task-server.toml, and in the variables.
GIVEN = {
    "nothing": ("", {}),
    "variables": ("", {"TASK_SERVER_BROKER_URL": RIGHT, "TASK_SERVER_RESULT_BACKEND": RIGHT}),
    "unquoted": (f'broker_url = "{UNQUOTED}"\nresult_backend = "{UNQUOTED}"', {}),
    "unquoted variables": ("", {"TASK_SERVER_BROKER_URL": UNQUOTED}),
    "no text": (f'broker_url = ["{RIGHT}"]', {}),
    "control": ('broker_url = "redis://:Xhunter\\u0007Yhunter@db"', {}),
    "flower": ('flower = "basic_auth=Xhunter:Yhunter"', {}),
    "flower list": ('flower = ["Xhunter:Yhunter"]', {}),
    "flower user": ('flower.basic_auth = "Xhunter"', {}),
    "flower number": ("", {"TASK_SERVER_FLOWER_BASIC_AUTH": "Xhunter"}),
    "flower right": ("", {"TASK_SERVER_FLOWER_BASIC_AUTH": "me:Xhunter"}),
    "workers": (f'workers = "{RIGHT}"', {}),
    "worker": (f'workers.prefork = "{RIGHT}"', {}),
    **{
        f"arguments {arguments[0]}": (
            "".join(
                f"workers.{name}.extra_args = {json.dumps(arguments)}\n"
                for name in ("prefork", "gevent")
            ),
            {},
        )
        for arguments in (
            [f"--broker={RIGHT}"],
            ["--broker", RIGHT],
            ["-b", RIGHT],
            [f"-b{RIGHT}"],
            [f"--result-backend={UNQUOTED}"],
            [f"--own={RIGHT}"],
            ["--other", UNQUOTED],
            ["--password=Xhunter"],
        )
    },
}


#: The others end with a mistake of the configuration, which tests/unit/test_loader.py has.
FEW = ("nothing", "variables", "arguments --own")


def said_of_redis(process: "subprocess.Popen[str]") -> str:
    """Return what *process* says, until it ends or has failed to connect twice."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if sum("Trying again" in one for one in lines) == 2:
            process.terminate()
    process.wait(60)
    process.stdout.close()
    return "".join(lines)


@pytest.mark.parametrize(
    ("given", "project"),
    [
        *(
            pytest.param(given, RIGHT, marks=[] if given in FEW else pytest.mark.nightly)
            for given in GIVEN
        ),
        ("nothing", UNQUOTED),
        ("nothing", PORT),
    ],
)
def test_no_command_prints_a_password(tmp_path: Path, given: str, project: str) -> None:
    """
    Neither its output nor its errors have a piece of one.
    """
    text, variables = GIVEN[given]
    (tmp_path / "leaky.py").write_text(PROJECT.format(broker=project, backend=project))
    (tmp_path / "task-server.toml").write_text(text)
    outputs = {}
    running = [
        (
            command,
            subprocess.Popen(
                [sys.executable, "-m", "task_server", *command],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "PYTHONPATH": str(tmp_path),
                    "TASK_SERVER_APP": "leaky",
                    "TASK_SERVER_RUNTIME_DIR": str(tmp_path / "run"),
                    "TMPDIR": str(tmp_path),
                    **variables,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ),
        )
        for command in COMMANDS
    ]
    for command, process in running:
        if command == ("worker", "prefork"):
            # One that is well waits for Redis, forever: not until it has said so.
            outputs["worker"] = said_of_redis(process)
        else:
            outputs[" ".join(command)] = process.communicate(timeout=120)[0]

    leaks = {
        command: line
        for command, output in outputs.items()
        for line in output.splitlines()
        if any(piece in line for piece in PIECES)
    }
    assert {} == leaks
    assert outputs["config show"]
