"""Objects as text that people review: YAML, one stream, or a kustomize base of a file each."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from task_server.manifests.names import Object

#: The first line of every file; what has it may be replaced, and removed.
WRITTEN = "# Written by `task-server manifests kubernetes`: change its settings, or patch it."

KUSTOMIZATION = "kustomization.yaml"

#: The hash at the end of a name, which would make each version another file.
_HASH = re.compile(r"-[0-9a-f]{10}$")

#: What YAML 1.2 takes for a number and PyYAML's 1.1 does not, such as 1e3 and 0o17.
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")


class _Dumper(yaml.SafeDumper):
    """Writes as the cluster's own tools do: no aliases, lists not indented, texts as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's interface
        """Write what occurs twice twice."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else '"' if _NUMBER.fullmatch(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def document(one: Object) -> str:
    """Return *one* as YAML."""
    written = yaml.dump(
        one,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=100,
    )
    return str(written)


def stream(objects: Iterable[Object]) -> str:
    """Return all *objects* as one stream."""
    return "".join(("" if not number else "---\n") + text for number, text in _numbered(objects))


def _numbered(objects: Iterable[Object]) -> Iterable[tuple[int, str]]:
    return enumerate([f"{WRITTEN}\n", *(document(one) for one in objects)])


def base(objects: Iterable[Object]) -> dict[str, str]:
    """Return the files of a kustomize base, by name: one for each of *objects*, and their list."""
    files = {_file_of(one): f"{WRITTEN}\n{document(one)}" for one in objects}
    listed = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
    }
    files[KUSTOMIZATION] = f"{WRITTEN}\n{document(listed)}"
    return dict(sorted(files.items()))


def _file_of(one: Object) -> str:
    name = one["metadata"]["name"]
    stable = _HASH.sub("", name) if one["kind"] in ("ConfigMap", "Job") else name
    return f"{one['kind'].lower()}-{stable}.yaml"
