"""A node: containerd, its network, and the kubelet, in a room of their own."""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

from tests.kubernetes.lab.control import GATEWAY, PODS, Control
from tests.kubernetes.lab.machine import BRIDGE, make_group
from tests.kubernetes.lab.programs import folder_of
from tests.kubernetes.lab.room import Room
from tests.support.ports import own_port
from tests.support.wait import until

#: Of the sandboxes; imported as every other image is.
PAUSE = "lab.local/pause:1"

#: Where Debian's containernetworking-plugins has them.
PLUGINS = Path("/usr/lib/cni")


class Node:
    """
    A node by its *name*, one of those that the control plane has keys for.

    All of it ends with its room, as when a machine loses its power.
    """

    def __init__(self, name: str, folder: Path, control: Control) -> None:
        folder.mkdir()
        self.name = name
        self.folder = folder
        self.control = control
        self.socket = folder / "containerd.sock"
        self.images = folder / "containerd"
        self.room: Room | None = None

    def start(self, archive: Path | None = None) -> None:
        """Start it, with the images of *archive*; wait until pods can be given to it."""
        # As after a machine's start, which finds its disk and nothing that ran.
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        self.room = room = Room(self.folder)
        self._start_containerd(room)
        if archive:
            self.ctr("images", "import", archive)
        room.start(
            "kubelet",
            folder_of("node") / "kubelet",
            *(f"--config={self._configuration()}", f"--root-dir={self.folder / 'kubelet'}"),
            *(f"--kubeconfig={self.control.keys.kubeconfig(self.name)}", f"--node-ip={GATEWAY}"),
            f"--hostname-override={self.name}",
        )
        # One that was there before is ready until it is missed.
        self.control.kubectl.until(
            *("wait", "node", self.name, "--for=condition=Ready", "--timeout=5s"),
            seconds=300,
            alive=lambda: room.check("kubelet"),
        )

    def end(self) -> None:
        """End every process on it at once, containers too."""
        if self.room is not None:
            self.room.end()

    def ctr(self, *words: str | Path) -> str:
        """Run containerd's client in the kubelet's namespace."""
        program = folder_of("containerd") / "ctr"
        done = subprocess.run(
            [program, "--address", self.socket, "--namespace", "k8s.io", *words],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _start_containerd(self, room: Room) -> None:
        programs = folder_of("containerd")
        settings = self.folder / "containerd.toml"
        settings.write_text(
            _CONTAINERD.format(
                folder=self.folder,
                images=self.images,
                socket=self.socket,
                plugins=PLUGINS,
                pause=PAUSE,
            )
        )
        self._write_network()
        # It looks for the shim there.
        path = f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        room.start("containerd", programs / "containerd", "--config", settings, PATH=path)

        def answers() -> bool:
            room.check("containerd")
            with contextlib.suppress(AssertionError):
                return bool(self.ctr("version"))
            return False

        until(answers, "containerd")

    def _write_network(self) -> None:
        folder = self.folder / "network"
        folder.mkdir(exist_ok=True)
        bridge = {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                # All nodes are on one bridge.
                "dataDir": str(self.folder.parent / "addresses"),
            },
        }
        text = json.dumps({"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge]})
        (folder / "10-lab.conflist").write_text(text)

    def _configuration(self) -> Path:
        settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": make_group(self.name),
            # Machines of continuous integration may be so, and have swap.
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            # Pods find servers by address.
            "clusterDNS": [],
            "address": GATEWAY,
            "port": own_port(),
            "healthzPort": 0,
            "readOnlyPort": 0,
            "podLogsDir": str(self.folder / "pods"),
            "volumePluginDir": str(self.folder / "volume-plugins"),
            # The disk is the machine's, and others fill it.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
        }
        path = self.folder / "kubelet.json"
        path.write_text(json.dumps(settings))
        return path


_CONTAINERD = """
version = 3
root = "{images}"
state = "{folder}/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  # Where root has not all of its rights, no sandbox could be made.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{folder}/network"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
