"""Who may enter a cluster of the tests: an authority, certificates, tokens."""

import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Each has a kubelet.
NODES = ("left", "right")

#: Users by their name here: Kubernetes' name and group.
USERS = {
    "admin": ("admin", "system:masters"),
    "manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    **{node: (f"system:node:{node}", "system:nodes") for node in NODES},
}


@dataclass(frozen=True)
class Keys:
    """Files in a folder, and the URL of the API server that they are for."""

    folder: Path
    url: str
    addresses: tuple[str, ...]

    def make(self) -> None:
        """Write all files."""
        self.folder.mkdir()
        self._openssl("genrsa", "-out", "accounts.key", "2048")
        self._openssl("rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=lab"),
            *("-keyout", "ca.key", "-out", "ca.crt", "-days", "30"),
        )
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        self.sign("server", "kube-apiserver", names)
        self.sign("proxy", "front-proxy", [])
        self.sign("keda", "keda-operator.keda.svc", ["localhost"])
        tokens = {user: secrets.token_hex(16) for user in USERS}
        rows = [
            ",".join((tokens[user], name, user, *([f'"{group}"'] if group else [])))
            for user, (name, group) in USERS.items()
        ]
        self.tokens.write_text("\n".join(rows) + "\n")
        for user, token in tokens.items():
            self.kubeconfig(user).write_text(
                _KUBECONFIG.format(url=self.url, ca=self.ca, token=token)
            )

    def sign(self, file: str, name: str, names: list[str]) -> None:
        """Write FILE.key and FILE.crt for the common name *name*."""
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{file}.key", "-out", f"{file}.csr"),
        )
        others = [*(f"DNS:{each}" for each in names), *(f"IP:{each}" for each in self.addresses)]
        extensions = self.folder / f"{file}.ext"
        extensions.write_text(
            f"subjectAltName={','.join(others)}\nextendedKeyUsage=serverAuth,clientAuth\n"
        )
        self._openssl(
            *("x509", "-req", "-in", f"{file}.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "30", "-out", f"{file}.crt", "-extfile", extensions),
        )

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.csv"

    def kubeconfig(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

    def _openssl(self, *words: str | Path) -> None:
        done = subprocess.run(
            ["openssl", *words], cwd=self.folder, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: lab, cluster: {{server: "{url}", certificate-authority: {ca}}}}}]
users: [{{name: lab, user: {{token: {token}}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]
current-context: lab
"""
