"""The imports of a file, and the dotted names in its text, without parsing it."""

import re

from task_server.checks.static.module import Module

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<dots>\.*)(?P<source>[\w.]*)[ \t]+import[ \t]+"
    r"(?:\((?P<many>[^)]{0,10000})\)|(?P<few>[^\n#;]+))|import[ \t]+(?P<plain>[^\n#;]+))",
    re.MULTILINE,
)
_TEXT = re.compile(r"[\"']([A-Za-z_][\w.]{0,199})[\"']")
_NAME = re.compile(r"[A-Za-z_][\w.]*")


def mentioned(source: bytes, module: Module) -> None:
    """Note in *module* what its *source* imports, and the names that stand in quotes."""
    text = source.decode("utf-8", "replace")
    for match in _IMPORT.finditer(text):
        if match["plain"]:
            for part in match["plain"].split(","):
                name = part.strip().partition(" ")[0]
                module.imported.add(name)
            continue
        base = module.absolute(match["source"], len(match["dots"]))
        module.imported.add(base)
        for part in (match["many"] or match["few"] or "").split(","):
            name = _NAME.match(part.strip())
            if name is not None:
                module.imported.add(f"{base}.{name[0]}".lstrip("."))
    module.texts.update(_TEXT.findall(text))
