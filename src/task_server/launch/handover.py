"""
Secrets that the launcher hands to the worker, and not to the programs that its tasks start.

An environment is inherited by all that a process starts. So the launcher writes the
URLs into a pipe that the worker inherits, and takes the variables out; the worker has
them in its environment while the project is imported, which may read them there, and
takes them out before it takes tasks.
"""

import json
import os
from collections.abc import Mapping, MutableMapping

#: Names the end of the pipe.
VARIABLE = "TASK_SERVER_SECRETS_FD"

#: Our variables with secrets. A worker needs none of them: it gets those below.
OURS = tuple(
    f"TASK_SERVER_{name}" for name in ("BROKER_URL", "RESULT_BACKEND", "FLOWER_BASIC_AUTH")
)

#: The variables of Celery, and the settings of ours that they are made from.
CELERYS = {"CELERY_BROKER_URL": "broker_url", "CELERY_RESULT_BACKEND": "result_backend"}


def write(secrets: Mapping[str, str]) -> str:
    """
    Put *secrets* where the program that this process becomes finds them.

    Returns:
        What VARIABLE must be in its environment.

    Raises:
        OSError: When no pipe can be created.
    """
    reader, writer = os.pipe()
    # An empty pipe takes 64 KiB; no valid URL is longer.
    os.set_blocking(writer, False)
    with open(writer, "wb") as stream:  # noqa: PTH123 - a descriptor
        stream.write(json.dumps(dict(secrets)).encode())
    os.set_inheritable(reader, True)
    return str(reader)


def read(environ: MutableMapping[str, str]) -> dict[str, str]:
    """
    Return the secrets that were handed over, and remove their variable from *environ*.

    Raises:
        OSError: When the pipe is gone.

        ValueError: When its content is invalid.
    """
    number = environ.pop(VARIABLE, None)
    if number is None:
        return {}
    with open(int(number), "rb") as stream:  # noqa: PTH123 - a descriptor
        secrets = json.load(stream)
    return {str(name): str(value) for name, value in secrets.items()}


def environ_without(environ: Mapping[str, str], secret: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without the variables of ours, and with the way to *secret*."""
    rest = {
        name: value for name, value in environ.items() if name not in OURS and name not in secret
    }
    return {**rest, VARIABLE: write(secret)}
