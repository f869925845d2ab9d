"""The ConfigMap: what the processes read, no more and no less."""

import tomllib
from pathlib import Path

import pytest

from task_server.config.loader import load
from task_server.manifests.description import FILE, config_map, description
from tests.unit.manifests.cases import FULL, IMAGE, config_of

#: A setting of every kind of value, of which some are hard to write.
ODD = """
app = "läden"
code = "a \\"b\\" \\\\ c"
media = "read-only"
import_seconds = 90
no_new_privileges = true
[failures]
max_bytes = "1GiB"
[workers.bulk]
pool = "gevent"
queues = ["a b", "ü", "'"]
extra_args = ["--max-tasks-per-child=1"]
drain_seconds = 1.5
memory_limit = "1GiB"
[workers.prefork]
concurrency = "auto"
"""


@pytest.mark.parametrize("text", [FULL, ODD, ""])
def test_a_pod_reads_what_the_operator_wrote(text: str, tmp_path: Path) -> None:
    """
    Workers, services and all they have are the same there, as far as nothing is secret.
    """
    config = config_of(tmp_path, text)
    (path,) = tmp_path.iterdir()
    path.write_text(description(config))

    found = load(path, {})

    assert config.workers == found.workers
    assert (config.app, config.code, config.media) == (found.app, found.code, found.media)
    assert (config.flower, config.beat, config.metrics, config.failures) == (
        *(found.flower, found.beat, found.metrics, found.failures),
    )
    assert found.broker_url is None
    assert {name for name in found.origins if "kubernetes" in name} == set()


def test_what_no_process_reads_starts_none_anew(tmp_path: Path) -> None:
    """
    Another number of pods is no new name of the ConfigMap, another concurrency is one.
    """
    names = [
        config_map(config_of(tmp_path, f"[kubernetes]\n{IMAGE}\n{text}"))["metadata"]["name"]
        for text in (
            "[workers.one]\nconcurrency = 2\n",
            "# A comment.\n[workers.one]\nconcurrency = 2\n[workers.one.kubernetes]\nmax = 9\n",
            "[workers.one]\nconcurrency = 3\n",
        )
    ]

    assert names[0] == names[1] != names[2]


def test_a_variable_of_who_writes_it_counts_unless_it_is_secret(tmp_path: Path) -> None:
    """
    A pipeline may give the app; the URL of its own Redis is nobody else's.
    """
    environ = {"TASK_SERVER_APP": "parish", "TASK_SERVER_BROKER_URL": "redis://u:pw@localhost/0"}

    found = config_map(config_of(tmp_path, "", environ))["data"][FILE]

    assert {"app": "parish"} == tomllib.loads(found)
