"""The tables of the configuration beside the workers: Flower, beat, metrics, checks. Frozen."""

from dataclasses import dataclass
from typing import get_args

from task_server.config import listening, values
from task_server.config.setting import LogFormat, LogLevel, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowerConfig:
    """Where Flower listens, and its password."""

    address: str = setting("Address that Flower listens on.", values.text, listening.ADDRESS)
    port: int = setting(
        "TCP port of Flower; 0 is any free one.", values.integer(0, 65535), listening.FLOWER_PORT
    )
    basic_auth: str | None = setting(
        "user:password that Flower asks for.", values.user_and_password, None, secret=True
    )
    url_prefix: str = setting(
        "Path under which a reverse proxy shows Flower.", values.optional_path, listening.URL_PREFIX
    )
    read_only: bool = setting(
        "Flower only shows; it cannot stop workers or tasks.", values.boolean, True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatConfig:
    """How the project's periodic tasks are sent."""

    scheduler: str | None = setting(
        "Scheduler class; unset, the project's beat_scheduler, django-celery-beat's if it is among "
        "INSTALLED_APPS, else Celery's with a file.",
        values.text,
        None,
    )
    folder: str | None = setting(
        "Folder of the schedule file; unset, STATE_DIRECTORY, the state folder of `up`, or the "
        "folder of heartbeats.",
        values.text,
        None,
    )
    max_interval: float | None = setting(
        "Most seconds between two looks at the schedule; unset, the project's setting or the "
        "scheduler's own.",
        values.seconds(0.1, values.DAY),
        None,
    )
    lock_seconds: float = setting(
        "After its death another beat takes over when this has passed; 0: no lock, if something "
        "else keeps it to one (brokers other than Redis have none).",
        values.zero_or_seconds(1, 3600),
        10.0,
    )
    lock_name: str | None = setting(
        "Beats that have this in common run one at a time; unset, the package of the app.",
        values.text,
        None,
    )
    log_level: LogLevel = setting(
        "Least severe messages that are logged.", values.choice(*get_args(LogLevel)), "info"
    )
    log_format: LogFormat = setting(
        "text, or json with one object a line.", values.choice(*get_args(LogFormat)), "text"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """Where the metrics are served."""

    address: str = setting(
        "Address that the metrics are served on.", values.text, listening.ADDRESS
    )
    port: int = setting(
        "TCP port of the metrics; 0 is any free one.",
        values.integer(0, 65535),
        listening.METRICS_PORT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailuresConfig:
    """What is kept of tasks that failed."""

    keep: int = setting(
        "Failed tasks that are kept, the last ones, for `task-server failed`; 0 keeps none (atomic "
        "transport).",
        values.integer(0, 1_000_000),
        10_000,
    )
    max_age: float = setting(
        "Seconds for which each is kept; 0 keeps none.", values.seconds(0), 30 * values.DAY
    )
    max_bytes: int = setting(
        "Bytes of all that are kept, in Redis; 0 keeps none.", values.size(0), 64 * 2**20
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """What `task-server check` leaves out."""

    ignore: tuple[str, ...] = setting(
        "Rules that `task-server check` leaves out; `check --rules` lists them.",
        values.name_list,
        (),
    )
