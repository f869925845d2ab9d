"""What the metrics are, decided: from here on only what the project's own settings say is open."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

from task_server.config.model import Config
from task_server.config.tables import MetricsConfig

#: Carries the spec from the launcher to the metrics.
METRICS_VARIABLE = "TASK_SERVER_METRICS"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSpec(MetricsConfig):
    """
    The metrics with all that the launcher decides; no secrets, as it stands in the environment.

    Attributes:
        workers: The queues of each kind of worker, as the configuration names them.

        import_seconds: How long the project's import may stall.

        uses_broker: Whether the operator named the broker.
    """

    workers: Mapping[str, tuple[str, ...]]
    import_seconds: float
    uses_broker: bool

    def to_json(self) -> str:
        """Return the spec as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that `to_json` wrote."""
        values = json.loads(text)
        workers = {name: tuple(queues) for name, queues in values["workers"].items()}
        return cls(**{**values, "workers": workers})


def metrics_spec(config: Config) -> MetricsSpec:
    """Return the spec of the metrics of *config*."""
    return MetricsSpec(
        **{one.name: getattr(config.metrics, one.name) for one in fields(MetricsConfig)},
        workers={name: worker.queues for name, worker in config.workers.items()},
        import_seconds=config.import_seconds,
        uses_broker=config.broker_url is not None,
    )
