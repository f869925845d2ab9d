"""How a field of the configuration is declared: the metadata that loader and commands read."""

from dataclasses import field
from typing import Any, Literal

from task_server.config import values

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]


def setting(doc: str, parser: values.Parser, default: Any = ..., *, secret: bool = False) -> Any:
    """Declare one field: its description, the kind of its value and its default."""
    metadata = {"doc": doc, "parser": parser, "secret": secret}
    if default is ...:
        return field(metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)
