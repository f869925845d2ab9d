"""The control plane: etcd and an API server, of one version, and what works on its objects."""

import subprocess
from pathlib import Path
from typing import Protocol

from tests.kubernetes import build
from tests.kubernetes.lab.keys import Keys
from tests.kubernetes.lab.kubectl import Kubectl
from tests.kubernetes.lab.programs import folder_of
from tests.support.ports import own_port

#: Where the node and KEDA's metrics server are found, and pods find this machine.
GATEWAY = "10.188.0.1"
PODS = "10.188.0.0/16"
SERVICES = "10.189.0.0/16"


class Starts(Protocol):
    """What starts programs, and has a folder for what they keep."""

    folder: Path
    logs: Path

    def start(self, name: str, *argv: str | Path) -> None: ...


class Children:
    """Starts programs as children of the tests, for an API server without a node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "log"
        self.logs.mkdir()
        self._programs: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *argv: str | Path) -> None:
        """Start a program, whose output goes to NAME.log."""
        with (self.logs / f"{name}.log").open("wb") as log:
            command = ["setpriv", "--pdeathsig", "KILL", *argv]
            self._programs.append(subprocess.Popen(command, stdout=log, stderr=log))

    def end(self) -> None:
        """End every program; nothing that they keep is needed."""
        for program in reversed(self._programs):
            program.kill()
            program.wait()


class Control:
    """
    An API server of *version*, started by *room*, with an etcd of its own.

    Args:
        room: Starts programs, and has a folder.
    """

    def __init__(self, room: Starts, version: str) -> None:
        self.room = room
        self.version = version
        self.port = own_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.keys = Keys(room.folder / "keys", self.url, ("127.0.0.1", GATEWAY))
        self.keys.make()
        newest = build.VERSIONS["kubernetes"]["newest"]
        self.kubectl = Kubectl(
            folder_of("control", newest) / "kubectl", self.keys.kubeconfig("admin")
        )

    def start(self) -> None:
        """Start both, and wait until the API server is ready."""
        keys, store = self.keys.folder, own_port()
        self.room.start(
            "etcd",
            folder_of("etcd") / "etcd",
            *("--data-dir", self.room.folder / "etcd", "--unsafe-no-fsync"),
            *(f"--listen-client-urls=http://127.0.0.1:{store}",),
            *(f"--advertise-client-urls=http://127.0.0.1:{store}",),
            # No other member asks for it.
            *(f"--listen-peer-urls=http://127.0.0.1:{own_port()}",),
            *("--listen-metrics-urls=", "--log-level=warn"),
        )
        self.room.start(
            "apiserver",
            folder_of("control", self.version) / "kube-apiserver",
            *(f"--etcd-servers=http://127.0.0.1:{store}", "--bind-address=127.0.0.1"),
            *("--advertise-address=127.0.0.1", f"--secure-port={self.port}"),
            # No address of loopback may be an endpoint.
            "--endpoint-reconciler-type=none",
            *(f"--tls-cert-file={keys}/server.crt", f"--tls-private-key-file={keys}/server.key"),
            *(f"--service-cluster-ip-range={SERVICES}", f"--client-ca-file={keys}/ca.crt"),
            f"--service-account-key-file={keys}/accounts.pub",
            f"--service-account-signing-key-file={keys}/accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            *("--requestheader-allowed-names=front-proxy", "--enable-aggregator-routing=true"),
            f"--requestheader-client-ca-file={keys}/ca.crt",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={keys}/proxy.crt",
            f"--proxy-client-key-file={keys}/proxy.key",
            *("--kubelet-preferred-address-types=InternalIP", "--authorization-mode=Node,RBAC"),
            *(
                f"--token-auth-file={self.keys.tokens}",
                "--enable-admission-plugins=NodeRestriction",
            ),
        )
        try:
            self.kubectl.until("get", "--raw", "/readyz")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._log('apiserver')}") from None

    def start_controllers(self) -> None:
        """Start what makes pods of deployments, and gives pods to nodes."""
        keys = self.keys.folder
        node = folder_of("node")
        self.room.start(
            "controllers",
            node / "kube-controller-manager",
            *(f"--kubeconfig={self.keys.kubeconfig('manager')}", "--leader-elect=false"),
            f"--service-account-private-key-file={keys}/accounts.key",
            *(f"--root-ca-file={keys}/ca.crt", "--use-service-account-credentials=true"),
            *("--allocate-node-cidrs=false", "--horizontal-pod-autoscaler-sync-period=5s"),
            *("--bind-address=127.0.0.1", f"--secure-port={own_port()}"),
        )
        self.room.start(
            "scheduler",
            node / "kube-scheduler",
            *(f"--kubeconfig={self.keys.kubeconfig('scheduler')}", "--leader-elect=false"),
            *("--bind-address=127.0.0.1", f"--secure-port={own_port()}"),
        )

    def _log(self, name: str) -> str:
        return (self.room.logs / f"{name}.log").read_text(errors="replace")[-3000:]
