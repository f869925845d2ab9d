"""What beat is, decided: from here on only what the project's own settings say is open."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from task_server.config.model import Config
from task_server.config.tables import BeatConfig
from task_server.health.folder import heartbeat_folder
from task_server.launch.timing import Timing

#: Carries the spec from the launcher to beat.
BEAT_VARIABLE = "TASK_SERVER_BEAT"

#: Of the state folder, for `up` and for what runs beside it.
STATE_VARIABLE = "TASK_SERVER_STATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatSpec(BeatConfig):
    """
    Beat with all that the launcher decides; no secrets, so that it may stand in the environment.

    Attributes:
        folder: Of the schedule file.

        folder_is_given: Whether the operator named it, so that it wins over the project's file.

        lock_name: As in the configuration, never empty.

        runtime_dir: Folder of its heartbeat.

        import_seconds: How long the project's import may stall.

        uses_broker: Whether the operator named the broker.
    """

    folder: str
    lock_name: str
    folder_is_given: bool
    runtime_dir: str
    import_seconds: float
    uses_broker: bool
    timing: Timing

    def to_json(self) -> str:
        """Return the spec as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "timing": Timing(**values["timing"])})


def beat_spec(
    config: Config, *, runtime_dir: str, environ: Mapping[str, str], timing: Timing
) -> BeatSpec:
    """
    Return the spec of the beat of *config*.

    Args:
        runtime_dir: Folder of its heartbeat.

        environ: The environment that it will run in.
    """
    written = {one.name: getattr(config.beat, one.name) for one in fields(BeatConfig)}
    return BeatSpec(
        **{
            **written,
            "folder": config.beat.folder or _state_folder(environ) or runtime_dir,
            "lock_name": config.beat.lock_name or config.app.partition(":")[0].partition(".")[0],
        },
        folder_is_given=config.beat.folder is not None,
        runtime_dir=runtime_dir,
        import_seconds=config.import_seconds,
        uses_broker=config.broker_url is not None,
        timing=timing,
    )


def beat_spec_here(config: Config, environ: Mapping[str, str]) -> tuple[BeatSpec, Path]:
    """Return the spec of the beat of *config* for this user, and the folder of its heartbeat."""
    folder = heartbeat_folder(config, environ, os.getuid())
    timing = Timing.from_environ(environ)
    return beat_spec(config, runtime_dir=str(folder), environ=environ, timing=timing), folder


def _state_folder(environ: Mapping[str, str]) -> str | None:
    """Return the folder that outlives the process: systemd's, or that of `up`."""
    # systemd separates several with colons; ours is the first.
    systemd = environ.get("STATE_DIRECTORY", "").split(":")[0]
    given = systemd or environ.get(STATE_VARIABLE)
    return str(Path(given).absolute()) if given else None
