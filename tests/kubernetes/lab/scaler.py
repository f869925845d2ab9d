"""KEDA: its operator and its metrics server, behind the API server."""

import json
from pathlib import Path

from tests.kubernetes.lab.control import GATEWAY, Control
from tests.kubernetes.lab.kubectl import Kubectl
from tests.kubernetes.lab.programs import folder_of
from tests.kubernetes.lab.room import Room
from tests.support.ports import own_port

NAMESPACE = "keda"
SERVICE = "keda-metrics-apiserver"
METRICS = "external.metrics.k8s.io"


def define(kubectl: Kubectl) -> None:
    """Have its kinds of objects, which is all that a dry run needs."""
    kubectl("apply", "--server-side", "--filename", folder_of("keda-kinds"))
    kubectl("wait", "crd", "--all", "--for=condition=Established")


def install(room: Room, control: Control) -> None:
    """Start both in *room*, and wait until the API server has their metrics."""
    kubectl, programs, port = control.kubectl, folder_of("keda"), own_port()
    define(kubectl)
    kubectl("create", "namespace", NAMESPACE)
    kubectl("apply", "--filename", "-", given=json.dumps(_service(port)))
    certificates = _certificates(control, room.folder / "keda")
    # A pod would have this file; it is looked for in the room's own mount.
    room.run("sh", "-c", "mkdir -p /run/secrets/kubernetes.io/serviceaccount")
    room.run("sh", "-c", f"printf {NAMESPACE} >/run/secrets/kubernetes.io/serviceaccount/namespace")
    kubeconfig, inner = control.keys.kubeconfig("admin"), own_port()
    room.start(
        "keda-operator",
        programs / "operator",
        *(f"--kubeconfig={kubeconfig}", "--leader-elect=false", f"--cert-dir={certificates}"),
        *("--enable-webhook-patching=false", "--enable-apiservice-patching=false"),
        f"--metrics-bind-address=127.0.0.1:{own_port()}",
        f"--health-probe-bind-address=127.0.0.1:{own_port()}",
        f"--metrics-service-bind-address=:{inner}",
        POD_NAMESPACE=NAMESPACE,
        WATCH_NAMESPACE="",
        KUBERNETES_CLUSTER_DOMAIN="cluster.local",
    )
    room.start(
        "keda-metrics",
        programs / "adapter",
        *(f"--kubeconfig={kubeconfig}", f"--lister-kubeconfig={kubeconfig}"),
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        *(f"--secure-port={port}", f"--cert-dir={certificates}", "--logtostderr=true"),
        *(f"--metrics-service-address=localhost:{inner}", f"--client-ca-file={control.keys.ca}"),
        f"--port={own_port()}",
        POD_NAMESPACE=NAMESPACE,
        WATCH_NAMESPACE="",
    )
    kubectl.until(
        "wait", "apiservice", f"v1beta1.{METRICS}", "--for=condition=Available", "--timeout=5s"
    )


def _certificates(control: Control, folder: Path) -> Path:
    folder.mkdir()
    keys = control.keys.folder
    for file, name in (("ca.crt", "ca.crt"), ("keda.crt", "tls.crt"), ("keda.key", "tls.key")):
        (folder / name).write_bytes((keys / file).read_bytes())
    return folder


def _service(port: int) -> dict[str, object]:
    """Return the objects by which the API server finds the metrics server on this machine."""
    named = {"name": SERVICE, "namespace": NAMESPACE}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": named,
                "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**named, "labels": {"kubernetes.io/service-name": SERVICE}},
                "addressType": "IPv4",
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [GATEWAY], "conditions": {"ready": True}}],
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"v1beta1.{METRICS}"},
                "spec": {
                    "group": METRICS,
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "insecureSkipTLSVerify": True,
                    "service": {"name": SERVICE, "namespace": NAMESPACE, "port": 443},
                },
            },
        ],
    }
